//! Pools through the Rust face: every way to submit, wait, stop and end. What happens when workers die is in `pool_faults.rs`.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::exit,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic_in_result_fn,
    reason = "tests that cannot go on fail and say so, and their programs print and exit as users' programs do"
)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use procession::{ErrorKind, Lock, Pool, Queue, StartMethod, TaskError, Value};
use serde::{Deserialize, Serialize, Serializer};

mod support;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::Forkserver];

fn square(n: u64) -> u64 {
    n * n
}

fn odd_panics(n: u64) -> u64 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n
}

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

fn pool(processes: usize) -> Pool {
    Pool::builder()
        .processes(processes)
        .start_method(StartMethod::Forkserver)
        .build()
        .unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[procession::test]
fn every_way_to_submit() {
    let _watchdog = support::watchdog();
    for method in METHODS {
        let pool = Pool::builder()
            .processes(3)
            .start_method(method)
            .build()
            .unwrap();
        let squares: Vec<u64> = (0..1000).map(square).collect();

        assert_eq!(pool.apply(square, (9,)).unwrap(), 81);
        assert_eq!(
            pool.apply_async(|a: u8, b: String| format!("{a}{b}"), (1, "x".to_owned()))
                .unwrap()
                .get()
                .unwrap(),
            "1x"
        );
        assert_eq!(pool.map(square, 0..1000).unwrap(), squares);
        assert_eq!(pool.map(square, 0..0).unwrap(), []);
        assert_eq!(
            pool.map_async(square, 0..1000).unwrap().get().unwrap(),
            squares
        );
        for chunk in [1, 7, 999, 1000, 5000] {
            assert_eq!(pool.map_chunked(square, 0..1000, chunk).unwrap(), squares);
        }
        assert_eq!(
            pool.map_chunked(square, 0..10, 0).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
        let pairs = (0..100).map(|n| (n, n + 1));
        let products: Vec<u64> = pairs.clone().map(|(a, b)| a * b).collect();
        let multiply = |a: u64, b: u64| a * b;
        assert_eq!(pool.starmap(multiply, pairs.clone()).unwrap(), products);
        assert_eq!(
            pool.starmap_async(multiply, pairs.clone())
                .unwrap()
                .get()
                .unwrap(),
            products
        );
        assert_eq!(pool.starmap_chunked(multiply, pairs, 3).unwrap(), products);
        let imap: procession::Result<Vec<_>> = pool.imap(square, 0..1000).collect();
        assert_eq!(imap.unwrap(), squares);
        let imap = pool.imap(square, 0..1000).chunk_size(13).look_ahead(2);
        assert_eq!(
            imap.collect::<procession::Result<Vec<_>>>().unwrap(),
            squares
        );
        let unordered = pool.imap_unordered(square, 0..1000).chunk_size(3);
        let mut unordered = unordered.collect::<procession::Result<Vec<_>>>().unwrap();
        unordered.sort_unstable();
        assert_eq!(unordered, squares);
    }
}

#[procession::test]
fn large_items_and_results() {
    let _watchdog = support::watchdog();
    let pool = pool(2);
    let grow = |bytes: Vec<u8>| [bytes.as_slice(), &[1]].concat();
    for length in [0, 39, 40, 41, 4000, 70_000, 3_000_000] {
        let items: Vec<Vec<u8>> = (0..6).map(|n| vec![n; length]).collect();
        let grown: Vec<_> = items.iter().cloned().map(grow).collect();
        assert_eq!(pool.map(grow, items).unwrap(), grown);
    }
}

#[procession::test]
fn panics_are_errors_and_kill_nobody() {
    let _watchdog = support::watchdog();
    let pool = pool(2);
    let pids = pool.pids();
    let error = pool.apply(odd_panics, (7,)).unwrap_err();
    let Some(TaskError::Panicked {
        message,
        location,
        task,
        ..
    }) = error.task()
    else {
        panic!("{error:?}");
    };
    assert_eq!(message, "7 is odd");
    assert!(
        location.contains("pool.rs") && task.contains("odd_panics"),
        "{location} {task}"
    );

    assert_eq!(
        pool.map(odd_panics, 0..10).unwrap_err().kind(),
        ErrorKind::Task
    );
    let results = pool.try_map(odd_panics, 0..101).unwrap();
    for (n, result) in (0..).zip(&results) {
        match result {
            Ok(value) => assert!(n % 2 == 0 && *value == n),
            Err(error) => assert!(
                n % 2 == 1 && error.to_string().contains("is odd"),
                "{error}"
            ),
        }
    }
    assert_eq!(results.len(), 101);
    let imap: Vec<_> = pool
        .imap(odd_panics, 0..20)
        .map(|result| result.is_ok())
        .collect();
    assert_eq!(imap, (0..20).map(|n| n % 2 == 0).collect::<Vec<_>>());
    assert_eq!(
        pool.imap_unordered(odd_panics, 0..20)
            .filter(Result::is_err)
            .count(),
        10
    );
    assert_eq!(pool.pids(), pids);
    assert_eq!(pool.statistics().workers_lost, 0);
}

#[procession::test]
fn values_that_cannot_travel() {
    #[derive(Debug, Default, Deserialize)]
    struct Unwilling;

    impl Serialize for Unwilling {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("unwilling"))
        }
    }

    #[derive(Debug, Serialize)]
    struct Garbled;

    impl<'de> Deserialize<'de> for Garbled {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("garbled"))
        }
    }

    let _watchdog = support::watchdog();
    let pool = pool(1);
    let error = pool.apply(|_: Unwilling| (), (Unwilling,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    let error = pool.map(|_: Unwilling| (), [Unwilling]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    let error = pool.apply(|| Unwilling, ()).unwrap_err();
    assert!(
        matches!(error.task(), Some(TaskError::EncodeResult { .. })),
        "{error}"
    );
    let error = pool.apply(|_: Garbled| (), (Garbled,)).unwrap_err();
    assert!(
        matches!(error.task(), Some(TaskError::DecodeArguments { .. })),
        "{error}"
    );
    let error = pool.apply(|| Garbled, ()).unwrap_err();
    assert!(
        matches!(error.task(), Some(TaskError::DecodeResult { .. })),
        "{error}"
    );
    assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
}

#[procession::test]
fn handles_pass_to_workers_and_back() {
    let _watchdog = support::watchdog();
    let pool = pool(2);
    let (sum, lock) = (Value::new(0u64).unwrap(), Lock::new().unwrap());
    let add = |sum: Value<u64>, lock: Lock, n: u64| {
        let _guard = lock.acquire().unwrap();
        sum.set(sum.get() + n);
    };
    pool.starmap(add, (0..100).map(|n| (sum.clone(), lock.clone(), n)))
        .unwrap();
    assert_eq!(sum.get(), 4950);

    let make = |n: u64| {
        let queue = Queue::new().unwrap();
        queue.put(&n).unwrap();
        queue
    };
    for (n, queue) in (0..50).zip(pool.map(make, 0..50).unwrap()) {
        assert_eq!(queue.get().unwrap(), n);
    }
    let queue: Queue<u64> = pool.apply(make, (7,)).unwrap();
    assert_eq!(queue.get().unwrap(), 7);
}

#[procession::test]
fn results_in_their_time() {
    let _watchdog = support::watchdog();
    let pool = pool(1);
    let (begin, end) = (
        procession::Event::new().unwrap(),
        procession::Event::new().unwrap(),
    );
    let wait = |begin: procession::Event, end: procession::Event| {
        begin.set();
        end.wait().unwrap();
        5
    };
    let mut result = pool
        .apply_async(wait, (begin.clone(), end.clone()))
        .unwrap();
    begin.wait().unwrap();
    assert!(!result.ready());
    assert_eq!(result.successful(), None);
    assert!(!result.wait_timeout(Duration::from_millis(10)).unwrap());
    assert!(
        result
            .get_timeout(Duration::from_millis(10))
            .unwrap_err()
            .is_timeout()
    );
    end.set();
    result.wait().unwrap();
    assert!(result.ready());
    assert_eq!(result.successful(), Some(true));
    assert_eq!(result.get_timeout(Duration::ZERO).unwrap(), 5);
    assert_eq!(
        result.get_timeout(Duration::ZERO).unwrap_err().kind(),
        ErrorKind::WrongState
    );

    let failed = pool.apply_async(odd_panics, (1,)).unwrap();
    failed.wait().unwrap();
    assert_eq!(failed.successful(), Some(false));
    let many = pool.map_async(odd_panics, [0, 2, 4]).unwrap();
    many.wait().unwrap();
    assert_eq!(many.successful(), Some(true));
}

#[procession::test]
fn results_are_futures() {
    let _watchdog = support::watchdog();
    let pool = pool(2);
    for n in 0..200 {
        assert_eq!(
            block_on(pool.apply_async(square, (n,)).unwrap()).unwrap(),
            n * n
        );
    }
    assert_eq!(
        block_on(pool.map_async(square, 0..50).unwrap())
            .unwrap()
            .len(),
        50
    );
    assert!(block_on(pool.apply_async(odd_panics, (1,)).unwrap()).is_err());
    fn abort() {
        std::process::abort();
    }
    let error = block_on(pool.apply_async(abort, ()).unwrap()).unwrap_err();
    assert!(matches!(error.task(), Some(TaskError::WorkerLost { .. })));
    let stuck = pool.apply_async(sleep_for_ever, ()).unwrap();
    pool.terminate();
    let error = block_on(stuck).unwrap_err();
    assert!(
        matches!(error.task(), Some(TaskError::Terminated { .. })),
        "{error}"
    );
}

#[procession::test]
fn callbacks_are_called_before_join_returns() {
    let _watchdog = support::watchdog();
    let pool = pool(2);
    let (called, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sender, receiver) = mpsc::channel();
    for n in 0..50 {
        let (called, failed, sender) = (called.clone(), failed.clone(), sender.clone());
        let result = pool
            .call(odd_panics, (n,))
            .callback(move |value| {
                called.fetch_add(1, Ordering::Relaxed);
                sender.send(*value).unwrap();
                assert_ne!(*value, 10, "a panic in a callback harms nothing else");
            })
            .error_callback(move |error| {
                assert!(matches!(error.task(), Some(TaskError::Panicked { .. })));
                failed.fetch_add(1, Ordering::Relaxed);
            })
            .submit()
            .unwrap();
        if n == 48 {
            assert_eq!(result.get().unwrap(), 48);
        }
    }
    pool.close();
    pool.join().unwrap();
    assert_eq!(
        (
            called.load(Ordering::Relaxed),
            failed.load(Ordering::Relaxed)
        ),
        (25, 25)
    );
    drop(sender);
    assert_eq!(receiver.iter().sum::<u64>(), (0..50).step_by(2).sum());
}

#[procession::test]
fn cancelled_work_is_not_done() {
    let _watchdog = support::watchdog();
    let pool = pool(1);
    let begun = procession::Event::new().unwrap();
    let begin = |begun: procession::Event| {
        begun.set();
        sleep_for_ever();
    };
    let running = pool.apply_async(begin, (begun.clone(),)).unwrap();
    begun.wait().unwrap();
    let waiting = pool.apply_async(square, (1,)).unwrap();
    let other = pool.apply_async(square, (2,)).unwrap();
    assert!(waiting.cancel());
    assert!(matches!(
        waiting.get().unwrap_err().task(),
        Some(TaskError::Cancelled { .. })
    ));
    assert!(running.cancel());
    assert!(matches!(
        running.get().unwrap_err().task(),
        Some(TaskError::Cancelled { .. })
    ));
    assert_eq!(other.get().unwrap(), 4);
    let over = pool.apply_async(square, (1,)).unwrap();
    over.wait().unwrap();
    assert!(!over.cancel());
    assert_eq!(over.get().unwrap(), 1);
}

#[procession::test]
fn time_limits() {
    let _watchdog = support::watchdog();
    let limit = Duration::from_millis(100);
    let pool = Pool::builder()
        .processes(2)
        .task_timeout(limit)
        .build()
        .unwrap();
    let slow_at_3 = |n: u64| {
        if n == 3 {
            sleep_for_ever();
        }
        n
    };
    let results = pool.try_map(slow_at_3, 0..20).unwrap();
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, n),
            Err(TaskError::TimedOut {
                limit: Some(limit), ..
            }) => {
                assert_eq!((n, limit), (3, Duration::from_millis(100)));
            }
            Err(other) => panic!("{n}: {other}"),
        }
    }
    let long = pool.call(|| std::thread::sleep(Duration::from_millis(300)), ());
    long.timeout(Duration::from_secs(100))
        .submit()
        .unwrap()
        .get()
        .unwrap();
    // After the supervisor has gone to sleep without a deadline.
    std::thread::sleep(Duration::from_millis(50));
    let error = pool.apply(sleep_for_ever, ()).unwrap_err();
    assert!(
        matches!(error.task(), Some(TaskError::TimedOut { .. })),
        "{error}"
    );
}

#[procession::test]
fn retries_run_the_item_again_and_no_other() {
    let _watchdog = support::watchdog();
    let pool = Pool::builder().processes(2).retries(2).build().unwrap();
    let counts = procession::Array::<u32>::zeroed(20).unwrap();
    let die_twice = |counts: procession::Array<u32>, index: usize| {
        let count = counts.get(index) + 1;
        counts.set(index, count);
        if index == 7 && count < 3 {
            std::process::abort();
        }
        index
    };
    // Single items: the retries are the task's.
    let items = (0..20).map(|index| (counts.clone(), index));
    assert_eq!(
        pool.starmap_chunked(die_twice, items, 1).unwrap(),
        (0..20).collect::<Vec<_>>()
    );
    assert_eq!(counts.get(7), 3);
    assert_eq!(counts.iter().sum::<u32>(), 22);
    assert_eq!(pool.statistics().items_retried, 2);

    let once = Value::new(0u32).unwrap();
    let slow_once = |once: Value<u32>| {
        once.set(once.get() + 1);
        if once.get() == 1 {
            sleep_for_ever();
        }
    };
    let call = pool
        .call(slow_once, (once.clone(),))
        .timeout(Duration::from_millis(50));
    call.submit().unwrap().get().unwrap();
    assert_eq!(once.get(), 2);
}

#[procession::test]
fn workers_are_replaced_after_their_share() {
    let _watchdog = support::watchdog();
    let pool = Pool::builder()
        .processes(2)
        .max_tasks_per_child(3)
        .build()
        .unwrap();
    let pids = pool
        .map_chunked(|_: u32| std::process::id(), 0..60, 1)
        .unwrap();
    let mut counts = std::collections::HashMap::new();
    for pid in pids {
        *counts.entry(pid).or_insert(0) += 1;
    }
    assert!(counts.values().all(|count| *count <= 3), "{counts:?}");
    assert!(counts.len() >= 20);
    assert_eq!(pool.statistics().workers_lost, 0);
    assert_eq!(pool.statistics().items_run, 60);
}

#[procession::test]
fn initializers() {
    fn remember(text: String) {
        TEXT.set(text).unwrap();
    }
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();

    let _watchdog = support::watchdog();
    for method in METHODS {
        let builder = Pool::builder().processes(2).start_method(method);
        let pool = builder
            .initializer(remember, ("remembered".to_owned(),))
            .build()
            .unwrap();
        let recall = |_: u32| TEXT.get().cloned().unwrap_or_default();
        assert!(
            pool.map(recall, 0..20)
                .unwrap()
                .iter()
                .all(|text| text == "remembered")
        );

        let fail = || Err::<(), _>("an initializer that fails");
        let pool = Pool::builder()
            .processes(2)
            .start_method(method)
            .initializer(fail, ())
            .build();
        let pool = pool.unwrap();
        let error = pool
            .apply_async(square, (1,))
            .and_then(procession::AsyncResult::get);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("initializer"), "{error}");
        assert!(
            pool.apply(square, (1,))
                .unwrap_err()
                .to_string()
                .contains("broken")
        );

        fn panics() {
            panic!("sorry");
        }
        let pool = Pool::builder()
            .processes(1)
            .start_method(method)
            .initializer(panics, ())
            .build();
        let error = pool.unwrap().map(square, 0..10).unwrap_err().to_string();
        assert!(error.contains("sorry"), "{error}");
    }
}

#[procession::test]
fn an_initializer_that_fails_once_is_forgiven() {
    let _watchdog = support::watchdog();
    let tries = Value::new(0u32).unwrap();
    let fail_twice = |tries: Value<u32>| {
        tries.set(tries.get() + 1);
        if tries.get() < 3 {
            Err("not yet")
        } else {
            Ok(())
        }
    };
    let pool = Pool::builder()
        .processes(1)
        .initializer(fail_twice, (tries.clone(),))
        .build()
        .unwrap();
    assert_eq!(pool.apply(square, (4,)).unwrap(), 16);
    assert_eq!(tries.get(), 3);
}

#[procession::test]
fn close_and_join() {
    let _watchdog = support::watchdog();
    let pool = pool(2);
    assert_eq!(pool.join().unwrap_err().kind(), ErrorKind::WrongState);
    let end = procession::Event::new().unwrap();
    let wait = |end: procession::Event| end.wait().unwrap();
    let waiting = pool.apply_async(wait, (end.clone(),)).unwrap();
    let results: Vec<_> = (0..50)
        .map(|n| pool.apply_async(square, (n,)).unwrap())
        .collect();
    pool.close();
    assert_eq!(
        pool.apply_async(square, (1,)).unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert!(!pool.join_timeout(Duration::from_millis(20)).unwrap());
    std::thread::scope(|scope| {
        let joiner = scope.spawn(|| pool.join());
        assert!(
            !pool.join_timeout(Duration::from_millis(20)).unwrap(),
            "beside another"
        );
        end.set();
        joiner.join().unwrap().unwrap();
    });
    pool.join().unwrap();
    waiting.get().unwrap();
    for (n, result) in (0..).zip(results) {
        assert_eq!(result.get().unwrap(), n * n);
    }
    assert!(pool.pids().is_empty());
}

#[procession::test]
fn terminate_wakes_who_waits() {
    let _watchdog = support::watchdog();
    for _ in 0..10 {
        let pool = pool(2);
        let begun = Queue::<()>::new().unwrap();
        let wait = |begun: Queue<()>| {
            begun.put(&()).unwrap();
            sleep_for_ever();
        };
        std::thread::scope(|scope| {
            let map = scope.spawn(|| pool.starmap(wait, (0..9).map(|_| (begun.clone(),))));
            begun.get().unwrap();
            // Only now: its tasks would keep both workers.
            let mut imap = pool.imap_unordered(|_: u32| sleep_for_ever(), 0..);
            let imap = scope.spawn(move || imap.next());
            pool.terminate();
            let error = map.join().unwrap().unwrap_err();
            // It may not have submitted all of them yet.
            let terminated = matches!(error.task(), Some(TaskError::Terminated { .. }));
            assert!(terminated || error.is_closed(), "{error}");
            assert!(imap.join().unwrap().unwrap().is_err());
        });
        pool.join().unwrap();
        assert_eq!(
            pool.apply_async(square, (1,)).unwrap_err().kind(),
            ErrorKind::Closed
        );
    }
}

#[procession::test]
fn results_outlive_a_dropped_pool() {
    let _watchdog = support::watchdog();
    let pool = pool(1);
    let done = pool
        .apply_async(|n: usize| vec![1u8; n], (10_000,))
        .unwrap();
    done.wait().unwrap();
    let stuck = pool.apply_async(sleep_for_ever, ()).unwrap();
    drop(pool);
    assert_eq!(done.get().unwrap().len(), 10_000);
    assert!(matches!(
        stuck.get().unwrap_err().task(),
        Some(TaskError::Terminated { .. })
    ));
}

#[procession::test]
fn endless_iterators_are_taken_as_needed() {
    let _watchdog = support::watchdog();
    let pool = pool(2);
    let taken = AtomicUsize::new(0);
    let numbers = (0u64..).inspect(|_| {
        taken.fetch_add(1, Ordering::Relaxed);
    });
    let first: Vec<_> = pool
        .imap(square, numbers)
        .take(20)
        .map(Result::unwrap)
        .collect();
    assert_eq!(first, (0..20).map(square).collect::<Vec<_>>());
    assert!(taken.load(Ordering::Relaxed) <= 20 + 2 * 4);
    assert_eq!(
        pool.imap_unordered(square, 0..)
            .take(100)
            .filter(Result::is_ok)
            .count(),
        100
    );
    // An iterator that is fed by its own results.
    let (sender, receiver) = mpsc::channel();
    sender.send(1).unwrap();
    let mut last = 0;
    for result in pool
        .imap(|n: u64| n + 1, receiver.iter())
        .look_ahead(1)
        .take(30)
    {
        last = result.unwrap();
        sender.send(last).unwrap();
    }
    assert_eq!(last, 31);
}

#[procession::test]
fn pools_inside_workers() {
    fn inner(n: u64) -> u64 {
        let pool = Pool::builder().processes(2).build().unwrap();
        pool.map(square, 0..n).unwrap().iter().sum()
    }

    let _watchdog = support::watchdog();
    for method in METHODS {
        let pool = Pool::builder()
            .processes(2)
            .start_method(method)
            .build()
            .unwrap();
        let sums: Vec<u64> = (0..6).map(|n| (0..n).map(square).sum()).collect();
        assert_eq!(pool.map(inner, 0..6).unwrap(), sums);
    }
}

#[procession::test]
fn many_threads_share_a_pool() {
    let _watchdog = support::watchdog();
    let pool = pool(3);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..50 {
                    let n = thread * 1000 + round;
                    assert_eq!(pool.apply(square, (n,)).unwrap(), n * n);
                    assert_eq!(
                        pool.map(square, n..n + 20).unwrap()[19],
                        (n + 19) * (n + 19)
                    );
                }
            });
        }
    });
    let statistics = pool.statistics();
    assert_eq!(statistics.items_run, 8 * 50 * 21);
    assert_eq!(statistics.tasks_submitted, statistics.tasks_finished);
    assert_eq!(
        (
            statistics.items_failed,
            statistics.workers,
            statistics.tasks_queued
        ),
        (0, 3, 0)
    );
}

#[procession::test]
fn a_pool_outlives_the_thread_that_made_it() {
    let _watchdog = support::watchdog();
    for method in METHODS {
        let make = move || {
            Pool::builder()
                .processes(2)
                .start_method(method)
                .build()
                .unwrap()
        };
        let pool = std::thread::spawn(make).join().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(pool.map(square, 0..10).unwrap()[9], 81);
        assert_eq!(pool.statistics().workers_lost, 0);
    }
}

#[cfg(feature = "progress")]
#[procession::test]
fn a_progress_bar_ends_at_the_number_of_items() {
    let _watchdog = support::watchdog();
    let pool = Pool::builder().processes(2).build().unwrap();
    let bar = indicatif::ProgressBar::hidden();

    let doubled = pool
        .map_with_progress(|n: u32| n * 2, 0..100, &bar)
        .unwrap();

    assert_eq!(doubled, (0..100).map(|n| n * 2).collect::<Vec<_>>());
    assert_eq!((bar.position(), bar.length()), (100, Some(100)));
}
