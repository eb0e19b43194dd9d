//! procspawn: functions in processes, and a pool of them, over ipc-channel.

use ::procspawn::Pool;

use crate::Result;
use crate::harness::Contender;
use crate::link::{Calls, same};
use crate::{machine, work};

fn pool() -> Result<Pool> {
    Ok(Pool::new(machine::usable_cpus())?)
}

/// Starts a process that does nothing and joins it.
pub(crate) fn start() -> Result<Box<dyn Contender>> {
    Ok(Box::new(Calls(|operations| {
        (0..operations).try_for_each(|_| Ok(::procspawn::spawn((), |()| ()).join()?))
    })))
}

/// One task at a time.
pub(crate) fn apply() -> Result<Box<dyn Contender>> {
    let pool = pool()?;
    Ok(Box::new(Calls(move |operations| {
        (0..operations)
            .try_for_each(|number| same(pool.spawn(number, work::increment).join()?, number + 1))
    })))
}

/// All tasks handed in, then all results taken.
pub(crate) fn throughput() -> Result<Box<dyn Contender>> {
    let pool = pool()?;
    Ok(Box::new(Calls(move |operations| {
        let handles: Vec<_> = (0..operations)
            .map(|number| pool.spawn(number, work::increment))
            .collect();
        (0..)
            .zip(handles)
            .try_for_each(|(number, handle)| same(handle.join()?, number + 1))
    })))
}

/// CPU-bound tasks on all cores.
pub(crate) fn map() -> Result<Box<dyn Contender>> {
    let pool = pool()?;
    let steps = work::five_milliseconds();
    let expected = work::burn(steps);
    Ok(Box::new(Calls(move |operations| {
        let handles: Vec<_> = (0..operations)
            .map(|_| pool.spawn(steps, work::burn))
            .collect();
        handles
            .into_iter()
            .try_for_each(|handle| same(handle.join()?, expected))
    })))
}
