//! The heap of one process against a model: a map from offsets to what was written there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use procession_core::shm::{Block, BlockId, heap};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Once;
use std::sync::mpsc;
use std::time::Duration;

const CASES: u32 = 200;
const THREADS: u64 = 4;
const ROUNDS: u64 = 20_000;

/// Aborts a run that hangs.
fn watchdog() {
    static STARTED: Once = Once::new();

    STARTED.call_once(|| {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(180));
            std::process::abort();
        });
    });
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize),
    Free(usize),
    Shrink(usize, usize),
    /// Through a queue: queued, then claimed by its id.
    Pass(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![8 => 0usize..300, 4 => 0usize..40_000, 1 => 0usize..3_000_000, 1 => Just(65_536usize), 1 => Just(32_768usize)];
    let step = prop_oneof![
        5 => len.prop_map(Step::Allocate),
        4 => any::<usize>().prop_map(Step::Free),
        1 => (any::<usize>(), 0usize..1000).prop_map(|(which, len)| Step::Shrink(which, len)),
        1 => any::<usize>().prop_map(Step::Pass),
    ];

    proptest::collection::vec(step, 1..150)
}

struct Written {
    block: Block,
    byte: u8,
}

impl Written {
    fn new(len: usize, byte: u8) -> Self {
        let mut block = heap::allocate(len).unwrap();
        assert_eq!(block.len(), len);
        let size = len.max(64).next_power_of_two().min(4096);
        assert_eq!(
            block.data().as_ptr().addr() % size,
            0,
            "a block of {len} bytes is aligned"
        );

        block.as_mut_slice().fill(byte);
        Self { block, byte }
    }

    fn check(&self) {
        assert!(
            self.block.as_slice().iter().all(|&byte| byte == self.byte),
            "{:?} was overwritten",
            self.block
        );
    }
}

fn run(steps: Vec<Step>) {
    let mut model: BTreeMap<u64, Written> = BTreeMap::new();
    let nth = |model: &BTreeMap<u64, Written>, which: usize| {
        model.keys().nth(which % model.len().max(1)).copied()
    };

    for (index, step) in steps.into_iter().enumerate() {
        match step {
            Step::Allocate(len) => {
                let written = Written::new(len, index as u8);
                let start = written.block.offset().to_bits();
                if let Some((before, other)) = model.range(..=start).next_back() {
                    assert!(
                        before + other.block.len().max(1) as u64 <= start,
                        "blocks overlap"
                    );
                }
                if let Some((after, _)) = model.range(start..).next() {
                    assert!(start + len.max(1) as u64 <= *after, "blocks overlap");
                }
                model.insert(start, written);
            }
            Step::Free(which) => {
                let Some(written) = nth(&model, which).and_then(|start| model.remove(&start))
                else {
                    continue;
                };
                written.check();
                let id = written.block.id();
                drop(written);
                assert!(
                    !Block::exists(id) && Block::claim(id).is_none(),
                    "a freed block has no name"
                );
            }
            Step::Shrink(which, len) => {
                let Some(written) = nth(&model, which).and_then(|start| model.get_mut(&start))
                else {
                    continue;
                };
                let kept = written.block.len().min(len);
                written.block.shrink(len);
                assert_eq!(written.block.len(), kept);
            }
            Step::Pass(which) => {
                let Some(start) = nth(&model, which) else {
                    continue;
                };
                let Some(Written { block, byte }) = model.remove(&start) else {
                    continue;
                };
                let len = block.len();
                let id = block.into_queued();
                let block = Block::claim(id).unwrap();
                assert!(Block::claim(id).is_none(), "a block is claimed once");
                assert_eq!((block.len(), block.id()), (len, id));
                model.insert(start, Written { block, byte });
            }
        }
    }
    model.values().for_each(Written::check);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn blocks_keep_what_was_written(steps in steps()) {
        watchdog();
        run(steps);
    }

    #[test]
    fn no_id_is_trusted(bits in any::<u64>()) {
        watchdog();
        let mine = Written::new(1000, 1);
        let ids = [bits, bits >> 32, mine.block.id().to_bits() ^ (bits & 0xff), mine.block.id().to_bits() ^ (bits & 0xff << 27)];

        for id in ids.into_iter().filter_map(BlockId::from_bits) {
            prop_assert!(Block::claim(id).is_none(), "nothing is queued");
        }
        mine.check();
    }
}

#[test]
fn threads_free_each_other_s_blocks() {
    watchdog();
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::channel::<Written>()).unzip();

    std::thread::scope(|scope| {
        for (number, receiver) in receivers.into_iter().enumerate() {
            let senders = senders.clone();
            scope.spawn(move || {
                let mut random = number as u64 + 1;
                let mut mine = Vec::new();
                for round in 0..ROUNDS {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let pick = (random >> 33) as usize;
                    mine.extend(receiver.try_iter());
                    let len = if pick.is_multiple_of(64) {
                        pick % 300_000
                    } else {
                        pick % 2_000
                    };
                    mine.push(Written::new(len, round as u8));
                    let written = mine.swap_remove(pick % mine.len());
                    written.check();
                    match pick % 3 {
                        0 => mine.push(written),
                        1 => drop(senders[pick / 3 % senders.len()].send(written)),
                        _ => drop(written),
                    }
                    if mine.len() > 500 {
                        mine.truncate(250);
                    }
                }
                mine.iter().for_each(Written::check);
            });
        }
        drop(senders);
    });
}

#[test]
fn a_place_has_another_name_in_each_life() {
    watchdog();
    let mut names = std::collections::HashSet::new();
    for _ in 0..1000 {
        let (small, large) = (
            heap::allocate(700).unwrap(),
            heap::allocate(700_000).unwrap(),
        );
        assert!(names.insert(small.id().to_bits()) && names.insert(large.id().to_bits()));
    }
}

#[test]
fn what_is_zeroed_is_zero() {
    watchdog();
    for len in [1, 64, 5000, 100_000] {
        drop(Written::new(len, 0xff));
        assert!(
            heap::allocate_zeroed(len)
                .unwrap()
                .as_slice()
                .iter()
                .all(|&byte| byte == 0)
        );
    }
}
