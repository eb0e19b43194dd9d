//! Processes: starting with descriptors, exit statuses, statuses collected by others, dying with the parent, forks.

#![expect(unsafe_code, reason = "tests collect children behind the crate's back")]

use crate::common::{child, join, shared, state, until, watchdog};
use procession_sys::memory::{Mapping, MemoryObject, wipe_on_fork_page};
use procession_sys::process::{
    self, ChildProcess, ExitStatus, Spawn, die_with_parent_pipe, exists, exit_now, is_zombie,
};
use procession_sys::signal::{self, Signal};
use procession_sys::{Error, eventfd::EventFd, fd, fork_hooks, fork_hooks::Hooks, pipe, socket};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn shell(script: &str) -> Spawn<'static> {
    Spawn::new(vec![
        c"sh".to_owned(),
        c"-c".to_owned(),
        CString::new(script).unwrap(),
    ])
    .program(c"/bin/sh")
}

fn file(contents: &str) -> OwnedFd {
    let object = MemoryObject::create(c"file").unwrap();
    rustix::io::write(&object, contents.as_bytes()).unwrap();
    rustix::fs::seek(&object, rustix::fs::SeekFrom::Start(0)).unwrap();
    object.into_fd()
}

#[test]
fn statuses_are_codes_and_negated_signals() {
    watchdog();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", -15),
        ("kill -KILL $$", -9),
    ] {
        let child = shell(script).start().unwrap();
        assert_eq!(join(&child).code(), code);
        assert_eq!(
            child.try_wait().map(|status| status.map(ExitStatus::code)),
            Ok(Some(code)),
            "asked again"
        );
    }

    let error = Spawn::new(vec![c"x".to_owned()])
        .program(c"/nowhere/x")
        .start()
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");

    let sleeper = shell("exec sleep 1000").start().unwrap();
    assert_eq!(sleeper.wait(Some(Duration::from_millis(5))), Ok(None));
    assert_eq!(sleeper.try_wait(), Ok(None));
    sleeper.kill(Signal::TERMINATE).unwrap();
    assert_eq!(join(&sleeper), ExitStatus::Signaled(15));
    assert!(sleeper.kill(Signal::TERMINATE).unwrap_err().is_no_process());
}

#[test]
fn a_status_that_somebody_else_collected_is_still_known() {
    watchdog();
    let child = shell("exit 9").start().unwrap();
    let pid = child.pid().cast_signed();

    assert_eq!(
        process::exit_info(child.as_fd()).unwrap(),
        None,
        "not collected yet"
    );
    // SAFETY: a null status is allowed.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
    match child.wait(None) {
        Ok(status) => assert_eq!(status, Some(ExitStatus::Exited(9))),
        Err(error) => assert!(error.is_no_child(), "a kernel before 6.15: {error}"),
    }
}

#[test]
fn a_status_that_the_kernel_discards_is_known_or_lost_but_never_waited_for() {
    watchdog();
    let ignorer = child(|| {
        signal::ignore(Signal::CHILD).unwrap();
        for _ in 0..20 {
            let child = child(|| exit_now(5));
            match child.wait(None) {
                Ok(status) => assert_eq!(status, Some(ExitStatus::Exited(5))),
                Err(error) => assert!(error.is_no_child(), "{error}"),
            }
            assert!(child.kill(Signal::KILL).is_err());
        }
    });
    assert_eq!(join(&ignorer), ExitStatus::Exited(0));
}

#[test]
fn numbers_of_sources_and_targets_may_collide() {
    watchdog();
    let forked = child(|| {
        // 10 and 11 change places, 12 stays, 13 goes to 14 while 14's old file goes to 13's number.
        let files: Vec<OwnedFd> = ["a", "b", "c", "d", "e"]
            .iter()
            .map(|text| file(text))
            .collect();
        for (file, number) in files.iter().zip(10..) {
            // SAFETY: nothing of this fresh child uses these numbers.
            let copy = unsafe { libc::dup3(file.as_raw_fd(), number, libc::O_CLOEXEC) };
            assert_eq!(copy, number);
        }
        // SAFETY: duplicated just now, and open until the child ends.
        let at = |number| unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };

        let output = MemoryObject::create(c"output").unwrap();
        let mut spawn = shell(
            "for n in 11 10 12 14 13; do cat /proc/self/fd/$n; done; ls /proc/self/fd | wc -l",
        );
        spawn.close_others = true;
        for (source, target) in [(10, 11), (11, 10), (12, 12), (13, 14), (14, 13)] {
            spawn = spawn.descriptor(at(source), target);
        }
        spawn = spawn.descriptor(output.as_fd(), 1);
        assert_eq!(join(&spawn.start().unwrap()), ExitStatus::Exited(0));

        rustix::fs::seek(&output, rustix::fs::SeekFrom::Start(0)).unwrap();
        let mut text = [0; 64];
        let len = rustix::io::read(&output, &mut text).unwrap();
        // Standard streams, five files, and the directory that `ls` reads.
        assert_eq!(str::from_utf8(&text[..len]), Ok("abcde9\n"));
    });
    assert_eq!(join(&forked), ExitStatus::Exited(0));
}

#[test]
fn descriptors_are_three_or_more_and_closed_on_exec() {
    watchdog();
    let forked = child(|| {
        for number in 0..3 {
            // SAFETY: the child prints nothing.
            unsafe { libc::close(number) };
        }

        let mut made: Vec<OwnedFd> = Vec::new();
        let (left, right) = socket::pair().unwrap();
        socket::send_with_descriptors(left.as_fd(), b"x", &[right.as_fd()]).unwrap();
        let (count, received) =
            socket::receive_with_descriptors(right.as_fd(), &mut [0; 8]).unwrap();
        assert_eq!((count, received.len()), (1, 1));
        made.extend(received);

        let name = format!("procession-test-{}", std::process::id());
        let listener = socket::listen_abstract(name.as_bytes(), socket::Backlog(4)).unwrap();
        let again = socket::listen_abstract(name.as_bytes(), socket::Backlog(4));
        assert!(again.unwrap_err().is_already_there());
        let client = socket::connect_abstract(name.as_bytes()).unwrap();
        let server = socket::accept(listener.as_fd()).unwrap();
        assert_eq!(
            socket::peer_credentials(server.as_fd()).unwrap().pid,
            std::process::id()
        );

        let (read, write) = pipe::pipe().unwrap();
        let named = procession_sys::memory::named::create(&name, 10).unwrap();
        assert_eq!(
            procession_sys::memory::named::open(&name).unwrap().len(),
            Ok(10)
        );
        procession_sys::memory::named::unlink(&name).unwrap();
        assert!(
            procession_sys::memory::named::open(&name)
                .unwrap_err()
                .is_not_found()
        );

        let sleeper = child(|| until(|| false));
        made.push(process::pidfd_open(sleeper.pid()).unwrap());
        made.push(fd::duplicate(sleeper.as_fd()).unwrap());
        sleeper.kill(Signal::KILL).unwrap();
        made.push(die_with_parent_pipe(read.as_fd()).unwrap().unwrap());
        made.extend([
            left,
            right,
            listener,
            client,
            server,
            read,
            write,
            named.into_fd(),
        ]);
        made.push(MemoryObject::create(c"test").unwrap().into_fd());

        let event = EventFd::new().unwrap();
        event.signal().unwrap();
        assert_eq!((event.drain(), event.drain()), (Ok(true), Ok(false)));
        for descriptor in made
            .iter()
            .map(AsFd::as_fd)
            .chain([event.as_fd(), sleeper.as_fd()])
        {
            assert!(descriptor.as_raw_fd() >= 3);
            assert!(
                rustix::io::fcntl_getfd(descriptor)
                    .unwrap()
                    .contains(rustix::io::FdFlags::CLOEXEC)
            );
        }
        join(&sleeper);
    });
    assert_eq!(join(&forked), ExitStatus::Exited(0));
}

/// Kills a parent and expects its children, whatever they do, to end.
fn dies_with_its_parent(act: fn(), stop: bool) {
    let tied: &AtomicU32 = shared();

    let parent = child(|| {
        let (read, write) = pipe::pipe().unwrap();
        // Two children of one pipe: each must be served.
        for _ in 0..2 {
            drop(child(|| {
                // SAFETY: nobody in this process uses the write end.
                unsafe { libc::close(write.as_raw_fd()) };
                let _held = die_with_parent_pipe(read.as_fd()).unwrap().unwrap();
                act();
                tied.fetch_add(1, Ordering::Release);
                until(|| false);
            }));
        }
        until(|| false);
    });
    until(|| tied.load(Ordering::Acquire) == 2);

    let children = children_of(parent.pid());
    assert_eq!(children.len(), 2);
    if stop {
        for child in &children {
            // SAFETY: it lives, since its parent does.
            unsafe { libc::kill(child.cast_signed(), libc::SIGSTOP) };
            until(|| state(*child) == Some('T'));
        }
    }

    parent.kill(Signal::KILL).unwrap();
    join(&parent);
    for child in children {
        until(|| !exists(child) || is_zombie(child) == Some(true));
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();

    list.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

#[test]
fn busy_children_die_with_their_parent() {
    watchdog();
    dies_with_its_parent(|| (), false);
}

#[test]
fn signal_blocking_children_die_with_their_parent() {
    watchdog();
    dies_with_its_parent(
        || {
            let _mask = std::mem::ManuallyDrop::new(signal::block_all_on_this_thread());
        },
        false,
    );
}

#[test]
fn stopped_children_die_with_their_parent() {
    watchdog();
    dies_with_its_parent(|| (), true);
}

#[test]
fn a_parent_that_is_gone_already_is_reported() {
    watchdog();
    let forked = child(|| {
        let (read, write) = pipe::pipe().unwrap();
        drop(write);
        assert!(die_with_parent_pipe(read.as_fd()).unwrap().is_none());
    });
    assert_eq!(join(&forked), ExitStatus::Exited(0));
}

#[test]
fn hooks_run_around_forks_and_pages_are_wiped() {
    static CALLS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
    static HOOKS: Hooks = Hooks {
        prepare: || count(0),
        parent: || count(1),
        child: || count(2),
    };
    fn count(which: usize) {
        CALLS[which].fetch_add(1, Ordering::Relaxed);
    }
    fn counts() -> [u32; 3] {
        [0, 1, 2].map(|which| CALLS[which].load(Ordering::Relaxed))
    }

    watchdog();
    let forked = child(|| {
        let page = wipe_on_fork_page().unwrap();
        page[7].store(1, Ordering::Relaxed);
        fork_hooks::register(&HOOKS).unwrap();
        // Again is once.
        fork_hooks::register(&HOOKS).unwrap();

        let grandchild = child(|| {
            assert_eq!(counts(), [1, 0, 1]);
            assert_eq!(page[7].load(Ordering::Relaxed), 0);
        });
        assert_eq!(join(&grandchild), ExitStatus::Exited(0));
        assert_eq!(counts(), [1, 1, 0]);
        assert_eq!(page[7].load(Ordering::Relaxed), 1);
    });
    assert_eq!(join(&forked), ExitStatus::Exited(0));
}

#[test]
fn a_forked_child_without_room_for_its_pidfd_is_abandoned() {
    watchdog();
    let forked = child(|| {
        process::set_descriptor_limit(3).unwrap();
        // SAFETY: the child, if there is one, exits at once.
        let result = unsafe { process::fork() };
        let Err(error) = result else { exit_now(1) };
        assert!(error.is_too_many_files(), "{error}");
        // SAFETY: a null status is allowed.
        let collected = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        assert_eq!(collected, -1, "no child is left");
    });
    assert_eq!(join(&forked), ExitStatus::Exited(0));
}

#[test]
fn memory_is_bounded_but_shared_memory_is_not() {
    watchdog();
    let forked = child(|| {
        process::set_memory_limit(256 << 20).unwrap();
        let mut private: Vec<u8> = Vec::new();
        assert!(private.try_reserve_exact(1 << 30).is_err());

        let object = MemoryObject::create(c"large").unwrap();
        object.grow_to(1 << 30).unwrap();
        object.seal_shrink().unwrap();
        assert!(object.grow_to(1 << 20).is_err(), "sealed");
        let mapping = Mapping::map_shared(object.as_fd(), 0, 1 << 30).unwrap();
        // SAFETY: the mapping is longer.
        let byte = unsafe { mapping.base().add(12345) };
        // SAFETY: mapped, and nobody else has it.
        unsafe { byte.write(1) };
        object.reserve(0, 1 << 20).unwrap();
        assert!(object.resident().unwrap() >= 1 << 20);
        object.punch(0, 1 << 20).unwrap();
        assert_eq!(object.resident(), Ok(0));
        // SAFETY: as above.
        assert_eq!(unsafe { byte.read() }, 0);
    });
    assert_eq!(join(&forked), ExitStatus::Exited(0));
}

#[test]
fn errors_name_the_operation() {
    let error: Error = process::pidfd_open(0x3fff_ffff).unwrap_err();
    assert_eq!(
        error.to_string(),
        "open the pidfd of 1073741823: No such process (os error 3)"
    );
    assert!(
        ChildProcess::from_pidfd(1, process::pidfd_open(std::process::id()).unwrap())
            .try_wait()
            .unwrap_err()
            .is_no_child()
    );
}
