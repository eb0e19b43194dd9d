//! Whole programs: the start method `fork`, the end of a program, users who collect children themselves, a missing `init`.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::exit,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic_in_result_fn,
    reason = "tests that cannot go on fail and say so, and their programs print and exit as users' programs do"
)]

use std::process::Stdio;
use std::time::Duration;

use procession::{ErrorKind, ExitStatus, Pool, Process, StartMethod, Value, active_children};
use procession_sys::signal::Signal;

#[path = "support/program.rs"]
mod program;

fn main() {
    let programs: [(&str, fn()); 8] = [
        ("processes_by_fork", processes_by_fork),
        ("pools_by_fork", pools_by_fork),
        ("fork_after_threads", fork_after_threads),
        ("ends", ends),
        ("ends_with_deaf_daemon", ends_with_deaf_daemon),
        ("somebody_else_waits", somebody_else_waits),
        ("child_signals_are_ignored", child_signals_are_ignored),
        ("no_init", no_init),
    ];
    let tests: Vec<(&'static str, fn())> = vec![
        ("processes_by_fork", || {
            drop(program::succeed("processes_by_fork"))
        }),
        ("pools_by_fork", || drop(program::succeed("pools_by_fork"))),
        ("fork_after_threads", || {
            drop(program::succeed("fork_after_threads"))
        }),
        ("children_at_the_end", children_at_the_end),
        ("a_daemon_that_ignores_sigterm_is_killed", deaf_daemon),
        ("somebody_else_waits", || {
            drop(program::succeed("somebody_else_waits"))
        }),
        ("child_signals_are_ignored", || {
            drop(program::succeed("child_signals_are_ignored"))
        }),
        ("a_missing_init_is_one_clear_error", missing_init),
    ];
    program::run(&programs, tests);
}

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

fn square(n: u64) -> u64 {
    n * n
}

fn processes_by_fork() {
    fn fail() -> Result<(), &'static str> {
        Err("printed")
    }

    fn panics() {
        panic!("printed");
    }

    fn leave(code: i32) {
        std::process::exit(code);
    }

    procession::init();
    let fork = StartMethod::Fork;
    let run = |process: procession::Result<Process>| process.unwrap().join().unwrap().code();
    for code in [0, 7, 255] {
        assert_eq!(
            run(Process::new(leave).args((code,)).start_method(fork).start()),
            code
        );
    }
    assert_eq!(run(Process::new(fail).start_method(fork).start()), 1);
    assert_eq!(run(Process::new(panics).start_method(fork).start()), 1);
    let value = Value::new(1).unwrap();
    for n in 0..100 {
        let add = |value: Value<i32>, n: i32| value.set(value.get() + n);
        assert_eq!(
            run(Process::new(add)
                .args((value.clone(), n))
                .start_method(fork)
                .start()),
            0
        );
    }
    assert_eq!(value.get(), 4951);

    let child = Process::new(sleep_for_ever)
        .start_method(fork)
        .start()
        .unwrap();
    assert!(child.is_alive());
    assert_eq!(active_children().len(), 1);
    child.terminate().unwrap();
    assert_eq!(child.join().unwrap(), ExitStatus::Signaled(15));

    let nested = |value: Value<i32>| {
        let set = |value: Value<i32>| value.set(-1);
        let child = Process::new(set)
            .args((value,))
            .start_method(StartMethod::Fork)
            .start()
            .unwrap();
        assert_eq!(child.join().unwrap().code(), 0);
        assert!(active_children().is_empty());
    };
    assert_eq!(
        run(Process::new(nested)
            .args((value.clone(),))
            .start_method(fork)
            .start()),
        0
    );
    assert_eq!(value.get(), -1);
    assert!(program::zombies().is_empty());
}

fn pools_by_fork() {
    fn count() -> u32 {
        COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

    procession::init();
    COUNT.store(100, std::sync::atomic::Ordering::Relaxed);
    let pool = Pool::builder()
        .processes(2)
        .start_method(StartMethod::Fork)
        .build()
        .unwrap();
    // The program's thread is the only one of the user's, and the template knows what it was.
    for _ in 0..20 {
        assert!(pool.apply(count, ()).unwrap() >= 100);
        for pid in pool.pids() {
            program::signal(pid, Signal::KILL);
        }
        assert_eq!(pool.apply(square, (5,)).unwrap(), 25);
        let child = Process::new(|| ())
            .start_method(StartMethod::Fork)
            .start()
            .unwrap();
        assert_eq!(child.join().unwrap().code(), 0);
    }
    // A fork has the pool's name, but not the pool.
    let in_child = pool.apply_async(square, (1,)).unwrap();
    let other = Process::new(|| ())
        .start_method(StartMethod::Fork)
        .start()
        .unwrap();
    assert_eq!(other.join().unwrap().code(), 0);
    assert_eq!(in_child.get().unwrap(), 1);
    drop(pool);
    for _ in 0..200 {
        let pool = Pool::builder()
            .processes(1)
            .start_method(StartMethod::Fork)
            .build()
            .unwrap();
        assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
        drop(pool);
    }
    assert!(program::zombies().is_empty());
}

/// Threads that were joined are no reason to refuse; those that run are.
fn fork_after_threads() {
    procession::init();
    for _ in 0..500 {
        std::thread::spawn(|| ()).join().unwrap();
        let child = Process::new(|| ())
            .start_method(StartMethod::Fork)
            .start()
            .unwrap();
        assert_eq!(child.join().unwrap().code(), 0);
    }
    let (stop, is_stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || is_stopped.recv());
    let error = Process::new(|| ())
        .start_method(StartMethod::Fork)
        .start()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState);
    assert!(error.to_string().contains("one thread") && error.to_string().contains("forkserver"));
    let error = Pool::builder()
        .start_method(StartMethod::Fork)
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("one thread"), "{error}");
    drop(stop);
    assert!(thread.join().unwrap().is_err());
    assert_eq!(
        Process::new(|| ())
            .start_method(StartMethod::Fork)
            .start()
            .unwrap()
            .join()
            .unwrap()
            .code(),
        0
    );
}

fn ends() {
    procession::init();
    let slow = |method: String| {
        std::thread::sleep(Duration::from_millis(200));
        println!("done {method}");
    };
    let mut pids = Vec::new();
    for method in [
        StartMethod::Fork,
        StartMethod::Spawn,
        StartMethod::Forkserver,
    ] {
        let child = Process::new(sleep_for_ever)
            .daemon(true)
            .start_method(method)
            .start()
            .unwrap();
        pids.push(child.pid().to_string());
        let child = Process::new(slow)
            .args((method.to_string(),))
            .start_method(method)
            .start();
        pids.push(child.unwrap().pid().to_string());
    }
    println!("{}", pids.join(" "));
}

fn children_at_the_end() {
    let mut command = program::command("ends");
    let (program, mut out, pids) = program::start(&mut command);
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    let mut lines: Vec<_> = rest.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["done fork", "done forkserver", "done spawn"]);
    program::wait_until_gone("after the end", &pids);
}

fn ends_with_deaf_daemon() {
    procession::init();
    let ready = procession::Event::new().unwrap();
    let deaf = |ready: procession::Event| {
        procession_sys::signal::ignore(Signal::TERMINATE).unwrap();
        ready.set();
        sleep_for_ever();
    };
    let child = Process::new(deaf)
        .args((ready.clone(),))
        .daemon(true)
        .start()
        .unwrap();
    ready.wait().unwrap();
    let stopped = Process::new(sleep_for_ever).daemon(true).start().unwrap();
    program::signal(stopped.pid(), Signal::STOP);
    println!("{} {}", child.pid(), stopped.pid());
}

fn deaf_daemon() {
    let mut command = program::command("ends_with_deaf_daemon");
    let (mut program, _out, pids) = program::start(&mut command);
    assert!(program.wait().unwrap().success());
    program::wait_until_gone("deaf daemons", &pids);
}

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::Forkserver];

fn somebody_else_waits() {
    #![expect(unsafe_code, reason = "waitpid is what a user would call")]
    unsafe extern "C" {
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    }

    procession::init();
    std::thread::spawn(|| {
        loop {
            // SAFETY: a null status is allowed.
            if unsafe { waitpid(-1, std::ptr::null_mut(), 0) } < 0 {
                std::thread::yield_now();
            }
        }
    });
    statuses();
}

fn child_signals_are_ignored() {
    procession::init();
    procession_sys::signal::ignore(Signal::CHILD).unwrap();
    statuses();
}

fn statuses() {
    /// Not so soon that it could be collected before its parent has a hold on it: how it ended would be lost then.
    fn leave(code: i32) {
        std::thread::sleep(Duration::from_millis(20));
        std::process::exit(code);
    }

    for method in METHODS {
        for code in [0, 3, 200] {
            for _ in 0..20 {
                let child = Process::new(leave)
                    .args((code,))
                    .start_method(method)
                    .start()
                    .unwrap();
                assert_eq!(child.join().unwrap().code(), code, "{method}");
                let child = Process::new(|| ()).start_method(method).start().unwrap();
                assert_eq!(child.join().unwrap().code(), 0, "{method}");
            }
        }
        for _ in 0..20 {
            let child = Process::new(sleep_for_ever)
                .start_method(method)
                .start()
                .unwrap();
            child.kill().unwrap();
            assert_eq!(child.join().unwrap().code(), -9, "{method}");
        }
        let pool = Pool::builder()
            .processes(2)
            .start_method(method)
            .build()
            .unwrap();
        for _ in 0..10 {
            assert_eq!(pool.apply(square, (4,)).unwrap(), 16);
            for pid in pool.pids() {
                program::signal(pid, Signal::KILL);
            }
        }
        let error = pool.apply(leave, (5,)).unwrap_err().to_string();
        assert!(error.contains("code 5") || error.contains('5'), "{error}");
    }
}

fn no_init() {
    for method in [
        StartMethod::Spawn,
        StartMethod::Forkserver,
        StartMethod::Fork,
    ] {
        let error = Process::new(|| ())
            .start_method(method)
            .start()
            .unwrap_err();
        println!("{:?} {error}", error.kind());
        let error = Pool::builder().start_method(method).build().unwrap_err();
        println!("{:?} {error}", error.kind());
    }
}

fn missing_init() {
    let output = program::command("no_init")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(
        text.lines()
            .all(|line| line.starts_with("WrongState") && line.contains("procession::init()")),
        "{text}"
    );
}
