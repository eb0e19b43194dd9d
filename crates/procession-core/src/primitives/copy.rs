//! Bytes into and out of memory that other processes may write at the same time.
//!
//! Used by [`Cell`](super::Cell). Neither a reference nor `memcpy` may touch such memory: both promise the compiler that
//! nobody else writes. Here each access is volatile, as wide as its address is aligned for, and never wider than what is
//! left, so an aligned number of up to 8 bytes never comes out as a mixture of two, and the bytes need not be initialised
//! (a struct has padding). Racing processes may still see a mixture of *several* numbers; a lock beside the memory
//! prevents that, and orders these accesses like any others.
//!
//! Long copies go in steps of [`Wide`], which keeps up with `memcpy` as soon as the data no longer fits the first caches.

#![expect(unsafe_code, reason = "shared memory is reached through raw pointers")]

use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// What a long copy moves at once; the processor reads and writes each aligned half of it in one step.
#[cfg(target_arch = "x86_64")]
type Wide = std::arch::x86_64::__m128i;
#[cfg(not(target_arch = "x86_64"))]
type Wide = u64;

/// How many [`Wide`]s go through registers together.
const ABREAST: usize = 8;
const STEP: usize = ABREAST * size_of::<Wide>();

/// Copies from the private `from` to the shared memory at `to`.
///
/// # Safety
/// `to` is valid for writes of as many bytes; all who access them meanwhile do it through this module.
#[inline]
pub(super) unsafe fn into_shared(from: &[MaybeUninit<u8>], to: NonNull<u8>) {
    each_part(to, from.len(), |at, width| {
        let store = match width {
            1 => store::<u8>,
            2 => store::<u16>,
            4 => store::<u32>,
            8 => store::<u64>,
            _ => store_wide,
        };
        let source = from[at..].as_ptr().cast();
        // SAFETY: the part lies inside the range.
        let target = unsafe { to.as_ptr().add(at) };
        // SAFETY: as the caller promises; the target is aligned to the width.
        unsafe { store(source, target) }
    });
}

/// Copies from the shared memory at `from` to the private `to`.
///
/// # Safety
/// `from` is valid for reads of as many bytes; all who access them meanwhile do it through this module.
#[inline]
pub(super) unsafe fn out_of_shared(from: NonNull<u8>, to: &mut [MaybeUninit<u8>]) {
    each_part(from, to.len(), |at, width| {
        let load = match width {
            1 => load::<u8>,
            2 => load::<u16>,
            4 => load::<u32>,
            8 => load::<u64>,
            _ => load_wide,
        };
        // SAFETY: the part lies inside the range.
        let source = unsafe { from.as_ptr().add(at) };
        let target = to[at..].as_mut_ptr().cast();
        // SAFETY: as the caller promises; the source is aligned to the width.
        unsafe { load(source, target) }
    });
}

/// Calls `copy(at, width)` for each part of `len` bytes at the shared address: as wide as alignment and length allow.
#[inline]
fn each_part(shared: NonNull<u8>, len: usize, mut copy: impl FnMut(usize, usize)) {
    let address = shared.as_ptr().addr();

    // One number, which the compiler knows once this is inlined.
    if matches!(len, 1 | 2 | 4 | 8) && address.is_multiple_of(len) {
        copy(0, len);
        return;
    }
    let mut at = 0;
    while at < len {
        let place = address + at;
        let left = len - at;
        let width = if left >= STEP && place.is_multiple_of(size_of::<Wide>()) {
            STEP
        } else {
            1 << place.trailing_zeros().min(left.ilog2()).min(3)
        };
        copy(at, width);
        at += width;
    }
}

/// # Safety
/// `source` is valid for a read, `target` for a write and aligned.
#[inline]
unsafe fn store<T>(source: *const u8, target: *mut u8) {
    // SAFETY: as the caller promises.
    let part = unsafe { source.cast::<MaybeUninit<T>>().read_unaligned() };
    // SAFETY: as the caller promises.
    unsafe { target.cast::<MaybeUninit<T>>().write_volatile(part) }
}

/// # Safety
/// `source` is valid for a read and aligned, `target` for a write.
#[inline]
unsafe fn load<T>(source: *const u8, target: *mut u8) {
    // SAFETY: as the caller promises.
    let part = unsafe { source.cast::<MaybeUninit<T>>().read_volatile() };
    // SAFETY: as the caller promises.
    unsafe { target.cast::<MaybeUninit<T>>().write_unaligned(part) }
}

/// # Safety
/// As for [`store`], with [`STEP`] bytes.
#[inline]
unsafe fn store_wide(source: *const u8, target: *mut u8) {
    let source = source.cast::<[MaybeUninit<Wide>; ABREAST]>();
    // SAFETY: as the caller promises.
    let parts = unsafe { source.read_unaligned() };
    for (index, part) in parts.into_iter().enumerate() {
        // SAFETY: the parts lie side by side.
        let target = unsafe { target.cast::<MaybeUninit<Wide>>().add(index) };
        // SAFETY: as the caller promises.
        unsafe { target.write_volatile(part) }
    }
}

/// # Safety
/// As for [`load`], with [`STEP`] bytes.
#[inline]
unsafe fn load_wide(source: *const u8, target: *mut u8) {
    let source = source.cast::<MaybeUninit<Wide>>();
    let parts: [_; ABREAST] = std::array::from_fn(|index| {
        // SAFETY: the parts lie side by side.
        let source = unsafe { source.add(index) };
        // SAFETY: as the caller promises.
        unsafe { source.read_volatile() }
    });
    let target = target.cast::<[MaybeUninit<Wide>; ABREAST]>();
    // SAFETY: as the caller promises.
    unsafe { target.write_unaligned(parts) }
}

#[cfg(test)]
mod tests {
    use super::{into_shared, out_of_shared};
    use proptest::prelude::*;
    use std::mem::MaybeUninit;
    use std::ptr::NonNull;

    fn filled(len: usize) -> Vec<MaybeUninit<u8>> {
        (0..len)
            .map(|at| MaybeUninit::new((at * 7 + 1) as u8))
            .collect()
    }

    fn bytes(of: &[MaybeUninit<u8>]) -> Vec<u8> {
        // SAFETY: every byte in these tests is initialised.
        of.iter()
            .map(|byte| unsafe { byte.assume_init() })
            .collect()
    }

    proptest! {
        #[test]
        fn every_byte_arrives_and_no_other_changes(shared_at in 0usize..65, private_at in 0usize..9, len in 0usize..700) {
            let private = filled(private_at + len);
            let mut shared = vec![MaybeUninit::new(0u8); shared_at + len + 9];
            let place = NonNull::from(&mut shared[shared_at]).cast();
            // SAFETY: the place is so long, and nobody else knows it.
            unsafe { into_shared(&private[private_at..], place) };

            let mut back = vec![MaybeUninit::new(0u8); private_at + len + 9];
            // SAFETY: the place is so long, and nobody else knows it.
            unsafe { out_of_shared(place, &mut back[private_at..private_at + len]) };

            prop_assert_eq!(bytes(&back[private_at..private_at + len]), bytes(&private[private_at..]));
            prop_assert!(bytes(&back[..private_at]).iter().all(|byte| *byte == 0));
            prop_assert!(bytes(&back[private_at + len..]).iter().all(|byte| *byte == 0));
            prop_assert!(bytes(&shared[..shared_at]).iter().all(|byte| *byte == 0));
            prop_assert!(bytes(&shared[shared_at + len..]).iter().all(|byte| *byte == 0));
        }
    }
}
