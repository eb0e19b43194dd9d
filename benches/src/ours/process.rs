//! procession's processes.

use procession::{Process, StartMethod};

use crate::Result;
use crate::harness::Contender;
use crate::link::Calls;

/// A fresh program that does nothing.
pub(crate) fn spawn() -> Result<Box<dyn Contender>> {
    Ok(starting(StartMethod::Spawn))
}

/// A fork of the template that does nothing.
pub(crate) fn forkserver() -> Result<Box<dyn Contender>> {
    // The template is started before the first round.
    start(StartMethod::Forkserver)?;
    Ok(starting(StartMethod::Forkserver))
}

fn starting(method: StartMethod) -> Box<dyn Contender> {
    Box::new(Calls(move |operations| {
        (0..operations).try_for_each(|_| start(method))
    }))
}

fn start(method: StartMethod) -> Result<()> {
    let status = Process::new(|| ()).start_method(method).start()?.join()?;
    if status.code() == 0 {
        Ok(())
    } else {
        Err(format!("a process ended with {status}").into())
    }
}
