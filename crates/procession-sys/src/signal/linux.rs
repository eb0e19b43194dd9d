//! Signals on Linux.

#![expect(unsafe_code, reason = "dispositions and masks are C structures")]

use crate::{Error, Result};
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A signal's number.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Signal(i32);

impl Signal {
    /// Ends, stops for nobody: cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// Asks to end.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// Ctrl-C.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// The terminal is gone.
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// Stops until [`Signal::CONTINUE`]: cannot be caught.
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// Ends a stop.
    pub const CONTINUE: Self = Self(libc::SIGCONT);
    /// A child has ended.
    pub const CHILD: Self = Self(libc::SIGCHLD);
    /// Nobody reads the pipe.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// For programs' own use.
    pub const USER1: Self = Self(libc::SIGUSR1);
    /// For programs' own use.
    pub const USER2: Self = Self(libc::SIGUSR2);
    /// A timer has run out.
    pub const ALARM: Self = Self(libc::SIGALRM);

    /// The signal with the number.
    #[must_use]
    pub const fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    pub(crate) fn to_rustix(self) -> Option<rustix::process::Signal> {
        rustix::process::Signal::from_named_raw(self.0)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_rustix() {
            Some(named) => write!(f, "{named:?}"),
            None => write!(f, "Signal({})", self.0),
        }
    }
}

/// Ignores the signal in this process and the programs that it starts.
///
/// # Errors
/// It cannot be ignored.
pub fn ignore(signal: Signal) -> Result<()> {
    set_disposition(signal, libc::SIG_IGN)
}

/// Gives the signal its default effect.
///
/// # Errors
/// No such signal.
pub fn default(signal: Signal) -> Result<()> {
    set_disposition(signal, libc::SIG_DFL)
}

fn set_disposition(signal: Signal, disposition: libc::sighandler_t) -> Result<()> {
    // SAFETY: neither disposition runs code of this process.
    if unsafe { libc::signal(signal.0, disposition) } == libc::SIG_ERR {
        return Err(Error::last("set the effect of signal").with_subject(signal.0.to_string()));
    }
    Ok(())
}

/// Puts the thread's mask back when dropped, on the thread that blocked the signals.
#[derive(Debug)]
pub struct SignalMask {
    before: libc::sigset_t,
    /// Masks belong to threads.
    _thread: PhantomData<*const ()>,
}

/// Keeps all signals off the calling thread until the value is dropped; threads made meanwhile inherit it. Where
/// another thread does not block a signal, that one gets it.
#[must_use]
pub fn block_all_on_this_thread() -> SignalMask {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();

    // SAFETY: valid for writes.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` is initialised, `before` valid for writes; the call cannot fail with a valid first argument.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    // SAFETY: written by the call.
    let before = unsafe { before.assume_init() };

    SignalMask {
        before,
        _thread: PhantomData,
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        // SAFETY: the mask is one that the thread had.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            )
        };
    }
}
