//! Life words on Linux: a robust process-shared pthread mutex, so that libc keeps the thread's robust list.
//!
//! ```text
//! lock word   bits 0..30  thread id of the holder, 0 = never held or dead
//!             bit  30     FUTEX_OWNER_DIED, set by the kernel
//!             bit  31     FUTEX_WAITERS, set by `arm`: the kernel will wake one sleeper at the holder's end
//! ```

#![expect(unsafe_code, reason = "pthread mutexes are C structures")]

use crate::{Error, Result, futex};
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::sync::atomic::{AtomicU32, Ordering};

const WAITERS: u32 = 1 << 31;
const OWNER_DIED: u32 = 1 << 30;
const THREAD: u32 = OWNER_DIED - 1;

/// Where libc keeps the futex word of a mutex.
#[cfg(target_env = "gnu")]
const LOCK_WORD: usize = 0;
#[cfg(target_env = "musl")]
const LOCK_WORD: usize = 4;

/// One process's life word. Lives in shared memory, begins by [`LifeWord::initialize`].
#[repr(C, align(64))]
pub struct LifeWord {
    mutex: UnsafeCell<MaybeUninit<libc::pthread_mutex_t>>,
}

const _: () = assert!(size_of::<LifeWord>() == 64, "a life word is one cache line");
const _: () = assert!(offset_of!(LifeWord, mutex) == 0);

// SAFETY: every access goes through libc's mutex functions or the atomic word.
unsafe impl Sync for LifeWord {}
// SAFETY: the value is never moved while in use; what libc records about the holder lies in the holder's thread.
unsafe impl Send for LifeWord {}

impl LifeWord {
    /// Makes a word that nobody holds.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Safety
    /// `this` is valid for writes, nobody holds the word at it, and nobody else uses it during the call.
    pub unsafe fn initialize(this: *mut Self) -> Result<()> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();

        // SAFETY: `attributes` is valid for writes.
        check(unsafe { libc::pthread_mutexattr_init(attributes) })?;
        // SAFETY: `attributes` is initialised.
        check(unsafe {
            libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED)
        })?;
        // SAFETY: `attributes` is initialised.
        check(unsafe {
            libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST)
        })?;
        // SAFETY: the caller vouches for `this`, whose first field is the mutex; `attributes` is initialised.
        check(unsafe { libc::pthread_mutex_init(this.cast(), attributes) })?;
        // SAFETY: `attributes` is initialised and not used again.
        check(unsafe { libc::pthread_mutexattr_destroy(attributes) })
    }

    /// Takes the word on the calling thread, for as long as the thread lives. A dead word is taken over. The memory
    /// must stay mapped at this address until the thread ends.
    ///
    /// # Errors
    /// [`Error::is_busy`] while another thread holds it.
    pub fn acquire(&self) -> Result<()> {
        // SAFETY: the mutex was initialised before the reference was made.
        match unsafe { libc::pthread_mutex_trylock(self.mutex()) } {
            // SAFETY: as above, and this thread holds it.
            libc::EOWNERDEAD => check(unsafe { libc::pthread_mutex_consistent(self.mutex()) }),
            code => check(code),
        }
    }

    /// Does a living thread hold the word?
    #[inline]
    #[must_use]
    pub fn is_held(&self) -> bool {
        // SYNC: holder's end -> is_held (the kernel's exchange on the word)
        is_alive(self.word().load(Ordering::Acquire))
    }

    /// Asks the kernel to wake a sleeper at the holder's end: returns the value to sleep on, `None` if nobody lives.
    #[inline]
    #[must_use]
    pub fn arm(&self) -> Option<u32> {
        let word = self.word();
        // SYNC: holder's end -> is_held
        let mut value = word.load(Ordering::Acquire);

        while is_alive(value) {
            if value & WAITERS != 0 {
                return Some(value);
            }
            match word.compare_exchange_weak(
                value,
                value | WAITERS,
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(value | WAITERS),
                Err(other) => value = other,
            }
        }

        None
    }

    /// The word to sleep on.
    #[inline]
    #[must_use]
    pub fn word(&self) -> &AtomicU32 {
        // SAFETY: libc and the kernel access these four bytes of the mutex atomically, and so does everybody here.
        unsafe { AtomicU32::from_ptr(self.mutex.get().wrapping_byte_add(LOCK_WORD).cast()) }
    }

    /// Passes the news on: the kernel wakes one sleeper only.
    pub fn wake_all_if_dead(&self) {
        if !self.is_held() {
            futex::wake(self.word(), u32::MAX);
        }
    }

    fn mutex(&self) -> *mut libc::pthread_mutex_t {
        self.mutex.get().cast()
    }
}

impl fmt::Debug for LifeWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LifeWord")
            .field("held", &self.is_held())
            .finish_non_exhaustive()
    }
}

const fn is_alive(value: u32) -> bool {
    value & THREAD != 0 && value & OWNER_DIED == 0
}

fn check(code: i32) -> Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(Error::new("take the life word", code))
    }
}
