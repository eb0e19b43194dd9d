//! Futexes between processes, timeouts, interruptions, and forks of the thread's identity.

#![expect(unsafe_code, reason = "tests install signal handlers")]

use crate::common::{child, join, shared, state, until, watchdog};
use procession_sys::futex::{WaitOutcome, wait, wait_any, wait_any_supported, wake};
use procession_sys::poll::{Interest, PollEntry, PollOutcome, poll};
use procession_sys::process::ExitStatus;
use procession_sys::signal::Signal;
use procession_sys::thread;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const LONG: Option<Duration> = Some(Duration::from_secs(3600));

#[test]
fn wakes_across_processes() {
    watchdog();
    let word: &AtomicU32 = shared();

    let sleeper = child(|| {
        while word.load(Ordering::Acquire) == 0 {
            wait(word, 0, LONG);
        }
    });
    until(|| state(sleeper.pid()) == Some('S'));
    word.store(1, Ordering::Release);
    wake(word, u32::MAX);

    assert_eq!(join(&sleeper), ExitStatus::Exited(0));
    assert_eq!(wait(word, 0, LONG), WaitOutcome::Changed);
    assert_eq!(wait(word, 1, Some(Duration::ZERO)), WaitOutcome::TimedOut);
    assert_eq!(
        wait(word, 1, Some(Duration::from_millis(5))),
        WaitOutcome::TimedOut
    );
    assert_eq!(wake(word, 1), 0);
}

#[test]
fn waits_for_any_of_several_words() {
    watchdog();
    assert!(wait_any_supported(), "this kernel is older than 5.16");
    let words: &[AtomicU32; 128] = shared();

    for count in [2, 4, 5, 128] {
        let last = count - 1;
        let waker = child(|| until(|| wake(&words[last], 1) == 1));
        let all: Vec<_> = words[..count].iter().map(|word| (word, 0)).collect();

        assert_eq!(wait_any(&all, LONG), (WaitOutcome::Woken, last));
        assert_eq!(join(&waker), ExitStatus::Exited(0));
        assert_eq!(
            wait_any(&all, Some(Duration::from_millis(5))),
            (WaitOutcome::TimedOut, 0)
        );
    }

    words[1].store(1, Ordering::Relaxed);
    assert_eq!(
        wait_any(&[(&words[0], 0), (&words[1], 0)], LONG).0,
        WaitOutcome::Changed
    );
}

#[test]
fn handlers_interrupt_sleeps() {
    watchdog();

    // With a deadline SA_RESTART makes no difference for the simple sleep; poll never restarts.
    for flags in [0, libc::SA_RESTART] {
        let sleeper = child(|| {
            on_user1(flags);
            let word = AtomicU32::new(0);
            assert_eq!(wait(&word, 0, LONG), WaitOutcome::Interrupted);

            let (read, _write) = procession_sys::pipe::pipe().unwrap();
            let mut entries = [PollEntry::new(read.as_fd(), Interest::READ)];
            assert_eq!(poll(&mut entries, LONG), Ok(PollOutcome::Interrupted));
        });
        shoot_until_it_ends(&sleeper);
    }

    let sleeper = child(|| {
        on_user1(0);
        let (one, two) = (AtomicU32::new(0), AtomicU32::new(0));
        assert_eq!(
            wait_any(&[(&one, 0), (&two, 0)], LONG).0,
            WaitOutcome::Interrupted
        );
    });
    shoot_until_it_ends(&sleeper);
}

fn on_user1(flags: i32) {
    extern "C" fn handler(_: i32) {}

    // SAFETY: zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as extern "C" fn(i32) as usize;
    action.sa_flags = flags;
    // SAFETY: the handler does nothing.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
}

fn shoot_until_it_ends(sleeper: &procession_sys::process::ChildProcess) {
    let status = loop {
        if let Some(status) = sleeper.try_wait().unwrap() {
            break status;
        }
        // Asleep: the handler is installed, for the child sleeps nowhere else.
        if state(sleeper.pid()) == Some('S') {
            sleeper.kill(Signal::USER1).unwrap();
        }
    };
    assert_eq!(status, ExitStatus::Exited(0));
}

#[test]
fn a_forked_thread_has_its_own_identity() {
    watchdog();
    let mine = thread::id();
    assert_eq!(mine, thread::id());

    let forked = child(move || {
        assert_ne!(thread::id(), mine);
        assert_eq!(thread::id(), std::process::id());
    });
    assert_eq!(join(&forked), ExitStatus::Exited(0));
    assert_ne!(std::thread::spawn(thread::id).join().unwrap(), mine);
    assert!(thread::count() >= 1);
    assert!((1..=thread::all_cpus()).contains(&thread::usable_cpus()));
}
