//! Processes that die while they use the heap: at every named point, and at random.
//!
//! Whatever the moment, all that the dead had is given back, what others have is untouched (every block is filled from
//! its seed and checked, and overwritten before it is freed), and the heap goes on working.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails and says so"
)]

mod common;

use common::{child, join, watchdog};
use libtest_mimic::{Arguments, Failed, Trial};
use procession_core::crash;
use procession_core::shm::heap::{self, CRASH_POINTS, SWEEP_CRASH_POINTS};
use procession_core::shm::{Block, BlockId, family};
use procession_sys::process::ExitStatus;
use procession_sys::signal::Signal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(400);
/// Small enough that the workloads reach its limits; freed memory beyond an eighth goes back to the system.
const BUDGET: u64 = 96 << 20;
const MIB: usize = 1 << 20;
const STORM_DEATHS: u32 = 400;
const STORM_PROCESSES: usize = 4;
const MAILBOXES: usize = 128;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Children are forked from this thread.
    arguments.test_threads = Some(1);
    watchdog(WATCHDOG);

    let mut trials = Vec::new();
    for &point in CRASH_POINTS {
        for &nth in times(point) {
            trials.push(Trial::test(format!("{point}:{nth}"), move || {
                in_a_new_family(|| dies_at(point, nth))
            }));
        }
    }
    for &point in SWEEP_CRASH_POINTS {
        for nth in [1, 4] {
            trials.push(Trial::test(format!("recoverer {point}:{nth}"), move || {
                in_a_new_family(|| recoverer_dies_at(point, nth))
            }));
        }
    }
    trials.push(Trial::test("forked copies free nothing", || {
        in_a_new_family(copies_free_nothing)
    }));
    trials.push(Trial::test(
        "over budget is an error and not an end",
        || in_a_new_family(over_budget),
    ));
    trials.push(Trial::test("killed at random", || in_a_new_family(storm)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs a test in a child that has its own family, since a process has only one in its life.
fn in_a_new_family(test: impl FnOnce()) -> Result<(), Failed> {
    let founder = child(|| {
        watchdog(WATCHDOG);
        family::set_budget(BUDGET);
        test();
    });

    match founder.wait(None)? {
        Some(ExitStatus::Exited(0)) => Ok(()),
        status => Err(format!("the test's process ended with {status:?}").into()),
    }
}

/// How often a victim passes a point before it dies there; some are rarely passed.
fn times(point: &str) -> &'static [u32] {
    match point {
        "heap.slab.adopted" => &[1],
        "heap.segment.written" | "heap.segment.added" => &[1, 2],
        _ => &[1, 2, 7],
    }
}

/// A block with its contents.
struct Filled {
    block: Option<Block>,
    seed: u64,
}

impl Filled {
    fn new(len: usize, seed: u64) -> Self {
        Self::of(heap::allocate(len).unwrap(), seed)
    }

    fn of(mut block: Block, seed: u64) -> Self {
        fill(&mut block, seed);
        Self {
            block: Some(block),
            seed,
        }
    }

    fn check(&self) {
        if let Some(block) = &self.block {
            assert_eq!(
                seed_of(block),
                self.seed,
                "the block at {:?} was overwritten",
                block.offset()
            );
        }
    }

    fn into_block(mut self) -> Block {
        self.check();
        self.block.take().unwrap()
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.check();
        if let Some(block) = &mut self.block {
            let head = block.len().min(64);
            block.as_mut_slice()[..head].fill(0xdd);
        }
    }
}

fn fill(block: &mut Block, seed: u64) {
    let mut word = seed;
    for part in block.as_mut_slice().chunks_mut(8) {
        part.copy_from_slice(&word.to_le_bytes()[..part.len()]);
        word = next(word);
    }
}

/// Checks that the whole block follows from its first word, and returns that.
fn seed_of(block: &Block) -> u64 {
    let seed = u64::from_le_bytes(block.as_slice()[..8].try_into().unwrap());
    let mut word = seed;
    for part in block.as_slice().chunks(8) {
        assert_eq!(
            part,
            &word.to_le_bytes()[..part.len()],
            "the block at {:?} was overwritten",
            block.offset()
        );
        word = next(word);
    }
    seed
}

fn next(word: u64) -> u64 {
    word.wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn len(&mut self) -> usize {
        let bound = match self.below(20) {
            0 => MIB as u64,
            1..3 => 200_000,
            3..6 => 40_000,
            _ => 3_000,
        };
        8 + self.below(bound) as usize
    }
}

/// Reaches every point of the heap at least once, on its own.
fn everything(inbox: &AtomicU64) {
    // Slabs of every class, an orphan of the dead among them if there is one.
    let small: Vec<_> = (6..=15)
        .flat_map(|shift| (0..40).map(move |n| Filled::new((1 << shift) - 3, n)))
        .collect();
    drop(small);

    // Queued by another process, or in the round before.
    drop(fetch(inbox));

    // Runs that are split, freed side by side, and merged for a longer one.
    for round in 0..3 {
        let runs: Vec<_> = (0..12)
            .map(|n| Filled::new(130_000 + round * 70_000, n))
            .collect();
        drop(runs);
        drop(Filled::new(2 * MIB + round * 500_000, 7));
    }
    // More than what may stay warm, alone and in pieces, in more segments than there are.
    drop(heap::allocate(BUDGET as usize / 6).unwrap());
    let pieces: Vec<_> = (0..9).map(|n| Filled::new(5 * MIB, n)).collect();
    drop(pieces);

    assert!(post(Filled::new(500, 3), inbox).is_none());
}

fn killed() -> Option<ExitStatus> {
    Some(ExitStatus::Signaled(Signal::KILL.number()))
}

fn live() -> (u64, u64) {
    let stats = heap::stats().unwrap();

    (stats.blocks, stats.live_bytes)
}

/// What the survivor does after a death: everything is as before, and works.
fn survives(before: (u64, u64), mine: &[Filled]) {
    assert_eq!(live(), before, "what the dead process had is given back");
    mine.iter().for_each(Filled::check);

    let inbox = AtomicU64::new(0);
    for _ in 0..2 {
        everything(&inbox);
    }
    drop(fetch(&inbox));
    assert_eq!(live(), before);
    let stats = heap::stats().unwrap();
    assert!(
        stats.resident_bytes <= stats.budget && stats.resident_bytes >= stats.live_bytes,
        "{stats:?}"
    );
}

fn some_blocks() -> Vec<Filled> {
    let mut random = Random(0x5eed);

    (0..60)
        .map(|seed| Filled::new(random.len() / 4 + 8, seed))
        .collect()
}

/// Kills a process with slabs of every class, one of which has a queued block in it and becomes an orphan.
fn leave_an_orphan(inbox: &AtomicU64) {
    let dead = child(|| {
        let _blocks: Vec<_> = (6..=15).map(|shift| Filled::new(1 << shift, 1)).collect();
        assert!(post(Filled::new(300, 11), inbox).is_none());
        crash::arm("heap.small.taken", 1);
        drop(Filled::new(64, 1));
    });
    assert_eq!(dead.wait(None).unwrap(), killed());
    heap::recover();
}

fn dies_at(point: &'static str, nth: u32) {
    let mine = some_blocks();
    let shared = heap::allocate_zeroed(64).unwrap();
    let inbox = &words_in(&shared)[0];
    let before = live();

    leave_an_orphan(inbox);
    let victim = child(|| {
        crash::arm(point, nth);
        loop {
            everything(inbox);
        }
    });
    assert_eq!(victim.wait(None).unwrap(), killed());
    heap::recover();

    // Queued blocks live until their queue ends.
    drop(fetch(inbox));
    survives(before, &mine);
}

fn recoverer_dies_at(point: &'static str, nth: u32) {
    let mine = some_blocks();
    let shared = heap::allocate_zeroed(64).unwrap();
    let inbox = &words_in(&shared)[0];
    let before = live();

    let first = child(|| {
        let _blocks = some_blocks();
        let _large = Filled::new(3 * MIB, 1);
        assert!(post(Filled::new(300, 11), inbox).is_none());
        crash::arm("heap.small.taken", 1);
        drop(Filled::new(64, 1));
    });
    // Not collected yet: nobody but the recoverer looks for it.
    while first.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let recoverer = child(|| {
        crash::arm(point, nth);
        heap::recover();
        // With few finds a point is passed less often than asked for.
        crash::arm("heap.small.taken", 1);
        drop(Filled::new(64, 1));
    });
    assert_eq!(recoverer.wait(None).unwrap(), killed());
    heap::recover();
    heap::recover();

    drop(fetch(inbox));
    survives(before, &mine);
}

fn copies_free_nothing() {
    let mine = some_blocks();
    let before = live();

    let mut copies = Some(mine);
    let forked = child(|| {
        let own = some_blocks();
        own.iter().for_each(Filled::check);
        // Their drop overwrites nothing here: it must not even be tried on what is the parent's.
        for mut copy in copies.take().unwrap() {
            copy.check();
            drop(copy.block.take());
        }
    });
    join(&forked);
    heap::recover();
    survives(before, &copies.unwrap());
}

fn over_budget() {
    drop(heap::allocate(8).unwrap());
    let before = live();
    let error = heap::allocate(BUDGET as usize + 1).unwrap_err();
    assert_eq!(
        error.kind(),
        procession_core::ErrorKind::OverBudget,
        "{error}"
    );

    let mut blocks = Vec::new();
    while let Ok(block) = heap::allocate(3 * MIB) {
        blocks.push(block);
    }
    assert!(blocks.len() * 3 * MIB > BUDGET as usize / 2);
    drop(blocks.split_off(blocks.len() / 2));
    let larger = heap::allocate(BUDGET as usize / 3).unwrap();
    drop((blocks, larger));
    assert_eq!(live(), before);

    // What a dead process has left makes room without being asked for.
    let dead = child(|| {
        let _blocks: Vec<_> = (0..10).map(|n| Filled::new(4 * MIB, n)).collect();
        crash::arm("heap.small.taken", 1);
        drop(Filled::new(64, 1));
    });
    assert_eq!(dead.wait(None).unwrap(), killed());
    drop(heap::allocate(BUDGET as usize * 3 / 4).unwrap());
    assert_eq!(live(), before);
}

fn words_in(block: &Block) -> &[AtomicU64] {
    #![expect(unsafe_code, reason = "the test keeps atomics in a block")]
    // SAFETY: the block is aligned, long enough for this many words, outlives them, and any bytes are valid atomics.
    unsafe {
        std::slice::from_raw_parts(block.data().as_ptr().cast::<AtomicU64>(), block.len() / 8)
    }
}

/// Allocates, frees, posts to and takes from the mailboxes until it is killed.
fn bustle(seed: u64, mail: &[AtomicU64]) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut mine: Vec<Filled> = Vec::new();
    loop {
        match random.below(6) {
            0..3 if mine.len() < 100 => {
                let seed = random.below(u64::MAX);
                if let Ok(block) = heap::allocate(random.len()) {
                    mine.push(Filled::of(block, seed));
                }
            }
            3 if !mine.is_empty() => {
                let filled = mine.swap_remove(random.below(mine.len() as u64) as usize);
                mine.extend(post(
                    filled,
                    &mail[random.below(mail.len() as u64) as usize],
                ));
            }
            4 => mine.extend(fetch(&mail[random.below(mail.len() as u64) as usize])),
            _ if !mine.is_empty() => {
                drop(mine.swap_remove(random.below(mine.len() as u64) as usize))
            }
            _ => {}
        }
    }
}

/// Puts a block into an empty mailbox, or returns it. It is named there before it is queued, so that it is swept, if its
/// owner dies, as long as it is not queued.
fn post(filled: Filled, mailbox: &AtomicU64) -> Option<Filled> {
    let old = mailbox.load(Ordering::Acquire);
    if BlockId::from_bits(old).is_some_and(Block::exists) {
        return Some(filled);
    }
    let seed = filled.seed;
    let block = filled.into_block();
    let id = block.id();
    if mailbox
        .compare_exchange(old, id.to_bits(), Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return Some(Filled {
            block: Some(block),
            seed,
        });
    }
    assert_eq!(block.into_queued(), id);
    None
}

fn fetch(mailbox: &AtomicU64) -> Option<Filled> {
    let id = mailbox.load(Ordering::Acquire);
    let block = Block::claim(BlockId::from_bits(id)?)?;
    let _ = mailbox.compare_exchange(id, 0, Ordering::AcqRel, Ordering::Relaxed);
    let seed = seed_of(&block);

    Some(Filled {
        block: Some(block),
        seed,
    })
}

fn storm() {
    let shared = heap::allocate_zeroed(MAILBOXES * 8).unwrap();
    let mail = words_in(&shared);
    let before = live();
    let mut random = Random(0xdead_beef);
    let mut seed = 0;
    let mut start = || {
        seed += 1;
        child(|| bustle(seed, mail))
    };

    let mut children: Vec<_> = (0..STORM_PROCESSES).map(|_| start()).collect();
    for _ in 0..STORM_DEATHS {
        std::thread::sleep(Duration::from_micros(500 + random.below(5_000)));
        let victim = children.swap_remove(random.below(children.len() as u64) as usize);
        assert_eq!(victim.try_wait().unwrap(), None, "a child ended by itself");
        victim.kill(Signal::KILL).unwrap();
        assert_eq!(victim.wait(None).unwrap(), killed());
        heap::recover();
        children.push(start());
    }
    for child in children {
        child.kill(Signal::KILL).unwrap();
        assert_eq!(child.wait(None).unwrap(), killed());
    }

    heap::recover();
    mail.iter().for_each(|mailbox| drop(fetch(mailbox)));
    survives(before, &[]);
}
