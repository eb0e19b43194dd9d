//! Whole programs as tests: the test program runs itself again under the name of one of its programs.
//!
//! A program gets `--program=<name>`, runs instead of the tests, and may be killed, limited or left alone with its one thread.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "each test uses a part of it"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use procession_sys::process::{ChildProcess, is_zombie, pidfd_open};
use procession_sys::signal::Signal;

const PREFIX: &str = "--program=";
const TIME_LIMIT: Duration = Duration::from_secs(240);

/// Runs the program that was asked for, or the tests.
pub(crate) fn run(programs: &[(&str, fn())], tests: Vec<(&'static str, fn())>) {
    let asked = std::env::args().nth(1);
    if let Some(name) = asked
        .as_deref()
        .and_then(|argument| argument.strip_prefix(PREFIX))
    {
        let program = programs.iter().find(|(other, _)| *other == name);
        program
            .unwrap_or_else(|| panic!("no program is called {name}"))
            .1();
        return;
    }
    std::thread::spawn(|| {
        std::thread::sleep(TIME_LIMIT);
        eprintln!("watchdog: the tests took longer than {TIME_LIMIT:?}");
        std::process::abort();
    });
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || -> Result<(), Failed> {
                test();
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The command that runs a program of this test.
#[expect(
    clippy::disallowed_methods,
    reason = "a program of its own, not a child of the engine"
)]
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(format!("{PREFIX}{name}")).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a program to its end, which must be good, and returns what it printed.
pub(crate) fn succeed(name: &str) -> String {
    let output = command(name).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(
        output.status.success(),
        "{name}: {}\n{out}\n{err}",
        output.status
    );
    out
}

/// Starts a program and waits for the line that says which processes it has made.
pub(crate) fn start(command: &mut Command) -> (Child, BufReader<ChildStdout>, Vec<u32>) {
    let mut program = command.spawn().unwrap();
    let mut out = BufReader::new(program.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let pids = line
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    (program, out, pids)
}

/// Waits until all processes have ended, and says how long it took.
pub(crate) fn wait_until_gone(what: &str, pids: &[u32]) {
    let start = Instant::now();
    for pid in pids {
        while is_zombie(*pid) == Some(false) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    eprintln!(
        "{what}: {} processes were gone after {:?}",
        pids.len(),
        start.elapsed()
    );
}

/// Sends a signal to a process, if it is there.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Ok(pidfd) = pidfd_open(pid) {
        // It may have ended meanwhile.
        let _ = ChildProcess::from_pidfd(pid, pidfd).kill(signal);
    }
}

/// The children of this process that have ended and were not collected.
pub(crate) fn zombies() -> Vec<u32> {
    let me = std::process::id();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let line = procession_sys::process::status_line(*pid);
            line.is_some_and(|line| line.parent == me && line.state == 'Z')
        })
        .collect()
}
