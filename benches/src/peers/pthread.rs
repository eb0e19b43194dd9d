#![expect(unsafe_code, reason = "the C library's locks have no safe interface")]
//! The C library's mutex in shared memory, plain and robust.

use std::mem::MaybeUninit;

use crate::Result;
use crate::floors::os::Shared;
use crate::harness::Contender;
use crate::link::Calls;

/// Shared between processes; blocks for ever once its owner has died.
pub(crate) fn shared_mutex() -> Result<Box<dyn Contender>> {
    open(libc::PTHREAD_MUTEX_STALLED)
}

/// Shared between processes; reports that its owner has died.
pub(crate) fn robust_mutex() -> Result<Box<dyn Contender>> {
    open(libc::PTHREAD_MUTEX_ROBUST)
}

fn open(robust: i32) -> Result<Box<dyn Contender>> {
    let shared = Shared::create(4096)?;
    let mutex: *mut libc::pthread_mutex_t = shared.address(0, 64).cast();
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: a valid place for the attributes.
    check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
    // SAFETY: the attributes were made above.
    check(unsafe {
        libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED)
    })?;
    // SAFETY: the attributes were made above.
    check(unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), robust) })?;
    // SAFETY: the place is page-aligned, large enough and zeroed, and the attributes were made above.
    check(unsafe { libc::pthread_mutex_init(mutex, attributes.as_ptr()) })?;

    Ok(Box::new(Calls(move |operations| {
        let mutex: *mut libc::pthread_mutex_t = shared.address(0, 64).cast();
        for _ in 0..operations {
            // SAFETY: made above, in memory that this closure owns.
            check(unsafe { libc::pthread_mutex_lock(mutex) })?;
            // SAFETY: locked by this thread just now.
            check(unsafe { libc::pthread_mutex_unlock(mutex) })?;
        }
        Ok(())
    })))
}

fn check(error: i32) -> Result<()> {
    if error == 0 {
        Ok(())
    } else {
        Err(std::io::Error::from_raw_os_error(error).into())
    }
}
