//! iceoryx2: samples written in shared memory and handed over in place.
//!
//! Publish and subscribe has no waiting of its own: either the receiver polls, spinning and then yielding as the
//! bare ring does, or each sample is announced by an event, in which a receiver with nothing to do sleeps.

use std::hint;
use std::thread;

use ::iceoryx2::port::listener::Listener;
use ::iceoryx2::port::notifier::Notifier;
use ::iceoryx2::port::publisher::Publisher;
use ::iceoryx2::port::subscriber::Subscriber;
use ::iceoryx2::prelude::{
    BackpressureStrategy, LogLevel, Node, NodeBuilder, SignalHandlingMode, ipc, set_log_level,
};

use crate::Result;
use crate::link::{Bulk, Helper, Invitation, Link, Pair, Place};
use crate::work::{self, BULK_BYTES, Message};

pub(crate) const POLLED_ROLE: &str = "iceoryx2-polled";
pub(crate) const NOTIFIED_ROLE: &str = "iceoryx2-notified";
pub(crate) const BULK_ROLE: &str = "iceoryx2-bulk";

const SMALL_SAMPLES: usize = 1024;
const BULK_SAMPLES: usize = 4;

fn node() -> Result<Node<ipc::Service>> {
    set_log_level(LogLevel::Error);
    Ok(NodeBuilder::new()
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()?)
}

/// A name that no other contender of any run uses.
fn fresh_name() -> Result<String> {
    Ok(Invitation::new()?.name().to_owned())
}

fn outgoing(node: &Node<ipc::Service>, name: &str) -> Result<Publisher<ipc::Service, Message, ()>> {
    let service = node
        .service_builder(&name.try_into()?)
        .publish_subscribe::<Message>()
        .subscriber_max_buffer_size(SMALL_SAMPLES)
        .enable_safe_overflow(false)
        .open_or_create()?;
    Ok(service
        .publisher_builder()
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()?)
}

fn incoming(
    node: &Node<ipc::Service>,
    name: &str,
) -> Result<Subscriber<ipc::Service, Message, ()>> {
    let service = node
        .service_builder(&name.try_into()?)
        .publish_subscribe::<Message>()
        .subscriber_max_buffer_size(SMALL_SAMPLES)
        .enable_safe_overflow(false)
        .open_or_create()?;
    Ok(service
        .subscriber_builder()
        .buffer_size(SMALL_SAMPLES)
        .create()?)
}

/// Looks until there is a value.
fn poll<T>(mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    const SPINS: u32 = 64;
    loop {
        for _ in 0..SPINS {
            if let Some(value) = look()? {
                return Ok(value);
            }
            hint::spin_loop();
        }
        thread::yield_now();
    }
}

/// Small samples each way, polled for.
pub(crate) struct Polled {
    outgoing: Publisher<ipc::Service, Message, ()>,
    incoming: Subscriber<ipc::Service, Message, ()>,
    _node: Node<ipc::Service>,
}

impl Polled {
    fn new(outgoing_name: &str, incoming_name: &str) -> Result<Self> {
        let node = node()?;
        Ok(Self {
            outgoing: outgoing(&node, outgoing_name)?,
            incoming: incoming(&node, incoming_name)?,
            _node: node,
        })
    }

    fn look(&self) -> Result<Option<Message>> {
        Ok(self.incoming.receive()?.map(|sample| *sample))
    }
}

impl Link for Polled {
    fn send(&mut self, message: &Message) -> Result<()> {
        self.outgoing
            .loan_uninit()?
            .write_payload(*message)
            .send()?;
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        poll(|| self.look())
    }
}

pub(crate) fn polled() -> Result<Pair<Polled>> {
    let (up, down) = (fresh_name()?, fresh_name()?);
    let link = Polled::new(&down, &up)?;
    let helper = Helper::start(POLLED_ROLE, &[&up, &down], None)?;
    Ok(Pair { link, helper })
}

pub(crate) fn serve_polled(place: &Place) -> Result<()> {
    place.serve_link(Polled::new(place.argument(0)?, place.argument(1)?)?)
}

/// Small samples each way, each announced by an event.
pub(crate) struct Notified {
    samples: Polled,
    notifier: Notifier<ipc::Service>,
    listener: Listener<ipc::Service>,
}

impl Notified {
    fn new(outgoing_name: &str, incoming_name: &str) -> Result<Self> {
        let samples = Polled::new(outgoing_name, incoming_name)?;
        let node = &samples._node;
        let notifier = node
            .service_builder(&outgoing_name.try_into()?)
            .event()
            .open_or_create()?
            .notifier_builder()
            .create()?;
        let listener = node
            .service_builder(&incoming_name.try_into()?)
            .event()
            .open_or_create()?
            .listener_builder()
            .create()?;
        Ok(Self {
            samples,
            notifier,
            listener,
        })
    }
}

impl Link for Notified {
    fn send(&mut self, message: &Message) -> Result<()> {
        self.samples.send(message)?;
        self.notifier.notify()?;
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        loop {
            if let Some(message) = self.samples.look()? {
                return Ok(message);
            }
            self.listener.blocking_wait(|_| {})?;
        }
    }
}

pub(crate) fn notified() -> Result<Pair<Notified>> {
    let (up, down) = (fresh_name()?, fresh_name()?);
    let link = Notified::new(&down, &up)?;
    let helper = Helper::start(NOTIFIED_ROLE, &[&up, &down], None)?;
    Ok(Pair { link, helper })
}

pub(crate) fn serve_notified(place: &Place) -> Result<()> {
    place.serve_link(Notified::new(place.argument(0)?, place.argument(1)?)?)
}

/// Large samples, filled and read in place.
pub(crate) struct InPlace {
    end: End,
    _node: Node<ipc::Service>,
}

enum End {
    Outgoing(Publisher<ipc::Service, [u64], ()>),
    Incoming(Subscriber<ipc::Service, [u64], ()>),
}

impl InPlace {
    fn new(name: &str, sends: bool) -> Result<Self> {
        let node = node()?;
        let service = node
            .service_builder(&name.try_into()?)
            .publish_subscribe::<[u64]>()
            .subscriber_max_buffer_size(BULK_SAMPLES)
            .enable_safe_overflow(false)
            .open_or_create()?;
        let end = if sends {
            let publisher = service
                .publisher_builder()
                .initial_max_slice_len(BULK_BYTES / 8)
                .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                .create()?;
            End::Outgoing(publisher)
        } else {
            let subscriber = service
                .subscriber_builder()
                .buffer_size(BULK_SAMPLES)
                .create()?;
            End::Incoming(subscriber)
        };
        Ok(Self { end, _node: node })
    }
}

impl Bulk for InPlace {
    fn send(&mut self, number: u64) -> Result<()> {
        let End::Outgoing(publisher) = &self.end else {
            return Err("a subscriber does not send".into());
        };
        publisher
            .loan_slice_uninit(BULK_BYTES / 8)?
            .write_from_fn(|index| work::bulk_word(number, index))
            .send()?;
        Ok(())
    }

    fn receive(&mut self) -> Result<u64> {
        let End::Incoming(subscriber) = &self.end else {
            return Err("a publisher does not receive".into());
        };
        let sample = poll(|| Ok(subscriber.receive()?))?;
        Ok(sample.iter().fold(0, |sum, word| sum.wrapping_add(*word)))
    }
}

pub(crate) fn bulk() -> Result<Pair<InPlace>> {
    let name = fresh_name()?;
    let link = InPlace::new(&name, true)?;
    let helper = Helper::start(BULK_ROLE, &[&name], None)?;
    Ok(Pair { link, helper })
}

pub(crate) fn serve_bulk(place: &Place) -> Result<()> {
    place.serve_bulk(InPlace::new(place.argument(0)?, false)?)
}
