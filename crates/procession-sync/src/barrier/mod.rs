//! The barrier: [`raw`] is what others see, [`locked`] the changes of its state, [`round`] one
//! participant's stay.

mod locked;
mod raw;
mod round;

pub use raw::{BarrierError, RawBarrier};
