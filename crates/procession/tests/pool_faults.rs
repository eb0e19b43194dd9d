//! What happens to a pool when its workers die: killed from outside while idle or busy, at every step of taking a task and of handing over a
//! result, or by what their tasks do. Only the task of the dead worker fails, and all other results are right.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::exit,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic_in_result_fn,
    reason = "tests that cannot go on fail and say so, and their programs print and exit as users' programs do"
)]

use std::time::Duration;

use procession::{Array, ErrorKind, Event, ExitStatus, Pool, StartMethod, TaskError, Value};
use procession_core::crash;
use procession_sys::process::{ChildProcess, pidfd_open};
use procession_sys::signal::Signal;

mod support;

const KILLED: ExitStatus = ExitStatus::Signaled(9);
const ABORTED: ExitStatus = ExitStatus::Signaled(6);

/// The steps of a worker. A task that a worker has not begun is not lost with it.
const POINTS: [(&str, Lost); 6] = [
    ("pool.task.noted", Lost::Nothing),
    ("pool.task.taken", Lost::Nothing),
    ("pool.task.running", Lost::Nothing),
    ("pool.result.linked", Lost::Item),
    ("pool.result.handed_over", Lost::Nothing),
    ("pool.task.published", Lost::Nothing),
];

#[derive(Clone, Copy, PartialEq)]
enum Lost {
    Nothing,
    Item,
}

fn pool(processes: usize) -> Pool {
    Pool::builder()
        .processes(processes)
        .start_method(StartMethod::Forkserver)
        .build()
        .unwrap()
}

fn kill(pid: u32, signal: Signal) {
    if let Ok(pidfd) = pidfd_open(pid) {
        // It may have ended by itself.
        let _ = ChildProcess::from_pidfd(pid, pidfd).kill(signal);
    }
}

/// A result that needs a block of its own.
fn large(n: u64) -> Vec<u64> {
    vec![n; 100]
}

fn arm(point: String, nth: u32) {
    crash::arm(point.leak(), nth);
}

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

#[procession::test]
fn a_worker_dies_at_each_step_of_a_call() {
    let _watchdog = support::watchdog();
    for (point, lost) in POINTS {
        for rounds in 0..8 {
            let pool = pool(1);
            // This call has steps of its own behind the arming: the second time is the next call's.
            let own = u32::from(matches!(point, "pool.task.published")) + 1;
            pool.apply(arm, (point.to_owned(), own)).unwrap();
            let results: Vec<_> = (0..3 + rounds)
                .map(|n| pool.apply_async(large, (n,)).unwrap())
                .collect();
            for (n, result) in (0..).zip(results) {
                match result.get() {
                    Ok(value) => assert!(value == large(n) && (lost == Lost::Nothing || n > 0)),
                    Err(error) => {
                        assert!(lost == Lost::Item && n == 0, "{point} {n}: {error}");
                        let Some(TaskError::WorkerLost { status, .. }) = error.task() else {
                            panic!("{error}");
                        };
                        assert_eq!(*status, KILLED);
                    }
                }
            }
            assert_eq!(pool.statistics().workers_lost, 1, "{point}");
        }
    }
}

#[procession::test]
fn a_worker_dies_at_each_step_of_a_chunk() {
    fn armed(point: String, nth: u32, at: u64, n: u64) -> Vec<u64> {
        if n == at {
            arm(point, nth);
        }
        // Long enough for several publications in a chunk.
        std::thread::sleep(Duration::from_micros(400));
        large(n)
    }

    let _watchdog = support::watchdog();
    for (point, _) in POINTS {
        for retries in [0, 1] {
            let pool = Pool::builder()
                .processes(2)
                .retries(retries)
                .start_method(StartMethod::Forkserver)
                .build()
                .unwrap();
            for at in [0, 3, 15, 16, 30] {
                // A worker that runs the arming item again dies again, once for each retry.
                let items = (0..48).map(|n| (point.to_owned(), 1, at, n));
                let calls: Vec<_> = items.collect();
                let results = pool.starmap_chunked(armed, calls.clone(), 16);
                if let Ok(values) = &results {
                    assert_eq!(values.len(), 48);
                    for (n, value) in (0..).zip(values) {
                        assert_eq!(*value, large(n), "{point}");
                    }
                }
                let error = results.err();
                let lost = error.as_ref().and_then(|error| error.task());
                assert!(
                    error.is_none() || matches!(lost, Some(TaskError::WorkerLost { .. })),
                    "{point}: {error:?}"
                );
            }
            assert_eq!(pool.map(large, 0..100).unwrap().len(), 100);
        }
    }
}

#[procession::test]
fn idle_workers_are_replaced() {
    let _watchdog = support::watchdog();
    for method in [StartMethod::Spawn, StartMethod::Forkserver] {
        let pool = Pool::builder()
            .processes(2)
            .start_method(method)
            .build()
            .unwrap();
        for round in 0..20 {
            // Ready, all of them.
            assert_eq!(pool.map(large, 0..20).unwrap().len(), 20);
            for pid in pool.pids() {
                kill(pid, Signal::KILL);
            }
            assert_eq!(pool.apply(large, (round,)).unwrap(), large(round));
        }
    }
}

#[procession::test]
fn only_the_dead_workers_task_fails() {
    fn work(marks: Array<u32>, n: usize) -> usize {
        marks.set(n, std::process::id());
        std::thread::sleep(Duration::from_millis(2));
        n
    }

    let _watchdog = support::watchdog();
    let pool = pool(3);
    for round in 0..30 {
        let marks = Array::<u32>::zeroed(60).unwrap();
        let items = (0..60).map(|n| (marks.clone(), n));
        let result = pool.starmap_async(work, items).unwrap();
        let victim = loop {
            let pid = marks.get(round);
            if pid != 0 {
                break pid;
            }
            std::thread::yield_now();
        };
        kill(victim, Signal::KILL);
        match result.get() {
            Ok(values) => assert_eq!(values, (0..60).collect::<Vec<_>>()),
            Err(error) => {
                let Some(TaskError::WorkerLost { pid, status, .. }) = error.task() else {
                    panic!("{error}");
                };
                assert_eq!((*pid, *status), (victim, KILLED));
            }
        }
    }
}

#[procession::test]
fn of_a_map_only_single_items_are_lost() {
    fn work(n: u32) -> u32 {
        if n % 97 == 50 {
            std::process::abort();
        }
        n
    }

    let _watchdog = support::watchdog();
    let pool = pool(2);
    for _ in 0..5 {
        let results = pool.try_map(work, 0..400).unwrap();
        assert_eq!(results.len(), 400);
        let mut unpublished = 0;
        for (n, result) in (0..).zip(results) {
            match result {
                Ok(value) => assert!(value == n && n % 97 != 50),
                Err(TaskError::WorkerLost { status, .. }) => {
                    assert_eq!(status, ABORTED);
                    unpublished += u32::from(n % 97 != 50);
                }
                Err(other) => panic!("{n}: {other}"),
            }
        }
        // What had been computed in the last millisecond and was not handed over yet goes with its worker.
        assert!(unpublished < 400 - 4);
    }
}

#[procession::test]
fn what_tasks_do_to_their_workers() {
    fn leave(code: i32) {
        std::process::exit(code);
    }

    fn abort() {
        std::process::abort();
    }

    #[expect(unconditional_recursion, reason = "it is to overflow the stack")]
    fn overflow(n: u64) -> u64 {
        std::hint::black_box([n; 64])[0] + overflow(n + 1)
    }

    fn status(result: procession::Result<()>) -> ExitStatus {
        match result.unwrap_err().task() {
            Some(TaskError::WorkerLost { status, .. }) => *status,
            other => panic!("{other:?}"),
        }
    }

    let _watchdog = support::watchdog();
    for method in [StartMethod::Spawn, StartMethod::Forkserver] {
        let pool = Pool::builder()
            .processes(1)
            .start_method(method)
            .build()
            .unwrap();
        for code in [0, 1, 77] {
            assert_eq!(status(pool.apply(leave, (code,))), ExitStatus::Exited(code));
        }
        assert_eq!(status(pool.apply(abort, ())), ABORTED);
        let overflown = status(pool.apply(|| assert!(overflow(0) > 0), ()));
        assert!(
            matches!(overflown, ExitStatus::Signaled(6 | 11)),
            "{overflown}"
        );
        assert_eq!(pool.apply(large, (5,)).unwrap(), large(5));
    }
}

#[procession::test]
fn tasks_without_end_to_their_memory() {
    fn allocate() -> usize {
        let mut all = Vec::new();
        loop {
            all.push(std::hint::black_box(vec![1u8; 1 << 20]));
        }
    }

    let _watchdog = support::watchdog();
    for method in [StartMethod::Spawn, StartMethod::Forkserver] {
        let limit = 256 << 20;
        let builder = Pool::builder()
            .processes(2)
            .start_method(method)
            .memory_limit(limit);
        let pool = builder.build().unwrap();
        for _ in 0..3 {
            let error = pool.apply(allocate, ()).unwrap_err();
            assert!(
                matches!(error.task(), Some(TaskError::WorkerLost { .. })),
                "{error}"
            );
        }
        // Shared memory does not count.
        let bytes = pool
            .apply(|length: usize| vec![7u8; length], (100 << 20,))
            .unwrap();
        assert_eq!(bytes.len(), 100 << 20);
    }
}

#[procession::test]
fn stopped_workers_are_killed_too() {
    let _watchdog = support::watchdog();
    for _ in 0..5 {
        let limit = Duration::from_millis(100);
        let pool = Pool::builder()
            .processes(2)
            .task_timeout(limit)
            .build()
            .unwrap();
        let begun = Event::new().unwrap();
        let begin = |begun: Event| {
            begun.set();
            sleep_for_ever();
        };
        let result = pool.apply_async(begin, (begun.clone(),)).unwrap();
        begun.wait().unwrap();
        for pid in pool.pids() {
            kill(pid, Signal::STOP);
        }
        let error = result.get().unwrap_err();
        assert!(
            matches!(error.task(), Some(TaskError::TimedOut { .. })),
            "{error}"
        );
        pool.terminate();
        pool.join().unwrap();
    }
}

#[procession::test]
fn everything_at_once() {
    let _watchdog = support::watchdog();
    let pool = Pool::builder()
        .processes(3)
        .start_method(StartMethod::Forkserver)
        .retries(1000)
        .max_tasks_per_child(20)
        .build()
        .unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A killed worker is one that got ready: starting ones that die in a row would break the pool.
            while !stop.load(relaxed) {
                let pids = pool.pids();
                if let Some(pid) = pids.get(pool.statistics().items_run as usize % 3) {
                    kill(*pid, Signal::KILL);
                }
                std::thread::sleep(Duration::from_millis(15));
            }
        });
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..60 {
                        let n = thread * 1000 + round;
                        assert_eq!(pool.apply(large, (n,)).unwrap(), large(n));
                        let results = pool.map_chunked(large, n..n + 10, 1).unwrap();
                        assert_eq!(results, (n..n + 10).map(large).collect::<Vec<_>>());
                        let cancelled = pool.apply_async(sleep_for_ever, ()).unwrap();
                        cancelled.cancel();
                        let error = cancelled.get().unwrap_err();
                        assert!(
                            matches!(error.task(), Some(TaskError::Cancelled { .. })),
                            "{error}"
                        );
                        let three = pool.imap_unordered(large, n..).take(3);
                        assert!(three.map(Result::unwrap).all(|value| value.len() == 100));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        stop.store(true, relaxed);
    });
}

#[procession::test]
fn a_worker_dies_with_a_pool_of_its_own() {
    fn outer(inner_pids: Array<u32>) {
        let pool = Pool::builder().processes(2).build().unwrap();
        let _results = pool.map(large, 0..20).unwrap();
        for (index, pid) in pool.pids().into_iter().enumerate() {
            inner_pids.set(index, pid);
        }
        let _never = pool.map(|_: u32| sleep_for_ever(), 0..10);
    }

    let _watchdog = support::watchdog();
    let pool = pool(1);
    for _ in 0..3 {
        let inner = Array::<u32>::zeroed(2).unwrap();
        let result = pool.apply_async(outer, (inner.clone(),)).unwrap();
        while inner.get(1) == 0 {
            std::thread::yield_now();
        }
        kill(pool.pids()[0], Signal::KILL);
        assert!(matches!(
            result.get().unwrap_err().task(),
            Some(TaskError::WorkerLost { .. })
        ));
        for pid in inner.iter() {
            while procession_sys::process::is_zombie(pid) == Some(false) {
                std::thread::yield_now();
            }
        }
    }
}

#[procession::test]
fn a_worker_dies_with_a_lock() {
    let _watchdog = support::watchdog();
    let pool = pool(1);
    let total = Value::new(0u32).unwrap();
    let hold = |total: Value<u32>| -> u8 {
        let _guard = total.lock().unwrap();
        std::process::exit(9);
    };
    for _ in 0..3 {
        let error = pool.apply_async(hold, (total.clone(),));
        assert_eq!(error.unwrap().get().unwrap_err().kind(), ErrorKind::Task);
        drop(total.lock().unwrap());
    }
}

#[procession::test]
fn each_item_of_a_chunk_has_its_own_retries() {
    /// Dies the first time that each item is run.
    fn dies_once(item: u32, runs: Array<u32>) -> u32 {
        let run = runs.get(item as usize) + 1;
        runs.set(item as usize, run);
        if run == 1 {
            std::process::abort();
        }
        // What has taken a millisecond is published before the next item begins, so the next death does not take it along.
        std::thread::sleep(Duration::from_millis(2));
        item
    }

    let _watchdog = support::watchdog();
    let pool = Pool::builder().processes(1).retries(1).build().unwrap();
    let runs = Array::<u32>::zeroed(4).unwrap();

    let results = pool
        .starmap_chunked(dies_once, (0..4).map(|item| (item, runs.clone())), 4)
        .unwrap();

    assert_eq!(results, [0, 1, 2, 3]);
    assert_eq!(runs.to_vec(), [2, 2, 2, 2]);
}
