//! procession's `Pool`.

use procession::Pool;

use crate::Result;
use crate::harness::Contender;
use crate::link::{Calls, same};
use crate::work;

/// One task at a time.
pub(crate) fn apply() -> Result<Box<dyn Contender>> {
    let pool = Pool::new()?;
    Ok(Box::new(Calls(move |operations| {
        (0..operations)
            .try_for_each(|number| same(pool.apply(work::increment, (number,))?, number + 1))
    })))
}

/// All tasks handed in, then all results taken.
pub(crate) fn throughput() -> Result<Box<dyn Contender>> {
    let pool = Pool::new()?;
    Ok(Box::new(Calls(move |operations| {
        let mut results = Vec::new();
        for number in 0..operations {
            results.push(pool.apply_async(work::increment, (number,))?);
        }
        (0..)
            .zip(results)
            .try_for_each(|(number, result)| same(result.get()?, number + 1))
    })))
}

/// CPU-bound tasks on all cores.
pub(crate) fn map() -> Result<Box<dyn Contender>> {
    let pool = Pool::new()?;
    let steps = work::five_milliseconds();
    let expected = work::burn(steps);
    Ok(Box::new(Calls(move |operations| {
        let results = pool.map(work::burn, (0..operations).map(|_| steps))?;
        results
            .into_iter()
            .try_for_each(|result| same(result, expected))
    })))
}
