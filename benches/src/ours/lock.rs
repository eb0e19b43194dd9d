//! procession's `Lock`, which nobody else wants.

use crate::Result;
use crate::harness::Contender;
use crate::link::Calls;

/// Acquires and releases, by guard.
pub(crate) fn uncontended() -> Result<Box<dyn Contender>> {
    let lock = procession::Lock::new()?;
    Ok(Box::new(Calls(move |operations| {
        for _ in 0..operations {
            drop(lock.acquire()?);
        }
        Ok(())
    })))
}
