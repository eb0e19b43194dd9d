//! What a child does first: join the family, tie its life to its parent's, take its order, run.
//!
//! A fresh program gets here through `init` of the face; a fork through [`enter_fork`]. A child that dies on the way takes its
//! launch message along: that is private to its slot.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use procession_sync::OwnerId;
use procession_sys::poll::{Interest, PollEntry};

use super::current::{self, Current, Parent};
use super::marker::Marker;
use super::order::{Order, Role};
use super::{exit, keeper, life, template};
use crate::error::{Error, ErrorKind, Result};
use crate::ipc::readiness;
use crate::shm::handles::{Arrived, Reading};
use crate::shm::{BlockId, Message, Wait, family};

/// A child that has joined its family, and what it is to do.
#[derive(Debug)]
pub struct Entered {
    /// The position of the face's trampoline.
    pub entry: u64,
    /// What the child is for.
    pub role: Role,
    /// The launch message: the face's bytes and handles.
    pub message: Message,
    /// The descriptors of the launch.
    descriptors: Arrived,
    payload_start: usize,
}

impl Entered {
    fn new(
        order: &Order,
        message: Message,
        payload_start: usize,
        descriptors: Vec<OwnedFd>,
    ) -> Self {
        Self {
            entry: order.entry,
            role: order.role,
            message,
            descriptors: Arrived::new(descriptors),
            payload_start,
        }
    }

    /// Lets this thread's deserialisers resolve the launch's handles as long
    /// as the result lives.
    ///
    /// # Errors
    /// This process belongs to no family.
    pub fn begin_reading(&self) -> Result<Reading> {
        self.message.begin_reading_with(self.descriptors.clone())
    }

    /// The bytes that the face gave to the launch.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.message
            .payload()
            .get(self.payload_start..)
            .unwrap_or_default()
    }
}

/// What the face does in a child; its result is the exit code.
pub type Runner = fn(Entered) -> i32;

static RUNNER: OnceLock<Runner> = OnceLock::new();
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// Makes this program able to start processes; in a child of one, does the
/// child's work and ends the process. The first thing a program does.
///
/// # Errors
/// A child could not join the family of its parent, or take its order.
pub fn init(runner: Runner) -> Result<()> {
    let _ = RUNNER.set(runner);
    if INITIALIZED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    keeper::attach();
    let Some(marker) = Marker::of_this_process() else {
        exit::settle_at_exit();
        return Ok(());
    };
    if marker.output.is_some() && !super::program::enters_through_test() {
        // A child of a test program whose harness calls main() first: the test enters it.
        INITIALIZED.store(false, Ordering::Relaxed);
        return Ok(());
    }
    enter_program(&marker, runner)
}

/// Whether [`init`] has been called in this process.
pub(crate) fn require_init() -> Result<()> {
    if INITIALIZED.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(not_initialized())
}

fn enter_program(marker: &Marker, runner: Runner) -> Result<()> {
    family::expect_to_join();
    let Some(family_fd) = inherited(marker.family)? else {
        return Err(closed("the family's memory"));
    };
    let life = inherited(marker.life)?.ok_or_else(|| closed("the life pipe"))?;
    let orders = marker.orders.map(inherited).transpose()?.flatten();
    if let Some(output) = marker.output.map(inherited).transpose()?.flatten() {
        procession_sys::fd::replace_standard_output(output.as_fd())?;
    }
    let joined = family::join(family_fd, marker.owner);
    if joined.is_err() && parent_ends(&life) {
        // The parent has died, and the slot with it: nobody waits for this child, or for what it would say.
        procession_sys::process::exit_now(1);
    }
    joined?;
    let (mut order, message, start) = take_order(marker.message)?;
    let descriptors = order
        .descriptors
        .iter()
        .map(|number| inherited(*number)?.ok_or_else(|| closed("an argument's descriptor")))
        .collect::<Result<Vec<_>>>()?;
    settle_in(&mut order, &life)?;
    if order.role == Role::Keeper {
        drop((message, life));
        keeper::serve(descriptors);
    }
    exit::settle_at_exit();
    if let Some(orders) = orders {
        template::serve(orders, life);
    }
    let entered = Entered::new(&order, message, start, descriptors);
    exit::finish(runner(entered), false)
}

/// Whether the parent is gone, or on its way: a process that ends counts as dead some time before its descriptors are closed.
fn parent_ends(life: &OwnedFd) -> bool {
    let mut wait = Wait::for_duration(Some(Duration::from_secs(1)));
    readiness::sleep(
        &mut [PollEntry::new(life.as_fd(), Interest::READ)],
        &mut wait,
    )
    .unwrap_or(false)
}

/// The rest of a forked child's life.
pub(super) fn enter_fork(message: BlockId, life: OwnedFd, descriptors: Vec<OwnedFd>) -> ! {
    let code = match run_fork(message, life, descriptors) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(%error, "a forked child could not take its order");
            1
        }
    };
    exit::finish(code, true)
}

fn run_fork(message: BlockId, life: OwnedFd, mut descriptors: Vec<OwnedFd>) -> Result<i32> {
    let (mut order, message, start) = take_order(message)?;
    settle_in(&mut order, &life)?;
    if order.role == Role::Forkserver {
        let orders = descriptors
            .pop()
            .ok_or_else(|| closed("the order socket"))?;
        drop(message);
        template::serve(orders, life);
    }
    drop(life);
    let runner = RUNNER.get().ok_or_else(not_initialized)?;
    Ok(runner(Entered::new(&order, message, start, descriptors)))
}

fn take_order(message: BlockId) -> Result<(Order, Message, usize)> {
    let damaged = || {
        Error::new(
            ErrorKind::Protocol,
            "read the launch message of this process: it is damaged",
        )
    };
    let message = Message::adopt(message).ok_or_else(damaged)?;
    let (order, rest) = Order::decode(message.payload()).ok_or_else(damaged)?;
    let start = message.payload().len() - rest.len();
    Ok((order, message, start))
}

/// Makes the order true: name, parent, limits, and the end together with the
/// parent.
fn settle_in(order: &mut Order, life: &OwnedFd) -> Result<()> {
    if order.daemon || matches!(order.role, Role::Worker | Role::Forkserver) {
        tie_life(life)?;
    }
    if let Some(limit) = order.memory_limit {
        procession_sys::process::set_memory_limit(limit)?;
    }
    current::set(Current {
        name: std::mem::take(&mut order.name),
        daemon: order.daemon,
        role: order.role,
        method: Some(order.method),
        parent: OwnerId::from_bits(order.parent_owner).map(|owner| Parent {
            pid: order.parent_pid,
            name: std::mem::take(&mut order.parent_name),
            owner,
        }),
    });
    Ok(())
}

/// Has the kernel kill this process when its parent is gone, which may be
/// already.
fn tie_life(life: &OwnedFd) -> Result<()> {
    match procession_sys::process::die_with_parent_pipe(life.as_fd())? {
        Some(tied) => {
            life::keep(tied);
            Ok(())
        }
        None => procession_sys::process::exit_now(1),
    }
}

#[cold]
fn closed(what: &str) -> Error {
    Error::new(
        ErrorKind::WrongState,
        format!("enter a child process: {what} was closed before procession::init() was called"),
    )
}

#[cold]
fn not_initialized() -> Error {
    Error::new(
        ErrorKind::WrongState,
        "start a process: this program has not called procession::init(); put #[procession::main] on main, \
         or #[procession::test] on the test, or call procession::init() first thing in main",
    )
}

/// A descriptor that the launch named.
fn inherited(number: i32) -> Result<Option<OwnedFd>> {
    #[expect(
        unsafe_code,
        reason = "an inherited descriptor is known by its number alone"
    )]
    // SAFETY: the number comes from the marker or the order, which the parent wrote for this process; each is taken once, before anything
    // else of the program runs.
    let descriptor = unsafe { procession_sys::fd::inherited(number) }?;
    Ok(descriptor)
}
