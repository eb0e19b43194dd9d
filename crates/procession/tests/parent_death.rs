//! The end of a program that has workers and daemonic children: killed by SIGKILL, or by Ctrl-C in the middle of a map. Nothing may stay behind:
//! no process, busy, stopped or deaf, and no name in the file system.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::exit,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic_in_result_fn,
    reason = "tests that cannot go on fail and say so, and their programs print and exit as users' programs do"
)]

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::time::Duration;

use procession::{Array, Pool, Process, StartMethod};
use procession_sys::signal::Signal;

#[path = "support/program.rs"]
mod program;

const METHODS: [StartMethod; 3] = [
    StartMethod::Fork,
    StartMethod::Spawn,
    StartMethod::Forkserver,
];

fn main() {
    let programs: [(&str, fn()); 2] = [("family", family), ("map", map)];
    let tests: Vec<(&'static str, fn())> = vec![
        ("everybody_ends_with_a_killed_parent", killed),
        ("ctrl_c_in_the_middle_of_a_map", interrupted),
    ];
    program::run(&programs, tests);
}

fn busy(pids: Array<u32>, index: usize) {
    pids.set(index, std::process::id());
    loop {
        std::hint::spin_loop();
    }
}

fn deaf(pids: Array<u32>, index: usize) {
    let _mask = procession_sys::signal::block_all_on_this_thread();
    busy(pids, index);
}

fn asleep(pids: Array<u32>, index: usize) {
    pids.set(index, std::process::id());
    loop {
        std::thread::park();
    }
}

/// A daemonic child with a daemonic child and a pool of its own.
fn parent(pids: Array<u32>, index: usize) {
    let _child = Process::new(asleep)
        .args((pids.clone(), index + 1))
        .daemon(true)
        .start()
        .unwrap();
    let pool = Pool::builder().processes(1).build().unwrap();
    let _result = pool.apply_async(asleep, (pids.clone(), index + 2)).unwrap();
    asleep(pids, index);
}

/// Everything that must not outlive its parent, of each start method.
fn family() {
    const EACH: usize = 3 + 2 + 3 + 1;

    procession::init();
    let pids = Array::<u32>::zeroed(METHODS.len() * EACH).unwrap();
    let mut pools = Vec::new();
    for (number, method) in METHODS.into_iter().enumerate() {
        let first = number * EACH;
        let pool = Pool::builder()
            .processes(3)
            .start_method(method)
            .build()
            .unwrap();
        // Forks need one thread of the user's: futures of the pool are not asked for.
        let _never = [
            pool.apply_async(busy, (pids.clone(), first)).unwrap(),
            pool.apply_async(deaf, (pids.clone(), first + 1)).unwrap(),
            pool.apply_async(asleep, (pids.clone(), first + 2)).unwrap(),
        ];
        pools.push(pool);
        let start = |target: Process| target;
        start(
            Process::new(deaf)
                .args((pids.clone(), first + 3))
                .daemon(true)
                .start_method(method)
                .start()
                .unwrap(),
        );
        start(
            Process::new(asleep)
                .args((pids.clone(), first + 4))
                .daemon(true)
                .start_method(method)
                .start()
                .unwrap(),
        );
        start(
            Process::new(parent)
                .args((pids.clone(), first + 5))
                .daemon(true)
                .start_method(method)
                .start()
                .unwrap(),
        );
        start(
            Process::new(asleep)
                .args((pids.clone(), first + 8))
                .daemon(true)
                .start_method(method)
                .start()
                .unwrap(),
        );
    }
    while pids.iter().any(|pid| pid == 0) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Of each kind one is stopped.
    for number in 0..METHODS.len() {
        for index in [2, 4] {
            program::signal(pids.get(number * EACH + index), Signal::STOP);
        }
    }
    let pids: Vec<_> = pids.iter().map(|pid| pid.to_string()).collect();
    println!("{}", pids.join(" "));
    loop {
        std::thread::park();
    }
}

/// The names that a family could leave behind. Those that other tests make while this one runs are theirs to look after.
fn names() -> Vec<String> {
    ["/dev/shm", "/tmp"]
        .into_iter()
        .flat_map(|directory| std::fs::read_dir(directory).into_iter().flatten())
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains("procession") && !name.starts_with("procession_test_"))
        .collect()
}

fn killed() {
    let before = names();
    for _ in 0..5 {
        let mut command = program::command("family");
        let (mut program, _out, pids) = program::start(&mut command);
        assert_eq!(pids.len(), 27);
        let template_children = children_of(program.id());
        program.kill().unwrap();
        program::wait_until_gone("parent killed", &pids);
        program::wait_until_gone("parent killed, helpers", &template_children);
        program.wait().unwrap();
    }
    let left: Vec<_> = names()
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

/// All processes whose parent is `pid`.
fn children_of(pid: u32) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|child| {
            procession_sys::process::status_line(*child).is_some_and(|line| line.parent == pid)
        })
        .collect()
}

fn map() {
    fn work(n: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(1));
        n
    }

    procession::init();
    let method = std::env::args().nth(2).unwrap().parse().unwrap();
    let pool = Pool::builder()
        .processes(3)
        .start_method(method)
        .build()
        .unwrap();
    let _ready = pool.map(work, 0..30).unwrap();
    let pids: Vec<_> = pool.pids().iter().map(u32::to_string).collect();
    println!("{}", pids.join(" "));
    let _never = pool.map(work, 0..1_000_000);
}

fn interrupted() {
    for round in 0..10 {
        for method in METHODS {
            let mut command = program::command("map");
            command.arg(method.name()).process_group(0);
            let (program, mut out, pids) = program::start(&mut command);
            std::thread::sleep(Duration::from_millis(round));
            interrupt_group(program.id());
            let output = program.wait_with_output().unwrap();
            assert_eq!(output.status.signal(), Some(2), "{method}: {output:?}");
            let mut rest = String::new();
            std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
            assert_eq!(
                (rest.as_str(), output.stderr.as_slice()),
                ("", &b""[..]),
                "{method}"
            );
            program::wait_until_gone("ctrl-c", &pids);
        }
    }
}

/// What the terminal does on Ctrl-C.
fn interrupt_group(leader: u32) {
    #![expect(unsafe_code, reason = "the engine never signals a group")]
    unsafe extern "C" {
        fn kill(pid: i32, signal: i32) -> i32;
    }

    // SAFETY: it has no preconditions; the group's leader has not been collected.
    let sent = unsafe { kill(-leader.cast_signed(), Signal::INTERRUPT.number()) };
    assert_eq!(sent, 0);
}
