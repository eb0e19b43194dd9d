//! The monotonic clock on Linux, read without a system call.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some moment before every process of this machine was started.
#[inline]
#[must_use]
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);

    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}
