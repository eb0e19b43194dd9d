//! What `/proc` says about a process, and what a process does to itself.

#![expect(unsafe_code, reason = "_exit and pthread_atfork are C functions")]

use crate::{Error, Result};
use rustix::process::Pid;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Fields of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatusLine {
    /// The state's letter: R, S, D, T (stopped), Z (zombie), X ...
    pub state: char,
    /// The parent's pid.
    pub parent: u32,
    /// How many threads there are.
    pub threads: u32,
    /// When it was started, in clock ticks since boot. An exec does not change it.
    pub start_time: u64,
}

/// This process's number, asked once; a forked child asks anew.
#[inline]
#[must_use]
pub fn id() -> u32 {
    match ID.load(Ordering::Relaxed) {
        0 => look_up_id(),
        id => id,
    }
}

static ID: AtomicU32 = AtomicU32::new(0);

#[cold]
fn look_up_id() -> u32 {
    extern "C" fn forget() {
        ID.store(0, Ordering::Relaxed);
    }

    // No `Once`: another thread may fork in the middle. Registered twice, it forgets twice.
    static HOOKED: AtomicBool = AtomicBool::new(false);

    if !HOOKED.load(Ordering::Relaxed) {
        // SAFETY: the function lives for ever and takes nothing.
        let code = unsafe { libc::pthread_atfork(None, None, Some(forget)) };
        HOOKED.store(code == 0, Ordering::Relaxed);
    }
    let id = std::process::id();
    if HOOKED.load(Ordering::Relaxed) {
        ID.store(id, Ordering::Relaxed);
    }
    id
}

/// The number of this process's parent, of its adopter if that has ended; 0 if it is in another namespace.
#[inline]
#[must_use]
pub fn parent_id() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

/// Does any process have the number now, zombies included?
#[must_use]
pub fn exists(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };

    // Not being allowed to signal it means that it is there.
    rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

/// Reads `/proc/<pid>/stat`; `None` if there is no such process.
#[must_use]
pub fn status_line(pid: u32) -> Option<StatusLine> {
    parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// When the process was started: with its number an identity that reuse of the number does not have.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    status_line(pid).map(|line| line.start_time)
}

/// Has the process ended (all its threads) and only waits to be collected? `None` if there is no such process.
#[must_use]
pub fn is_zombie(pid: u32) -> Option<bool> {
    // The main thread alone may have ended: then it shows as a zombie while others run.
    status_line(pid).map(|line| matches!(line.state, 'Z' | 'X') && line.threads <= 1)
}

/// Ends the process at once: no destructors, no exit handlers, no flushing.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Calls `function` when this process ends by returning from `main` or by `exit`; not when it is killed or leaves by
/// [`exit_now`].
///
/// # Errors
/// No memory.
pub fn at_exit(function: extern "C" fn()) -> Result<()> {
    // SAFETY: the function is one of this program, which stays loaded until the process ends.
    let code = unsafe { libc::atexit(function) };
    if code == 0 {
        Ok(())
    } else {
        Err(Error::new("register an exit function", libc::ENOMEM))
    }
}

/// Makes this process the leader of a session of its own, without a terminal.
///
/// # Errors
/// It leads a process group already.
pub fn new_session() -> Result<()> {
    rustix::process::setsid()
        .map(drop)
        .map_err(Error::of("start a session"))
}

/// `12 (name) S 1 ...`; the name may hold anything, so the fields start behind the last parenthesis.
fn parse(stat: &[u8]) -> Option<StatusLine> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = str::from_utf8(stat.get(close + 1..)?)
        .ok()?
        .split_ascii_whitespace();

    // Fields 3, 4, 20 and 22 of the line.
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let threads = fields.nth(15)?.parse().ok()?;
    let start_time = fields.nth(1)?.parse().ok()?;

    Some(StatusLine {
        state,
        parent,
        threads,
        start_time,
    })
}

#[cfg(test)]
mod tests {
    use super::{StatusLine, exists, is_zombie, parse, start_time};

    #[test]
    fn reads_names_with_parentheses() {
        let line = b"7 (a) Z (b) S 3 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 9 0 123456 0 0\n";
        assert_eq!(
            parse(line),
            Some(StatusLine {
                state: 'S',
                parent: 3,
                threads: 9,
                start_time: 123_456
            })
        );
        assert_eq!(parse(b"7 (a"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn knows_this_process() {
        let me = std::process::id();
        assert!(exists(me));
        assert!(start_time(me).is_some());
        assert_eq!(is_zombie(me), Some(false));
        assert!(!exists(0x3fff_ffff));
        assert_eq!(start_time(0x3fff_ffff), None);
    }
}
