//! The thread pool's behaviour, each test under a watchdog.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::ThreadPool;
use crate::{Error, ErrorKind, TaskError};

const TIME_LIMIT: Duration = Duration::from_secs(120);
const MOMENT: Duration = Duration::from_millis(20);

/// Runs `test`; aborts the test program if it takes too long.
fn watched(test: impl FnOnce()) {
    let (done, wait): (Sender<()>, _) = mpsc::channel();
    let watchdog = thread::spawn(move || {
        if wait.recv_timeout(TIME_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("watchdog: the test took longer than {TIME_LIMIT:?}");
            std::process::abort();
        }
    });
    test();
    drop(done);
    watchdog.join().unwrap();
}

fn pool_of(threads: usize) -> ThreadPool {
    ThreadPool::builder().threads(threads).build().unwrap()
}

/// Has a thread of the pool wait until the returned sender is dropped; says
/// when it has begun.
fn block(pool: &ThreadPool) -> (Sender<()>, super::ThreadResult<u32>) {
    let (release, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let wait = Mutex::new(wait);
    let blocked = move || {
        begun.send(()).unwrap();
        let _ = wait.lock().unwrap().recv();
        1
    };
    let result = pool.apply_async(blocked, ()).unwrap();
    has_begun.recv().unwrap();
    (release, result)
}

fn task_of(error: &Error) -> &TaskError {
    error.task().unwrap()
}

#[test]
fn calls_capture_state_and_take_any_arguments() {
    watched(|| {
        let pool = pool_of(2);
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let add = move |a: usize, b: usize| {
            counter.fetch_add(1, Ordering::Relaxed);
            a + b
        };
        assert_eq!(pool.apply(add.clone(), (3, 4)).unwrap(), 7);
        assert_eq!(pool.starmap(add.clone(), [(1, 2), (3, 4)]).unwrap(), [3, 7]);
        assert_eq!(
            pool.starmap_chunked(add.clone(), (0..9).map(|n| (n, n)), 2)
                .unwrap(),
            [0, 2, 4, 6, 8, 10, 12, 14, 16]
        );
        assert_eq!(
            pool.starmap_async(add, [(5, 5)]).unwrap().get().unwrap(),
            [10]
        );
        assert_eq!(calls.load(Ordering::Relaxed), 13);

        // Neither serialisable nor `Clone`.
        let (sender, receiver): (Sender<u8>, Receiver<u8>) = mpsc::channel();
        let receiver = pool
            .apply(
                |sender: Sender<u8>, receiver: Receiver<u8>| {
                    sender.send(9).unwrap();
                    receiver
                },
                (sender, receiver),
            )
            .unwrap();
        assert_eq!(receiver.recv().unwrap(), 9);
    });
}

#[test]
fn map_keeps_the_order() {
    watched(|| {
        let pool = pool_of(3);
        let expected: Vec<_> = (0..1000_u64).map(|n| n * n).collect();
        let square = |n: u64| n * n;
        assert_eq!(pool.map(square, 0..1000).unwrap(), expected);
        assert_eq!(pool.map_chunked(square, 0..1000, 7).unwrap(), expected);
        assert_eq!(pool.map_chunked(square, 0..1000, 5000).unwrap(), expected);
        assert!(pool.map(square, []).unwrap().is_empty());
        let refused = pool.map_chunked(square, [1], 0).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        let imap: Result<Vec<_>, _> = pool.imap(square, 0..1000).chunk_size(3).collect();
        assert_eq!(imap.unwrap(), expected);
        let unordered = pool.imap_unordered(square, 0..1000).look_ahead(2);
        let mut unordered = unordered.collect::<Result<Vec<_>, _>>().unwrap();
        unordered.sort_unstable();
        assert_eq!(unordered, expected);
    });
}

#[test]
fn a_panic_fails_its_item_alone() {
    watched(|| {
        let pool = pool_of(2);
        let picky = |n: u32| {
            assert!(n != 3, "three is refused");
            n
        };
        let answers = pool.try_map(picky, 0..5).unwrap();
        let good: Vec<_> = answers.iter().flatten().copied().collect();
        assert_eq!(good, [0, 1, 2, 4]);
        let Err(TaskError::Panicked {
            task,
            message,
            location,
            ..
        }) = &answers[3]
        else {
            panic!("{:?}", answers[3]);
        };
        assert!(task.contains("a_panic_fails_its_item_alone"), "{task}");
        assert_eq!(message, "three is refused");
        assert!(location.contains("tests.rs:"), "{location}");

        let error = pool.map(picky, 0..5).unwrap_err();
        assert!(matches!(task_of(&error), TaskError::Panicked { .. }));
        let results: Vec<_> = pool.imap(picky, 2..5).collect();
        assert!(matches!(results.as_slice(), [Ok(2), Err(_), Ok(4)]));
        pool.close();
        pool.join().unwrap();
        let statistics = pool.statistics();
        assert_eq!((statistics.items_run, statistics.items_failed), (13, 3));
        assert_eq!((statistics.workers, statistics.workers_started), (0, 2));
        assert_eq!(statistics.workers_lost, 0);
    });
}

#[test]
fn an_endless_iterator_is_read_no_further_than_the_look_ahead() {
    watched(|| {
        let pool = pool_of(2);
        let read = AtomicUsize::new(0);
        let items = (0_usize..).inspect(|_| {
            read.fetch_add(1, Ordering::Relaxed);
        });
        let mut results = pool.imap(|n| n, items).look_ahead(5).chunk_size(2);
        for expected in 0..50 {
            assert_eq!(results.next().unwrap().unwrap(), expected);
            // What was given out, and what is under way.
            assert!(read.load(Ordering::Relaxed) <= expected + 1 + 5 * 2 + 2);
        }
        drop(results);
        pool.close();
        pool.join().unwrap();
    });
}

#[test]
fn a_result_is_awaited_and_taken_once() {
    watched(|| {
        let pool = pool_of(1);
        let (release, mut blocked) = block(&pool);
        assert!(!blocked.ready());
        assert!(!blocked.wait_timeout(MOMENT));
        assert_eq!(blocked.successful(), None);
        let early = blocked.get_timeout(MOMENT).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::TimedOut);

        drop(release);
        blocked.wait();
        assert_eq!(blocked.successful(), Some(true));
        assert_eq!(blocked.get_timeout(Duration::MAX).unwrap(), 1);
        assert!(blocked.ready());
        assert_eq!(blocked.successful(), None);
        let again = blocked.get().unwrap_err();
        assert_eq!(again.kind(), ErrorKind::WrongState);

        let failed = pool.apply_async(|| panic!("no"), ()).unwrap();
        failed.wait();
        assert_eq!(failed.successful(), Some(false));
    });
}

#[test]
fn cancelling_reaches_what_waits_and_leaves_what_runs() {
    watched(|| {
        let pool = pool_of(1);
        let (release, running) = block(&pool);
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let waiting = pool
            .map_async(move |_: u32| counter.fetch_add(1, Ordering::Relaxed), 0..10)
            .unwrap();
        assert!(pool.statistics().tasks_queued > 0);
        assert!(waiting.cancel());
        assert!(!waiting.cancel());
        assert_eq!(pool.statistics().tasks_queued, 0);
        let error = waiting.get().unwrap_err();
        assert!(matches!(task_of(&error), TaskError::Cancelled { .. }));

        assert!(!running.cancel());
        drop(release);
        assert_eq!(running.get().unwrap(), 1);
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn terminate_wakes_everyone_who_waits() {
    watched(|| {
        let pool = pool_of(1);
        let (release, running) = block(&pool);
        let waiting = pool.map_async(|n: u8| n, 0..9).unwrap();
        let unordered = pool.imap_unordered(|n: u8| n, 0..);
        thread::scope(|scope| {
            let waiters = [
                scope.spawn(|| running.get().unwrap_err()),
                scope.spawn(|| waiting.get().unwrap_err()),
                scope.spawn(|| unordered.map(|r| r.unwrap_err()).next().unwrap()),
            ];
            thread::sleep(MOMENT);
            pool.terminate();
            for (waiter, may_be_refused) in waiters.into_iter().zip([false, false, true]) {
                let error = waiter.join().unwrap();
                let refused = may_be_refused && error.is_closed();
                assert!(
                    refused || matches!(task_of(&error), TaskError::Terminated { .. }),
                    "{error}"
                );
            }
        });
        assert!(!pool.join_timeout(MOMENT).unwrap(), "a thread still runs");
        drop(release);
        pool.join().unwrap();
        let refused = pool.apply(|| (), ()).unwrap_err();
        assert!(refused.is_closed(), "{refused}");
    });
}

#[test]
fn dropping_the_pool_fails_what_outlives_it() {
    watched(|| {
        let pool = pool_of(1);
        let (release, running) = block(&pool);
        let waiting = pool.apply_async(|| 2, ()).unwrap();
        drop(pool);
        for result in [running, waiting] {
            let error = result.get().unwrap_err();
            assert!(matches!(task_of(&error), TaskError::Terminated { .. }));
        }
        drop(release);
    });
}

#[test]
fn close_comes_before_join() {
    watched(|| {
        let pool = pool_of(2);
        let open = pool.join().unwrap_err();
        assert_eq!(open.kind(), ErrorKind::WrongState);
        assert!(open.to_string().contains("close"), "{open}");
        let results: Vec<_> = (0..50)
            .map(|n: u32| pool.apply_async(|n: u32| n + 1, (n,)).unwrap())
            .collect();
        pool.close();
        assert!(pool.apply_async(|| (), ()).unwrap_err().is_closed());
        pool.join().unwrap();
        pool.join().unwrap();
        for (n, result) in (0..).zip(results) {
            assert!(result.ready());
            assert_eq!(result.get().unwrap(), n + 1);
        }
    });
}

#[test]
fn joining_from_inside_is_refused() {
    watched(|| {
        let pool = Arc::new(pool_of(1));
        let inner = pool.clone();
        let join = move || {
            inner.close();
            inner.join().unwrap_err().kind()
        };
        let result = pool.apply_async(join, ()).unwrap();
        assert_eq!(result.get().unwrap(), ErrorKind::WrongState);
    });
}

#[test]
fn callbacks_see_the_result_first() {
    watched(|| {
        let pool = pool_of(2);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (good, bad) = (seen.clone(), seen.clone());
        let result = pool
            .call(|n: u32| n * 2, (21,))
            .callback(move |n| good.lock().unwrap().push(n.to_string()))
            .error_callback(|_| panic!("not called"))
            .submit()
            .unwrap();
        assert_eq!(result.get().unwrap(), 42);
        let result = pool
            .call(|| -> u32 { panic!("oh") }, ())
            .callback(|_| panic!("not called"))
            .error_callback(move |error| bad.lock().unwrap().push(error.to_string()))
            .submit()
            .unwrap();
        result.get().unwrap_err();
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0], "42");
        assert!(seen[1].ends_with(": oh"), "{}", seen[1]);

        let result = pool.call(|| 5, ()).callback(|_| panic!("callback"));
        assert_eq!(result.submit().unwrap().get().unwrap(), 5);
        assert_eq!(pool.apply(|| 6, ()).unwrap(), 6);
    });
}

#[test]
fn the_initializer_runs_on_each_thread() {
    watched(|| {
        let runs = Arc::new(AtomicUsize::new(0));
        let both = Arc::new(Barrier::new(2));
        let pool = ThreadPool::builder()
            .threads(2)
            .name("counted")
            .initializer(
                |runs: Arc<AtomicUsize>| {
                    runs.fetch_add(1, Ordering::Relaxed);
                },
                (runs.clone(),),
            )
            .build()
            .unwrap();
        let name_of_each = move |_: u32| {
            both.wait();
            thread::current().name().unwrap().to_owned()
        };
        let mut names = pool.map_chunked(name_of_each, 0..2, 1).unwrap();
        names.sort();
        assert_eq!(names, ["counted-1", "counted-2"]);
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_failing_initializer_breaks_the_pool() {
    watched(|| {
        let panicking = ThreadPool::builder()
            .threads(2)
            .initializer(|| -> () { panic!("no database") }, ());
        let failing = ThreadPool::builder()
            .threads(1)
            .initializer(|| Err::<(), _>("no"), ());
        for (pool, reason) in [(panicking, "no database"), (failing, "returned an error")] {
            let pool = pool.build().unwrap();
            let submitted = pool.apply_async(|| 1, ());
            let error = submitted.and_then(super::ThreadResult::get).unwrap_err();
            assert!(matches!(task_of(&error), TaskError::BrokenPool { .. }));
            assert!(error.to_string().contains(reason), "{error}");
            pool.join().unwrap();
        }
    });
}

#[test]
fn bad_settings_are_refused() {
    let none = ThreadPool::builder().threads(0).build().unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidArgument);
    let name = ThreadPool::builder().name("a\0b").build().unwrap_err();
    assert_eq!(name.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn values_that_panic_when_dropped_do_not_hang_anybody() {
    #[derive(Debug)]
    struct Bomb(u8);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(self.0 != 1, "the bomb went off");
        }
    }
    watched(|| {
        let pool = pool_of(1);
        // The results are dropped because one of the items failed.
        let error = pool
            .map_chunked(
                |n: u8| {
                    assert!(n != 2, "two");
                    Bomb(n)
                },
                [1, 2],
                2,
            )
            .unwrap_err();
        assert!(matches!(task_of(&error), TaskError::Panicked { .. }));
        // The second argument is dropped with the calls that are left.
        let error = pool.apply(|bomb: Bomb| drop(bomb), (Bomb(1),)).unwrap_err();
        assert!(error.to_string().contains("bomb"), "{error}");
        assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
    });
}

#[test]
fn a_result_is_a_future() {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    watched(|| {
        let pool = pool_of(1);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let (release, blocked) = block(&pool);
        let local = Rc::new(5);
        let sum = async { blocked.await.unwrap() + *local };
        let mut sum = pin!(sum);
        assert!(sum.as_mut().poll(&mut context).is_pending());
        drop(release);
        let total = loop {
            match sum.as_mut().poll(&mut context) {
                Poll::Ready(total) => break total,
                Poll::Pending => thread::park(),
            }
        };
        assert_eq!(total, 6);
    });
}

#[test]
fn many_threads_share_one_pool() {
    const THREADS: u64 = 8;
    const CALLS: u64 = 500;
    watched(|| {
        let pool = pool_of(4);
        let total = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (pool, total) = (&pool, &total);
                scope.spawn(move || {
                    let doubled = pool.imap_unordered(|n: u64| n * 2, 0..CALLS);
                    assert_eq!(
                        doubled.map(Result::unwrap).sum::<u64>(),
                        CALLS * (CALLS - 1)
                    );
                    assert_eq!(pool.apply(|n: u64| n, (thread,)).unwrap(), thread);
                    total.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(total.load(Ordering::Relaxed) as u64, THREADS);
        let statistics = pool.statistics();
        assert_eq!(statistics.tasks_submitted, THREADS * (CALLS + 1));
    });
}
