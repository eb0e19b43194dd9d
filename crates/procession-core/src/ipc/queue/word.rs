//! Queues of single words, for the pool: who takes one says so first, and can be asked about it after its death.
//!
//! Used by the pool's task queue. `get_word` calls its caller back with the word and its number under the lock, before the word is
//! delivered; so a process that dies has either noted a word that is still in the queue, which [`Queue::has_taken`] tells, or
//! the one that it took.

use std::sync::atomic::Ordering;

use super::Queue;
use super::cursor::{Cursor, distance};
use super::get::lock_get_end;
use super::put::lock_put_end;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::Wait;

/// Half of the range in which numbers of messages count.
const HALF: u64 = 1 << 48;

impl Queue {
    /// Puts a word; returns its number. Never waits for room.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`], or no memory.
    pub(crate) fn put_word(&self, word: u64) -> Result<u64> {
        let mut wait = Wait::forever();
        self.put_numbered(&word.to_ne_bytes(), &mut wait)
    }

    /// Takes the oldest word, waiting for one; `note` is told its number and
    /// the word before it is taken.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub(crate) fn get_word(
        &self,
        wait: &mut Wait<'_>,
        note: &mut dyn FnMut(u64, u64),
    ) -> Result<u64> {
        let mut taken = None;
        loop {
            self.take_noting(wait, &mut |number, bytes| {
                let word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
                note(number, word);
                taken = Some(word);
            })?;
            if let Some(word) = taken {
                return Ok(word);
            }
            self.wait_for_message(wait)?;
        }
    }

    /// Whether the message with this number has been taken. Repairs first
    /// what a dead consumer left, so the answer includes its last step.
    pub(crate) fn has_taken(&self, number: u64) -> bool {
        let head = self.head_repaired();
        let passed = distance(number, head);
        passed != 0 && passed < HALF
    }

    fn head_repaired(&self) -> u64 {
        let state = self.state();
        let head = || Cursor::from_bits(state.get.head.load(Ordering::Acquire)).sequence();
        match lock_get_end(state, &mut Wait::forever()) {
            Ok(held) => {
                let head = head();
                drop(held);
                head
            }
            // Without a deadline and a callback the lock is always acquired.
            Err(_) => head(),
        }
    }

    fn put_numbered(&self, bytes: &[u8], wait: &mut Wait<'_>) -> Result<u64> {
        let state = self.state();
        let held = lock_put_end(state, wait)?;
        let number = state.tail().sequence();
        let put = state.publish_bytes(bytes);
        drop(held);
        if !put? {
            return Err(Error::new(
                ErrorKind::Full,
                "put a word into a bounded queue",
            ));
        }
        self.was_filled_by(1, wait);
        Ok(number)
    }
}
