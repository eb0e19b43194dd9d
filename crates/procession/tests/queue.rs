//! Queues through the Rust face: typed messages between real processes, queues in queues, batches, tasks.

#![expect(
    clippy::panic_in_result_fn,
    reason = "a test that cannot go on fails and says so"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use procession::{Bytes, ErrorKind, JoinableQueue, Lock, Process, Queue, SimpleQueue};
use serde::{Deserialize, Serialize};

mod support;
use support::{join, watchdog};

const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(5);
const MESSAGES: u32 = 5000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    name: String,
    numbers: Vec<u16>,
    more: BTreeMap<String, Option<f64>>,
    raw: Bytes,
}

fn record(number: u16) -> Record {
    Record {
        name: format!("record {number}"),
        numbers: (0..number).collect(),
        more: BTreeMap::from([("a".into(), Some(0.5)), ("b".into(), None)]),
        raw: vec![7; usize::from(number) * 100].into(),
    }
}

fn echo<T>(questions: Queue<T>, answers: Queue<T>) -> procession::Result<()>
where
    T: Serialize + serde::de::DeserializeOwned + 'static,
{
    for question in &questions {
        answers.put(&question?)?;
    }
    answers.close()
}

#[procession::test]
fn values_of_all_sizes_come_back() {
    let _watchdog = watchdog();
    let (questions, answers) = (Queue::new().unwrap(), Queue::new().unwrap());
    let child = Process::new(echo::<Record>)
        .args((questions.clone(), answers.clone()))
        .start()
        .unwrap();
    let records: Vec<Record> = [0, 1, 10, 100, 1000].map(record).into();
    questions.put_many(&records).unwrap();
    questions.close().unwrap();

    let back: Vec<Record> = answers.iter().collect::<procession::Result<_>>().unwrap();
    assert_eq!(back, records);
    join(&child);
    assert_eq!(
        questions.put(&records[0]).unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(answers.get().unwrap_err().kind(), ErrorKind::Closed);
}

#[procession::test]
fn plain_vectors_bytes_and_texts_come_back() {
    let _watchdog = watchdog();
    fn check<T>(value: &T)
    where
        T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
    {
        let queue = Queue::new().unwrap();
        queue.put(value).unwrap();
        assert_eq!(queue.get().unwrap(), *value);
        assert!(queue.is_empty());
    }
    for len in [0_u16, 1, 3, 1000, 60_000] {
        check(&(0..len).map(|n| n as u8).collect::<Vec<_>>());
        check(&(0..len).collect::<Vec<_>>());
        check(&(0..len).map(f64::from).collect::<Vec<_>>());
        check(&(0..len).map(i128::from).collect::<Vec<_>>());
        check(&((0..len).map(f32::from).collect::<Vec<_>>(),));
        check(&Bytes((0..len).map(|n| n as u8).collect()));
        check(&"täxt".repeat(len.into()));
        check(&(0..len).map(|n| (n, n.to_string())).collect::<Vec<_>>());
    }
}

fn produce(queue: Queue<(u32, u32)>, who: u32) -> procession::Result<()> {
    for number in 0..MESSAGES {
        queue.put(&(who, number))?;
    }
    Ok(())
}

#[procession::test]
fn producers_end_while_their_messages_wait() {
    let _watchdog = watchdog();
    let queue = Queue::new().unwrap();
    let children = [0, 1].map(|who| {
        Process::new(produce)
            .args((queue.clone(), who))
            .start()
            .unwrap()
    });
    children.iter().for_each(join);

    assert_eq!(queue.len(), 2 * MESSAGES as usize);
    let mut next = [0, 0];
    while let Some((who, number)) = queue.try_get().unwrap() {
        assert_eq!(number, next[who as usize]);
        next[who as usize] += 1;
    }
    assert_eq!(next, [MESSAGES; 2]);
}

#[procession::test]
fn nothing_in_time_is_none_and_no_room_is_an_error() {
    let _watchdog = watchdog();
    let queue = Queue::bounded(2).unwrap();
    assert_eq!(queue.try_get().unwrap(), None);
    assert_eq!(queue.get_timeout(SHORT).unwrap(), None);
    assert_eq!(queue.bound(), Some(2));

    queue.put(&1_u8).unwrap();
    queue.put_timeout(&2, LONG).unwrap();
    assert!(queue.is_full());
    assert_eq!(queue.try_put(&3).unwrap_err().kind(), ErrorKind::Full);
    let error = queue.put_timeout(&3, SHORT).unwrap_err();
    assert!(error.is_timeout() && error.kind() == ErrorKind::Full);
    assert_eq!(queue.get_timeout(LONG).unwrap(), Some(1));
    assert_eq!((queue.len(), queue.is_empty()), (1, false));
    assert_eq!(
        Queue::<u8>::bounded(0).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}

fn sum_batches(queue: Queue<u32>, sums: Queue<u64>) -> procession::Result<()> {
    let mut sum = 0;
    loop {
        match queue.get_many(100) {
            Ok(batch) => {
                assert!(batch.len() <= 100);
                for number in batch {
                    sum += u64::from(number?);
                }
            }
            Err(error) if error.kind() == ErrorKind::Closed => return sums.put(&sum),
            Err(error) => return Err(error),
        }
    }
}

#[procession::test]
fn batches_pass_through_a_small_queue() {
    let _watchdog = watchdog();
    let (queue, sums) = (Queue::bounded(7).unwrap(), Queue::new().unwrap());
    let child = Process::new(sum_batches)
        .args((queue.clone(), sums.clone()))
        .start()
        .unwrap();
    queue.put_many(0..MESSAGES).unwrap();
    queue.close().unwrap();
    assert_eq!(sums.get().unwrap(), (0..u64::from(MESSAGES)).sum());
    join(&child);
}

/// What a message may carry.
#[derive(Debug, Serialize, Deserialize)]
enum Parcel {
    Number(u32),
    Queue(Queue<Parcel>),
    Both(Lock, SimpleQueue<String>),
}

fn unpack(parcels: Queue<Parcel>) -> procession::Result<()> {
    let Parcel::Queue(inner) = parcels.get()? else {
        panic!("a queue comes first");
    };
    let Parcel::Both(lock, names) = inner.get()? else {
        panic!("then a lock and a queue");
    };
    assert!(lock.is_locked());
    names.put(&"found".to_owned())?;
    let Parcel::Number(number) = inner.get()? else {
        panic!("then a number");
    };
    names.put(&number.to_string())
}

#[procession::test]
fn queues_and_locks_travel_through_queues() {
    let _watchdog = watchdog();
    let parcels = Queue::new().unwrap();
    let child = Process::new(unpack)
        .args((parcels.clone(),))
        .start()
        .unwrap();
    let (lock, names) = (Lock::new().unwrap(), SimpleQueue::new().unwrap());
    let _guard = lock.acquire().unwrap();
    {
        let inner = Queue::new().unwrap();
        let both = Parcel::Both(lock.clone(), names.clone());
        inner.put_many([both, Parcel::Number(5)]).unwrap();
        parcels.put(&Parcel::Queue(inner)).unwrap();
    }
    assert_eq!(names.get().unwrap(), "found");
    assert_eq!(names.get().unwrap(), "5");
    join(&child);
}

#[procession::test]
fn a_handle_has_no_form_outside_messages() {
    let _watchdog = watchdog();
    let queue = Queue::<u8>::new().unwrap();
    let error = postcard::to_stdvec(&queue).unwrap_err();
    // The format has no room for the text; the crate's own errors carry it (see `connection`).
    assert_eq!(error, postcard::Error::SerdeSerCustom);
}

/// Refuses to be decoded when it is odd.
#[derive(Debug, Serialize, PartialEq)]
struct Even(u32);

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            even if even.is_multiple_of(2) => Ok(Self(even)),
            _ => Err(serde::de::Error::custom("odd")),
        }
    }
}

#[procession::test]
fn a_message_that_cannot_be_decoded_takes_no_other_with_it() {
    let _watchdog = watchdog();
    let queue = Queue::new().unwrap();
    queue.put_many([2, 3, 4, 5, 6].map(Even)).unwrap();
    assert_eq!(queue.get().unwrap(), Even(2));
    assert_eq!(queue.get().unwrap_err().kind(), ErrorKind::Decode);
    let batch: Vec<_> = queue.get_many(9).unwrap().map(Result::ok).collect();
    assert_eq!(batch, [Some(Even(4)), None, Some(Even(6))]);
}

fn take_and_report(tasks: JoinableQueue<u32>, done: u32) -> procession::Result<()> {
    for task in tasks.iter() {
        if task? >= done {
            break;
        }
        tasks.task_done()?;
    }
    Ok(())
}

#[procession::test]
fn a_joinable_queue_is_joined() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::new().unwrap();
    let child = Process::new(take_and_report)
        .args((tasks.clone(), u32::MAX))
        .start()
        .unwrap();
    tasks.put_many(0..MESSAGES).unwrap();
    tasks.join().unwrap();
    assert_eq!(tasks.unfinished().unwrap(), 0);
    tasks.put(&0).unwrap();
    assert!(tasks.join_timeout(LONG).unwrap());
    tasks.close().unwrap();
    join(&child);
    assert_eq!(tasks.task_done().unwrap_err().kind(), ErrorKind::WrongState);
}

#[procession::test]
fn a_dead_worker_is_reported_once() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::new().unwrap();
    tasks.put_many(0..4).unwrap();
    let child = Process::new(take_and_report)
        .args((tasks.clone(), 2))
        .start()
        .unwrap();
    join(&child);
    assert_eq!(tasks.get().unwrap(), 3);
    assert!(!tasks.join_timeout(SHORT).is_ok_and(|joined| joined));
    tasks.task_done().unwrap();
    // Whether the first join or this one is told: exactly one of them is.
    let _ = tasks.join();
    tasks.join().unwrap();
}
