//! A process's name, arguments, end and exit code; daemonic processes; what
//! `join` waits for; and that nothing is left behind.
//!
//! `cargo run --example process_life`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::time::Duration;

use procession::{
    Event, Process, Queue, StartMethod, active_children, current_process, parent_process,
};

fn introduce(greeting: String, times: usize) {
    let me = current_process();
    let parent = parent_process().map(|parent| parent.name);
    println!(
        "{} from {}, a child of {}",
        vec![greeting; times].join(", "),
        me.name,
        parent.unwrap_or_default()
    );
}

fn fail() -> Result<(), String> {
    Err("there is no paper in the printer".to_owned())
}

fn wait_for(event: Event) -> procession::Result<()> {
    event.wait()
}

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

/// Its own children, and what becomes of them when it ends before they do.
fn start_two(pids: Queue<(String, u32)>) -> procession::Result<()> {
    let daemon = Process::new(sleep_for_ever)
        .name("a daemonic child")
        .daemon(true)
        .start()?;
    let patient = Process::new(take_a_moment)
        .name("an ordinary child")
        .args((pids.clone(),))
        .start()?;
    pids.put(&(daemon.name().to_owned(), daemon.pid()))?;
    pids.put(&(patient.name().to_owned(), patient.pid()))
    // Returning ends the daemonic child, and waits for the other one.
}

fn take_a_moment(pids: Queue<(String, u32)>) -> procession::Result<()> {
    std::thread::sleep(Duration::from_millis(100));
    pids.put(&("finished".to_owned(), current_process().pid))
}

fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[procession::main]
fn main() -> procession::Result<()> {
    let child = Process::new(introduce)
        .name("Greeter")
        .args(("hello".to_owned(), 2))
        .start()?;
    // A target's arguments are checked when the program is compiled; the child has its own copy of them.
    println!("{} has exit code {}", child.name(), child.join()?.code());

    for method in [StartMethod::Spawn, StartMethod::Forkserver] {
        let child = Process::new(introduce)
            .name(format!("{method:?}"))
            .args(("hi".to_owned(), 1))
            .start_method(method)
            .start()?;
        child.join()?;
    }

    // An error is printed as `main` would, and gives exit code 1.
    let failing = Process::new(fail).start()?;
    println!("the failing process: {}", failing.join()?);

    // `join_timeout` does not end anything; `terminate` does.
    let event = Event::new()?;
    let waiting = Process::new(wait_for).args((event.clone(),)).start()?;
    let early = waiting.join_timeout(Duration::from_millis(20))?;
    println!("joined too early: {early:?}, alive: {}", waiting.is_alive());
    event.set();
    println!("after the event: {}", waiting.join()?);
    let stuck = Process::new(sleep_for_ever).start()?;
    stuck.terminate()?;
    println!("terminated: {}", stuck.join()?);

    // A process that ends before its children.
    let pids = Queue::new()?;
    let parent = Process::new(start_two).args((pids.clone(),)).start()?;
    println!("the parent in between: {}", parent.join()?);
    for _ in 0..2 {
        let (name, pid) = pids.get()?;
        println!("{name} exists: {}", exists(pid));
    }
    println!("the ordinary child has {}", pids.get()?.0);

    // Ended children are collected whether anybody joins them or not.
    let forgotten = Process::new(introduce)
        .name("Forgotten")
        .args(("bye".to_owned(), 1))
        .start()?;
    let pid = forgotten.pid();
    while !active_children().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("a zombie is left: {}", exists(pid));
    Ok(())
}
