//! The work that every contender of a row does alike: payloads, and a task that needs a known time of one CPU.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A small message: 64 bytes.
pub(crate) type Message = [u64; 8];

/// A large message's size in bytes.
pub(crate) const BULK_BYTES: usize = 1 << 20;

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// The message with this number. All its words differ, and use all their bits.
#[inline]
pub(crate) fn message(number: u64) -> Message {
    std::array::from_fn(|word| number.wrapping_add(word as u64).wrapping_mul(MIX))
}

/// Reads a message.
#[inline]
pub(crate) fn digest(message: &Message) -> u64 {
    message.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

/// A message's bytes.
pub(crate) fn to_bytes(message: &Message) -> [u8; size_of::<Message>()] {
    let mut bytes = [0; size_of::<Message>()];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(message) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// The message with these bytes.
pub(crate) fn from_bytes(bytes: &[u8; size_of::<Message>()]) -> Message {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|word| u64::from_ne_bytes(words[word]))
}

/// What a receiver of the first `count` messages must have read in all.
pub(crate) fn expected_digest(count: u64) -> u64 {
    (0..count).fold(0, |sum, number| sum.wrapping_add(digest(&message(number))))
}

/// The word at `index` of the large message with this number.
#[inline]
pub(crate) fn bulk_word(number: u64, index: usize) -> u64 {
    number.wrapping_mul(MIX) ^ index as u64
}

/// Writes every byte of a large message.
pub(crate) fn fill(bytes: &mut [u8], number: u64) {
    for (index, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&bulk_word(number, index).to_ne_bytes());
    }
}

/// Reads every byte of a large message.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words
        .iter()
        .fold(0, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
}

/// What a receiver of the first `count` large messages must have read in all.
pub(crate) fn expected_sum(count: u64) -> u64 {
    let words = BULK_BYTES / 8;
    (0..count).fold(0, |sum: u64, number| {
        (0..words).fold(sum, |sum, index| sum.wrapping_add(bulk_word(number, index)))
    })
}

/// A tiny task.
#[inline(never)]
pub(crate) fn increment(number: u64) -> u64 {
    number + 1
}

/// A task that only needs CPU: `steps` dependent steps.
#[inline(never)]
pub(crate) fn burn(steps: u64) -> u64 {
    (0..steps).fold(black_box(1), |state: u64, step| {
        black_box(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(step),
        )
    })
}

/// How many steps of `burn` take five milliseconds of one undisturbed CPU here.
pub(crate) fn five_milliseconds() -> u64 {
    const PROBE: u64 = 1_000_000;
    static STEPS: OnceLock<u64> = OnceLock::new();
    *STEPS.get_or_init(|| {
        let best = (0..9)
            .map(|_| {
                let start = Instant::now();
                black_box(burn(PROBE));
                start.elapsed()
            })
            .min()
            .unwrap_or(Duration::from_millis(1));
        (PROBE as f64 * 0.005 / best.as_secs_f64()) as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_payload_sums_to_what_is_expected() {
        let mut bytes = vec![0; BULK_BYTES];
        let read = (0..3).fold(0_u64, |total, number| {
            fill(&mut bytes, number);
            total.wrapping_add(sum(&bytes))
        });
        assert_eq!(read, expected_sum(3));
    }

    #[test]
    fn messages_digest_to_what_is_expected() {
        let read = (0..5).fold(0_u64, |total, number| {
            total.wrapping_add(digest(&message(number)))
        });
        assert_eq!(read, expected_digest(5));
    }
}
