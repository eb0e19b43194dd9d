//! Futexes on Linux: `FUTEX_WAIT`, `FUTEX_WAKE` and `futex_waitv` (since 5.16).

use super::WaitOutcome;
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, WaitFlags, WaitvFlags};
use rustix::time::{ClockId, Timespec};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// How many words [`wait_any`] can watch.
pub const MOST_WORDS: usize = 128;

const UNKNOWN: u8 = 0;
const SUPPORTED: u8 = 1;
const UNSUPPORTED: u8 = 2;

static WAIT_ANY: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Sleeps while `word` holds `expected`, for at most `timeout` (monotonic time).
///
/// With a timeout any signal handler that ran ends the sleep as [`WaitOutcome::Interrupted`]; without one the kernel
/// resumes the sleep after handlers that ask for restarts (`SA_RESTART`).
#[inline]
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> WaitOutcome {
    let timeout = timeout.map(timespec);

    outcome(futex::wait(
        word,
        Flags::empty(),
        expected,
        timeout.as_ref(),
    ))
}

/// Sleeps while each word holds its expected value; the index says which word was woken (0 for the other outcomes).
///
/// Unlike in [`wait`] a handler under `SA_RESTART` resumes the sleep. Where [`wait_any_supported`] is false only the
/// first word is watched: callers then choose a short timeout and look at the others themselves.
///
/// # Panics
/// If there are no words or more than [`MOST_WORDS`].
pub fn wait_any(words: &[(&AtomicU32, u32)], timeout: Option<Duration>) -> (WaitOutcome, usize) {
    assert!(
        !words.is_empty() && words.len() <= MOST_WORDS,
        "wait_any watches 1 to {MOST_WORDS} words, not {}",
        words.len()
    );

    if words.len() == 1 || !wait_any_supported() {
        let (word, expected) = words[0];
        return (wait(word, expected, timeout), 0);
    }

    const FEW: usize = 4;

    if words.len() <= FEW {
        wait_multiple(
            &mut [futex::Wait::new(); FEW][..words.len()],
            words,
            timeout,
        )
    } else {
        wait_multiple(
            &mut [futex::Wait::new(); MOST_WORDS][..words.len()],
            words,
            timeout,
        )
    }
}

fn wait_multiple(
    waits: &mut [futex::Wait],
    words: &[(&AtomicU32, u32)],
    timeout: Option<Duration>,
) -> (WaitOutcome, usize) {
    for (wait, (word, expected)) in waits.iter_mut().zip(words) {
        wait.val = u64::from(*expected);
        wait.uaddr = futex::WaitPtr::new(word.as_ptr().cast());
        wait.flags = WaitFlags::SIZE_U32;
    }

    let deadline = timeout.map(|timeout| {
        timespec(Duration::from_nanos(crate::time::monotonic_nanos()).saturating_add(timeout))
    });

    match futex::waitv(
        waits,
        WaitvFlags::empty(),
        deadline.as_ref(),
        ClockId::Monotonic,
    ) {
        Ok(index) => (WaitOutcome::Woken, index),
        Err(errno) => (outcome(Err(errno)), 0),
    }
}

/// Can [`wait_any`] watch more than one word? Asked of the kernel once.
#[inline]
pub fn wait_any_supported() -> bool {
    match WAIT_ANY.load(Ordering::Relaxed) {
        UNKNOWN => probe(),
        known => known == SUPPORTED,
    }
}

/// Makes [`wait_any_supported`] answer false, as on an old kernel, or asks the kernel again. For tests.
pub fn set_wait_any_enabled(enabled: bool) {
    WAIT_ANY.store(
        if enabled { UNKNOWN } else { UNSUPPORTED },
        Ordering::Relaxed,
    );
}

#[cold]
fn probe() -> bool {
    let supported =
        futex::waitv(&[], WaitvFlags::empty(), None, ClockId::Monotonic) == Err(Errno::INVAL);

    WAIT_ANY.store(
        if supported { SUPPORTED } else { UNSUPPORTED },
        Ordering::Relaxed,
    );
    supported
}

/// Wakes at most `count` sleepers of `word`, in all processes, and says how many.
#[inline]
pub fn wake(word: &AtomicU32, count: u32) -> u32 {
    let count = if count > i32::MAX as u32 {
        i32::MAX as u32
    } else {
        count
    };

    futex::wake(word, Flags::empty(), count).map_or(0, |woken| woken as u32)
}

#[inline]
fn outcome(result: Result<(), Errno>) -> WaitOutcome {
    match result {
        Ok(()) => WaitOutcome::Woken,
        Err(Errno::TIMEDOUT) => WaitOutcome::TimedOut,
        Err(Errno::INTR) => WaitOutcome::Interrupted,
        // EAGAIN; nothing else can happen to a valid word.
        Err(_) => WaitOutcome::Changed,
    }
}

#[inline]
fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
