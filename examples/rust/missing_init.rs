//! A program that has forgotten `#[procession::main]`: it gets one clear error
//! in the place where it starts a process, and no process is started.
//!
//! (Without the check, each child would run `main` again and start children of
//! its own, for ever.)
//!
//! `cargo run --example missing_init`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use procession::{Pool, Process};

fn greet() {
    println!("hello from a child");
}

// The attribute `#[procession::main]` is missing here.
fn main() {
    match Process::new(greet).start() {
        Ok(_) => println!("a process was started"),
        Err(error) => println!("no process: {error}"),
    }
    match Pool::new() {
        Ok(_) => println!("a pool was made"),
        Err(error) => println!("no pool: {error}"),
    }
}
