//! Processes through the Rust face: what can be a target, how children end, and what is refused.
//!
//! The start method `fork` needs a program with one thread: see `programs.rs`.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::exit,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic_in_result_fn,
    reason = "tests that cannot go on fail and say so, and their programs print and exit as users' programs do"
)]

use std::os::fd::AsFd;
use std::time::Duration;

use procession::{
    Array, ErrorKind, ExitStatus, Process, Run, StartMethod, Value, active_children,
    current_process, parent_process,
};
use serde::{Deserialize, Serialize, Serializer};

mod support;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::Forkserver];

/// SIGTERM and SIGKILL.
const TERMINATED: i32 = -15;
const KILLED: i32 = -9;

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

fn end_with(code: i32) {
    std::process::exit(code);
}

fn panics() {
    panic!("a panic that is printed");
}

fn aborts() {
    std::process::abort();
}

#[procession::test]
fn exit_codes() {
    let _watchdog = support::watchdog();
    for method in METHODS {
        let ends = |process: Process| process.join().unwrap().code();
        assert_eq!(
            ends(Process::new(|| ()).start_method(method).start().unwrap()),
            0
        );
        for code in [0, 3, 255] {
            let child = Process::new(end_with)
                .args((code,))
                .start_method(method)
                .start();
            assert_eq!(ends(child.unwrap()), code);
        }
        let error = || Err::<(), _>("an error that is printed");
        assert_eq!(
            ends(Process::new(error).start_method(method).start().unwrap()),
            1
        );
        assert_eq!(
            ends(Process::new(panics).start_method(method).start().unwrap()),
            1
        );
        let child = Process::new(aborts).start_method(method).start().unwrap();
        assert_eq!(child.join().unwrap(), ExitStatus::Signaled(6));
    }
}

#[procession::test]
fn targets_of_all_kinds() {
    #[expect(clippy::too_many_arguments, reason = "as many as a target may have")]
    fn twelve(
        out: Value<u64>,
        a: u8,
        b: u16,
        c: u32,
        d: u64,
        e: i8,
        f: i16,
        g: i32,
        h: i64,
        i: String,
        j: Vec<u32>,
        k: (u8, Option<u8>),
    ) {
        let sum = u64::from(a) + u64::from(b) + u64::from(c) + d;
        let signed = i64::from(e) + i64::from(f) + i64::from(g) + h;
        let rest = i.len() as u64 + j.iter().map(|n| u64::from(*n)).sum::<u64>() + u64::from(k.0);
        out.set(sum + signed.unsigned_abs() + rest + u64::from(k.1.unwrap_or(0)));
    }

    fn generic<T: Into<u64>>(out: Value<u64>, value: T) {
        out.set(value.into());
    }

    #[derive(Serialize, Deserialize)]
    struct Work {
        out: Value<u64>,
        factor: u64,
    }

    impl Run for Work {
        type Output = Result<(), String>;

        fn run(self) -> Result<(), String> {
            self.out.set(self.factor * 7);
            Ok(())
        }
    }

    let _watchdog = support::watchdog();
    for method in METHODS {
        let out = Value::new(0).unwrap();
        let run = |child: procession::Result<Process>| {
            support::join(&child.unwrap());
            out.get()
        };

        let arguments = (
            out.clone(),
            1,
            2,
            3,
            4,
            -1,
            -2,
            -3,
            -4,
            "five".to_owned(),
            vec![6, 7],
            (8, Some(9)),
        );
        let child = Process::new(twelve)
            .args(arguments)
            .start_method(method)
            .start();
        assert_eq!(run(child), 10 + 10 + 4 + 13 + 17);

        let child = Process::new(generic::<u8>)
            .args((out.clone(), 5))
            .start_method(method);
        assert_eq!(run(child.start()), 5);
        let child = Process::new(generic::<u64>)
            .args((out.clone(), 6))
            .start_method(method);
        assert_eq!(run(child.start()), 6);

        let closure = |out: Value<u64>| out.set(42);
        assert_eq!(
            run(Process::new(closure)
                .args((out.clone(),))
                .start_method(method)
                .start()),
            42
        );

        let work = Work {
            out: out.clone(),
            factor: 3,
        };
        assert_eq!(run(Process::run(work).start_method(method).start()), 21);
    }
}

#[procession::test]
fn a_child_knows_itself_and_its_parent() {
    fn look(parent: u32, name: String, daemon: bool, method: String) {
        let current = current_process();
        assert_eq!((current.name, current.daemon), (name, daemon));
        assert_eq!(current.pid, std::process::id());
        assert_eq!(current.start_method.unwrap().name(), method);
        let mine = parent_process().unwrap();
        assert_eq!((mine.pid, mine.name.as_str()), (parent, "MainProcess"));

        let child = Process::new(|daemon: bool| assert_eq!(current_process().daemon, daemon))
            .args((daemon,))
            .start()
            .unwrap();
        assert_eq!(
            child.is_daemon(),
            daemon,
            "children take after their parents"
        );
        support::join(&child);
    }

    let _watchdog = support::watchdog();
    assert_eq!(current_process().name, "MainProcess");
    assert!(parent_process().is_none());
    for method in METHODS {
        for daemon in [false, true] {
            let name = format!("{method}, {daemon}");
            let arguments = (std::process::id(), name.clone(), daemon, method.to_string());
            let child = Process::new(look)
                .args(arguments)
                .name(&name)
                .daemon(daemon)
                .start_method(method)
                .start()
                .unwrap();
            assert_eq!((child.name(), child.is_daemon()), (name.as_str(), daemon));
            assert_eq!(child.start_method(), method);
            support::join(&child);
        }
    }
}

#[procession::test]
fn waiting_and_ending() {
    let _watchdog = support::watchdog();
    for method in METHODS {
        let child = Process::new(sleep_for_ever)
            .start_method(method)
            .start()
            .unwrap();
        assert!(child.is_alive());
        assert_eq!(child.exit_code(), None);
        assert_eq!(child.join_timeout(Duration::from_millis(20)).unwrap(), None);
        assert_eq!(child.join_timeout(Duration::ZERO).unwrap(), None);
        assert!(
            active_children()
                .iter()
                .any(|other| other.pid() == child.pid())
        );

        child.terminate().unwrap();
        assert_eq!(child.join().unwrap().code(), TERMINATED);
        assert_eq!(child.exit_code(), Some(TERMINATED));
        assert!(!child.is_alive());
        assert!(
            active_children()
                .iter()
                .all(|other| other.pid() != child.pid())
        );
        child.terminate().unwrap();
        child.kill().unwrap();

        let child = Process::new(sleep_for_ever)
            .start_method(method)
            .start()
            .unwrap();
        let sentinel = child.as_fd().try_clone_to_owned().unwrap();
        child.kill().unwrap();
        assert_eq!(child.clone().join().unwrap().code(), KILLED);
        assert_eq!(
            child.join_timeout(Duration::ZERO).unwrap().unwrap().code(),
            KILLED
        );
        drop(sentinel);
    }
}

#[procession::test]
fn many_threads_wait_for_one_child() {
    let _watchdog = support::watchdog();
    for method in METHODS {
        let child = Process::new(sleep_for_ever)
            .start_method(method)
            .start()
            .unwrap();
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let child = child.clone();
                std::thread::spawn(move || child.join().unwrap().code())
            })
            .collect();
        child.kill().unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), KILLED);
        }
    }
}

#[procession::test]
fn arguments_that_cannot_be_encoded_are_refused_at_start() {
    #[derive(Debug, Deserialize)]
    struct Unwilling;

    impl Serialize for Unwilling {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("unwilling"))
        }
    }

    let _watchdog = support::watchdog();
    for method in METHODS {
        let start = Process::new(|_: Unwilling| ())
            .args((Unwilling,))
            .start_method(method)
            .start();
        let error = start.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().contains("Unwilling"), "{error}");
        support::join(&Process::new(|| ()).start_method(method).start().unwrap());
    }
}

#[procession::test]
fn arguments_that_cannot_be_decoded_end_the_child() {
    #[derive(Debug, Serialize)]
    struct Garbled;

    impl<'de> Deserialize<'de> for Garbled {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("garbled"))
        }
    }

    let _watchdog = support::watchdog();
    for method in METHODS {
        let start = Process::new(|_: Garbled| ())
            .args((Garbled,))
            .start_method(method)
            .start();
        assert_eq!(start.unwrap().join().unwrap().code(), 1);
    }
}

#[procession::test]
fn large_arguments() {
    let _watchdog = support::watchdog();
    for method in METHODS {
        let numbers: Vec<u64> = (0..4_000_000).collect();
        let sum = Value::new(0).unwrap();
        let add = |numbers: Vec<u64>, sum: Value<u64>| sum.set(numbers.iter().sum());
        let child = Process::new(add)
            .args((numbers, sum.clone()))
            .start_method(method)
            .start();
        support::join(&child.unwrap());
        assert_eq!(sum.get(), (0..4_000_000).sum());
    }
}

#[procession::test]
fn processes_from_processes_from_many_threads() {
    fn grow(depth: u32, counts: Array<u32>) -> procession::Result<()> {
        counts
            .lock()?
            .set(depth as usize, counts.get(depth as usize) + 1);
        if depth == 0 {
            return Ok(());
        }
        let children: Vec<_> = METHODS
            .iter()
            .map(|method| {
                Process::new(grow)
                    .args((depth - 1, counts.clone()))
                    .start_method(*method)
                    .start()
            })
            .collect::<procession::Result<_>>()?;
        for child in children {
            assert_eq!(child.join()?.code(), 0);
        }
        Ok(())
    }

    let _watchdog = support::watchdog();
    let counts = Array::<u32>::zeroed(3).unwrap();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let counts = counts.clone();
            std::thread::spawn(move || grow(2, counts).unwrap())
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(counts.to_vec(), [12, 6, 3]);
}

#[procession::test]
fn a_dropped_process_goes_on() {
    let _watchdog = support::watchdog();
    for method in METHODS {
        let done = procession::Event::new().unwrap();
        let work = |done: procession::Event| done.set();
        drop(
            Process::new(work)
                .args((done.clone(),))
                .start_method(method)
                .start()
                .unwrap(),
        );
        done.wait().unwrap();
    }
}

#[procession::test]
fn thousands_of_starts_leave_nothing() {
    let _watchdog = support::watchdog();
    let round = |method| {
        let children: Vec<_> = (0..50)
            .map(|_| Process::new(|| ()).start_method(method).start().unwrap())
            .collect();
        for child in &children {
            support::join(child);
        }
    };
    for method in METHODS {
        round(method);
        for _ in 0..10 {
            round(method);
        }
    }
}
