//! How much memory there is.

#![expect(unsafe_code, reason = "sysconf is a C function")]

use crate::cgroup;

/// The machine's memory in bytes.
#[must_use]
pub fn physical_memory() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };

    u64::try_from(pages)
        .unwrap_or(0)
        .saturating_mul(page_size() as u64)
}

/// What the control groups of this process allow it, in bytes.
#[must_use]
pub fn cgroup_memory_limit() -> Option<u64> {
    cgroup::memory_limit()
}

/// The size of a page in bytes.
#[inline]
#[must_use]
pub fn page_size() -> usize {
    rustix::param::page_size()
}
