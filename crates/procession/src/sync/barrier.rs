//! [`Barrier`].

use std::time::Duration;

use procession_core::primitives;
use procession_core::process::image;
use procession_core::shm::Wait;

use crate::error::{Error, Result};
use crate::handle::travels;
use crate::runtime::function_at;
use crate::target::{assert_stateless, conjure};

/// A number of parties that wait until all of them have come; then all pass,
/// and the barrier is ready for the next round.
///
/// A barrier is broken when one of those who wait gives up (a timeout), dies,
/// or its action panics, and by [`abort`](Self::abort): then all that wait fail
/// with [`ErrorKind::Broken`](crate::ErrorKind::Broken), and so does whoever
/// comes, until [`reset`](Self::reset). Nobody knows of a process that dies on
/// its way to the barrier: a timeout covers that.
///
/// # Examples
///
/// ```
/// use procession::{Barrier, Process};
///
/// fn meet(barrier: Barrier) -> procession::Result<()> {
///     barrier.wait()?;
///     Ok(())
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let barrier = Barrier::with_action(2, || println!("all are here"))?;
/// let child = Process::new(meet).args((barrier.clone(),)).start()?;
/// let place = barrier.wait()?;
/// assert!(place < 2);
/// child.join()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Barrier {
    /// Its tag is the position of the action in the executable, or 0.
    barrier: primitives::Barrier,
}

travels!(Barrier {
    barrier: primitives::Barrier
});

impl Barrier {
    /// A barrier for `parties` participants.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted; `parties` is 0.
    pub fn new(parties: u32) -> Result<Self> {
        Ok(Self {
            barrier: primitives::Barrier::new(parties, 0)?,
        })
    }

    /// A barrier for `parties` participants, the last of which runs `action`
    /// each time before they pass: a function, or a closure that captures
    /// nothing.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new); the action is not part of the main
    /// executable.
    pub fn with_action<F>(parties: u32, action: F) -> Result<Self>
    where
        F: Fn() + Copy + Send + 'static,
    {
        const { assert_stateless::<F>() };
        // Its type alone says what to run.
        let _ = action;
        let run: fn() = || conjure::<F>()();
        let position = image::position_of(run as usize)?;
        Ok(Self {
            barrier: primitives::Barrier::new(parties, position)?,
        })
    }

    /// Waits until all have come. Returns which of them this one was, from 0:
    /// each gets another number, so one can be chosen for something special.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Broken`](crate::ErrorKind::Broken).
    ///
    /// # Panics
    ///
    /// If the action panics here, which breaks the barrier for the others.
    pub fn wait(&self) -> Result<u32> {
        self.wait_with(&mut Wait::forever().for_answer())
    }

    /// As [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) if that was not
    /// enough, which breaks the barrier for the others; else as for
    /// [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32> {
        self.wait_with(&mut Wait::for_duration(Some(timeout)).for_answer())
    }

    /// Breaks the barrier.
    ///
    /// # Errors
    ///
    /// This process was forked in a way that left it outside the program's
    /// family of processes.
    pub fn abort(&self) -> Result<()> {
        Ok(self.barrier.abort()?)
    }

    /// Makes the barrier fresh again, broken or not; all that wait fail.
    ///
    /// # Errors
    ///
    /// As for [`abort`](Self::abort).
    pub fn reset(&self) -> Result<()> {
        Ok(self.barrier.reset()?)
    }

    /// How many must come.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.barrier.parties()
    }

    /// How many have come and wait for the others.
    #[must_use]
    pub fn n_waiting(&self) -> u32 {
        self.barrier.n_waiting()
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.barrier.is_broken()
    }

    fn wait_with(&self, wait: &mut Wait<'_>) -> Result<u32> {
        let run = match self.barrier.tag() {
            0 => None,
            position => Some(function_at::<fn()>(image::address_of(position)?)),
        };
        let action = run.map(|run| {
            move || {
                run();
                Ok::<(), Error>(())
            }
        });
        self.barrier.wait(wait, action)
    }
}
