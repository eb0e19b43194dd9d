//! What the threads of the program do while it is forked: each part keeps other locks of the engine busy.

use super::things::{DIE, Things, carrying, put, start, submit};
use procession_core::ErrorKind;
use procession_core::pool::{Executor, ItemOutcome, Worker};
use procession_core::primitives::{Condition, Event, Lock};
use procession_core::process::{Entered, StartMethod, active_children, current, image};
use procession_core::shm::handles::Collected;
use procession_core::shm::message::View;
use procession_core::shm::{Wait, heap};
use procession_sys::poll::{Interest, PollEntry, poll};
use procession_sys::process::{ExitStatus, exit_now};
use std::os::fd::AsFd;
use std::time::Duration;

pub(crate) const PARTS: [fn(&Things, u32); 10] = [
    traffic, traffic, questions, tasks, polling, locks, memory, pool, processes, registry,
];

/// Has this process make what it keeps: pages of its ledger, the forkserver.
pub(crate) fn warm_up() {
    let started = start(StartMethod::Forkserver, 3);
    assert_eq!(
        started.join(&mut Wait::forever()).unwrap(),
        Some(ExitStatus::Exited(3))
    );
    let locks: Vec<_> = (0..1000).map(|_| Lock::new().unwrap()).collect();
    drop((started, locks));
}

fn traffic(things: &Things, turn: u32) {
    let sizes = [0, 10, 200, 5_000, 100_000];
    for (size, len) in sizes.into_iter().enumerate() {
        put(
            &things.traffic,
            len,
            (turn as usize + size).is_multiple_of(4),
        );
    }
    for _ in sizes {
        things.traffic.get(&mut Wait::forever()).unwrap();
    }
}

/// Answers what the copies ask.
fn questions(things: &Things, _: u32) {
    let mut wait = Wait::for_duration(Some(Duration::from_millis(20)));
    match things.questions.get(&mut wait) {
        Ok(question) => {
            let parts: [&[u8]; 1] = [question.payload()];
            things
                .answers
                .put(&parts, &Collected::none(), &mut Wait::forever())
                .unwrap();
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Empty),
    }
}

fn tasks(things: &Things, _: u32) {
    for _ in 0..4 {
        put(&things.tasks, 30, false);
    }
    for _ in 0..4 {
        things.tasks.get(&mut Wait::forever()).unwrap();
        things.tasks.task_done(&mut Wait::forever()).unwrap();
    }
    // Copies have tasks too: it may time out.
    if let Err(error) = things.tasks.join(&mut Wait::never()) {
        assert!(error.is_timeout(), "{error}");
    }
}

/// The notifier's thread starts and ends, and its descriptors rise and fall.
fn polling(things: &Things, turn: u32) {
    let own = procession_core::ipc::queue::Queue::new(None).unwrap();
    let queue = if turn.is_multiple_of(2) {
        &own
    } else {
        &things.polled
    };
    let readiness = queue.readiness().unwrap();
    put(queue, 20, false);
    loop {
        let mut entries = [PollEntry::new(readiness.as_fd(), Interest::READ)];
        poll(&mut entries, Some(Duration::from_secs(1))).unwrap();
        if let Ok(message) = queue.get(&mut Wait::never()) {
            assert_eq!(message.payload().len(), 20);
            break;
        }
    }
    let _ = readiness.is_ready();
}

fn locks(things: &Things, _: u32) {
    let _ = things.lock.acquire(&mut Wait::forever()).unwrap();
    things.lock.release().unwrap();
    things.semaphore.acquire(&mut Wait::forever()).unwrap();
    things.semaphore.release().unwrap();
    let (event, other) = (Event::new().unwrap(), Lock::new().unwrap());
    event.set();
    drop((event, other, Condition::new().unwrap()));
}

fn memory(things: &Things, turn: u32) {
    let blocks: Vec<_> = [1, 64, 500, 4_000, 70_000, 1 << 20]
        .into_iter()
        .map(|len| heap::allocate(len + turn as usize % 50).unwrap())
        .collect();
    drop(carrying(&things.lock));
    drop(blocks);
    if turn.is_multiple_of(50) {
        heap::stats().unwrap();
    }
}

fn pool(things: &Things, turn: u32) {
    let dies = turn % 20 == 7;
    let tasks = [
        submit(&things.pool, &[if dies { DIE } else { 0 }, 8]),
        submit(&things.pool, &[9; 3_000]),
    ];
    for task in &tasks {
        task.wait(&mut Wait::forever()).unwrap();
    }
    let _ = (things.pool.statistics(), things.pool.pids());
    tasks[0].take_outcomes(|_, outcome, _| {
        assert_eq!(matches!(outcome, ItemOutcome::Failed(_)), dies);
    });
    for task in &tasks {
        things.pool.release(task);
    }
}

fn processes(things: &Things, turn: u32) {
    let method = match turn % 8 {
        0 => StartMethod::Spawn,
        _ => StartMethod::Forkserver,
    };
    let child = start(method, 5);
    *things.child.lock().unwrap() = child.clone();
    assert_eq!(
        child.join(&mut Wait::forever()).unwrap(),
        Some(ExitStatus::Exited(5))
    );
}

fn registry(_: &Things, _: u32) {
    assert!(active_children().len() <= 2);
    assert_eq!(current().name, "MainProcess");
    image::identity().unwrap();
    std::thread::sleep(Duration::from_micros(100));
}

/// A worker's whole life.
pub(crate) fn work(entered: &Entered) -> i32 {
    let worked =
        Worker::enter(entered, entered.payload()).and_then(|(worker, _)| worker.run(&mut Echo));
    i32::from(worked.is_err())
}

struct Echo;

impl Executor for Echo {
    fn execute(
        &mut self,
        _: u64,
        item: &[u8],
        _: &View,
        output: &mut Vec<u8>,
        _: &mut Collected,
    ) -> bool {
        if item.first() == Some(&DIE) {
            exit_now(9);
        }
        output.extend_from_slice(item);
        true
    }
}
