//! The notifier: descriptors that can be polled for what is really a word of shared memory.
//!
//! Used by queues. A process that wants to poll one gets a private eventfd; nobody who puts a message needs to know of
//! it. One thread of this process (one for each 127 sources) sleeps on the words of all sources whose descriptor is low:
//!
//! ```text
//! LOW  --- the source becomes ready: the thread wakes, raises the descriptor, stops watching the source --> RAISED
//! RAISED --- somebody of this process finds it not ready (after a get, or by asking): lowers it, kicks the thread --> LOW
//! ```
//!
//! So a descriptor is raised while its source is ready. It may stay raised after *another* process has taken the last
//! message, until somebody of this process looks: whoever polls then asks [`Readiness::is_ready`]. The thread looks at
//! all sources once a second at least, since a process may die between putting a message and waking it.
//!
//! It begins with the first descriptor and ends with the last. A forked child has neither the thread nor the
//! descriptors (they are its parent's): it asks for its own. All of this is private memory.

use super::thread::Thread;
use crate::error::Result;
use crate::shm::{BlockId, Wait, identity};
use procession_sync::{OwnerId, RawEventCount};
use procession_sys::eventfd::EventFd;
use procession_sys::futex;
use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How many sources one thread watches, beside its own control word.
const MOST_SOURCES: usize = futex::MOST_WORDS - 1;

const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The same where the kernel cannot watch several words.
const UNWATCHED_SLEEP: Duration = Duration::from_millis(20);

/// Something that can be ready, and the word that changes when it becomes so.
pub(crate) trait Source: fmt::Debug + Send + Sync + 'static {
    /// Its name within the family.
    fn id(&self) -> BlockId;

    /// Notified after it has become ready.
    fn event_count(&self) -> &RawEventCount;

    /// Is it ready now?
    fn is_ready(&self) -> bool;
}

/// A descriptor that is readable while its source is ready. It belongs to this process: a forked child asks anew.
#[derive(Debug)]
pub struct Readiness {
    /// Empty only while it is dropped.
    entry: Option<Arc<Entry>>,
}

impl Readiness {
    /// Is the source ready now? If not, lowers the descriptor, so that the next poll waits.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let entry = self.entry();
        if !self.is_of_this_process() {
            return entry.source.is_ready();
        }

        entry.adjust()
    }

    /// False in a child that was forked after the descriptor was made: it is the parent's.
    #[must_use]
    pub fn is_of_this_process(&self) -> bool {
        identity::cached() == Some(self.entry().process)
    }

    fn entry(&self) -> &Entry {
        match &self.entry {
            Some(entry) => entry,
            None => unreachable!("only the drop empties it"),
        }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.entry().event.as_fd()
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let crew = self
            .is_of_this_process()
            .then(|| Arc::clone(&self.entry().crew));
        drop(self.entry.take());

        if let Some(crew) = crew {
            crew.leave();
        }
    }
}

#[derive(Debug)]
struct Entry {
    source: Box<dyn Source>,
    event: EventFd,
    process: OwnerId,
    crew: Arc<Crew>,
    /// Is the descriptor raised?
    raised: Mutex<bool>,
}

impl Entry {
    /// Makes the descriptor agree with the source; true if it is raised now.
    fn adjust(&self) -> bool {
        let mut raised = lock(&self.raised);
        let was_raised = *raised;

        if was_raised && !self.source.is_ready() {
            // A descriptor that the program has closed tells nobody anything, and that is all that is lost.
            let _ = self.event.drain();
            *raised = false;
        }
        if !*raised && self.source.is_ready() {
            let _ = self.event.signal();
            *raised = true;
        }
        if was_raised && !*raised {
            self.crew.kick();
        }
        *raised
    }
}

/// One thread and what it watches.
#[derive(Debug, Default)]
struct Crew {
    /// Goes up when there is something to look at again.
    control: AtomicU32,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    entries: Vec<Weak<Entry>>,
    /// How many [`Readiness`] there are: the thread runs as long as there is one.
    readers: usize,
    thread: Option<Thread>,
    /// Which thread is to run; any other one ends.
    generation: u32,
}

impl Crew {
    fn kick(&self) {
        self.control.fetch_add(1, Ordering::Release);
        futex::wake(&self.control, u32::MAX);
    }

    /// There is one [`Readiness`] more; starts the thread if it was the first.
    fn enter(self: &Arc<Self>, watched: &mut Watched) -> Result<()> {
        if watched.thread.is_none() {
            let (crew, generation) = (Arc::clone(self), watched.generation);
            let thread = Thread::start("procession-notifier", move || crew.run(generation))?;
            watched.thread = Some(thread);
        }
        watched.readers += 1;
        Ok(())
    }

    /// There is one [`Readiness`] less. After the last one the thread is gone: the program may want to fork, which it may not do with threads.
    fn leave(&self) {
        let mut watched = lock(&self.watched);
        watched.readers -= 1;
        let ending = if watched.readers == 0 {
            watched.generation += 1;
            watched.thread.take()
        } else {
            None
        };
        drop(watched);
        self.kick();

        if let Some(thread) = ending {
            // Without a deadline and a callback it always succeeds.
            let _ = thread.wait(&mut Wait::forever());
        }
    }

    /// Adds an entry, with one [`Readiness`], if there is room.
    fn add(
        self: &Arc<Self>,
        make: impl FnOnce() -> Result<Arc<Entry>>,
    ) -> Result<Option<Arc<Entry>>> {
        let mut watched = lock(&self.watched);
        watched.entries.retain(|entry| entry.strong_count() > 0);
        if watched.entries.len() >= MOST_SOURCES {
            return Ok(None);
        }

        let entry = make()?;
        self.enter(&mut watched)?;
        watched.entries.push(Arc::downgrade(&entry));
        drop(watched);
        self.kick();
        Ok(Some(entry))
    }

    fn run(&self, generation: u32) {
        loop {
            let control = self.control.load(Ordering::Acquire);
            let Some(entries) = self.entries(generation) else {
                return;
            };

            let mut words = Vec::with_capacity(1 + entries.len());
            words.push((&self.control, control));
            for entry in &entries {
                let count = entry.source.event_count();
                let ticket = count.prepare();
                if !entry.adjust() {
                    words.push((count.word(), ticket.expected()));
                }
            }
            let limit = if futex::wait_any_supported() {
                LONGEST_SLEEP
            } else {
                UNWATCHED_SLEEP
            };
            futex::wait_any(&words, Some(limit));
        }
    }

    /// What there is to watch; `None` ends the thread.
    fn entries(&self, generation: u32) -> Option<Vec<Arc<Entry>>> {
        let mut watched = lock(&self.watched);
        watched.entries.retain(|entry| entry.strong_count() > 0);

        (watched.generation == generation)
            .then(|| watched.entries.iter().filter_map(Weak::upgrade).collect())
    }
}

/// What this process polls. A forked child begins with its own: its copy of the parent's may be locked for ever.
#[derive(Debug)]
struct Registry {
    process: OwnerId,
    polled: Mutex<Polled>,
}

#[derive(Debug, Default)]
struct Polled {
    entries: HashMap<BlockId, Weak<Entry>>,
    crews: Vec<Arc<Crew>>,
}

static REGISTRY: AtomicPtr<Registry> = AtomicPtr::new(std::ptr::null_mut());

/// A descriptor for the source: the one that there is, or a new one.
///
/// # Errors
/// No descriptor or thread is left; this process belongs to no family.
pub(crate) fn register(source: impl Source) -> Result<Readiness> {
    let registry = registry()?;
    let mut polled = lock(&registry.polled);
    if let Some(entry) = polled.entries.get(&source.id()).and_then(Weak::upgrade) {
        entry.crew.enter(&mut lock(&entry.crew.watched))?;
        entry.crew.kick();
        return Ok(Readiness { entry: Some(entry) });
    }
    polled.entries.retain(|_, entry| entry.strong_count() > 0);

    let id = source.id();
    let mut source = Some(source);
    let mut found = None;
    let new = Arc::new(Crew::default());
    for crew in polled.crews.iter().chain([&new]) {
        found = crew.add(|| {
            let event = EventFd::new()?;
            let Some(source) = source.take() else {
                unreachable!("only the crew that has room asks for it")
            };
            Ok(Arc::new(Entry {
                source: Box::new(source),
                event,
                process: registry.process,
                crew: Arc::clone(crew),
                raised: Mutex::new(false),
            }))
        })?;
        if found.is_some() {
            break;
        }
    }

    let Some(entry) = found else {
        unreachable!("a new crew has room")
    };
    if Arc::ptr_eq(&entry.crew, &new) {
        polled.crews.push(new);
    }
    polled.entries.insert(id, Arc::downgrade(&entry));
    entry.adjust();
    Ok(Readiness { entry: Some(entry) })
}

/// The source may have become ready, or may not be ready any more: corrects its descriptor, if this process has one.
pub(crate) fn look_again(id: BlockId) {
    let Some(registry) = existing() else { return };
    let entry = lock(&registry.polled)
        .entries
        .get(&id)
        .and_then(Weak::upgrade);

    if let Some(entry) = entry {
        entry.adjust();
    }
}

fn existing() -> Option<&'static Registry> {
    // SYNC: registry made -> existing
    let registry = registry_at(REGISTRY.load(Ordering::Acquire))?;

    (identity::cached() == Some(registry.process)).then_some(registry)
}

fn registry() -> Result<&'static Registry> {
    let process = identity::me()?;
    loop {
        if let Some(registry) = existing() {
            return Ok(registry);
        }

        let before = REGISTRY.load(Ordering::Acquire);
        let made = Box::into_raw(Box::new(Registry {
            process,
            polled: Mutex::default(),
        }));
        // SYNC: registry made -> existing. The one before, a parent's, stays where it is: it may be locked.
        if REGISTRY
            .compare_exchange(before, made, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            drop(unmade(made));
        }
    }
}

fn registry_at(place: *mut Registry) -> Option<&'static Registry> {
    #![expect(
        unsafe_code,
        reason = "the registry is reached through a pointer that starts as null"
    )]
    // SAFETY: null, or what `registry` stored, which is never freed.
    unsafe { place.as_ref() }
}

fn unmade(place: *mut Registry) -> Box<Registry> {
    #![expect(unsafe_code, reason = "another thread was faster")]
    // SAFETY: made by `Box::into_raw` a moment ago and seen by nobody else.
    unsafe { Box::from_raw(place) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
