//! Eight processes of eight threads allocate, share, send, lock and drop at random while one after the other dies: killed
//! at any moment, at named crash points, stopped before, by exec, or with forked children of its own. At the end everything
//! is as it was at the start, nothing was handed out twice, and every death in a held lock was reported.
//!
//! `PROCESSION_DEATHS` sets how many die. Named crash points need the feature `crash-points`.

#![expect(unsafe_code, reason = "the test lays out shared objects")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test program of its own"
)]

mod common;

use common::{child, eventually, watchdog};
use libtest_mimic::{Arguments, Failed, Trial};
use procession_core::shm::handles::{self, Collecting, Reading};
use procession_core::shm::{
    Block, BlockId, Kind, Layout, Message, Object, SlotFlags, Wait, family, fork, heap, identity,
    liveness, recovery,
};
use procession_core::{Acquired, OwnerId};
use procession_sync::RawLock;
use procession_sys::futex;
use procession_sys::process::{ChildProcess, ExitStatus};
use procession_sys::signal::Signal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PROCESSES: usize = 8;
const THREADS: usize = 8;
/// How many die in each of the two runs unless the environment says otherwise.
const DEATHS: u32 = 300;
const DEATH_EVERY: Duration = Duration::from_millis(5);
const MAILBOXES: usize = 16;
const LOCKS: usize = 4;
/// The most that one thread holds at a time.
const MOST_HELD: usize = 12;
const MAGIC: u64 = 0x70_72_6f_63_65_73_73_21;
const POISON: u8 = 0xdd;

/// What all share.
#[derive(Debug)]
#[repr(C)]
struct Board {
    stop: AtomicU32,
    failures: AtomicU32,
    longest_wait_millis: AtomicU32,
    owner_died: AtomicU32,
    acquired: AtomicU64,
    received: AtomicU64,
    locks: [Watched; LOCKS],
    mailboxes: [Mailbox; MAILBOXES],
}

// SAFETY: atomics only, valid when zero.
unsafe impl Layout for Board {
    const KIND: Kind = Kind(1000);
}

/// A lock and who is inside, as the holders say.
#[derive(Debug)]
#[repr(C)]
struct Watched {
    lock: RawLock,
    inside: AtomicU32,
}

/// Room for one message. A block that is on its way in is named by `arriving` first, so that the next holder of the lock
/// finds it.
#[derive(Debug)]
#[repr(C)]
struct Mailbox {
    lock: RawLock,
    arriving: AtomicU64,
    message: AtomicU64,
}

/// An object that tells whether it is alive.
#[derive(Debug)]
#[repr(C)]
struct Item {
    magic: AtomicU64,
}

// SAFETY: atomics only, valid when zero.
unsafe impl Layout for Item {
    const KIND: Kind = Kind(1001);
}

fn main() {
    watchdog(Duration::from_secs(120 + u64::from(deaths()) / 10));

    let mut arguments = Arguments::from_args();
    // Children are forked from this very thread.
    arguments.test_threads = Some(1);
    let trials =
        [("watching_two_words", true), ("watching_one_word", false)].map(|(name, waitv)| {
            Trial::test(name, move || {
                futex::set_wait_any_enabled(waitv);
                die_and_reclaim().map_err(Failed::from)
            })
        });

    libtest_mimic::run(&arguments, trials.into()).exit();
}

fn deaths() -> u32 {
    std::env::var("PROCESSION_DEATHS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(DEATHS)
}

fn settled() -> (u64, u64, usize) {
    heap::recover();
    let stats = heap::stats().unwrap();
    (stats.live_bytes, stats.blocks, stats.processes)
}

/// How a worker comes to its end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum End {
    Kill,
    CrashPoint(&'static str),
    Exec,
    KillStopped,
}

struct Worker {
    child: ChildProcess,
    owner: OwnerId,
    end: End,
    born: Instant,
}

fn die_and_reclaim() -> Result<(), String> {
    family::current().unwrap();
    let board = Object::<Board>::create(0, |_, _| {}).unwrap();
    // The ledger's first page stays.
    let before = settled();
    let points = crash_points();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut hits = BTreeMap::<End, u32>::new();
    let mut workers: Vec<_> = (0..PROCESSES)
        .map(|_| start(&board, &mut random, &points))
        .collect();

    for _ in 0..deaths() {
        let begun = Instant::now();
        let index = workers
            .iter()
            .position(|worker| worker.child.try_wait().is_ok_and(|status| status.is_some()))
            .unwrap_or_else(|| random.below(workers.len()));
        let worker = workers.swap_remove(index);
        *hits.entry(finish(worker, &mut random)?).or_default() += 1;
        workers.push(start(&board, &mut random, &points));
        if board.failures.load(Ordering::Acquire) > 0 {
            return Err("a worker found something wrong".to_owned());
        }
        std::thread::sleep(DEATH_EVERY.saturating_sub(begun.elapsed()));
    }

    board.stop.store(1, Ordering::Release);
    for worker in workers {
        if worker.end == End::Exec {
            // It may be another program by now, which nothing here can stop.
            worker.child.kill(Signal::KILL).unwrap();
        }
        match worker.child.wait(None).unwrap() {
            Some(ExitStatus::Exited(0) | ExitStatus::Signaled(9)) => {}
            other => return Err(format!("a worker ended with {other:?}")),
        }
    }
    for mailbox in &board.mailboxes {
        drop(receive(mailbox));
    }
    // Forked grandchildren may take a moment longer, and nobody waits a minute for those that were never born.
    eventually(|| settled().2 == 1);
    recovery::recover_at(procession_sys::time::monotonic_nanos() + 61_000_000_000);

    let missed: Vec<_> = points
        .iter()
        .filter(|name| !hits.contains_key(&End::CrashPoint(name)))
        .collect();
    println!(
        "{} deaths, {} at {} crash points (never at {missed:?}); {} acquisitions, {} OwnerDied, {} messages, longest wait {} ms",
        deaths(),
        hits.iter()
            .filter(|(end, _)| matches!(end, End::CrashPoint(_)))
            .map(|(_, count)| count)
            .sum::<u32>(),
        points.len(),
        board.acquired.load(Ordering::Relaxed),
        board.owner_died.load(Ordering::Relaxed),
        board.received.load(Ordering::Relaxed),
        board.longest_wait_millis.load(Ordering::Relaxed),
    );
    let after = settled();
    if after == before {
        Ok(())
    } else {
        Err(format!(
            "live bytes, blocks, processes: {before:?} before, {after:?} after"
        ))
    }
}

/// All that the sources name, so that none is forgotten.
fn crash_points() -> Vec<&'static str> {
    if !cfg!(feature = "crash-points") {
        return Vec::new();
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/shm");
    let mut names: Vec<&'static str> = Vec::new();

    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path())
            .unwrap()
            .leak();
        names.extend(
            text.split("crash_point!(\"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next()),
        );
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn start(board: &Object<Board>, random: &mut Random, points: &[&'static str]) -> Worker {
    let end = match random.below(10) {
        0 => End::Exec,
        1 => End::KillStopped,
        2..=6 if !points.is_empty() => End::CrashPoint(points[random.below(points.len())]),
        _ => End::Kill,
    };
    let owner = family::reserve_slot(SlotFlags::PLAIN).unwrap();
    let seed = random.next();
    let _into = fork::IntoSlot::new(owner);
    let child = child(|| work(board, end, seed));

    Worker {
        child,
        owner,
        end,
        born: Instant::now(),
    }
}

/// Sees to the end of a worker, unless it has met it already; says what it was.
fn finish(worker: Worker, random: &mut Random) -> Result<End, String> {
    let Worker {
        child,
        owner,
        mut end,
        born,
    } = worker;

    match end {
        End::CrashPoint(_) => {
            // It gets a while to come there.
            while born.elapsed() < Duration::from_millis(30)
                && child.try_wait().is_ok_and(|status| status.is_none())
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            if child.try_wait().is_ok_and(|status| status.is_none()) {
                end = End::Kill;
            }
        }
        End::Exec => {
            eventually(|| !liveness::is_alive(owner));
        }
        End::KillStopped => {
            let _ = child.kill(Signal::STOP);
            std::thread::sleep(Duration::from_millis(10));
        }
        End::Kill => {}
    }
    let _ = child.kill(Signal::KILL);
    let status = child.wait(None).unwrap();
    if status != Some(ExitStatus::Signaled(9)) {
        return Err(format!("a worker ended with {status:?} instead of {end:?}"));
    }
    // Most of the dead are found by whoever looks.
    if random.below(4) == 0 {
        family::release_slot(owner);
    }
    Ok(end)
}

/// The life of one process.
fn work(board: &Object<Board>, end: End, seed: u64) {
    #[cfg(feature = "crash-points")]
    if let End::CrashPoint(name) = end {
        procession_core::crash::arm(name, 1 + (seed % 40).saturating_sub(25) as u32);
    }
    let report = std::panic::take_hook();
    let handle = board.clone();
    std::panic::set_hook(Box::new(move |info| {
        handle.failures.fetch_add(1, Ordering::AcqRel);
        report(info);
    }));

    std::thread::scope(|scope| {
        for thread in 0..THREADS as u64 {
            scope.spawn(move || {
                let mut random = Random(seed ^ (thread + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
                let mut held = Vec::new();
                while board.stop.load(Ordering::Acquire) == 0 {
                    step(board, &mut random, &mut held);
                    if end == End::Exec && thread == 3 && random.below(200) == 0 {
                        common::exec_sleep();
                    }
                    if thread == 5 && random.below(2000) == 0 {
                        grandchild(board, &mut random, &mut held);
                    }
                }
            });
        }
    });
}

/// What a thread holds on to.
enum Held {
    Bytes(Block, u8),
    Item(Object<Item>),
}

impl Drop for Held {
    fn drop(&mut self) {
        match self {
            Self::Bytes(block, pattern) => {
                assert!(
                    block.as_slice().iter().all(|byte| byte == pattern),
                    "{block:?} was written by others"
                );
                block.as_mut_slice().fill(POISON);
            }
            Self::Item(item) => check(item),
        }
    }
}

fn check(item: &Item) {
    assert_eq!(
        item.magic.load(Ordering::Relaxed),
        MAGIC,
        "an object was freed while it was held"
    );
}

fn step(board: &Object<Board>, random: &mut Random, held: &mut Vec<Held>) {
    match random.below(12) {
        0..=2 => {
            let len = match random.below(40) {
                0 => 100_000 + random.below(1_000_000),
                1..=5 => random.below(20_000),
                _ => random.below(600),
            };
            let mut block = heap::allocate(len).unwrap();
            let pattern = random.next() as u8;
            block.as_mut_slice().fill(pattern);
            held.push(Held::Bytes(block, pattern));
        }
        3 => held.push(Held::Item(new_item())),
        4 => {
            if let Some(Held::Item(item)) = held.get(random.below(held.len().max(1))) {
                let clone = item.clone();
                held.push(Held::Item(clone));
            }
        }
        5 | 6 => send(&board.mailboxes[random.below(MAILBOXES)], random, held),
        7 | 8 => {
            if let Some(message) = receive(&board.mailboxes[random.below(MAILBOXES)]) {
                board.received.fetch_add(1, Ordering::Relaxed);
                read(&message, held);
            }
        }
        9 | 10 => lock(board, &board.locks[random.below(LOCKS)], random),
        _ if random.below(50) == 0 => {
            heap::recover();
        }
        _ => {}
    }
    while held.len() > random.below(MOST_HELD) {
        held.swap_remove(random.below(held.len()));
    }
}

fn new_item() -> Object<Item> {
    Object::create(64, |item: &Item, _| {
        item.magic.store(MAGIC, Ordering::Relaxed)
    })
    .unwrap()
}

fn lock(board: &Board, watched: &Watched, random: &mut Random) {
    let begun = Instant::now();
    let acquired = watched.lock.acquire(&mut Wait::forever()).unwrap();
    board
        .longest_wait_millis
        .fetch_max(begun.elapsed().as_millis() as u32, Ordering::Relaxed);
    board.acquired.fetch_add(1, Ordering::Relaxed);

    let me = identity::me().unwrap();
    let before = OwnerId::from_bits(watched.inside.swap(me.to_bits(), Ordering::AcqRel));
    match acquired {
        Acquired::Clean => assert_eq!(before, None, "whoever died inside must be reported"),
        Acquired::OwnerDied => {
            board.owner_died.fetch_add(1, Ordering::Relaxed);
            assert!(
                before.is_none_or(|before| before != me && !liveness::is_alive(before)),
                "{before:?} is not dead"
            );
        }
    }
    (0..random.below(1000)).for_each(|_| std::hint::spin_loop());
    let inside = watched.inside.swap(0, Ordering::AcqRel);
    assert_eq!(inside, me.to_bits(), "nobody else comes in");
    watched.lock.release(&Wait::never()).unwrap();
}

fn send(mailbox: &Mailbox, random: &mut Random, held: &[Held]) {
    let collecting = Collecting::begin();
    for held in held {
        if let Held::Item(item) = held {
            handles::note(item).unwrap();
        }
    }
    let collected = collecting.finish();
    let pattern = random.next() as u8;
    let mut message = Message::create(&collected, random.below(3000)).unwrap();
    message.payload_mut().fill(pattern);
    drop(collected);

    let _locked = enter(mailbox);
    if mailbox.message.load(Ordering::Relaxed) != 0 {
        return;
    }
    let block = message.into_block().unwrap();
    let id = block.id().to_bits();
    mailbox.arriving.store(id, Ordering::Release);
    let _ = block.into_queued();
    mailbox.message.store(id, Ordering::Release);
    mailbox.arriving.store(0, Ordering::Release);
}

fn receive(mailbox: &Mailbox) -> Option<Message> {
    let _locked = enter(mailbox);
    let id = BlockId::from_bits(mailbox.message.load(Ordering::Relaxed))?;

    // None if a receiver before died with it.
    let block = Block::claim(id);
    mailbox.message.store(0, Ordering::Release);
    // SAFETY: only messages are put into mailboxes.
    block.map(|block| unsafe { Message::from_block(block) })
}

fn enter(mailbox: &Mailbox) -> impl Drop {
    struct Leave<'a>(&'a Mailbox);
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.0.lock.release(&Wait::never()).unwrap();
        }
    }

    if mailbox.lock.acquire(&mut Wait::forever()).unwrap() == Acquired::OwnerDied {
        let arriving = mailbox.arriving.load(Ordering::Relaxed);
        let arrived = mailbox.message.load(Ordering::Relaxed);
        let lost = BlockId::from_bits(arriving).filter(|_| arriving != arrived);
        if let Some(block) = lost.and_then(Block::claim) {
            // SAFETY: only messages are put into mailboxes.
            drop(unsafe { Message::from_block(block) });
        }
        mailbox.arriving.store(0, Ordering::Release);
    }
    Leave(mailbox)
}

fn read(message: &Message, held: &mut Vec<Held>) {
    let payload = message.payload();
    assert!(
        payload.iter().all(|byte| *byte == payload[0]),
        "a message was written by others"
    );

    let handles = message.handles();
    let count = handles.len() as u32;
    let _reading = Reading::begin(family::id().unwrap(), handles);
    for index in 0..count {
        let item = handles::resolve::<Item>(index).unwrap();
        check(&item);
        held.push(Held::Item(item));
    }
}

/// A child made by a bare fork in the middle of everything; it holds what its parent holds.
fn grandchild(board: &Object<Board>, random: &mut Random, held: &mut Vec<Held>) {
    let ending = random.below(3);
    let seed = random.next();
    let child = child(|| {
        let mut random = Random(seed | 1);
        let mut mine = Vec::new();
        for held in &*held {
            if let Held::Item(item) = held {
                check(item);
                mine.push(Held::Item(item.clone()));
            }
        }
        for _ in 0..200 {
            step(board, &mut random, &mut mine);
        }
        if ending == 0 {
            common::exec_sleep();
        }
    });
    if ending == 1 {
        let _ = child.kill(Signal::KILL);
    } else if ending == 0 {
        std::thread::sleep(Duration::from_millis(20));
        let _ = child.kill(Signal::KILL);
    }
    let status = child.wait(None).unwrap();
    assert!(
        matches!(
            status,
            Some(ExitStatus::Exited(0) | ExitStatus::Signaled(9))
        ),
        "a grandchild ended with {status:?}"
    );
}

/// Xorshift: the same deaths in every run would be nice, but the scheduler has its say anyway.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound.max(1)
    }
}
