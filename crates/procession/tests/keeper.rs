//! The keeper: killed, restarted, and cleaning up after a whole family; and connections as arguments under `fork`.
//!
//! Each scenario is a program of its own (this one, with an argument), with its own family and one thread.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails and says so; its programs are started from outside"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use procession::{
    Connection, ErrorKind, Process, Queue, Receiver, Sender, SharedMemory, StartMethod, channel,
    duplex,
};

mod support;
use support::{join, watchdog};

const SCENARIO: &str = "--scenario";
const WITHIN: Duration = Duration::from_secs(60);

const SCENARIOS: [(&str, fn()); 3] = [
    ("a_killed_keeper_is_replaced", killed_keeper),
    (
        "connections_are_arguments_under_fork",
        fork_with_connections,
    ),
    ("connections_travel_between_forks", queue_between_forks),
];

fn main() {
    procession::init();
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(SCENARIO) {
        let name = arguments.next().unwrap();
        match SCENARIOS.iter().find(|(other, _)| *other == name) {
            Some((_, scenario)) => scenario(),
            None => family(&name),
        }
        return;
    }

    let mut trials: Vec<Trial> = SCENARIOS
        .map(|(name, _)| {
            Trial::test(name, move || -> Result<(), Failed> {
                let _watchdog = watchdog();
                let status = program(name).status().unwrap();
                status.success().then_some(()).ok_or("it failed".into())
            })
        })
        .into();
    trials.push(Trial::test(
        "names_left_by_a_killed_family_are_removed",
        || {
            let _watchdog = watchdog();
            killed_family();
            Ok(())
        },
    ));
    trials.push(Trial::test(
        "names_left_by_a_family_that_ended_are_removed",
        || {
            let _watchdog = watchdog();
            ended_family();
            Ok(())
        },
    ));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn program(scenario: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([SCENARIO, scenario]);
    command
}

/// The living children of this process that lead a session of their own: that
/// is what keepers do.
fn keepers() -> Vec<u32> {
    let me = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Behind the name: state, parent, group, session.
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            fields.len() > 3 && fields[0] != "Z" && fields[1] == me && fields[3] == pid.to_string()
        })
        .collect()
}

fn send_signal(pid: u32, signal: &str) {
    let pid = pid.to_string();
    let status = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(status.success());
}

fn the_keeper() -> u32 {
    let keepers = keepers();
    assert_eq!(keepers.len(), 1, "{keepers:?}");
    keepers[0]
}

fn killed_keeper() {
    let queue = Queue::<Sender<u8>>::new().unwrap();
    assert_eq!(keepers(), []);
    let (sender, receiver) = channel().unwrap();
    queue.put(&sender).unwrap();
    drop(sender);
    let keeper = the_keeper();
    for signal in ["-INT", "-TERM", "-HUP"] {
        send_signal(keeper, signal);
    }
    queue.put(&queue.get().unwrap()).unwrap();
    assert_eq!(the_keeper(), keeper, "it ignores what ends programs");

    send_signal(keeper, "-KILL");
    assert_eq!(
        receiver.recv().unwrap_err().kind(),
        ErrorKind::EndOfFile,
        "the descriptor went with the keeper"
    );
    let error = queue.get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadHandle);
    assert!(error.to_string().contains("keeper was killed"), "{error}");

    // The next use starts another.
    let (sender, receiver) = channel().unwrap();
    queue.put(&sender).unwrap();
    queue.get().unwrap().send(&3).unwrap();
    assert_eq!(receiver.recv().unwrap(), 3);
    // The killed one has closed its descriptors; it may not have ended altogether.
    let others = keepers().iter().filter(|pid| **pid != keeper).count();
    assert_eq!(others, 1);
    assert_eq!(procession::active_children().len(), 0);
}

fn echo(end: Connection<u8>, last: Sender<u8>) -> procession::Result<()> {
    last.send(&end.recv()?)?;
    end.send(&7)
}

fn fork_with_connections() {
    let (here, there) = duplex::<u8, u8>().unwrap();
    let (last, receiver) = channel().unwrap();
    let child = Process::new(echo)
        .args((there, last))
        .start_method(StartMethod::Fork)
        .start()
        .unwrap();
    here.send(&5).unwrap();
    assert_eq!(receiver.recv().unwrap(), 5);
    assert_eq!(here.recv().unwrap(), 7);
    join(&child);
}

fn answer_one(requests: Queue<Sender<u8>>) -> procession::Result<()> {
    requests.get()?.send(&9)
}

fn queue_between_forks() {
    let requests = Queue::new().unwrap();
    let child = Process::new(answer_one)
        .args((requests.clone(),))
        .start_method(StartMethod::Fork)
        .start()
        .unwrap();
    let (sender, receiver) = channel().unwrap();
    requests.put(&sender).unwrap();
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 9);
    assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::EndOfFile);
    join(&child);
}

/// A family that makes names; its first argument is what they begin with.
fn family(name: &str) {
    let _kept = SharedMemory::create(Some(&format!("{name}_parent")), 100).unwrap();
    let (ready, is_ready) = channel().unwrap();
    let (end, until_end) = channel().unwrap();
    let daemonic = name.ends_with("killed");
    let child = Process::new(hold)
        .args((name.to_owned(), ready, until_end))
        .daemon(daemonic)
        .start()
        .unwrap();
    is_ready.recv().unwrap();
    println!("{}", child.pid());
    if daemonic {
        loop {
            std::thread::park();
        }
    }
    drop(end);
}

fn hold(name: String, ready: Sender<()>, end: Receiver<()>) {
    let _kept = SharedMemory::create(Some(&format!("{name}_child")), 100).unwrap();
    let unlinked = SharedMemory::create(Some(&format!("{name}_unlinked")), 100).unwrap();
    unlinked.unlink().unwrap();
    ready.send(&()).unwrap();
    assert_eq!(end.recv().unwrap_err().kind(), ErrorKind::EndOfFile);
}

fn names(kind: &str) -> (String, [PathBuf; 2]) {
    let name = format!("procession_test_{}_{kind}", std::process::id());
    let paths = ["parent", "child"].map(|who| Path::new("/dev/shm").join(format!("{name}_{who}")));
    (name, paths)
}

fn wait_until_gone(paths: &[PathBuf]) {
    let began = Instant::now();
    while paths.iter().any(|path| path.exists()) {
        assert!(began.elapsed() < WITHIN, "{paths:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("gone after {:?}", began.elapsed());
}

fn killed_family() {
    let (name, paths) = names("killed");
    let mut program = program(&name).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(program.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert!(paths.iter().all(|path| path.exists()), "{paths:?}");
    // Somebody else's object under a name that the family had once.
    let unlinked = Path::new("/dev/shm").join(format!("{name}_unlinked"));
    std::fs::write(&unlinked, "").unwrap();

    program.kill().unwrap();
    program.wait().unwrap();
    wait_until_gone(&paths);
    assert!(unlinked.exists());
    std::fs::remove_file(unlinked).unwrap();
}

fn ended_family() {
    let (name, paths) = names("ended");
    let output = program(&name).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    wait_until_gone(&paths);
}
