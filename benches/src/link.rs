//! Two processes, a link between them, and the loops that time it.
//!
//! A library shows how it carries a message by `Link` (small, both ways) or `Bulk` (large, one way); the loops here
//! are the same for all. The parent directs the child over a socket of its own, apart from what is measured:
//!
//! ```text
//! parent: verb, count ->              clock starts ->  work  <- clock stops
//! child:                 <- ready                      work  <- what it read
//! ```
//!
//! For the time of a round each end keeps to a CPU of its own, where there are two (unless `--float` leaves that to
//! the kernel): else a pair that the kernel happened to put on one CPU would be compared with a pair on two. Outside
//! the rounds both may use all CPUs, so that a library which counts them when it starts counts them all.
//!
//! Between rounds the child sleeps in that socket, so contenders do not disturb each other. When the parent dies the
//! socket closes and the child ends; a child that dies is an error of the parent's next read.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::floors::os::{Cpus, Pinned};
use crate::harness::Contender;
use crate::work::{self, Message};
use crate::{Result, roles};

/// Carries small messages both ways.
pub(crate) trait Link {
    fn send(&mut self, message: &Message) -> Result<()>;
    fn receive(&mut self) -> Result<Message>;
}

/// Carries large messages one way; each is filled by its sender and read by its receiver, byte for byte.
pub(crate) trait Bulk {
    /// Fills the message with this number, by `work::fill` or word by word, and sends it.
    fn send(&mut self, number: u64) -> Result<()>;
    /// Receives a message and returns `work::sum` of its bytes.
    fn receive(&mut self) -> Result<u64>;
}

const RECEIVE: u8 = 1;
const ECHO: u8 = 2;

/// Where a child finds its parent, and what else the parent told it.
pub(crate) struct Place {
    control: String,
    arguments: Vec<String>,
}

impl Place {
    pub(crate) fn new(control: &str, arguments: &[String]) -> Self {
        Self {
            control: control.to_owned(),
            arguments: arguments.to_vec(),
        }
    }

    /// An argument of the role.
    pub(crate) fn argument(&self, index: usize) -> Result<&str> {
        Ok(self
            .arguments
            .get(index)
            .ok_or("a role lacks an argument")?)
    }

    /// Receives small messages, or answers them, as the parent directs.
    pub(crate) fn serve_link(&self, mut link: impl Link) -> Result<()> {
        self.serve(|verb, count| {
            let mut total = 0_u64;
            for _ in 0..count {
                let message = link.receive()?;
                total = total.wrapping_add(work::digest(&message));
                if verb == ECHO {
                    link.send(&message)?;
                }
            }
            Ok(total)
        })
    }

    /// Receives large messages as the parent directs.
    pub(crate) fn serve_bulk(&self, mut bulk: impl Bulk) -> Result<()> {
        self.serve(|_, count| {
            (0..count).try_fold(0_u64, |total, _| Ok(total.wrapping_add(bulk.receive()?)))
        })
    }

    /// Calls `work` with the verb and the count of each order until the parent is done.
    pub(crate) fn serve(&self, mut work: impl FnMut(u8, u64) -> Result<u64>) -> Result<()> {
        let address = SocketAddr::from_abstract_name(&self.control)?;
        let mut control = UnixStream::connect_addr(&address)?;
        loop {
            let mut order = [0; Order::BYTES];
            match control.read_exact(&mut order) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let order = Order::decode(order);
            let pinned = order.cpu.map(Pinned::to).transpose()?;
            control.write_all(&[order.verb])?;
            let read = work(order.verb, order.count)?;
            control.write_all(&read.to_ne_bytes())?;
            drop(pinned);
        }
    }
}

/// What a parent tells its child to do in a round.
struct Order {
    verb: u8,
    count: u64,
    cpu: Option<usize>,
}

impl Order {
    const BYTES: usize = 17;

    fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [self.verb; Self::BYTES];
        let cpu = self.cpu.map_or(u64::MAX, |cpu| cpu as u64);
        bytes[1..9].copy_from_slice(&self.count.to_ne_bytes());
        bytes[9..].copy_from_slice(&cpu.to_ne_bytes());
        bytes
    }

    fn decode([verb, rest @ ..]: [u8; Self::BYTES]) -> Self {
        let (words, _) = rest.as_chunks::<8>();
        let [count, cpu] = [0, 1].map(|index| u64::from_ne_bytes(words[index]));
        Self {
            verb,
            count,
            cpu: (cpu != u64::MAX).then_some(cpu as usize),
        }
    }
}

static FLOAT: AtomicBool = AtomicBool::new(false);

/// Leaves it to the kernel on which CPUs the two ends of a link run.
pub(crate) fn float() {
    FLOAT.store(true, Ordering::Relaxed);
}

/// The CPU for the parent and the one for the child, where there are two.
fn places() -> Result<Option<(usize, usize)>> {
    if FLOAT.load(Ordering::Relaxed) {
        return Ok(None);
    }
    Ok(match Cpus::current()?.numbers()[..] {
        [parent, child, ..] => Some((parent, child)),
        _ => None,
    })
}

/// A socket on which a child that is yet to start will report.
pub(crate) struct Invitation {
    listener: UnixListener,
    name: String,
}

impl Invitation {
    pub(crate) fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("procession-bench-{}-{number}", std::process::id());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        Ok(Self { listener, name })
    }

    /// What the child must be told: `Place::new` takes it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the child is there, with its end of the link attached.
    pub(crate) fn accept(self) -> Result<Director> {
        let (control, _) = self.listener.accept()?;
        Ok(Director { control })
    }
}

/// The parent's end of a child's control socket.
pub(crate) struct Director {
    control: UnixStream,
}

impl Director {
    /// Orders the work and waits until the child is about to begin it. The parent keeps to its CPU while it holds
    /// what this returns.
    fn begin(&mut self, verb: u8, count: u64) -> Result<Option<Pinned>> {
        let places = places()?;
        let cpu = places.map(|(_, child)| child);
        let pinned = places.map(|(parent, _)| Pinned::to(parent)).transpose()?;
        self.control
            .write_all(&Order { verb, count, cpu }.encode())?;
        let mut ready = [0];
        self.control.read_exact(&mut ready)?;
        Ok(pinned)
    }

    /// Waits until the child is done and returns what it read in all.
    fn finish(&mut self) -> Result<u64> {
        let mut read = [0; 8];
        self.control.read_exact(&mut read)?;
        Ok(u64::from_ne_bytes(read))
    }
}

/// A child in a role of this program. Dropping it ends the child and waits for it.
pub(crate) struct Helper {
    director: Director,
    child: Child,
}

impl Helper {
    /// Starts this program in a role; `input`, if given, becomes its standard input.
    pub(crate) fn start(role: &str, arguments: &[&str], input: Option<OwnedFd>) -> Result<Self> {
        let invitation = Invitation::new()?;
        let child = Command::new("/proc/self/exe")
            .args([roles::CHILD, role, invitation.name()])
            .args(arguments)
            .stdin(input.map_or_else(Stdio::null, Stdio::from))
            .spawn()?;
        Ok(Self {
            director: invitation.accept()?,
            child,
        })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.director.control.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// Whatever holds the child of a link and directs it.
pub(crate) trait Directs {
    fn director(&mut self) -> &mut Director;
}

impl Directs for Helper {
    fn director(&mut self) -> &mut Director {
        &mut self.director
    }
}

/// The parent's end of a link, with the child at the other end.
pub(crate) struct Pair<L, H = Helper> {
    pub(crate) link: L,
    pub(crate) helper: H,
}

/// Times messages from parent to child.
pub(crate) struct OneWay<L, H = Helper>(pub(crate) Pair<L, H>);

impl<L: Link, H: Directs> Contender for OneWay<L, H> {
    fn round(&mut self, operations: u64) -> Result<Duration> {
        let Pair { link, helper } = &mut self.0;
        let director = helper.director();
        let _pinned = director.begin(RECEIVE, operations)?;
        let start = Instant::now();
        for number in 0..operations {
            link.send(&work::message(number))?;
        }
        let read = director.finish()?;
        let took = start.elapsed();
        same(read, work::expected_digest(operations))?;
        Ok(took)
    }
}

/// Times messages from parent to child and back.
pub(crate) struct RoundTrip<L, H = Helper>(pub(crate) Pair<L, H>);

impl<L: Link, H: Directs> Contender for RoundTrip<L, H> {
    fn round(&mut self, operations: u64) -> Result<Duration> {
        let Pair { link, helper } = &mut self.0;
        let director = helper.director();
        let _pinned = director.begin(ECHO, operations)?;
        let start = Instant::now();
        let mut answered = 0_u64;
        for number in 0..operations {
            link.send(&work::message(number))?;
            answered = answered.wrapping_add(work::digest(&link.receive()?));
        }
        let took = start.elapsed();
        same(director.finish()?, answered)?;
        same(answered, work::expected_digest(operations))?;
        Ok(took)
    }
}

/// Times large messages from parent to child.
pub(crate) struct BulkOneWay<B, H = Helper>(pub(crate) Pair<B, H>);

impl<B: Bulk, H: Directs> Contender for BulkOneWay<B, H> {
    fn round(&mut self, operations: u64) -> Result<Duration> {
        let Pair { link, helper } = &mut self.0;
        let director = helper.director();
        let _pinned = director.begin(RECEIVE, operations)?;
        let start = Instant::now();
        for number in 0..operations {
            link.send(number)?;
        }
        let read = director.finish()?;
        let took = start.elapsed();
        same(read, work::expected_sum(operations))?;
        Ok(took)
    }
}

/// Times turns with a child that serves them in a way of its own.
pub(crate) struct Turns<T, H = Helper>(pub(crate) Pair<T, H>);

impl<T: FnMut(u64) -> Result<()>, H: Directs> Contender for Turns<T, H> {
    fn round(&mut self, operations: u64) -> Result<Duration> {
        let Pair { link: turn, helper } = &mut self.0;
        let director = helper.director();
        let _pinned = director.begin(ECHO, operations)?;
        let start = Instant::now();
        for number in 0..operations {
            turn(number)?;
        }
        let took = start.elapsed();
        director.finish()?;
        Ok(took)
    }
}

/// Times calls within this process, or whatever a call starts and ends.
pub(crate) struct Calls<F>(pub(crate) F);

impl<F: FnMut(u64) -> Result<()>> Contender for Calls<F> {
    fn round(&mut self, operations: u64) -> Result<Duration> {
        let start = Instant::now();
        (self.0)(operations)?;
        Ok(start.elapsed())
    }
}

/// Refuses a result that is not the expected one: whoever does other work is not a contender.
pub(crate) fn same(read: u64, expected: u64) -> Result<()> {
    if read == expected {
        Ok(())
    } else {
        Err(format!("wrong result: {read:#x} instead of {expected:#x}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_its_encoding() {
        for cpu in [None, Some(0), Some(63)] {
            let order = Order::decode(
                Order {
                    verb: ECHO,
                    count: 7,
                    cpu,
                }
                .encode(),
            );
            assert_eq!((order.verb, order.count, order.cpu), (ECHO, 7, cpu));
        }
    }
}
