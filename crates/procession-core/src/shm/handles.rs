//! Handles inside messages: while a face serialises a message, each shared object in it becomes an index into the
//! message's table of handles, and while it deserialises, an index becomes a handle again.
//!
//! Used by the faces' serialisers through two contexts of the calling thread, which may be nested (a serialiser may send
//! another message). Outside a context a handle has no serialised form, since nobody would hold the object on the way:
//! that is an error that says what to do.
//!
//! Descriptors travel too, as indices into a table of their own. Those of a launch go to the child with it; those of any
//! other message wait with the family's keeper ([`Keeping`]) until the message is read or freed.
//!
//! Contexts are private memory. The references themselves are taken when the message is made and given back by whoever
//! frees it (see `message`).

use super::family::{self, FamilyId};
use super::message;
use super::object::{Holding, Layout, Object};
use super::offset::BlockId;
use crate::error::{Error, ErrorKind, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

thread_local! {
    static COLLECTING: RefCell<Vec<Collected>> = const { RefCell::new(Vec::new()) };
    static READING: RefCell<Vec<Table>> = const { RefCell::new(Vec::new()) };
}

/// The handles that a message will carry, kept alive until it does. Nearly all messages carry none, and are passed on many
/// times: that is one word.
#[derive(Debug, Default)]
pub struct Collected(Option<Box<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    holdings: Vec<Arc<Holding>>,
    indices: BTreeMap<BlockId, u32>,
    descriptors: Vec<OwnedFd>,
}

#[derive(Debug)]
struct Table {
    family: FamilyId,
    entries: Vec<Option<BlockId>>,
    descriptors: Descriptors,
}

/// Where the descriptors of a message are.
#[derive(Clone, Debug, Default)]
pub(crate) enum Descriptors {
    /// The message has none.
    #[default]
    None,
    /// In this process.
    Arrived(Arrived),
    /// With the family's keeper.
    Kept(message::View, BlockId),
}

/// Descriptors that have come with a launch; each is taken once.
#[derive(Clone, Debug, Default)]
pub struct Arrived(Arc<Mutex<Vec<Option<OwnedFd>>>>);

impl Arrived {
    /// Descriptors by index.
    #[must_use]
    pub fn new(descriptors: Vec<OwnedFd>) -> Self {
        Self(Arc::new(Mutex::new(
            descriptors.into_iter().map(Some).collect(),
        )))
    }

    fn take(&self, index: u32) -> Option<OwnedFd> {
        let mut descriptors = self.0.lock().unwrap_or_else(PoisonError::into_inner);

        descriptors.get_mut(index as usize)?.take()
    }
}

/// Who keeps the descriptors of messages that are under way.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// Keeps copies of the descriptors for as long as the block exists.
    pub deposit: fn(BlockId, &[OwnedFd]) -> Result<()>,
    /// Hands one of them over; each is handed over once.
    pub claim: fn(BlockId, u32) -> Result<OwnedFd>,
    /// The block is about to be freed.
    pub release: fn(BlockId),
}

static KEEPING: OnceLock<Keeping> = OnceLock::new();

/// Says who keeps the descriptors of this process's messages; once.
pub(crate) fn keep_with(keeping: Keeping) {
    let _ = KEEPING.set(keeping);
}

/// Who keeps descriptors for this process.
///
/// # Errors
/// [`ErrorKind::WrongState`] in a program that has not entered the engine.
pub(crate) fn keeping() -> Result<&'static Keeping> {
    KEEPING.get().ok_or_else(|| {
        Error::new(
            ErrorKind::WrongState,
            "send a descriptor in a message: this program has not called procession::init()",
        )
    })
}

impl Collected {
    /// No handles.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Does the message carry no handle and no descriptor?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0
            .as_deref()
            .is_none_or(|contents| contents.holdings.is_empty() && contents.descriptors.is_empty())
    }

    /// The descriptors, by index.
    #[must_use]
    pub fn descriptors(&self) -> &[OwnedFd] {
        self.0
            .as_deref()
            .map_or(&[], |contents| &contents.descriptors)
    }

    /// What the handles name, by index.
    #[must_use]
    pub fn ids(&self) -> Vec<BlockId> {
        self.0.as_deref().map_or_else(Vec::new, |contents| {
            let holdings = contents.holdings.iter();
            holdings.map(|holding| holding.id()).collect()
        })
    }

    /// Adds a handle by hand; returns its index.
    pub fn add_object<T: Layout>(&mut self, object: &Object<T>) -> u32 {
        self.add(object.holding())
    }

    /// Adds a descriptor that travels along; returns its index among the descriptors.
    pub fn add_descriptor(&mut self, descriptor: OwnedFd) -> u32 {
        let descriptors = &mut self.contents().descriptors;
        descriptors.push(descriptor);
        descriptors.len() as u32 - 1
    }

    /// The descriptors, which then travel by other means than the message.
    #[must_use]
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        self.0.as_deref_mut().map_or_else(Vec::new, |contents| {
            std::mem::take(&mut contents.descriptors)
        })
    }

    /// The same handles, and duplicates of the descriptors.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> Result<Self> {
        let Some(contents) = self.0.as_deref() else {
            return Ok(Self::none());
        };
        let duplicates = contents
            .descriptors
            .iter()
            .map(|fd| procession_sys::fd::duplicate(fd.as_fd()));

        Ok(Self(Some(Box::new(Contents {
            holdings: contents.holdings.clone(),
            indices: contents.indices.clone(),
            descriptors: duplicates.collect::<std::result::Result<_, _>>()?,
        }))))
    }

    fn add(&mut self, holding: &Arc<Holding>) -> u32 {
        let Contents {
            holdings, indices, ..
        } = self.contents();
        *indices.entry(holding.id()).or_insert_with(|| {
            holdings.push(Arc::clone(holding));
            holdings.len() as u32 - 1
        })
    }

    fn contents(&mut self) -> &mut Contents {
        self.0.get_or_insert_default()
    }
}

/// While it lives, the calling thread's serialisers may note handles.
#[derive(Debug)]
#[must_use]
pub struct Collecting {
    not_send: PhantomData<*const ()>,
}

impl Collecting {
    /// Begins to collect handles on this thread.
    pub fn begin() -> Self {
        Self::go_on(Collected::default())
    }

    /// Adds to what an earlier context collected: indices go on behind its own.
    pub fn go_on(collected: Collected) -> Self {
        COLLECTING.with_borrow_mut(|stack| stack.push(collected));
        Self {
            not_send: PhantomData,
        }
    }

    /// What has been collected.
    #[must_use]
    pub fn finish(self) -> Collected {
        COLLECTING
            .with_borrow_mut(|stack| stack.last_mut().map(std::mem::take))
            .unwrap_or_default()
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        // The handles are dropped after the borrow has ended.
        let collected = COLLECTING.try_with(|stack| stack.borrow_mut().pop());
        drop(collected);
    }
}

/// Notes that the message being serialised carries `object`; returns the index to write in its place.
///
/// # Errors
/// [`ErrorKind::OutsideMessage`] if no message is being serialised on this thread.
pub fn note<T: Layout>(object: &Object<T>) -> Result<u32> {
    note_holding(object.holding())
}

fn note_holding(holding: &Arc<Holding>) -> Result<u32> {
    COLLECTING
        .with_borrow_mut(|stack| stack.last_mut().map(|collected| collected.add(holding)))
        .ok_or_else(outside)
}

#[cold]
fn outside() -> Error {
    Error::new(
        ErrorKind::OutsideMessage,
        "serialise a shared object: it can only travel as an argument of a process or task, or through a queue of \
         its own family; use a manager or a listener to reach other programs",
    )
}

/// Notes that the message being serialised carries a duplicate of the descriptor; returns the index to write in its place.
///
/// # Errors
/// [`ErrorKind::OutsideMessage`] if no message is being serialised on this thread; no descriptor is left.
pub fn note_descriptor(descriptor: BorrowedFd<'_>) -> Result<u32> {
    if !is_collecting() {
        return Err(outside());
    }
    let duplicate = procession_sys::fd::duplicate(descriptor)?;

    COLLECTING
        .with_borrow_mut(|stack| {
            stack
                .last_mut()
                .map(|collected| collected.add_descriptor(duplicate))
        })
        .ok_or_else(outside)
}

/// Is a message being serialised on this thread?
#[must_use]
pub fn is_collecting() -> bool {
    COLLECTING.with_borrow(|stack| !stack.is_empty())
}

/// While it lives, the calling thread's serialisers and deserialisers have no message, whatever was begun before: for what
/// leaves the family, over a connection for instance.
#[derive(Debug)]
#[must_use]
pub struct Outside {
    collecting: Vec<Collected>,
    reading: Vec<Table>,
    not_send: PhantomData<*const ()>,
}

impl Outside {
    /// Sets this thread's contexts aside.
    pub fn begin() -> Self {
        Self {
            collecting: COLLECTING.take(),
            reading: READING.take(),
            not_send: PhantomData,
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        COLLECTING.set(std::mem::take(&mut self.collecting));
        READING.set(std::mem::take(&mut self.reading));
    }
}

/// While it lives, the calling thread's deserialisers may resolve the handles of one message.
#[derive(Debug)]
#[must_use]
pub struct Reading {
    not_send: PhantomData<*const ()>,
}

impl Reading {
    /// Begins to read a message of `family` with this table; the message must live as long as the context.
    pub fn begin(family: FamilyId, entries: Vec<Option<BlockId>>) -> Self {
        Self::begin_with(family, entries, Descriptors::None)
    }

    pub(crate) fn begin_with(
        family: FamilyId,
        entries: Vec<Option<BlockId>>,
        descriptors: Descriptors,
    ) -> Self {
        READING.with_borrow_mut(|stack| {
            stack.push(Table {
                family,
                entries,
                descriptors,
            });
        });
        Self {
            not_send: PhantomData,
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let table = READING.try_with(|stack| stack.borrow_mut().pop());
        drop(table);
    }
}

/// The handle that the message being read carries at `index`.
///
/// # Errors
/// [`ErrorKind::OutsideMessage`] if no message is being read on this thread; [`ErrorKind::ForeignHandle`],
/// [`ErrorKind::StaleHandle`] or [`ErrorKind::WrongKind`] if the handle is not one to such an object.
pub fn resolve<T: Layout>(index: u32) -> Result<Object<T>> {
    let (family, entry) = READING
        .with_borrow(|stack| {
            stack.last().map(|table| {
                (
                    table.family,
                    table.entries.get(index as usize).copied().flatten(),
                )
            })
        })
        .ok_or_else(unreadable)?;

    if family != family::id()? {
        return Err(Error::new(
            ErrorKind::ForeignHandle,
            "deserialise a shared object: it belongs to another program's family; use a manager or a listener to reach it",
        ));
    }
    let id = entry.ok_or_else(|| {
        Error::new(
            ErrorKind::StaleHandle,
            format!("deserialise a shared object: the message has no handle {index}"),
        )
    })?;
    Object::attach(id)
}

/// The descriptor that the message being read carries at `index`; each can be taken once.
///
/// # Errors
/// [`ErrorKind::OutsideMessage`] if no message is being read on this thread; [`ErrorKind::StaleHandle`] if the message has
/// no such descriptor, or it was taken before; what the keeper says.
pub fn take_descriptor(index: u32) -> Result<OwnedFd> {
    let descriptors = READING
        .with_borrow(|stack| stack.last().map(|table| table.descriptors.clone()))
        .ok_or_else(unreadable)?;
    let stale = || {
        Error::new(
            ErrorKind::StaleHandle,
            format!(
                "deserialise a descriptor: descriptor {index} of the message was taken before, or is none"
            ),
        )
    };

    match descriptors {
        Descriptors::None => Err(stale()),
        Descriptors::Arrived(arrived) => arrived.take(index).ok_or_else(stale),
        Descriptors::Kept(message, id) => {
            let descriptor = (keeping()?.claim)(id, index)?;
            message.descriptor_claimed();
            Ok(descriptor)
        }
    }
}

#[cold]
fn unreadable() -> Error {
    Error::new(
        ErrorKind::OutsideMessage,
        "deserialise a shared object: it can only be read from a message of its own family, by the engine",
    )
}
