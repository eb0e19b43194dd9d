//! Starting a process that does nothing, and waiting for its end.

use super::os::{Program, fork_and_wait};
use crate::harness::Contender;
use crate::link::{Calls, Place};
use crate::{Result, roles};

pub(crate) const NOTHING_ROLE: &str = "nothing";

/// A fresh program that is as small as a Rust program with the dynamic C library can be.
pub(crate) fn trivial_program() -> Result<Box<dyn Contender>> {
    program(Program::new(env!("TRIVIAL_PROGRAM"), &[])?)
}

/// This program again, as whoever starts a fresh process to run a function of it must.
pub(crate) fn this_program() -> Result<Box<dyn Contender>> {
    program(Program::new(
        "/proc/self/exe",
        &[roles::CHILD, NOTHING_ROLE, ""],
    )?)
}

fn program(program: Program) -> Result<Box<dyn Contender>> {
    Ok(Box::new(Calls(move |operations| {
        (0..operations).try_for_each(|_| program.run())
    })))
}

/// A copy of this process.
pub(crate) fn fork() -> Result<Box<dyn Contender>> {
    Ok(Box::new(Calls(|operations| {
        (0..operations).try_for_each(|_| fork_and_wait())
    })))
}

pub(crate) fn serve_nothing(_: &Place) -> Result<()> {
    Ok(())
}
