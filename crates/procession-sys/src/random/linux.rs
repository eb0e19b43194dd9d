//! Unpredictable bytes on Linux, by `getrandom`.

use crate::{Error, Result};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// `N` unpredictable bytes; blocks only while the machine is booting.
///
/// # Errors
/// The kernel has no `getrandom` (before 3.17), or a sandbox forbids it.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;

    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new("get random bytes", errno.raw_os_error())),
        }
    }

    Ok(bytes)
}
