//! Who this process is: its [`OwnerId`], cached where a fork wipes it.
//!
//! Used by everything that writes an owner into shared memory; [`cached`] costs two loads. The cache lies on a page that
//! the kernel hands to a forked child zeroed (`MADV_WIPEONFORK`), so a child never acts under its parent's name, however
//! it was forked; the at-fork hook gives it its own.
//!
//! The process's life word is held by one of its threads. When that thread ends before the process does, the fast cell is
//! cleared and the next call, on whatever thread, takes the word again; meanwhile others judge the process by its pid.

use crate::error::{Error, ErrorKind, Result};
use procession_sync::OwnerId;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

type Page = [AtomicU64; 512];

/// The owner's bits while a thread of this process holds the life word, else 0.
const READY: usize = 0;
/// The owner's bits from joining to the end of the process.
const MEMBER: usize = 1;
/// Taken by the one thread that is about to take the life word.
const TAKING: usize = 2;

static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());

/// This process's identity in its family; `None` outside any family.
#[inline]
#[must_use]
pub fn cached() -> Option<OwnerId> {
    match cell(READY)?.load(Ordering::Relaxed) {
        0 => member_without_life(),
        bits => OwnerId::from_bits(bits as u32),
    }
}

/// This process's identity in its family.
///
/// # Errors
/// [`ErrorKind::NotInFamily`] before the family is created or joined, and in a child that was forked without at-fork
/// hooks or when every slot was taken.
#[inline]
pub fn me() -> Result<OwnerId> {
    cached().ok_or_else(outside)
}

#[cold]
fn outside() -> Error {
    Error::new(
        ErrorKind::NotInFamily,
        "use shared memory: this process belongs to no family; it was forked in a way that the engine could not see, \
         or when all slots were taken",
    )
}

#[cold]
fn member_without_life() -> Option<OwnerId> {
    let owner = OwnerId::from_bits(cell(MEMBER)?.load(Ordering::Relaxed) as u32)?;

    take_life(owner);
    Some(owner)
}

/// Makes the page; before that nobody is a member.
pub(crate) fn prepare() -> Result<()> {
    if PAGE.load(Ordering::Relaxed).is_null() {
        let page = procession_sys::memory::wipe_on_fork_page()?;
        // SYNC: identity page made -> cell
        PAGE.store(std::ptr::from_ref(page).cast_mut(), Ordering::Release);
    }
    Ok(())
}

/// From now on this process is `owner`, whose life word the calling thread takes. Allocates nothing.
pub(crate) fn assume(owner: OwnerId) {
    if let Some(cell) = cell(MEMBER) {
        cell.store(owner.to_bits().into(), Ordering::Relaxed);
        take_life(owner);
    }
}

/// What [`assume`] would have to allocate in a child of the calling thread.
pub(crate) fn prepare_fork() {
    holder::prepare();
}

/// Takes the life word on the calling thread, unless another thread of this process holds it or is about to.
fn take_life(owner: OwnerId) {
    let (Some(ready), Some(taking), Some(slot)) =
        (cell(READY), cell(TAKING), super::slots::of(owner))
    else {
        return;
    };

    // SYNC: life taken -> take_life
    if taking.swap(1, Ordering::Acquire) != 0 {
        return;
    }
    // Busy while the thread before is still on its way out: the next call tries again.
    if slot.life.acquire().is_ok() && holder::begin() {
        ready.store(owner.to_bits().into(), Ordering::Relaxed);
    }
    // SYNC: life taken -> take_life
    taking.store(0, Ordering::Release);
}

#[inline]
fn cell(index: usize) -> Option<&'static AtomicU64> {
    // SYNC: identity page made -> cell
    let page = PAGE.load(Ordering::Acquire);

    page_at(page).map(|page| &page[index])
}

#[inline]
fn page_at(page: *const Page) -> Option<&'static Page> {
    #![expect(
        unsafe_code,
        reason = "the page is reached through a pointer that starts as null"
    )]
    // SAFETY: null, or the page that `prepare` stored, which is never unmapped and holds only atomics.
    unsafe { page.as_ref() }
}

/// Notices the end of the thread that holds the life word.
mod holder {
    use super::{READY, cell};
    use std::cell::Cell;
    use std::sync::atomic::Ordering;

    struct Holder {
        holds: Cell<bool>,
    }

    impl Drop for Holder {
        fn drop(&mut self) {
            // The first thread ends when the process does: then the kernel's own news is the fastest.
            let is_first = procession_sys::thread::id() == procession_sys::process::id();
            if let Some(ready) = cell(READY).filter(|_| self.holds.get() && !is_first) {
                ready.store(0, Ordering::Relaxed);
            }
        }
    }

    thread_local! {
        static HOLDER: Holder = const { Holder { holds: Cell::new(false) } };
    }

    /// Registers what runs at this thread's end, which may allocate: a child hook that takes a life word must not.
    pub(super) fn prepare() {
        let _ = HOLDER.try_with(|_| ());
    }

    /// False on a thread whose locals are already gone: its end would pass unseen.
    pub(super) fn begin() -> bool {
        HOLDER.try_with(|holder| holder.holds.set(true)).is_ok()
    }
}
