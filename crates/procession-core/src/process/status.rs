//! Exit statuses as one word in a slot: 0 is unknown, so that a fresh slot says nothing.
//!
//! A child writes its own before it exits; a template writes those of its children when it has reaped them. The parent reads it when the kernel
//! cannot tell it any more.

use std::sync::atomic::Ordering;

use procession_sync::OwnerId;
use procession_sys::futex;
use procession_sys::process::ExitStatus;

use crate::shm::family;

const SIGNALED: u32 = 0x200;
const KNOWN: u32 = 0x100;

/// Leaves the status of `owner`'s process in its slot.
pub(super) fn leave(owner: OwnerId, status: ExitStatus) {
    if let Some(word) = family::exit_status_word(owner) {
        // SYNC: exit status left -> parent
        word.store(to_bits(status), Ordering::Release);
        futex::wake(word, u32::MAX);
    }
}

/// The status that was left, if it was.
pub(super) fn left(owner: OwnerId) -> Option<ExitStatus> {
    // SYNC: exit status left -> parent
    let bits = family::exit_status_word(owner)?.load(Ordering::Acquire);
    (bits != 0).then(|| from_bits(bits))
}

pub(super) fn to_bits(status: ExitStatus) -> u32 {
    match status {
        ExitStatus::Exited(code) => KNOWN | (code.cast_unsigned() & 0xff),
        ExitStatus::Signaled(signal) => KNOWN | SIGNALED | (signal.cast_unsigned() & 0xff),
    }
}

pub(super) fn from_bits(bits: u32) -> ExitStatus {
    let low = (bits & 0xff).cast_signed();
    if bits & SIGNALED != 0 {
        ExitStatus::Signaled(low)
    } else {
        ExitStatus::Exited(low)
    }
}

#[cfg(test)]
mod tests {
    use procession_sys::process::ExitStatus;

    use super::{from_bits, to_bits};

    #[test]
    fn a_status_survives_its_word() {
        for status in [
            ExitStatus::Exited(0),
            ExitStatus::Exited(255),
            ExitStatus::Signaled(9),
        ] {
            assert_ne!(to_bits(status), 0);
            assert_eq!(from_bits(to_bits(status)), status);
        }
    }
}
