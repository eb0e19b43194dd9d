//! A pool in a field of a struct whose own method is the task; and one pool
//! that serves many requests at once.
//!
//! The pool stays where it is: only the part of the struct that the task needs
//! travels to the workers.
//!
//! `cargo run --example pool_in_a_struct`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::thread;

use procession::Pool;
use serde::{Deserialize, Serialize};

/// What the workers need to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Settings {
    width: usize,
}

struct Formatter {
    settings: Settings,
    pool: Pool,
}

impl Settings {
    fn center(self, line: String) -> String {
        format!("[{line:^width$}]", width = self.width)
    }
}

impl Formatter {
    fn new(width: usize) -> procession::Result<Self> {
        Ok(Self {
            settings: Settings { width },
            pool: Pool::builder().processes(2).name("Formatter").build()?,
        })
    }

    /// A method that hands a method of its own data to its own pool.
    fn center_all(&self, lines: &[&str]) -> procession::Result<Vec<String>> {
        let calls = lines
            .iter()
            .map(|line| (self.settings.clone(), (*line).to_owned()));
        self.pool.starmap(Settings::center, calls)
    }
}

/// What a web server would call, on a thread of its own for each request.
fn handle_request(formatter: &Formatter, number: usize) -> procession::Result<String> {
    let lines = formatter.center_all(&[&format!("request {number}")])?;
    Ok(lines.concat())
}

#[procession::main]
fn main() -> procession::Result<()> {
    let formatter = Formatter::new(16)?;
    for line in formatter.center_all(&["a pool", "in a struct"])? {
        println!("{line}");
    }

    // The pool is made once, not for each request, and takes calls from any thread.
    let answers = thread::scope(|scope| {
        let formatter = &formatter;
        let requests: Vec<_> = (1..=3)
            .map(|number| scope.spawn(move || handle_request(formatter, number)))
            .collect();
        let join = |request: thread::ScopedJoinHandle<'_, _>| match request.join() {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        requests
            .into_iter()
            .map(join)
            .collect::<procession::Result<Vec<_>>>()
    })?;
    for answer in answers {
        println!("{answer}");
    }
    Ok(())
}
