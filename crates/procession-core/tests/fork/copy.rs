//! What a fork of the program does: it uses everything again, and drops what it has inherited.

use super::load;
use super::things::{DIE, Things, carrying, pool, put, spec, start, submit};
use procession_core::ipc::queue::Queue;
use procession_core::pool::{Fault, ItemOutcome, Pool, Statistics};
use procession_core::primitives::Lock;
use procession_core::process::{StartMethod, active_children, current};
use procession_core::shm::handles::Collected;
use procession_core::shm::{Wait, heap};
use procession_core::{Acquired, ErrorKind};
use procession_sys::poll::{Interest, PollEntry, poll};
use procession_sys::process::ExitStatus;
use std::os::fd::AsFd;

/// The whole life of copy `number`.
pub(crate) fn live_on(number: u32, things: &Things) {
    allocate();
    share(number, things);
    look_at_the_pool(things);
    poll_on_its_own(things);
    assert!(active_children().is_empty());
    assert_eq!(current().name, "MainProcess");

    match number % 8 {
        0 => start_one(StartMethod::Spawn),
        2 | 6 => start_one(StartMethod::Fork),
        4 => start_one(StartMethod::Forkserver),
        _ => {}
    }
    let own_pool = (number % 24 == 7).then(run_a_pool);
    // It may be half started, or long over; in either case somebody else's.
    if let Ok(child) = things.child.try_lock() {
        assert!(!child.is_ours());
        let _ = child.try_join().unwrap();
    }

    // SAFETY: the original is never touched again: this process ends.
    drop(unsafe { std::ptr::read(things) });
    allocate();
    start_one(StartMethod::Fork);
    if let Some(pool) = own_pool {
        pool.close();
        assert!(pool.join(&mut Wait::forever()).unwrap());
    }
    if number.is_multiple_of(5) {
        // With the exit functions that it has inherited.
        #[expect(clippy::exit, reason = "a fork that ends as a program does")]
        std::process::exit(0);
    }
}

fn allocate() {
    for len in [1, 64, 500, 4_000, 70_000, 300_000] {
        let mut block = heap::allocate(len).unwrap();
        block.as_mut_slice().fill(3);
    }
    let lock = Lock::new().unwrap();
    assert_eq!(lock.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);
    drop(carrying(&lock));
}

/// Works with the program and the other copies.
fn share(number: u32, things: &Things) {
    for with_handle in [false, true] {
        put(&things.traffic, 50, with_handle);
        things.traffic.get(&mut Wait::forever()).unwrap();
    }
    let question = number.to_le_bytes();
    things
        .questions
        .put(&[&question], &Collected::none(), &mut Wait::forever())
        .unwrap();
    // Perhaps another copy's.
    let answer = things.answers.get(&mut Wait::forever()).unwrap();
    assert_eq!(answer.payload().len(), question.len());

    put(&things.tasks, 30, false);
    things.tasks.get(&mut Wait::forever()).unwrap();
    things.tasks.task_done(&mut Wait::forever()).unwrap();

    assert_eq!(
        things.lock.acquire(&mut Wait::forever()).unwrap(),
        Acquired::Clean
    );
    things.lock.release().unwrap();
    things.semaphore.acquire(&mut Wait::forever()).unwrap();
    things.semaphore.release().unwrap();
}

/// The pool is a name here, and its tasks are failures.
fn look_at_the_pool(things: &Things) {
    let refused = things.pool.submit(spec(&[])).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongState);
    assert_eq!(things.pool.statistics(), Statistics::default());
    assert!(things.pool.pids().is_empty());
    assert!(!things.pool.cancel(&things.task));
    things.pool.release(&things.task);
    things.pool.close();

    things.task.wait(&mut Wait::never()).unwrap();
    assert!(things.task.is_over() && !things.task.succeeded(|_| true));
    things.task.take_outcomes(|_, outcome, _| {
        assert!(matches!(outcome, ItemOutcome::Failed(Fault::Terminated)));
    });
}

fn poll_on_its_own(things: &Things) {
    assert!(!things.readiness.is_of_this_process());
    let _ = things.readiness.is_ready();

    let queue = Queue::new(None).unwrap();
    let readiness = queue.readiness().unwrap();
    assert!(readiness.is_of_this_process() && !readiness.is_ready());
    put(&queue, 3, false);
    let mut entries = [PollEntry::new(readiness.as_fd(), Interest::READ)];
    poll(&mut entries, None).unwrap();
    assert!(readiness.is_ready());
}

fn start_one(method: StartMethod) {
    let child = start(method, 6);
    assert!(child.is_ours());
    assert_eq!(
        child.join(&mut Wait::forever()).unwrap(),
        Some(ExitStatus::Exited(6))
    );
}

/// A pool of its own, whose thread is not to be taken for one that was inherited.
fn run_a_pool() -> Pool {
    let pool = pool(1);
    for item in [0, DIE, 0] {
        submit(&pool, &[item]).wait(&mut Wait::forever()).unwrap();
    }
    assert_eq!(pool.statistics().items_run, 2);
    load::warm_up();
    pool
}
