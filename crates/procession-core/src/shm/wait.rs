//! `Wait`: how one blocking operation of one thread waits.
//!
//! Every call of the engine that can block takes one. It carries the deadline and what to do about signals, and it
//! implements [`Waiter`] for the algorithms of `procession-sync` over futexes and life words:
//!
//! ```text
//! spin ----------> sleep on the word and on the life word of whoever must act ----> look again, within 1 s at the latest
//!   (adaptive)        | woken by the word                                            (50 ms where the kernel cannot
//!                     | woken by the life word: wake all others on it                 watch two words at once)
//! ```
//!
//! A process that dies while it waits leaves nothing behind. One that dies between changing a word and waking its
//! sleepers strands them until they look again. Nothing here needs the family: an operation on private words works too.

use super::{liveness, slots};
use procession_sync::{OwnerId, Stop, Waiter};
use procession_sys::futex::{self, WaitOutcome};
use procession_sys::{thread, time};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No sleeper sleeps longer without looking: its waker may have been killed before the wake.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The same where the death of the word's owner cannot wake it.
const UNWATCHED_SLEEP: Duration = Duration::from_millis(50);

/// The first nap beside an owner whose life word is dead while the process is not over yet; doubles up to
/// [`UNWATCHED_SLEEP`].
const FIRST_NAP: Duration = Duration::from_micros(100);

/// How one operation waits: for how long, and whether a callback may stop it.
pub struct Wait<'a> {
    deadline: Deadline,
    interrupt: Option<&'a mut dyn FnMut() -> bool>,
    patience: Patience,
    spinning: Spinning,
    naps: u32,
}

#[derive(Clone, Copy, Debug)]
enum Deadline {
    Forever,
    Never,
    At(Instant),
}

/// What is waited for decides how long a busy wait can pay.
#[derive(Clone, Copy, Debug)]
enum Patience {
    /// A short critical section: some hundred nanoseconds.
    Lock,
    /// Another process's answer: about what waking an idle processor costs.
    Answer,
}

#[derive(Clone, Copy, Debug)]
enum Spinning {
    NotYet,
    /// How many looks are left until the clock is read, and when it ends (0: the clock has not been read).
    Looking {
        left: u32,
        until: u64,
    },
    Spent,
}

impl<'a> Wait<'a> {
    /// Waits for as long as it takes.
    #[must_use]
    pub const fn forever() -> Self {
        Self::with(Deadline::Forever)
    }

    /// Does not wait: what cannot be done at once has timed out.
    #[must_use]
    pub const fn never() -> Self {
        Self::with(Deadline::Never)
    }

    /// Waits until `deadline`.
    #[must_use]
    pub const fn until(deadline: Instant) -> Self {
        Self::with(Deadline::At(deadline))
    }

    /// Waits for `duration` from now; `None` is for ever, zero is [`Wait::never`].
    #[must_use]
    pub fn for_duration(duration: Option<Duration>) -> Self {
        match duration {
            None => Self::forever(),
            Some(Duration::ZERO) => Self::never(),
            // A deadline that the clock cannot express never comes.
            Some(duration) => Instant::now()
                .checked_add(duration)
                .map_or_else(Self::forever, Self::until),
        }
    }

    const fn with(deadline: Deadline) -> Self {
        Self {
            deadline,
            interrupt: None,
            patience: Patience::Lock,
            spinning: Spinning::NotYet,
            naps: 0,
        }
    }

    /// Calls `go_on` whenever a signal handler has run and each time the waiter looks again by itself (at least once a
    /// second); false ends the wait as interrupted.
    #[must_use]
    pub fn with_interrupt(mut self, go_on: &'a mut dyn FnMut() -> bool) -> Self {
        self.interrupt = Some(go_on);
        self
    }

    /// Another process's answer is due: a longer busy wait may pay.
    #[must_use]
    pub const fn for_answer(mut self) -> Self {
        self.patience = Patience::Answer;
        self
    }

    /// May this wait sleep at all?
    #[must_use]
    pub const fn is_never(&self) -> bool {
        matches!(self.deadline, Deadline::Never)
    }

    /// How long it may still take; `None` is for ever.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        match self.deadline {
            Deadline::Forever => None,
            Deadline::Never => Some(Duration::ZERO),
            Deadline::At(instant) => Some(instant.saturating_duration_since(Instant::now())),
        }
    }

    /// Asks the interrupt callback, for operations that sleep in other ways than on a word.
    ///
    /// # Errors
    /// [`Stop::Interrupted`] if the callback says stop.
    pub fn check_interrupt(&mut self) -> Result<(), Stop> {
        let go_on = self.interrupt.as_mut().is_none_or(|go_on| go_on());

        if go_on {
            Ok(())
        } else {
            Err(Stop::Interrupted)
        }
    }

    /// The operation is going to sleep in another way than on a word: the busy wait was in vain.
    pub(crate) fn about_to_sleep(&mut self) {
        self.spinning.failed(self.patience);
    }

    /// One sleep of at most `limit`.
    fn sleep(
        &mut self,
        word: &AtomicU32,
        expected: u32,
        watched: Option<OwnerId>,
        limit: Duration,
    ) -> WaitOutcome {
        self.spinning.failed(self.patience);

        let Some(watched) = watched else {
            return futex::wait(word, expected, Some(limit));
        };
        let Some(slot) = slots::of(watched) else {
            return futex::wait(word, expected, Some(limit.min(UNWATCHED_SLEEP)));
        };

        match slot.life.arm() {
            Some(armed) if futex::wait_any_supported() => {
                let (outcome, index) =
                    futex::wait_any(&[(word, expected), (slot.life.word(), armed)], Some(limit));
                if index == 1 || outcome == WaitOutcome::Changed {
                    slot.life.wake_all_if_dead();
                }
                outcome
            }
            Some(_) => futex::wait(word, expected, Some(limit.min(UNWATCHED_SLEEP))),
            None if !liveness::is_alive(watched) => WaitOutcome::Changed,
            None => {
                let nap = FIRST_NAP
                    .saturating_mul(1 << self.naps.min(16))
                    .min(UNWATCHED_SLEEP);
                self.naps += 1;
                futex::wait(word, expected, Some(limit.min(nap)))
            }
        }
    }
}

impl Waiter for Wait<'_> {
    #[inline]
    fn owner(&self) -> OwnerId {
        super::identity::cached().unwrap_or(OUTSIDER)
    }

    #[inline]
    fn thread(&self) -> u32 {
        thread::id()
    }

    #[inline]
    fn is_alive(&self, owner: OwnerId) -> bool {
        liveness::is_alive(owner)
    }

    #[inline]
    fn spin(&mut self) -> bool {
        !self.is_never() && self.spinning.step(self.patience)
    }

    fn wait(
        &mut self,
        word: &AtomicU32,
        expected: u32,
        watched: Option<OwnerId>,
    ) -> Result<(), Stop> {
        let remaining = self.remaining().unwrap_or(LONGEST_SLEEP);
        if remaining.is_zero() {
            return Err(Stop::TimedOut);
        }

        // Past the deadline the caller looks once more; only its next wait fails.
        match self.sleep(word, expected, watched, remaining.min(LONGEST_SLEEP)) {
            WaitOutcome::Woken | WaitOutcome::Changed => Ok(()),
            WaitOutcome::TimedOut | WaitOutcome::Interrupted => self.check_interrupt(),
        }
    }

    fn wait_regardless(&mut self, word: &AtomicU32, expected: u32, watched: Option<OwnerId>) {
        self.sleep(word, expected, watched, LONGEST_SLEEP);
    }

    #[inline]
    fn wake(&self, word: &AtomicU32, count: u32) -> u32 {
        futex::wake(word, count)
    }
}

impl Drop for Wait<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Spinning::Looking { .. } = self.spinning {
            History::of(self.patience, History::paid_off);
        }
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("deadline", &self.deadline)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// The name that a process outside any family leaves in a word. It is never considered dead: nobody can tell.
const OUTSIDER: OwnerId = match OwnerId::new(0, OwnerId::GENERATIONS - 1) {
    Some(owner) => owner,
    None => unreachable!(),
};

/// Looks between two clock readings: a processor's pause takes some ten nanoseconds, the clock and a yield more.
const BURST: u32 = 64;

impl Patience {
    /// After how many looks the clock is read for the first time; a lock's busy wait ends there.
    const fn first_burst(self) -> u32 {
        match self {
            Self::Lock => BURST / 2,
            Self::Answer => BURST,
        }
    }

    /// How long a busy wait may take, counted from the end of its first burst.
    const fn nanos(self) -> u64 {
        match self {
            Self::Lock => 0,
            Self::Answer => 30_000,
        }
    }
}

impl Spinning {
    #[inline]
    fn step(&mut self, patience: Patience) -> bool {
        match self {
            Self::Spent => false,
            Self::NotYet if !may_spin() || !History::of(patience, History::may_try) => {
                *self = Self::Spent;
                false
            }
            Self::NotYet => {
                *self = Self::Looking {
                    left: patience.first_burst(),
                    until: 0,
                };
                true
            }
            Self::Looking { left: 0, until } => {
                let goes_on = Self::end_burst(until, patience);
                *self = Self::Looking {
                    left: BURST,
                    until: *until,
                };
                goes_on
            }
            Self::Looking { left, .. } => {
                *left -= 1;
                std::hint::spin_loop();
                true
            }
        }
    }

    /// Lets others run, and says whether there is time for another burst. The last step is followed by a look, hence by
    /// a sleep only if that is in vain too.
    #[cold]
    fn end_burst(until: &mut u64, patience: Patience) -> bool {
        if patience.nanos() == 0 {
            return false;
        }
        let now = time::monotonic_nanos();
        if *until == 0 {
            *until = now + patience.nanos();
        }
        thread::yield_now();
        now < *until
    }

    /// The operation goes to sleep.
    fn failed(&mut self, patience: Patience) {
        if let Self::Looking { .. } = *self {
            History::of(patience, History::was_in_vain);
        }
        *self = Self::Spent;
    }
}

/// Whether spinning has paid off lately on this thread: after each failure twice as many waits go without.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    /// How many waits are still to go without spinning.
    skip: u8,
    /// How many the next failure costs.
    penalty: u8,
}

impl History {
    const HIGHEST_PENALTY: u8 = 64;

    #[inline]
    fn of<R>(patience: Patience, change: fn(&mut Self) -> R) -> R {
        thread_local! {
            static HISTORIES: [Cell<History>; 2] = const { [const { Cell::new(History { skip: 0, penalty: 0 }) }; 2] };
        }

        HISTORIES.with(|histories| {
            let cell = &histories[patience as usize];
            let mut history = cell.get();
            let answer = change(&mut history);
            cell.set(history);
            answer
        })
    }

    fn may_try(&mut self) -> bool {
        let may = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        may
    }

    fn paid_off(&mut self) {
        self.penalty = 0;
    }

    fn was_in_vain(&mut self) {
        self.penalty = (self.penalty * 2).clamp(1, Self::HIGHEST_PENALTY);
        self.skip = self.penalty;
    }
}

/// On one processor nobody else can make progress meanwhile.
#[inline]
fn may_spin() -> bool {
    match USABLE_CPUS.load(Ordering::Relaxed) {
        0 => note_cpus(u32::MAX) > 1,
        known => known > 1,
    }
}

static USABLE_CPUS: AtomicU32 = AtomicU32::new(0);

/// Notes how many processors this process may use, of the `most` that its family may. Done when it joins the family:
/// later a thread may be tied to one processor without being alone on it.
#[cold]
pub(super) fn note_cpus(most: u32) -> u32 {
    let count = u32::try_from(thread::allowed_cpus())
        .unwrap_or(u32::MAX)
        .min(most);
    USABLE_CPUS.store(count, Ordering::Relaxed);
    count
}

#[cfg(test)]
mod tests {
    use super::{History, Wait};
    use procession_sync::{Stop, Waiter};
    use std::sync::atomic::AtomicU32;
    use std::time::{Duration, Instant};

    #[test]
    fn never_neither_spins_nor_sleeps() {
        let mut wait = Wait::never();

        assert!(!wait.spin());
        assert_eq!(wait.wait(&AtomicU32::new(0), 0, None), Err(Stop::TimedOut));
        assert!(Wait::for_duration(Some(Duration::ZERO)).is_never());
    }

    #[test]
    fn a_deadline_ends_the_wait_but_not_before_it() {
        let start = Instant::now();
        let mut wait = Wait::for_duration(Some(Duration::from_millis(30)));
        let word = AtomicU32::new(0);

        while wait.wait(&word, 0, None).is_ok() {}
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn the_callback_stops_a_wait_that_looks_again() {
        let mut asked = 0;
        let mut stop = || {
            asked += 1;
            asked < 2
        };
        let mut wait = Wait::forever().with_interrupt(&mut stop);
        let word = AtomicU32::new(0);

        assert_eq!(
            wait.wait(&word, 0, None),
            Ok(()),
            "looks again after a second"
        );
        assert_eq!(wait.wait(&word, 0, None), Err(Stop::Interrupted));
        drop(wait);
        assert_eq!(asked, 2);
    }

    #[test]
    fn a_different_word_is_no_reason_to_sleep() {
        assert_eq!(Wait::forever().wait(&AtomicU32::new(1), 0, None), Ok(()));
    }

    #[test]
    fn an_endless_duration_is_for_ever() {
        assert_eq!(Wait::for_duration(Some(Duration::MAX)).remaining(), None);
    }

    #[test]
    fn spinning_in_vain_is_tried_less_and_less() {
        let mut history = History::default();
        assert!(history.may_try());

        history.was_in_vain();
        assert!(!history.may_try() && history.may_try());
        history.was_in_vain();
        assert!(!history.may_try() && !history.may_try() && history.may_try());
        history.paid_off();
        history.was_in_vain();
        assert!(!history.may_try() && history.may_try());
    }
}
