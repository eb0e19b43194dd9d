//! Vital signs on Linux: `/proc/<pid>/stat`, whose flags say that a thread has begun to exit and will not return to user code.

use super::Vitals;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, test_kill_process};
use std::io::Write;

/// `PF_EXITING`: set when a thread enters its exit, never cleared.
const EXITING: u64 = 4;

/// What `/proc/<pid>/stat` says of one thread (or of a process, meaning its first thread).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stat {
    ended: bool,
    threads: u64,
    start_time: u64,
}

/// How far process `pid`, started at `start_time` (0 = unknown), has got towards its end. [`Vitals::Runs`] when in doubt.
///
/// Allocates nothing unless the process's first thread has ended before others.
#[must_use]
pub fn of(pid: u32, start_time: u64) -> Vitals {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Vitals::Over;
    };

    match read(format_args!("/proc/{pid}/stat\0")) {
        Some(stat) if start_time != 0 && stat.start_time != start_time => Vitals::Over,
        Some(stat) if !stat.ended => Vitals::Runs,
        Some(stat) if stat.threads > 1 && any_thread_runs(pid) => Vitals::FirstThreadEnded,
        Some(_) => Vitals::Over,
        None if test_kill_process(raw) == Err(rustix::io::Errno::SRCH) => Vitals::Over,
        None => Vitals::Runs,
    }
}

/// When this process was started, as [`of`] compares it; 0 if `/proc` cannot be read. Allocates nothing.
#[must_use]
pub fn start_time_of_this_process() -> u64 {
    read(format_args!("/proc/self/stat\0")).map_or(0, |stat| stat.start_time)
}

/// Is a thread of this process there and not on its way out?
pub(crate) fn thread_runs(thread: u32) -> bool {
    read(format_args!("/proc/self/task/{thread}/stat\0")).is_some_and(|stat| !stat.ended)
}

/// The first thread has ended: is any of the others still going?
fn any_thread_runs(pid: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };

    tasks
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .any(|thread| {
            read(format_args!("/proc/{pid}/task/{thread}/stat\0")).is_some_and(|stat| !stat.ended)
        })
}

/// Reads one stat file; the path ends with a NUL.
fn read(path: std::fmt::Arguments<'_>) -> Option<Stat> {
    let mut buffer = [0; 64];
    let mut rest = &mut buffer[..];
    rest.write_fmt(path).ok()?;
    let path = std::ffi::CStr::from_bytes_until_nul(&buffer).ok()?;

    let file: OwnedFd =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut line = [0; 1024];
    let len = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut line)).ok()?;

    parse(line.get(..len)?)
}

/// `pid (name) state ppid pgrp session tty tpgid flags ...`; the name may hold any byte, so fields count from its end.
fn parse(line: &[u8]) -> Option<Stat> {
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = line
        .get(name_end + 1..)?
        .split(|byte| *byte == b' ')
        .filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let mut number = |skip| -> Option<u64> {
        str::from_utf8(fields.nth(skip)?)
            .ok()?
            .trim_ascii_end()
            .parse()
            .ok()
    };

    let flags = number(5)?;
    let threads = number(10)?;
    let start_time = number(1)?;

    Some(Stat {
        ended: matches!(state, b'Z' | b'X' | b'x') || flags & EXITING != 0,
        threads,
        start_time,
    })
}

#[cfg(test)]
mod tests {
    use super::{Stat, of, parse, start_time_of_this_process};
    use crate::vitals::Vitals;

    #[test]
    fn reads_the_fields_behind_any_name() {
        let line = b"12 (a) R b) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 7 0 4242 9 9\n";
        assert_eq!(
            parse(line),
            Some(Stat {
                ended: false,
                threads: 7,
                start_time: 4242
            })
        );

        let exiting = b"12 (x) R 1 12 12 0 -1 4194564 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9\n";
        assert!(parse(exiting).unwrap().ended);
        let zombie = b"12 (x) Z 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 0 0\n";
        assert!(parse(zombie).unwrap().ended);
        assert_eq!(parse(b"12 (x"), None);
        assert_eq!(parse(b"12 (x) S 1 2"), None);
    }

    #[test]
    fn knows_the_living_from_the_rest() {
        let start = start_time_of_this_process();
        let pid = std::process::id();

        assert_ne!(start, 0);
        assert_eq!(of(pid, start), Vitals::Runs);
        assert_eq!(of(pid, 0), Vitals::Runs);
        assert_eq!(
            of(pid, start + 1),
            Vitals::Over,
            "another process has the pid"
        );
        assert_eq!(of(0, 0), Vitals::Over);
        assert_eq!(of(0x3fff_fff0, 0), Vitals::Over, "no such process");
    }
}
