//! Starting a program by `posix_spawn`: no copy of the address space, and an exec that failed is an error here.
//!
//! The child has an empty signal mask. Signals that this process ignores stay ignored, handlers become the default
//! (as exec does). It gets exactly the listed descriptors, and whatever else of this process is not closed on exec,
//! unless `close_others` is asked for.
//!
//! If this process dies during the call, the child has been started or not; it finds its parent gone either way.

#![expect(unsafe_code, reason = "posix_spawn works on C structures")]

use super::child::ChildProcess;
use super::fork::abandon;
use crate::{Error, Result, fd};
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

/// What to start.
#[derive(Clone, Debug)]
pub struct Spawn<'a> {
    /// The program's path; the default is this process's own image, even if its file was replaced or deleted.
    pub program: CString,
    /// The arguments, the program's name first.
    pub argv: Vec<CString>,
    /// The environment (`NAME=value`); `None` passes this process's on.
    pub env: Option<Vec<CString>>,
    /// Descriptors of this process, and their numbers in the child. Sources and targets may overlap.
    pub descriptors: Vec<(BorrowedFd<'a>, RawFd)>,
    /// Leave nothing open in the child but 0, 1, 2 and the targets.
    pub close_others: bool,
    /// Start it in a session of its own, out of reach of the terminal's signals.
    pub new_session: bool,
}

impl<'a> Spawn<'a> {
    /// This process's own program, with these arguments (the program's name first).
    #[must_use]
    pub fn new(argv: Vec<CString>) -> Self {
        Self {
            program: c"/proc/self/exe".to_owned(),
            argv,
            env: None,
            descriptors: Vec::new(),
            close_others: false,
            new_session: false,
        }
    }

    /// Another program.
    #[must_use]
    pub fn program(mut self, path: &CStr) -> Self {
        path.clone_into(&mut self.program);
        self
    }

    /// Passes a descriptor under a number.
    #[must_use]
    pub fn descriptor(mut self, source: BorrowedFd<'a>, target: RawFd) -> Self {
        self.descriptors.push((source, target));
        self
    }

    /// Starts it. Blocks until the program is loaded.
    ///
    /// # Errors
    /// The program cannot be executed, a limit on processes or descriptors is reached, no memory.
    pub fn start(&self) -> Result<ChildProcess> {
        let targets: Vec<RawFd> = self.descriptors.iter().map(|(_, target)| *target).collect();
        let mut moved = Vec::new();
        let mut actions = FileActions::new()?;

        for (source, target) in &self.descriptors {
            // A source whose number is somebody's target would be overwritten before its turn, or, being its own
            // target, keep its close-on-exec flag: use a copy out of the way.
            let number = if targets.contains(&source.as_raw_fd()) {
                out_of_the_way(*source, &targets, &mut moved)?
            } else {
                source.as_raw_fd()
            };
            actions.duplicate(number, *target)?;
        }
        if self.close_others {
            actions.close_all_but(&targets)?;
        }

        let attributes = Attributes::new(self.new_session)?;
        let argv = pointers(&self.argv);
        let env = self.env.as_deref().map(pointers);
        // SAFETY: reading the pointer is a plain load; the list is read by the kernel during exec.
        let inherited = unsafe { environ };
        let mut pid = 0;

        // SAFETY: all structures are initialised, both lists end with null, and all outlive the call.
        let code = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                self.program.as_ptr(),
                actions.as_ptr(),
                attributes.as_ptr(),
                argv.as_ptr().cast(),
                env.as_ref().map_or(inherited, |env| env.as_ptr().cast()),
            )
        };
        if code != 0 {
            return Err(Error::new("start", code).with_subject(self.program.to_string_lossy()));
        }

        ChildProcess::adopt(pid.unsigned_abs()).inspect_err(|_| abandon(pid))
    }
}

unsafe extern "C" {
    static environ: *const *mut c_char;
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Duplicates `source` to a number that is nobody's target; `moved` keeps it open until the child has started.
fn out_of_the_way(
    source: BorrowedFd<'_>,
    targets: &[RawFd],
    moved: &mut Vec<OwnedFd>,
) -> Result<RawFd> {
    loop {
        let copy = fd::duplicate(source)?;
        let number = copy.as_raw_fd();

        // A copy on a target's number stays open meanwhile, so that the next one gets another.
        moved.push(copy);
        if !targets.contains(&number) {
            return Ok(number);
        }
    }
}

struct FileActions(MaybeUninit<libc::posix_spawn_file_actions_t>);

impl FileActions {
    fn new() -> Result<Self> {
        let mut actions = MaybeUninit::uninit();

        // SAFETY: valid for writes.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        Ok(Self(actions))
    }

    fn duplicate(&mut self, source: RawFd, target: RawFd) -> Result<()> {
        // SAFETY: initialised by `new`.
        check(unsafe {
            libc::posix_spawn_file_actions_adddup2(self.0.as_mut_ptr(), source, target)
        })
    }

    /// Closes what is open now and would survive the exec; what other threads open meanwhile is theirs to mark.
    fn close_all_but(&mut self, targets: &[RawFd]) -> Result<()> {
        for number in inheritable()? {
            if number > 2 && !targets.contains(&number) {
                // SAFETY: initialised by `new`.
                check(unsafe {
                    libc::posix_spawn_file_actions_addclose(self.0.as_mut_ptr(), number)
                })?;
            }
        }
        Ok(())
    }

    fn as_ptr(&self) -> *const libc::posix_spawn_file_actions_t {
        self.0.as_ptr()
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, and not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

/// The open descriptors that an exec would not close.
fn inheritable() -> Result<Vec<RawFd>> {
    const OPERATION: &str = "list the open descriptors in /proc/self/fd";

    let mut numbers = Vec::new();

    for entry in
        std::fs::read_dir("/proc/self/fd").map_err(|error| Error::from_io(OPERATION, &error))?
    {
        let entry = entry.map_err(|error| Error::from_io(OPERATION, &error))?;
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };

        // SAFETY: asking for the flags of a number that is not open fails and changes nothing.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            numbers.push(number);
        }
    }

    Ok(numbers)
}

struct Attributes(MaybeUninit<libc::posix_spawnattr_t>);

impl Attributes {
    fn new(new_session: bool) -> Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        let mut mask = MaybeUninit::uninit();
        let flags = libc::POSIX_SPAWN_SETSIGMASK | if new_session { SETSID } else { 0 };

        // SAFETY: valid for writes.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        let mut this = Self(attributes);
        // SAFETY: valid for writes.
        unsafe { libc::sigemptyset(mask.as_mut_ptr()) };
        // SAFETY: both are initialised.
        check(unsafe { libc::posix_spawnattr_setsigmask(this.0.as_mut_ptr(), mask.as_ptr()) })?;
        // SAFETY: initialised.
        check(unsafe {
            libc::posix_spawnattr_setflags(this.0.as_mut_ptr(), flags as libc::c_short)
        })?;
        Ok(this)
    }

    fn as_ptr(&self) -> *const libc::posix_spawnattr_t {
        self.0.as_ptr()
    }
}

/// `POSIX_SPAWN_SETSID`, in glibc and musl alike.
const SETSID: i32 = 0x80;

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, and not used again.
        unsafe { libc::posix_spawnattr_destroy(self.0.as_mut_ptr()) };
    }
}

fn check(code: i32) -> Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(Error::new("prepare to start a program", code))
    }
}
