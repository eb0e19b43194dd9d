//! Starting a child by any of the three methods.
//!
//! The order of steps is such that a death at any of them leaves nothing. The parent reserves the child's slot; the launch message is made
//! private to that slot, so it goes with the slot if the child never comes; if the parent dies, the reservation is given back.

use std::os::fd::{AsFd, OwnedFd};

use procession_sync::OwnerId;
use procession_sys::process::{ChildProcess, Spawn};

use super::bootstrap;
use super::child::Child;
use super::current::current;
use super::marker::Marker;
use super::order::{Order, Role};
use super::template::{self, Template};
use super::{StartMethod, fork, life, program, registry};
use crate::error::Result;
use crate::shm::handles::Collected;
use crate::shm::{BlockId, Message, SlotFlags, family, identity};

/// A child to be started.
#[derive(Debug)]
pub struct Launch {
    /// How.
    pub method: StartMethod,
    /// Its name.
    pub name: String,
    /// Whether it ends with this process.
    pub daemon: bool,
    /// What for.
    pub role: Role,
    /// The position of the trampoline that the face calls in the child.
    pub entry: u64,
    /// The face's own bytes for the child.
    pub payload: Vec<u8>,
    /// The handles and descriptors that `payload` refers to.
    pub handles: Collected,
    /// The most memory that the child may allocate for itself, in bytes.
    pub memory_limit: Option<u64>,
}

/// A launch that has its slot and its message; dropped before the child has
/// started, it gives both back.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) launch: Launch,
    pub(super) owner: OwnerId,
    pub(super) message: BlockId,
    pub(super) descriptors: Vec<OwnedFd>,
    started: bool,
}

impl Launch {
    /// Starts the child.
    ///
    /// # Errors
    /// The operating system refuses another process or descriptor, the Heap
    /// is exhausted, or (for [`StartMethod::Fork`]) this process has more
    /// than one thread.
    pub fn start(self) -> Result<Child> {
        bootstrap::require_init()?;
        if self.role == Role::Process {
            registry::reap();
        }
        let method = self.method;
        let prepared = self.prepare()?;
        match method {
            StartMethod::Spawn => prepared.spawn(None),
            StartMethod::Forkserver => {
                template::of_this_process(|template| template.fork_child(prepared))
            }
            StartMethod::Fork => fork::start(prepared),
        }
    }

    /// Starts the child as a fork of `template`.
    pub(crate) fn start_from(self, template: &Template) -> Result<Child> {
        template.fork_child(self.prepare()?)
    }

    /// Reserves the slot and leaves the launch message in it.
    pub(super) fn prepare(mut self) -> Result<Prepared> {
        let flags = match (self.role, self.daemon) {
            (Role::Worker, _) => SlotFlags::WORKER,
            (Role::Keeper, _) => SlotFlags::KEEPER,
            (Role::Process, false) => SlotFlags::PLAIN,
            _ => SlotFlags::DAEMONIC,
        };
        let owner = family::reserve_slot(flags)?;
        let descriptors = self.handles.take_descriptors();
        match self.give_message(owner, &descriptors) {
            Ok(message) => Ok(Prepared {
                launch: self,
                owner,
                message,
                descriptors,
                started: false,
            }),
            Err(error) => {
                family::release_slot(owner);
                Err(error)
            }
        }
    }

    fn give_message(&self, owner: OwnerId, descriptors: &[OwnedFd]) -> Result<BlockId> {
        let numbers = descriptors
            .iter()
            .map(|fd| life::number(fd.as_fd()))
            .collect();
        let order = self.order(numbers)?.encode();
        let mut message = Message::create(&self.handles, order.len() + self.payload.len())?;
        let (front, back) = message.payload_mut().split_at_mut(order.len());
        front.copy_from_slice(&order);
        back.copy_from_slice(&self.payload);
        Ok(message.give(owner))
    }

    fn order(&self, descriptors: Vec<i32>) -> Result<Order> {
        Ok(Order {
            role: self.role,
            method: self.method,
            daemon: self.daemon,
            entry: self.entry,
            parent_pid: procession_sys::process::id(),
            parent_owner: identity::me()?.to_bits(),
            parent_name: current().name.clone(),
            name: self.name.clone(),
            memory_limit: self.memory_limit,
            descriptors,
        })
    }
}

impl Prepared {
    /// Runs this program again as the child; a forkserver is given the end of
    /// its order socket.
    pub(super) fn spawn(self, orders: Option<&OwnedFd>) -> Result<Child> {
        let process = self.start_program(orders)?;
        Ok(self.into_child(process, None))
    }

    /// Runs this program again as a process of the family rather than of this process: nobody here joins it or ends it.
    pub(super) fn spawn_apart(mut self) -> Result<ChildProcess> {
        let process = self.start_program(None)?;
        self.started = true;
        Ok(process)
    }

    /// The child has started.
    pub(super) fn into_child(
        mut self,
        process: ChildProcess,
        forkserver: Option<OwnerId>,
    ) -> Child {
        self.started = true;
        let child = Child::new(self.owner, process, &self.launch, forkserver);
        registry::add(&child);
        child
    }

    fn start_program(&self, orders: Option<&OwnedFd>) -> Result<ChildProcess> {
        let family = family::descriptor()?;
        let life = life::read_end()?;
        let harness = program::enters_through_test()
            .then(|| -> Result<_> {
                let output = procession_sys::fd::duplicate(std::io::stdout().as_fd())?;
                Ok((output, procession_sys::fd::open_null()?))
            })
            .transpose()?;
        let marker = Marker {
            family: life::number(family),
            owner: self.owner,
            message: self.message,
            life: life::number(life.as_fd()),
            orders: orders.map(|fd| life::number(fd.as_fd())),
            output: harness
                .as_ref()
                .map(|(output, _)| life::number(output.as_fd())),
        };
        let mut inherit = vec![family, life.as_fd()];
        inherit.extend(orders.map(AsFd::as_fd));
        inherit.extend(self.descriptors.iter().map(AsFd::as_fd));
        inherit.extend(harness.as_ref().map(|(output, _)| output.as_fd()));

        let mut spawn = Spawn::new(program::arguments(&marker));
        let apart = self.launch.role == Role::Keeper;
        spawn.close_others = apart;
        spawn.new_session = apart;
        for fd in inherit {
            spawn = spawn.descriptor(fd, life::number(fd));
        }
        if let Some((_, null)) = &harness {
            spawn = spawn.descriptor(null.as_fd(), 1);
        }
        Ok(spawn.start()?)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.started {
            family::release_slot(self.owner);
        }
    }
}
