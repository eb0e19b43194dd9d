//! Elements of one type in shared memory, copied in and out, never borrowed.
//!
//! Used by `Value`, `Array`, `RawValue` and `RawArray`. The engine's cell knows bytes; this knows what they are, and
//! checks it for handles that arrive from elsewhere: the cell's tag is a hash of the type.

#![expect(unsafe_code, reason = "bytes become values")]

use std::any::TypeId;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Bound, Range, RangeBounds};

use procession_core::primitives::{Cell, RLock};
use procession_core::shm::Wait;
use procession_core::{self as engine, ErrorKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::handle;
use crate::shared::Shared;

/// Some elements of type `T`, with or without a lock.
pub(crate) struct Elements<T> {
    cell: Cell,
    len: usize,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Shared> Elements<T> {
    const SIZE: usize = {
        assert!(size_of::<T>() != 0, "a type without bytes cannot be shared");
        assert!(
            align_of::<T>() <= Cell::ALIGNMENT,
            "shared memory is aligned to 64 bytes"
        );
        size_of::<T>()
    };

    /// `len` elements of which all bytes are 0.
    pub(crate) fn zeroed(len: usize, with_lock: bool) -> Result<Self> {
        let bytes = len.checked_mul(Self::SIZE).ok_or_else(|| {
            let text = format!("allocate {len} shared elements of {} bytes", Self::SIZE);
            Error::from(engine::Error::new(ErrorKind::NoMemory, text))
        })?;
        let lock = with_lock.then(RLock::new).transpose()?;
        let cell = Cell::new(bytes, tag::<T>(), lock.map(Into::into))?;
        Ok(Self {
            cell,
            len,
            of: PhantomData,
        })
    }

    /// These elements.
    pub(crate) fn from_slice(values: &[T], with_lock: bool) -> Result<Self> {
        let elements = Self::zeroed(values.len(), with_lock)?;
        elements.write(0, values);
        Ok(elements)
    }

    fn of_cell(cell: Cell) -> engine::Result<Self> {
        if cell.tag() != tag::<T>() || !cell.len().is_multiple_of(Self::SIZE) {
            return Err(engine::Error::new(
                ErrorKind::WrongKind,
                format!(
                    "use shared memory as elements of type {}: it holds another type",
                    std::any::type_name::<T>()
                ),
            ));
        }
        let len = cell.len() / Self::SIZE;
        Ok(Self {
            cell,
            len,
            of: PhantomData,
        })
    }

    /// The bytes and the lock.
    #[inline]
    pub(crate) fn cell(&self) -> &Cell {
        &self.cell
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A copy of one element.
    #[inline]
    #[track_caller]
    pub(crate) fn get(&self, index: usize) -> T {
        self.check(index);
        let mut value = [MaybeUninit::uninit()];
        self.cell.read(index * Self::SIZE, bytes_mut(&mut value));
        let [value] = value;
        // SAFETY: written as a whole just now with what was stored as a `T`, or zeroes; `Shared` vouches for mixtures.
        unsafe { value.assume_init() }
    }

    #[inline]
    #[track_caller]
    pub(crate) fn set(&self, index: usize, value: T) {
        self.check(index);
        self.cell.write(index * Self::SIZE, bytes(&[value]));
    }

    /// A copy of the elements in `range`.
    #[track_caller]
    pub(crate) fn to_vec(&self, range: impl RangeBounds<usize>) -> Vec<T> {
        let Range { start, end } = self.range(range);
        let len = end - start;
        let mut values = Vec::with_capacity(len);
        let room = &mut values.spare_capacity_mut()[..len];
        self.cell.read(start * Self::SIZE, bytes_mut(room));
        // SAFETY: so many were written just now; as for `get`.
        unsafe { values.set_len(len) };
        values
    }

    /// Copies elements from `start` on into `to`, which is filled.
    #[track_caller]
    pub(crate) fn read(&self, start: usize, to: &mut [T]) {
        self.check_range(start, to.len());
        let room: *mut [T] = to;
        // SAFETY: the same memory; what is written there through this are values of `T` (as for `get`).
        let room = unsafe { &mut *(room as *mut [MaybeUninit<T>]) };
        self.cell.read(start * Self::SIZE, bytes_mut(room));
    }

    /// Copies `from` over the elements from `start` on.
    #[track_caller]
    pub(crate) fn write(&self, start: usize, from: &[T]) {
        self.check_range(start, from.len());
        self.cell.write(start * Self::SIZE, bytes(from));
    }

    /// Holds the lock, if there is one, for one access.
    #[inline]
    pub(crate) fn lock_for_access(&self) -> AccessGuard<'_> {
        if let Err(error) = self.cell.acquire_for_access(&mut Wait::forever()) {
            cannot_lock(&error);
        }
        AccessGuard { cell: &self.cell }
    }

    #[inline]
    #[track_caller]
    fn check(&self, index: usize) {
        if index >= self.len {
            outside(index, self.len);
        }
    }

    #[track_caller]
    fn check_range(&self, start: usize, len: usize) {
        if start > self.len || len > self.len - start {
            outside_range(start, start.saturating_add(len), self.len);
        }
    }

    #[track_caller]
    fn range(&self, range: impl RangeBounds<usize>) -> Range<usize> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.len,
        };
        if start > end || end > self.len {
            outside_range(start, end, self.len);
        }
        start..end
    }
}

impl<T> Elements<T> {
    /// Releases the lock, if there is one.
    pub(crate) fn release(&self) {
        self.cell.release();
    }
}

impl<T> Clone for Elements<T> {
    fn clone(&self) -> Self {
        Self {
            cell: self.cell.clone(),
            len: self.len,
            of: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Elements<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}; {}]", std::any::type_name::<T>(), self.len)
    }
}

impl<T> Serialize for Elements<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handle::serialize(self.cell.note(), serializer)
    }
}

impl<'de, T: Shared> Deserialize<'de> for Elements<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        handle::deserialize(deserializer, |indices| {
            Cell::from_handle(indices).and_then(Self::of_cell)
        })
    }
}

/// The lock is held for one access. The news that a holder died is left for
/// whoever locks for longer.
pub(crate) struct AccessGuard<'a> {
    cell: &'a Cell,
}

impl Drop for AccessGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.cell.release();
    }
}

#[cold]
fn cannot_lock(error: &engine::Error) -> ! {
    panic!("cannot lock a shared value: {error}")
}

#[cold]
#[track_caller]
fn outside(index: usize, len: usize) -> ! {
    panic!("index out of bounds: the len is {len} but the index is {index}")
}

#[cold]
#[track_caller]
fn outside_range(start: usize, end: usize, len: usize) -> ! {
    panic!("range {start}..{end} out of range for shared memory of {len} elements")
}

fn bytes<T>(of: &[T]) -> &[MaybeUninit<u8>] {
    // SAFETY: the same memory, of which nothing is claimed.
    unsafe { std::slice::from_raw_parts(of.as_ptr().cast(), size_of_val(of)) }
}

fn bytes_mut<T>(of: &mut [MaybeUninit<T>]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the same memory, of which nothing is claimed before or after.
    unsafe { std::slice::from_raw_parts_mut(of.as_mut_ptr().cast(), size_of_val(of)) }
}

/// What tells elements of this type from others: the same in all processes
/// that run one executable.
fn tag<T: 'static>() -> u64 {
    struct Fold(u64);

    impl Hasher for Fold {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                // FNV-1a.
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    let mut fold = Fold(0xcbf2_9ce4_8422_2325);
    TypeId::of::<T>().hash(&mut fold);
    fold.finish()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use crate::{Array, RawArray, RawValue, Value};

    #[test]
    fn slices_are_copied_out_and_in() {
        let array = Array::from_iter(0..10).unwrap();
        array.copy_from(2, &[20, 30]);
        assert_eq!(array.slice(1..=3), [1, 20, 30]);
        assert_eq!(array.slice(8..), [8, 9]);
        assert_eq!(array.slice(..0), []);
        let mut target = [0; 3];
        array.copy_to(7, &mut target);
        assert_eq!(target, [7, 8, 9]);
        assert_eq!(array.iter().rev().take(2).collect::<Vec<_>>(), [9, 8]);
        assert_eq!((&array).into_iter().max(), Some(30));
        assert_eq!((array.len(), array.is_empty()), (10, false));
        assert_eq!(Array::<u8>::zeroed(0).unwrap().to_vec(), []);
    }

    #[test]
    fn accesses_out_of_bounds_panic_and_leave_the_lock_free() {
        let array = Array::from_slice(&[1, 2, 3]).unwrap();
        let accesses: [&dyn Fn(); 6] = [
            &|| assert_eq!(array.get(3), 0),
            &|| array.set(usize::MAX, 0),
            &|| drop(array.slice(2..5)),
            &|| drop(array.slice(3..=3)),
            &|| array.copy_from(2, &[0, 0]),
            &|| array.copy_to(4, &mut []),
        ];
        for access in accesses {
            assert!(catch_unwind(AssertUnwindSafe(access)).is_err());
        }
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(array.try_lock().unwrap().is_some()));
        });
        assert_eq!(array.to_vec(), [1, 2, 3]);
    }

    #[test]
    fn guards_are_reentrant_and_exclude_other_threads() {
        let (value, array) = (Value::new(1).unwrap(), Array::from_slice(&[1]).unwrap());
        let (of_value, of_array) = (value.lock().unwrap(), array.lock().unwrap());
        of_value.set(value.get() + of_value.get());
        of_array.set(0, array.get(0) + of_array.get(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(value.try_lock().unwrap().is_none());
                assert!(array.try_lock().unwrap().is_none());
            });
        });
        drop((of_value, of_array));
        assert_eq!((value.update(|n| n * 10), array.get(0)), (20, 2));
        assert_eq!(value.clone().get(), 20, "clones are one value");
    }

    #[test]
    fn a_panic_during_an_update_changes_nothing() {
        let value = Value::new(5).unwrap();
        let update = AssertUnwindSafe(|| value.update(|_| panic!("as the test wants it")));
        assert!(catch_unwind(update).is_err());
        assert_eq!(value.try_lock().unwrap().unwrap().get(), 5);
    }

    #[test]
    fn every_plain_type_comes_back_as_it_was() {
        macro_rules! come_back {
            ($($value:expr),* $(,)?) => {
                $(assert_eq!(RawValue::new($value).unwrap().get(), $value);)*
            };
        }
        come_back!(
            u8::MAX,
            i16::MIN,
            u32::MAX,
            i64::MIN,
            u128::MAX,
            usize::MAX,
            1.5_f32,
            f64::MIN,
            true,
            '\u{10ffff}',
            [[1_u8, 2, 3], [4, 5, 6]],
            ('a', true, 1_u64, [0.5_f32; 3]),
            (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12_u8),
        );
        let long: Vec<_> = (0..10_000_u32).map(|n| (n as u8, n)).collect();
        assert_eq!(RawArray::from_slice(&long).unwrap().to_vec(), long);
    }

    #[test]
    fn debug_names_the_type_and_takes_no_lock() {
        let array = Array::from_slice(&[1_u8, 2]).unwrap();
        let text = format!("{array:?}");
        assert!(text.contains("[u8; 2]"), "{text}");
    }
}
