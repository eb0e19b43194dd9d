//! Taking and giving back a lock that nobody else wants.

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::os::{Shared, futex_wait, futex_wake};
use crate::Result;
use crate::harness::Contender;
use crate::link::Calls;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const WAITED_FOR: u32 = 2;

/// The plain futex lock: three states in one word of shared memory, no owner.
pub(crate) fn futex_word() -> Result<Box<dyn Contender>> {
    let shared = Shared::create(4096)?;
    Ok(Box::new(Calls(move |operations| {
        let word = shared.word32(0);
        for _ in 0..operations {
            if word
                .compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
            {
                while word.swap(WAITED_FOR, Ordering::Acquire) != FREE {
                    futex_wait(word, WAITED_FOR);
                }
            }
            if word.swap(FREE, Ordering::Release) == WAITED_FOR {
                futex_wake(word);
            }
        }
        Ok(())
    })))
}

/// The standard library's lock, which knows one process only.
pub(crate) fn std_mutex() -> Result<Box<dyn Contender>> {
    let mutex = Mutex::new(0_u64);
    Ok(Box::new(Calls(move |operations| {
        for _ in 0..operations {
            let mut guard = mutex.lock().map_err(|_| "the lock is poisoned")?;
            *guard = black_box(*guard + 1);
        }
        Ok(())
    })))
}
