//! A futex word that two processes hand to and fro: the least that a turn between processes costs.
//!
//! Layout: the word at 0, in which even is the parent's turn and odd the child's; how many sleep on it at 64; the
//! message at 128, for those who pass one with the turn.
//! Two policies of waiting: sleep at once, or look for a while, yielding the CPU, and then sleep. A waker makes
//! the system call only if somebody may sleep.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::os::{Shared, futex_wait, futex_wake};
use crate::Result;
use crate::harness::Contender;
use crate::link::{Helper, Link, Pair, Place, Turns};
use crate::work::Message;

pub(crate) const ROLE: &str = "futex";
pub(crate) const MAILBOX_ROLE: &str = "futex-mailbox";

/// How long the second policy looks before it sleeps.
const SPIN: Duration = Duration::from_micros(30);

/// The word, as one of the two processes sees it.
struct Word {
    shared: Shared,
    spin: Duration,
}

impl Word {
    fn word(&self) -> &AtomicU32 {
        self.shared.word32(0)
    }

    fn sleepers(&self) -> &AtomicU32 {
        self.shared.word32(64)
    }

    /// Gives the turn to the other process.
    fn pass(&self, turn: u32) {
        self.word().store(turn, Ordering::SeqCst);
        if self.sleepers().load(Ordering::SeqCst) > 0 {
            futex_wake(self.word());
        }
    }

    /// Waits for a turn.
    fn await_turn(&self, turn: u32) {
        if !self.spin.is_zero() {
            let start = Instant::now();
            while start.elapsed() < self.spin {
                if self.word().load(Ordering::Acquire) == turn {
                    return;
                }
                thread::yield_now();
            }
        }
        self.sleepers().fetch_add(1, Ordering::SeqCst);
        loop {
            let seen = self.word().load(Ordering::SeqCst);
            if seen == turn {
                break;
            }
            futex_wait(self.word(), seen);
        }
        self.sleepers().fetch_sub(1, Ordering::SeqCst);
    }
}

/// Both processes sleep at once.
pub(crate) fn sleeping() -> Result<Box<dyn Contender>> {
    bare(Duration::ZERO)
}

/// Both processes look for about 30 µs before they sleep.
pub(crate) fn spinning() -> Result<Box<dyn Contender>> {
    bare(SPIN)
}

fn bare(spin: Duration) -> Result<Box<dyn Contender>> {
    let (word, helper) = start(ROLE, spin)?;
    let turn = move |number: u64| {
        let turn = (number as u32).wrapping_mul(2);
        word.pass(turn.wrapping_add(1));
        word.await_turn(turn.wrapping_add(2));
        Ok(())
    };
    Ok(Box::new(Turns(Pair { link: turn, helper })))
}

pub(crate) fn serve(place: &Place) -> Result<()> {
    let word = attach(place)?;
    place.serve(|_, count| {
        for number in 0..count {
            let turn = (number as u32).wrapping_mul(2);
            word.await_turn(turn.wrapping_add(1));
            word.pass(turn.wrapping_add(2));
        }
        Ok(count)
    })
}

/// The same as `sleeping`, with a message.
pub(crate) fn sleeping_mailbox() -> Result<Pair<Mailbox>> {
    mailbox(Duration::ZERO)
}

/// The same as `spinning`, with a message.
pub(crate) fn spinning_mailbox() -> Result<Pair<Mailbox>> {
    mailbox(SPIN)
}

const MESSAGE_AT: usize = 128;

/// A word and one place for a message, which both directions use in turn.
pub(crate) struct Mailbox {
    word: Word,
    turn: u32,
}

impl Link for Mailbox {
    fn send(&mut self, message: &Message) -> Result<()> {
        self.turn = self.turn.wrapping_add(1);
        self.word.shared.write_message(MESSAGE_AT, message);
        self.word.pass(self.turn);
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        self.turn = self.turn.wrapping_add(1);
        self.word.await_turn(self.turn);
        Ok(self.word.shared.read_message(MESSAGE_AT))
    }
}

fn mailbox(spin: Duration) -> Result<Pair<Mailbox>> {
    let (word, helper) = start(MAILBOX_ROLE, spin)?;
    let link = Mailbox { word, turn: 0 };
    Ok(Pair { link, helper })
}

pub(crate) fn serve_mailbox(place: &Place) -> Result<()> {
    let word = attach(place)?;
    place.serve_link(Mailbox { word, turn: 0 })
}

fn start(role: &str, spin: Duration) -> Result<(Word, Helper)> {
    let shared = Shared::create(4096)?;
    let spin_micros = spin.as_micros().to_string();
    let helper = Helper::start(role, &[&shared.path(), &spin_micros], None)?;
    Ok((Word { shared, spin }, helper))
}

fn attach(place: &Place) -> Result<Word> {
    let shared = Shared::open(place.argument(0)?)?;
    let spin = Duration::from_micros(place.argument(1)?.parse()?);
    Ok(Word { shared, spin })
}
