//! Named points at which a test may kill the process: `crash_point!("heap.run.split")`.
//!
//! Used by all code that changes shared memory in steps. With the feature `crash-points`, a process kills itself with
//! SIGKILL at the point that the environment variable `PROCESSION_CRASH_POINT` names (`name`, or `name:3` for the third
//! time it is reached), or that [`arm`] chose; without the feature the macro compiles to nothing.

/// Dies here if a test asked for it.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "crash-points")]
        $crate::crash::reached($name);
    };
}

pub(crate) use crash_point;

#[cfg(feature = "crash-points")]
pub use armed::{arm, disarm, reached};

#[cfg(feature = "crash-points")]
mod armed {
    use procession_sys::process::{self, ChildProcess};
    use procession_sys::signal::Signal;
    use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

    /// Set to look at the environment first.
    const UNREAD: usize = usize::MAX;

    static NAME: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    static LEN: AtomicUsize = AtomicUsize::new(UNREAD);
    static COUNTDOWN: AtomicU32 = AtomicU32::new(0);

    /// From now on this process dies when it reaches `name` for the `nth` time, the first being 1.
    pub fn arm(name: &'static str, nth: u32) {
        disarm();
        COUNTDOWN.store(nth.max(1), Ordering::Relaxed);
        NAME.store(name.as_ptr().cast_mut(), Ordering::Relaxed);
        // SYNC: crash point armed -> reached
        LEN.store(name.len(), Ordering::Release);
    }

    /// From now on this process dies at no point.
    pub fn disarm() {
        // SYNC: crash point armed -> reached
        LEN.store(0, Ordering::Release);
    }

    /// The place `name` was reached.
    pub fn reached(name: &'static str) {
        // SYNC: crash point armed -> reached
        let mut len = LEN.load(Ordering::Acquire);
        if len == UNREAD {
            read_environment();
            len = LEN.load(Ordering::Acquire);
        }
        if len == name.len()
            && chosen(len) == name.as_bytes()
            && COUNTDOWN.fetch_sub(1, Ordering::Relaxed) == 1
        {
            die();
        }
    }

    /// As sudden a death as if another had sent the signal: nothing is cleaned up.
    fn die() -> ! {
        let pid = std::process::id();
        if let Ok(pidfd) = process::pidfd_open(pid) {
            // A failure leaves the other sudden death.
            let _ = ChildProcess::from_pidfd(pid, pidfd).kill(Signal::KILL);
        }
        std::process::abort()
    }

    fn read_environment() {
        match std::env::var("PROCESSION_CRASH_POINT") {
            Ok(value) if !value.is_empty() => {
                let value: &'static str = value.leak();
                match value.rsplit_once(':') {
                    Some((name, nth)) => arm(name, nth.parse().unwrap_or(1)),
                    None => arm(value, 1),
                }
            }
            _ => disarm(),
        }
    }

    fn chosen(len: usize) -> &'static [u8] {
        #![expect(unsafe_code, reason = "a static string is kept as address and length")]
        // SAFETY: `arm` stored the address of a static string of this length before the length.
        unsafe { std::slice::from_raw_parts(NAME.load(Ordering::Relaxed), len) }
    }
}
