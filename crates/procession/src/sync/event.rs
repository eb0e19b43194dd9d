//! [`Event`].

use std::time::Duration;

use procession_core::primitives;
use procession_core::shm::Wait;

use crate::error::Result;
use crate::handle::travels;

/// A flag that processes wait for.
///
/// A waiter that dies keeps nobody else from passing. Whoever waits for a
/// process that dies before it sets the event waits on: use
/// [`wait_timeout`](Self::wait_timeout), or look at the process.
///
/// # Examples
///
/// ```
/// use procession::{Event, Process};
///
/// fn finish(done: Event) {
///     done.set();
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let done = Event::new()?;
/// let child = Process::new(finish).args((done.clone(),)).start()?;
/// done.wait()?;
/// child.join()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    event: primitives::Event,
}

travels!(Event {
    event: primitives::Event
});

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn new() -> Result<Self> {
        Ok(Self {
            event: primitives::Event::new()?,
        })
    }

    /// Sets the event: all that wait pass, and all that come later.
    pub fn set(&self) {
        self.event.set();
    }

    /// Takes the flag down. Those who waited before the last
    /// [`set`](Self::set) pass nevertheless.
    pub fn clear(&self) {
        self.event.clear();
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.event.is_set()
    }

    /// Waits until the event is set, or has been since the wait began.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn wait(&self) -> Result<()> {
        Ok(self.event.wait(&mut Wait::forever().for_answer())?)
    }

    /// Waits for at most `timeout`, and says whether the event was set.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        let mut wait = Wait::for_duration(Some(timeout)).for_answer();
        Ok(super::in_time(self.event.wait(&mut wait))?.is_some())
    }
}
