#![expect(unsafe_code, reason = "the floors call the operating system directly")]
//! The system calls that the floors are made of, behind safe functions.
//!
//! A `Shared` is a memory file mapped here and, by its path under /proc, in a child. Bytes in it are only ever
//! reached through atomics or copied in and out; both processes are this program, and take turns by the atomics.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::Result;
use crate::work::Message;

/// Memory that this process and its children share.
pub(crate) struct Shared {
    file: File,
    base: NonNull<u8>,
    bytes: usize,
}

impl Shared {
    /// Creates zeroed memory with all its pages present.
    pub(crate) fn create(bytes: usize) -> Result<Self> {
        // SAFETY: the name is a C string, and the result is checked.
        let descriptor =
            unsafe { libc::memfd_create(c"procession-bench".as_ptr(), libc::MFD_CLOEXEC) };
        check(descriptor)?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let file = unsafe { File::from_raw_fd(descriptor) };
        file.set_len(bytes as u64)?;
        Self::map(file, bytes)
    }

    /// Opens memory that another process created, by its path there.
    pub(crate) fn open(path: &str) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let bytes = usize::try_from(file.metadata()?.len())?;
        Self::map(file, bytes)
    }

    /// Where another process finds this memory while this one lives.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    fn map(file: File, bytes: usize) -> Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        let base = NonNull::new(address.cast()).ok_or("mmap gave the null address")?;
        Ok(Self { file, base, bytes })
    }

    fn at(&self, offset: usize, bytes: usize) -> NonNull<u8> {
        assert!(
            offset + bytes <= self.bytes,
            "beyond the end of the shared memory"
        );
        // SAFETY: within the mapping, as was just checked.
        unsafe { self.base.add(offset) }
    }

    /// The 32-bit word at an offset.
    pub(crate) fn word32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "a word must be aligned");
        let word = self.at(offset, 4).cast();
        // SAFETY: aligned, inside the mapping, which lives as long as `self`, and only used as an atomic.
        unsafe { word.as_ref() }
    }

    /// The 64-bit word at an offset.
    pub(crate) fn word64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "a word must be aligned");
        let word = self.at(offset, 8).cast();
        // SAFETY: aligned, inside the mapping, which lives as long as `self`, and only used as an atomic.
        unsafe { word.as_ref() }
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        let to = self.at(offset, bytes.len());
        // SAFETY: both ranges are valid, and private memory does not overlap the mapping.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
    }

    /// Copies bytes out.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) {
        let from = self.at(offset, bytes.len());
        // SAFETY: both ranges are valid, and private memory does not overlap the mapping.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Copies a small message in.
    pub(crate) fn write_message(&self, offset: usize, message: &Message) {
        let to = self.at(offset, size_of::<Message>()).cast::<Message>();
        // SAFETY: inside the mapping; the message needs no drop, and no alignment is assumed.
        unsafe { to.write_unaligned(*message) };
    }

    /// Copies a small message out.
    pub(crate) fn read_message(&self, offset: usize) -> Message {
        let from = self.at(offset, size_of::<Message>()).cast::<Message>();
        // SAFETY: inside the mapping; any bytes are a message, and no alignment is assumed.
        unsafe { from.read_unaligned() }
    }

    /// The address of an offset, for system libraries.
    pub(crate) fn address(&self, offset: usize, bytes: usize) -> *mut u8 {
        self.at(offset, bytes).as_ptr()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// Sleeps while the word has this value; may return early.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32) {
    // SAFETY: the word is valid for the call, and a null timeout means none.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            value,
            ptr::null::<libc::timespec>(),
        )
    };
}

/// Wakes one sleeper on the word.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word is valid for the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Has this process killed when the thread that started it ends.
pub(crate) fn die_with_parent() -> Result<()> {
    // SAFETY: this option takes a signal number and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    Ok(())
}

/// The CPUs that this thread may run on.
#[derive(Clone, Copy)]
pub(crate) struct Cpus(libc::cpu_set_t);

impl Cpus {
    /// Those that it may use now.
    pub(crate) fn current() -> Result<Self> {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: the set is a valid place of the size given.
        check(unsafe {
            libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr())
        })?;
        // SAFETY: zeroed, then written by the kernel; any bits are a set.
        Ok(Self(unsafe { set.assume_init() }))
    }

    /// One CPU alone.
    fn only(cpu: usize) -> Self {
        let set = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: any bits are a set, all zero is the empty one.
        let mut set = unsafe { set.assume_init() };
        // SAFETY: the set is valid, and numbers beyond its size are ignored.
        unsafe { libc::CPU_SET(cpu, &mut set) };
        Self(set)
    }

    /// Their numbers.
    pub(crate) fn numbers(&self) -> Vec<usize> {
        (0..libc::CPU_SETSIZE as usize)
            // SAFETY: the number is below the set's size.
            .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &self.0) })
            .collect()
    }

    fn apply(&self) -> Result<()> {
        // SAFETY: the set is valid and of the size given.
        check(unsafe {
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const self.0)
        })?;
        Ok(())
    }
}

/// Keeps this thread on one CPU until dropped.
pub(crate) struct Pinned {
    before: Cpus,
}

impl Pinned {
    pub(crate) fn to(cpu: usize) -> Result<Self> {
        let before = Cpus::current()?;
        Cpus::only(cpu).apply()?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.before.apply();
    }
}

/// A program with its arguments and this process's environment, ready to start.
pub(crate) struct Program {
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    pub(crate) fn new(path: &str, arguments: &[&str]) -> Result<Self> {
        let arguments = std::iter::once(&path)
            .chain(arguments)
            .map(|argument| CString::new(*argument))
            .collect::<Result<_, _>>()?;
        let environment = std::env::vars_os()
            .map(|(key, value)| {
                CString::new([key.as_os_str(), &value].map(OsStr::as_bytes).join(&b'='))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            arguments,
            environment,
        })
    }

    /// Starts the program and waits for its end.
    pub(crate) fn run(&self) -> Result<()> {
        let pointers = |strings: &[CString]| -> Vec<*mut libc::c_char> {
            strings
                .iter()
                .map(|string| string.as_ptr().cast_mut())
                .chain([ptr::null_mut()])
                .collect()
        };
        let arguments = pointers(&self.arguments);
        let environment = pointers(&self.environment);
        let mut pid = 0;
        // SAFETY: both lists end with a null pointer and outlive the call, which changes none of their strings.
        let error = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                arguments[0],
                ptr::null(),
                ptr::null(),
                arguments.as_ptr(),
                environment.as_ptr(),
            )
        };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error).into());
        }
        wait(pid)
    }
}

/// Forks a child that ends at once, and waits for its end.
pub(crate) fn fork_and_wait() -> Result<()> {
    // SAFETY: the child does nothing but end, which is allowed whatever other threads were doing.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: ends the process without running anything of it.
        unsafe { libc::_exit(0) };
    }
    check(pid)?;
    wait(pid)
}

fn wait(pid: libc::pid_t) -> Result<()> {
    let mut status = 0;
    // SAFETY: the status is a valid place to write to.
    check(unsafe { libc::waitpid(pid, &raw mut status, 0) })?;
    if status == 0 {
        Ok(())
    } else {
        Err(format!("a child ended with status {status:#x}").into())
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
