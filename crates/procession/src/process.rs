//! Starting processes and talking about them: [`Process`], [`Run`], [`current_process`] and their kin.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use procession_core::process::{Child, Entered, Launch, Role};
use procession_core::shm::Wait;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use procession_core::process::{ExitStatus, StartMethod};

use crate::codec;
use crate::error::Result;
use crate::runtime::{self, Trampoline};
use crate::target::{self, Target};

/// What a process's target may return: nothing, or a result whose error is
/// printed and makes the exit code 1.
pub trait Outcome {
    /// The exit code; prints an error as a program's `main` would.
    fn report(self) -> i32;
}

impl Outcome for () {
    fn report(self) -> i32 {
        0
    }
}

impl<T: Outcome, E: fmt::Debug> Outcome for std::result::Result<T, E> {
    fn report(self) -> i32 {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                runtime::report(&format!("{error:?}"));
                1
            }
        }
    }
}

/// A value that is the work of a process: what subclassing `Process` is in
/// Python.
///
/// ```
/// # procession::init();
/// use procession::{Process, Queue, Run};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Greeter {
///     name: String,
///     greetings: Queue<String>,
/// }
///
/// impl Run for Greeter {
///     type Output = procession::Result<()>;
///
///     fn run(self) -> procession::Result<()> {
///         self.greetings.put(&format!("hello, {}", self.name))
///     }
/// }
///
/// let greetings = Queue::new()?;
/// let child = Process::run(Greeter { name: "world".into(), greetings: greetings.clone() }).start()?;
/// child.join()?;
/// assert_eq!(greetings.get()?, "hello, world");
/// # Ok::<(), procession::Error>(())
/// ```
pub trait Run: Serialize + DeserializeOwned + 'static {
    /// What [`run`](Self::run) returns.
    type Output: Outcome;

    /// The work, in the child.
    fn run(self) -> Self::Output;
}

/// A process to be started: made by [`Process::new`] or [`Process::run`].
#[derive(Debug)]
#[must_use = "a process begins with start()"]
pub struct Builder<Arguments> {
    entry: Trampoline,
    arguments: Arguments,
    settings: Settings,
}

/// A target whose arguments are not given yet.
#[derive(Debug)]
#[must_use = "a process begins with start()"]
pub struct TargetBuilder<F> {
    _target: F,
    settings: Settings,
}

#[derive(Debug, Default)]
struct Settings {
    name: Option<String>,
    daemon: Option<bool>,
    method: StartMethod,
}

/// A process that was started.
///
/// Dropping it neither waits for the process nor ends it. When the program
/// ends, non-daemonic processes are joined and daemonic ones are ended.
#[derive(Clone, Debug)]
pub struct Process {
    child: Child,
}

macro_rules! settings {
    () => {
        /// Names the process; the default is `Process-1`, `Process-2` and so
        /// on.
        pub fn name(mut self, name: impl Into<String>) -> Self {
            self.settings.name = Some(name.into());
            self
        }

        /// Whether the process ends together with this one, in whatever way
        /// this one ends. The default is that of this process itself.
        pub fn daemon(mut self, daemon: bool) -> Self {
            self.settings.daemon = Some(daemon);
            self
        }

        /// How the process is started; the default is
        /// [`StartMethod::Spawn`].
        pub fn start_method(mut self, method: StartMethod) -> Self {
            self.settings.method = method;
            self
        }
    };
}

impl<F> TargetBuilder<F> {
    settings!();

    /// The target's arguments, as a tuple.
    pub fn args<Arguments>(self, arguments: Arguments) -> Builder<Arguments>
    where
        F: Target<Arguments>,
        F::Output: Outcome,
        Arguments: Serialize + DeserializeOwned + 'static,
    {
        Builder {
            entry: enter_target::<F, Arguments>,
            arguments,
            settings: self.settings,
        }
    }

    /// Starts a process whose target takes no arguments.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start(self) -> Result<Process>
    where
        F: Target<()>,
        F::Output: Outcome,
    {
        self.args(()).start()
    }
}

impl<Arguments: Serialize + 'static> Builder<Arguments> {
    settings!();

    /// Starts the process. The arguments have been handed over when it
    /// returns: this process may end, or change what they were copied from.
    ///
    /// # Errors
    /// The program has not called [`init`](crate::init()); the arguments
    /// cannot be encoded; the system has no process, descriptor or memory
    /// left; for [`StartMethod::Fork`], this program has more than one
    /// thread.
    pub fn start(self) -> Result<Process> {
        let (entry, mut payload) = runtime::entry_of(self.entry)?;
        let mut handles = procession_core::shm::handles::Collected::none();
        codec::encode_into(&self.arguments, &mut payload, &mut handles)?;
        let Settings {
            name,
            daemon,
            method,
        } = self.settings;
        let child = Launch {
            method,
            name: name.unwrap_or_else(next_name),
            daemon: daemon.unwrap_or_else(|| procession_core::process::current().daemon),
            role: Role::Process,
            entry,
            payload,
            handles,
            memory_limit: None,
        }
        .start()?;
        Ok(Process { child })
    }
}

impl Process {
    /// A process that will call `target`: a function, or a closure that
    /// captures nothing.
    ///
    /// ```
    /// # procession::init();
    /// use procession::Process;
    ///
    /// fn greet(name: String) {
    ///     println!("hello, {name}");
    /// }
    ///
    /// let child = Process::new(greet).args(("world".to_string(),)).start()?;
    /// assert_eq!(child.join()?.code(), 0);
    /// # Ok::<(), procession::Error>(())
    /// ```
    ///
    /// State that a closure would capture travels as an argument. A capturing
    /// closure or a function pointer is refused when the program is compiled:
    ///
    /// ```compile_fail
    /// let name = String::from("world");
    /// procession::Process::new(move || println!("hello, {name}")).start().unwrap();
    /// ```
    #[expect(
        clippy::new_ret_no_self,
        reason = "a process begins with its target, as in the stdlib"
    )]
    pub fn new<F>(target: F) -> TargetBuilder<F> {
        TargetBuilder {
            _target: target,
            settings: Settings::default(),
        }
    }

    /// A process that will call [`Run::run`] of `value`, which travels there.
    pub fn run<R: Run>(value: R) -> Builder<R> {
        Builder {
            entry: enter_run::<R>,
            arguments: value,
            settings: Settings::default(),
        }
    }

    /// Waits until the process has ended, and says how.
    ///
    /// # Errors
    /// The operating system's.
    pub fn join(&self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.join(&mut Wait::forever())? {
                return Ok(status);
            }
        }
    }

    /// Waits for at most `timeout`; `None` if the process still runs.
    ///
    /// # Errors
    /// The operating system's.
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        Ok(self.child.join(&mut Wait::for_duration(Some(timeout)))?)
    }

    /// Whether the process still runs; never blocks.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.child.try_join(), Ok(None))
    }

    /// The exit code, if the process has ended; negative is the number of the
    /// signal that ended it. Never blocks.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        let status = self.child.try_join().ok().flatten()?;
        Some(status.code())
    }

    /// Asks the process to end (`SIGTERM`); one that has ended is left alone.
    ///
    /// # Errors
    /// The operating system's.
    pub fn terminate(&self) -> Result<()> {
        Ok(self.child.terminate()?)
    }

    /// Ends the process (`SIGKILL`); one that has ended is left alone.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill(&self) -> Result<()> {
        Ok(self.child.kill()?)
    }

    /// A descriptor that becomes readable when the process ends; for
    /// [`wait`](crate::wait()) and foreign event loops.
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.child.sentinel()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.child.name()
    }

    /// Whether it ends with this process.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.child.is_daemon()
    }

    /// How it was started.
    #[must_use]
    pub fn start_method(&self) -> StartMethod {
        self.child.method()
    }
}

impl AsFd for Process {
    /// The [sentinel](Self::sentinel).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

/// The running process, as it knows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentProcess {
    /// Its name; that of a program's first process is `MainProcess`.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Whether it ends with its parent.
    pub daemon: bool,
    /// How it was started; `None` in a program's first process.
    pub start_method: Option<StartMethod>,
}

/// The process that started this one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParentProcess {
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

/// The running process.
#[must_use]
pub fn current_process() -> CurrentProcess {
    let current = procession_core::process::current();
    CurrentProcess {
        name: current.name.clone(),
        pid: std::process::id(),
        daemon: current.daemon,
        start_method: current.method,
    }
}

/// The process that started this one; `None` in a program's first process.
#[must_use]
pub fn parent_process() -> Option<ParentProcess> {
    let current = procession_core::process::current();
    current.parent.as_ref().map(|parent| ParentProcess {
        name: parent.name.clone(),
        pid: parent.pid,
    })
}

/// The processes that this one started and that still run. Reaps those that
/// have ended.
#[must_use]
pub fn active_children() -> Vec<Process> {
    procession_core::process::active_children()
        .into_iter()
        .map(|child| Process { child })
        .collect()
}

/// How many processors the machine has.
#[must_use]
pub fn cpu_count() -> usize {
    procession_core::process::all_cpus()
}

/// How many processors this process may use: its affinity mask and its control
/// group's quota count.
#[must_use]
pub fn usable_cpu_count() -> usize {
    procession_core::process::usable_cpus()
}

fn next_name() -> String {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed) + 1;
    let current = procession_core::process::current();
    match current.name.as_str() {
        "MainProcess" => format!("Process-{number}"),
        parent => format!("{parent}:{number}"),
    }
}

fn enter_target<F, Arguments>(entered: &Entered, payload: &[u8]) -> i32
where
    F: Target<Arguments>,
    F::Output: Outcome,
    Arguments: DeserializeOwned + 'static,
{
    run_with::<Arguments>(entered, payload, |arguments| {
        target::conjure::<F>().call(arguments).report()
    })
}

fn enter_run<R: Run>(entered: &Entered, payload: &[u8]) -> i32 {
    run_with::<R>(entered, payload, |value| value.run().report())
}

/// Decodes what travelled to this process, and runs it; a panic has been
/// printed by its hook, and is exit code 1.
fn run_with<T: DeserializeOwned + 'static>(
    entered: &Entered,
    payload: &[u8],
    run: impl FnOnce(T) -> i32,
) -> i32 {
    let decoded = entered
        .begin_reading()
        .map_err(Into::into)
        .and_then(|_reading| codec::decode::<T>(payload));
    match decoded {
        Ok(value) => catch_unwind(AssertUnwindSafe(|| run(value))).unwrap_or(1),
        Err(error) => {
            runtime::report(&error.to_string());
            1
        }
    }
}
