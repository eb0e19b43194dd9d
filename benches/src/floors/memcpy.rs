//! Copying a large message into warm shared memory and out again, in one process.

use super::os::Shared;
use crate::Result;
use crate::harness::Contender;
use crate::link::{Calls, same};
use crate::work::{self, BULK_BYTES};

/// Only the two copies.
pub(crate) fn bare() -> Result<Box<dyn Contender>> {
    let shared = Shared::create(BULK_BYTES)?;
    let mut source = vec![0; BULK_BYTES];
    let mut target = vec![0; BULK_BYTES];
    work::fill(&mut source, 0);
    Ok(Box::new(Calls(move |operations| {
        for _ in 0..operations {
            shared.write(0, &source);
            shared.read(0, &mut target);
        }
        same(work::sum(&target), work::expected_sum(1))
    })))
}

/// The two copies, of a message that is filled before and read after.
pub(crate) fn filled_and_read() -> Result<Box<dyn Contender>> {
    let shared = Shared::create(BULK_BYTES)?;
    let mut source = vec![0; BULK_BYTES];
    let mut target = vec![0; BULK_BYTES];
    Ok(Box::new(Calls(move |operations| {
        let mut read = 0_u64;
        for number in 0..operations {
            work::fill(&mut source, number);
            shared.write(0, &source);
            shared.read(0, &mut target);
            read = read.wrapping_add(work::sum(&target));
        }
        std::hint::black_box(read);
        Ok(())
    })))
}
