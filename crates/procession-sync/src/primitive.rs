//! The one place that atomics come from.
//!
//! Used by every file of this crate, and by whoever implements [`Waiter`](crate::Waiter), whose
//! words have these types. They are the processor's own, or, under `--cfg procession_loom`,
//! loom's, so that the model checker runs the algorithms as they are. Only the processor's have
//! a defined layout: a word lives in shared memory in ordinary builds alone.

#[cfg(not(procession_loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(procession_loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Defines a function that is `const` where the atomics' constructors are.
macro_rules! const_unless_loom {
    ($(#[$attribute:meta])* pub const fn $($rest:tt)*) => {
        #[cfg(not(procession_loom))]
        $(#[$attribute])* pub const fn $($rest)*
        #[cfg(procession_loom)]
        $(#[$attribute])* pub fn $($rest)*
    };
}
pub(crate) use const_unless_loom;
