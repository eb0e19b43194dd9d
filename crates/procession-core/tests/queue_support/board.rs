//! What the processes of a queue test write down, and messages that can be told apart.

#![expect(unsafe_code, reason = "the test lays out a shared object")]

use procession_core::ErrorKind;
use procession_core::ipc::queue::Queue;
use procession_core::shm::handles::{self, Collected, Collecting};
use procession_core::shm::{Kind, Layout, Object, Wait};
use std::sync::atomic::{AtomicU32, Ordering};

const NUMBERS: usize = 1 << 18;

/// Which numbers were put and got.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Board {
    pub(crate) signal: AtomicU32,
    pub(crate) next: AtomicU32,
    pub(crate) taken: AtomicU32,
    /// 1: the put has begun; 2: it has returned.
    put: [AtomicU32; NUMBERS],
    got: [AtomicU32; NUMBERS],
}

// SAFETY: atomics only, valid when zero.
unsafe impl Layout for Board {
    const KIND: Kind = Kind(1001);
}

impl Board {
    pub(crate) fn create() -> Object<Self> {
        Object::create(0, |_, _| {}).unwrap()
    }

    /// Nothing was doubled, and no more was lost than the dead may take with them.
    pub(crate) fn check(&self, numbers: u32, killed_producers: usize, killed_consumers: usize) {
        let (mut unpublished, mut lost) = (0, 0);
        for number in 0..numbers as usize {
            let put = self.put[number].load(Ordering::Acquire);
            let got = self.got[number].load(Ordering::Acquire);
            assert!(got <= 1, "message {number} was got {got} times");
            assert!(put > 0 || got == 0, "message {number} was never put");
            match (put, got) {
                (1, 0) => unpublished += 1,
                (2, 0) => lost += 1,
                _ => {}
            }
        }
        assert!(
            lost <= killed_consumers && lost + unpublished <= killed_consumers + killed_producers,
            "{lost} lost and {unpublished} unpublished, {killed_consumers} consumers and {killed_producers} producers killed"
        );
    }
}

/// Small ones, ones with a block, and ones with a handle.
fn len_of(number: u32) -> usize {
    match number % 8 {
        0 => 3_000 + number as usize % 2_000,
        1 => 1_500,
        _ => number as usize * 7 % 300,
    }
}

fn carries_handle(number: u32) -> bool {
    number & 15 == 5
}

fn byte_of(number: u32) -> u8 {
    (number.wrapping_mul(2_654_435_761) >> 24) as u8
}

pub(crate) fn put_numbered(queue: &Queue, board: &Board, number: u32) {
    board.put[number as usize].store(1, Ordering::Release);
    let payload = vec![byte_of(number); len_of(number)];
    let number_bytes = number.to_le_bytes();

    if carries_handle(number) {
        let inner = Queue::new(None).unwrap();
        inner
            .put(&[&number_bytes], &Collected::none(), &mut Wait::never())
            .unwrap();
        let collecting = Collecting::begin();
        let index = handles::note(inner.object()).unwrap();
        let collected = collecting.finish();
        let parts: [&[u8]; 3] = [&number_bytes, &index.to_le_bytes(), &payload];
        queue.put(&parts, &collected, &mut Wait::forever()).unwrap();
    } else {
        queue
            .put(
                &[&number_bytes, &payload],
                &Collected::none(),
                &mut Wait::forever(),
            )
            .unwrap();
    }
    board.put[number as usize].store(2, Ordering::Release);
}

/// False if the queue is empty, and closed or the wait over.
pub(crate) fn get_numbered(queue: &Queue, board: &Board, wait: &mut Wait<'_>) -> bool {
    let message = match queue.get(wait) {
        Ok(message) => message,
        Err(error) if [ErrorKind::Closed, ErrorKind::Empty].contains(&error.kind()) => {
            return false;
        }
        Err(error) => panic!("{error}"),
    };

    let number = u32::from_le_bytes(message.payload()[..4].try_into().unwrap());
    board.got[number as usize].fetch_add(1, Ordering::AcqRel);
    board.taken.fetch_add(1, Ordering::AcqRel);
    let mut rest = &message.payload()[4..];
    if carries_handle(number) {
        let index = u32::from_le_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        let _reading = message.begin_reading().unwrap();
        let inner = Queue::from_object(handles::resolve(index).unwrap());
        assert_eq!(
            inner.get(&mut Wait::never()).unwrap().payload(),
            number.to_le_bytes()
        );
    }
    assert_eq!(rest.len(), len_of(number));
    assert!(
        rest.iter().all(|byte| *byte == byte_of(number)),
        "message {number} is damaged"
    );
    true
}
