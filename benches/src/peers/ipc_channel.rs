//! ipc-channel: typed channels over sockets, byte channels, and shared memory sent over a channel.
//!
//! The child connects to a one-shot server and sends it the ends that the parent needs.

use ::ipc_channel::ipc::{
    self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender,
    IpcSharedMemory,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::link::{Bulk, Helper, Link, Pair, Place};
use crate::work::{self, BULK_BYTES, Message};

pub(crate) const TYPED_ROLE: &str = "ipc-channel-typed";
pub(crate) const SMALL_BYTES_ROLE: &str = "ipc-channel-small-bytes";
pub(crate) const BYTES_ROLE: &str = "ipc-channel-bytes";
pub(crate) const SHARED_ROLE: &str = "ipc-channel-shared";

/// Starts a child in this role and takes the ends that it sends.
fn meet<T: Serialize + DeserializeOwned>(role: &str) -> Result<(T, Helper)> {
    let (server, name) = IpcOneShotServer::new()?;
    let helper = Helper::start(role, &[&name], None)?;
    let (_, ends) = server.accept()?;
    Ok((ends, helper))
}

fn report<T: Serialize>(place: &Place, ends: T) -> Result<()> {
    Ok(IpcSender::connect(place.argument(0)?.to_owned())?.send(ends)?)
}

/// A typed channel each way.
pub(crate) struct Typed {
    outgoing: IpcSender<Message>,
    incoming: IpcReceiver<Message>,
}

impl Link for Typed {
    fn send(&mut self, message: &Message) -> Result<()> {
        Ok(self.outgoing.send(*message)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.incoming.recv()?)
    }
}

pub(crate) fn typed() -> Result<Pair<Typed>> {
    let ((outgoing, incoming), helper) = meet(TYPED_ROLE)?;
    Ok(Pair {
        link: Typed { outgoing, incoming },
        helper,
    })
}

pub(crate) fn serve_typed(place: &Place) -> Result<()> {
    let (to_child, incoming) = ipc::channel::<Message>()?;
    let (outgoing, from_child) = ipc::channel::<Message>()?;
    report(place, (to_child, from_child))?;
    place.serve_link(Typed { outgoing, incoming })
}

/// A byte channel each way.
pub(crate) struct SmallBytes {
    outgoing: IpcBytesSender,
    incoming: IpcBytesReceiver,
}

impl Link for SmallBytes {
    fn send(&mut self, message: &Message) -> Result<()> {
        Ok(self.outgoing.send(&work::to_bytes(message))?)
    }

    fn receive(&mut self) -> Result<Message> {
        let bytes = self.incoming.recv()?;
        Ok(work::from_bytes(bytes[..].try_into()?))
    }
}

pub(crate) fn small_bytes() -> Result<Pair<SmallBytes>> {
    let ((outgoing, incoming), helper) = meet(SMALL_BYTES_ROLE)?;
    Ok(Pair {
        link: SmallBytes { outgoing, incoming },
        helper,
    })
}

pub(crate) fn serve_small_bytes(place: &Place) -> Result<()> {
    let (to_child, incoming) = ipc::bytes_channel()?;
    let (outgoing, from_child) = ipc::bytes_channel()?;
    report(place, (to_child, from_child))?;
    place.serve_link(SmallBytes { outgoing, incoming })
}

/// A channel of bytes.
pub(crate) struct Bytes {
    buffer: Vec<u8>,
    end: BytesEnd,
}

enum BytesEnd {
    Sender(IpcBytesSender),
    Receiver(IpcBytesReceiver),
}

impl Bulk for Bytes {
    fn send(&mut self, number: u64) -> Result<()> {
        work::fill(&mut self.buffer, number);
        match &self.end {
            BytesEnd::Sender(sender) => Ok(sender.send(&self.buffer)?),
            BytesEnd::Receiver(_) => Err("a receiver does not send".into()),
        }
    }

    fn receive(&mut self) -> Result<u64> {
        match &self.end {
            BytesEnd::Receiver(receiver) => Ok(work::sum(&receiver.recv()?)),
            BytesEnd::Sender(_) => Err("a sender does not receive".into()),
        }
    }
}

pub(crate) fn bytes() -> Result<Pair<Bytes>> {
    let (sender, helper) = meet(BYTES_ROLE)?;
    let link = Bytes {
        buffer: vec![0; BULK_BYTES],
        end: BytesEnd::Sender(sender),
    };
    Ok(Pair { link, helper })
}

pub(crate) fn serve_bytes(place: &Place) -> Result<()> {
    let (to_child, receiver) = ipc::bytes_channel()?;
    report(place, to_child)?;
    place.serve_bulk(Bytes {
        buffer: Vec::new(),
        end: BytesEnd::Receiver(receiver),
    })
}

/// A channel of shared memory, one block a message.
pub(crate) enum SharedEnd {
    Sender {
        sender: IpcSender<IpcSharedMemory>,
        buffer: Vec<u8>,
    },
    Receiver(IpcReceiver<IpcSharedMemory>),
}

impl Bulk for SharedEnd {
    fn send(&mut self, number: u64) -> Result<()> {
        let Self::Sender { sender, buffer } = self else {
            return Err("a receiver does not send".into());
        };
        work::fill(buffer, number);
        Ok(sender.send(IpcSharedMemory::from_bytes(buffer))?)
    }

    fn receive(&mut self) -> Result<u64> {
        match self {
            Self::Receiver(receiver) => Ok(work::sum(&receiver.recv()?)),
            Self::Sender { .. } => Err("a sender does not receive".into()),
        }
    }
}

pub(crate) fn shared() -> Result<Pair<SharedEnd>> {
    let (sender, helper) = meet(SHARED_ROLE)?;
    let link = SharedEnd::Sender {
        sender,
        buffer: vec![0; BULK_BYTES],
    };
    Ok(Pair { link, helper })
}

pub(crate) fn serve_shared(place: &Place) -> Result<()> {
    let (to_child, receiver) = ipc::channel::<IpcSharedMemory>()?;
    report(place, to_child)?;
    place.serve_bulk(SharedEnd::Receiver(receiver))
}
