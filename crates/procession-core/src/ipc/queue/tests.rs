//! A queue within one process: against a model, and the promises that need no second process.

use super::{JoinableQueue, Message, Queue, Readiness, Received};
use crate::ErrorKind;
use crate::shm::handles::{self, Collected, Collecting};
use crate::shm::{Wait, heap, message};
use procession_sys::poll::{Interest, PollEntry, poll};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

fn put(queue: &Queue, bytes: &[u8]) {
    queue
        .put(&[bytes], &Collected::none(), &mut Wait::never())
        .unwrap();
}

fn get(queue: &Queue) -> Vec<u8> {
    queue.get(&mut Wait::never()).unwrap().payload().to_vec()
}

/// `len` bytes that tell where they stand and which message they belong to.
fn pattern(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + number) as u8).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    PutMany(Vec<usize>),
    Get,
    GetInto,
    GetMany(usize),
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..200usize, 2 => 1900..2200usize, 1 => 0..200_000usize]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => len().prop_map(Step::Put),
        1 => proptest::collection::vec(len(), 0..20).prop_map(Step::PutMany),
        2 => Just(Step::Get),
        2 => Just(Step::GetInto),
        1 => (0..40usize).prop_map(Step::GetMany),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_queue(maxsize in proptest::option::of(1..30usize), steps in proptest::collection::vec(step(), 0..150)) {
        let queue = Queue::new(maxsize).unwrap();
        let mut model = VecDeque::new();
        let mut number = 0;
        let mut buffer = Vec::new();
        let room = |model: &VecDeque<Vec<u8>>| maxsize.map_or(usize::MAX, |maxsize| maxsize - model.len());

        for step in steps {
            match step {
                Step::Put(len) => {
                    number += 1;
                    let message = pattern(number, len);
                    let (left, right) = message.split_at(len / 3);
                    match queue.put(&[left, right], &Collected::none(), &mut Wait::never()) {
                        Ok(()) => model.push_back(message),
                        Err(error) => {
                            prop_assert_eq!(error.kind(), ErrorKind::Full);
                            prop_assert_eq!(room(&model), 0);
                        }
                    }
                }
                Step::PutMany(lens) => {
                    let messages: Vec<_> = lens.iter().map(|len| { number += 1; pattern(number, *len) }).collect();
                    let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
                    let expected = messages.len().min(room(&model));
                    match queue.put_many(&slices, &mut Wait::never()) {
                        Ok(count) => prop_assert_eq!(count, expected),
                        Err(error) => prop_assert_eq!((error.kind(), expected), (ErrorKind::Full, 0)),
                    }
                    model.extend(messages.into_iter().take(expected));
                }
                Step::Get => match queue.get(&mut Wait::never()) {
                    Ok(message) => prop_assert_eq!(Some(message.payload().to_vec()), model.pop_front()),
                    Err(error) => prop_assert_eq!((error.kind(), model.len()), (ErrorKind::Empty, 0)),
                },
                Step::GetInto => match queue.get_into(&mut buffer, &mut Wait::never()) {
                    Ok(Received::Inline) => prop_assert_eq!(Some(buffer.clone()), model.pop_front()),
                    Ok(Received::Block(message)) => prop_assert_eq!(Some(message.payload().to_vec()), model.pop_front()),
                    Err(error) => prop_assert_eq!((error.kind(), model.len()), (ErrorKind::Empty, 0)),
                },
                Step::GetMany(max) => match queue.get_many(max, &mut Wait::never()) {
                    Ok(messages) => {
                        prop_assert_eq!(messages.len(), max.min(model.len()));
                        for message in messages {
                            prop_assert_eq!(Some(message.payload().to_vec()), model.pop_front());
                        }
                    }
                    Err(error) => prop_assert_eq!((error.kind(), model.len()), (ErrorKind::Empty, 0)),
                },
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.is_empty(), model.is_empty());
            prop_assert_eq!(queue.is_full(), room(&model) == 0);
        }
    }
}

#[test]
fn a_deadline_ends_both_waits() {
    let queue = Queue::new(Some(1)).unwrap();
    let soon = || Wait::for_duration(Some(Duration::from_millis(20)));

    assert_eq!(queue.get(&mut soon()).unwrap_err().kind(), ErrorKind::Empty);
    put(&queue, b"x");
    assert_eq!(
        queue
            .put(&[b"y"], &Collected::none(), &mut soon())
            .unwrap_err()
            .kind(),
        ErrorKind::Full
    );
    assert_eq!(get(&queue), b"x");
}

#[test]
fn a_callback_interrupts_a_wait() {
    let queue = Queue::new(None).unwrap();
    let mut stop = || false;

    let error = queue
        .get(&mut Wait::forever().with_interrupt(&mut stop))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn what_was_put_before_the_close_still_arrives() {
    let queue = Queue::new(None).unwrap();
    put(&queue, b"last");
    queue.close(&mut Wait::never()).unwrap();

    assert!(queue.is_closed());
    assert_eq!(
        queue
            .put(&[b"late"], &Collected::none(), &mut Wait::never())
            .unwrap_err()
            .kind(),
        ErrorKind::Closed
    );
    assert_eq!(get(&queue), b"last");
    assert_eq!(
        queue.get(&mut Wait::forever()).unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(
        queue.get(&mut Wait::never()).unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[test]
fn closing_wakes_both_sides() {
    let empty = Queue::new(None).unwrap();
    let full = Queue::new(Some(1)).unwrap();
    put(&full, b"x");

    std::thread::scope(|scope| {
        let getter = scope.spawn(|| empty.get(&mut Wait::forever()).unwrap_err().kind());
        let putter = scope.spawn(|| {
            full.put(&[b"y"], &Collected::none(), &mut Wait::forever())
                .unwrap_err()
                .kind()
        });
        std::thread::sleep(Duration::from_millis(20));
        empty.close(&mut Wait::never()).unwrap();
        full.close(&mut Wait::never()).unwrap();
        assert_eq!(getter.join().unwrap(), ErrorKind::Closed);
        assert_eq!(putter.join().unwrap(), ErrorKind::Closed);
    });
}

#[test]
fn no_queue_has_room_for_nothing() {
    assert_eq!(Queue::new(Some(0)).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_message_written_in_place_is_handed_over_in_place() {
    let queue = Queue::new(None).unwrap();
    let mut message = message::Message::create(&Collected::none(), 100).unwrap();
    message.payload_mut().fill(7);
    queue.put_message(message, &mut Wait::never()).unwrap();

    let received = queue.get(&mut Wait::never()).unwrap().into_block().unwrap();
    assert_eq!(received.payload(), [7; 100]);
}

/// Puts `inner` into `outer` as a handle.
fn put_queue(outer: &Queue, inner: &Queue) {
    let collecting = Collecting::begin();
    let index = handles::note(inner.object()).unwrap();
    outer
        .put(
            &[&index.to_le_bytes()],
            &collecting.finish(),
            &mut Wait::never(),
        )
        .unwrap();
}

fn read_queue(message: &Message) -> Queue {
    let index = u32::from_le_bytes(message.payload().try_into().unwrap());
    let _reading = message.begin_reading().unwrap();

    Queue::from_object(handles::resolve(index).unwrap())
}

#[test]
fn a_queue_travels_through_a_queue() {
    let outer = Queue::new(None).unwrap();
    let inner = Queue::new(None).unwrap();
    put(&inner, b"inside");
    put_queue(&outer, &inner);
    let id = inner.id();
    drop(inner);

    let message = outer.get(&mut Wait::never()).unwrap();
    let inner = read_queue(&message);
    drop(message);
    assert_eq!(inner.id(), id);
    assert_eq!(get(&inner), b"inside");
    drop(inner);
    assert!(Queue::attach(id).is_err());
}

#[test]
fn a_queue_ends_with_all_that_waits_in_it() {
    let outer = Queue::new(None).unwrap();
    let inner = Queue::new(None).unwrap();
    let ids = (outer.id(), inner.id());
    for number in 0..300 {
        put(&inner, &pattern(number, number * 20));
    }
    put_queue(&outer, &inner);
    drop(inner);
    assert_eq!(Queue::attach(ids.1).unwrap().len(), 300);

    drop(outer);
    assert!(Queue::attach(ids.0).is_err());
    assert!(Queue::attach(ids.1).is_err());
}

#[test]
fn tasks_are_counted() {
    let queue = JoinableQueue::new(None).unwrap();
    queue.join(&mut Wait::never()).unwrap();
    assert_eq!(
        queue.task_done(&mut Wait::never()).unwrap_err().kind(),
        ErrorKind::WrongState
    );

    put(&queue, b"a");
    put(&queue, b"b");
    assert_eq!(
        queue.join(&mut Wait::never()).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    get(&queue);
    queue.task_done(&mut Wait::never()).unwrap();
    assert_eq!(queue.unfinished().unwrap(), 1);

    std::thread::scope(|scope| {
        let joiner = scope.spawn(|| queue.join(&mut Wait::forever()));
        std::thread::sleep(Duration::from_millis(10));
        get(&queue);
        queue.task_done(&mut Wait::never()).unwrap();
        joiner.join().unwrap().unwrap();
    });
    assert_eq!(
        queue.task_done(&mut Wait::never()).unwrap_err().kind(),
        ErrorKind::WrongState
    );
    assert!(JoinableQueue::attach(queue.id()).is_ok());
    assert_eq!(
        JoinableQueue::attach(Queue::new(None).unwrap().id())
            .unwrap_err()
            .kind(),
        ErrorKind::WrongKind
    );
}

#[test]
fn threads_lose_and_double_nothing() {
    const THREADS: usize = 4;
    const EACH: usize = 2_000;
    let queue = Queue::new(Some(64)).unwrap();

    let mut seen: Vec<u64> = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let queue = &queue;
            scope.spawn(move || {
                for number in 0..EACH {
                    let number = (thread * EACH + number) as u64;
                    queue
                        .put(
                            &[&number.to_le_bytes()],
                            &Collected::none(),
                            &mut Wait::forever(),
                        )
                        .unwrap();
                }
            });
        }
        let getters: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let one = || {
                        u64::from_le_bytes(
                            queue
                                .get(&mut Wait::forever())
                                .unwrap()
                                .payload()
                                .try_into()
                                .unwrap(),
                        )
                    };
                    (0..EACH).map(|_| one()).collect::<Vec<_>>()
                })
            })
            .collect();
        getters
            .into_iter()
            .flat_map(|getter| getter.join().unwrap())
            .collect()
    });
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..(THREADS * EACH) as u64));
}

#[test]
fn used_up_blocks_are_given_back() {
    let queue = Queue::new(None).unwrap();
    let message = [1; 1000];
    for _ in 0..200 {
        put(&queue, &message);
    }
    let before = heap::stats().unwrap().live_bytes;
    for _ in 0..2_000 {
        put(&queue, &message);
        get(&queue);
    }
    assert!(
        heap::stats().unwrap().live_bytes <= before + (2 << 20),
        "other tests run meanwhile, but they are small"
    );
}

/// Polls until the descriptor is as expected: the thread that raises it takes its time.
fn wait_until(readiness: &Readiness, expected: bool) {
    while is_readable(readiness) != expected {
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn is_readable(readiness: &Readiness) -> bool {
    let mut entries = [PollEntry::new(readiness.as_fd(), Interest::READ)];
    poll(&mut entries, Some(Duration::ZERO)).unwrap();
    !entries[0].ready.is_empty()
}

#[test]
fn a_descriptor_is_readable_while_messages_wait() {
    let queue = Queue::new(None).unwrap();
    put(&queue, b"early");
    let readiness = queue.readiness().unwrap();
    assert!(is_readable(&readiness));

    put(&queue, b"late");
    get(&queue);
    assert!(is_readable(&readiness));
    get(&queue);
    assert!(!is_readable(&readiness));
    assert!(!readiness.is_ready());

    put(&queue, b"again");
    assert!(is_readable(&readiness) && readiness.is_ready());
    get(&queue);
    assert!(!is_readable(&readiness));
    queue.close(&mut Wait::never()).unwrap();
    wait_until(&readiness, true);
}

#[test]
fn more_descriptors_than_one_thread_can_watch() {
    let queues: Vec<Queue> = (0..300).map(|_| Queue::new(None).unwrap()).collect();
    let all: Vec<Readiness> = queues
        .iter()
        .map(|queue| queue.readiness().unwrap())
        .collect();

    for queue in queues.iter().step_by(50) {
        put(queue, b"x");
    }
    for (index, readiness) in all.iter().enumerate() {
        wait_until(readiness, index % 50 == 0);
    }
    let again = queues[0].readiness().unwrap();
    assert_eq!(
        again.as_fd().as_raw_fd(),
        all[0].as_fd().as_raw_fd(),
        "one descriptor for one queue"
    );
}

#[test]
fn every_crash_point_is_listed() {
    let sources = [
        include_str!("put.rs"),
        include_str!("get.rs"),
        include_str!("tasks.rs"),
    ];
    let mut points: Vec<&str> = sources
        .iter()
        .flat_map(|source| source.split("crash_point!(\"").skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    points.sort_unstable();

    let mut listed = super::CRASH_POINTS.to_vec();
    listed.sort_unstable();
    assert_eq!(listed, points);
}
