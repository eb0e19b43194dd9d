//! [`RawValue`] and [`RawArray`]: shared memory without a lock.

use std::ops::RangeBounds;

use serde::{Deserialize, Serialize};

use crate::elements::Elements;
use crate::error::Result;
use crate::shared::Shared;

/// One value of type `T` that processes share, without a lock.
///
/// A value of up to 8 bytes is read and written as a whole; of a longer one,
/// readers may see parts of two writes. There is no order between accesses of
/// different processes: that, too, takes a lock or another of this crate's
/// primitives. [`Value`](crate::Value) brings its lock along.
///
/// # Examples
///
/// ```
/// use procession::RawValue;
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let progress = RawValue::new(0.0)?;
/// progress.set(0.5);
/// assert_eq!(progress.get(), 0.5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "", deserialize = "T: Shared"), transparent)]
pub struct RawValue<T> {
    pub(crate) elements: Elements<T>,
}

/// A fixed number of elements of type `T` that processes share, without a
/// lock.
///
/// An element of up to 8 bytes is read and written as a whole; see
/// [`RawValue`] for what else readers may see. [`Array`](crate::Array) brings
/// its lock along.
///
/// # Examples
///
/// ```
/// use procession::RawArray;
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let numbers = RawArray::from_slice(&[1, 2, 3])?;
/// numbers.set(1, 20);
/// assert_eq!(numbers.to_vec(), [1, 20, 3]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "", deserialize = "T: Shared"), transparent)]
pub struct RawArray<T> {
    pub(crate) elements: Elements<T>,
}

impl<T: Shared> RawValue<T> {
    /// A shared `value`.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn new(value: T) -> Result<Self> {
        Ok(Self {
            elements: Elements::from_slice(&[value], false)?,
        })
    }

    /// A copy of the value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> T {
        self.elements.get(0)
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: T) {
        self.elements.set(0, value);
    }
}

impl<T: Shared> RawArray<T> {
    /// `len` elements of which all bytes are 0.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn zeroed(len: usize) -> Result<Self> {
        Ok(Self {
            elements: Elements::zeroed(len, false)?,
        })
    }

    /// Copies of these elements.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn from_slice(values: &[T]) -> Result<Self> {
        Ok(Self {
            elements: Elements::from_slice(values, false)?,
        })
    }

    /// The elements that `values` yields.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    #[expect(
        clippy::should_implement_trait,
        reason = "it can fail, which `FromIterator` cannot"
    )]
    pub fn from_iter(values: impl IntoIterator<Item = T>) -> Result<Self> {
        Self::from_slice(&Vec::from_iter(values))
    }

    /// How many elements there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of one element.
    ///
    /// # Panics
    ///
    /// If `index` is out of bounds.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn get(&self, index: usize) -> T {
        self.elements.get(index)
    }

    /// Replaces one element.
    ///
    /// # Panics
    ///
    /// If `index` is out of bounds.
    #[inline]
    #[track_caller]
    pub fn set(&self, index: usize, value: T) {
        self.elements.set(index, value);
    }

    /// A copy of all elements.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.elements.to_vec(..)
    }

    /// A copy of the elements in `range`.
    ///
    /// # Panics
    ///
    /// If the range is out of bounds.
    #[must_use]
    #[track_caller]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Vec<T> {
        self.elements.to_vec(range)
    }

    /// Copies the elements from `start` on into `target`, which is filled.
    ///
    /// # Panics
    ///
    /// If that is out of bounds.
    #[track_caller]
    pub fn copy_to(&self, start: usize, target: &mut [T]) {
        self.elements.read(start, target);
    }

    /// Copies `source` over the elements from `start` on.
    ///
    /// # Panics
    ///
    /// If that is out of bounds.
    #[track_caller]
    pub fn copy_from(&self, start: usize, source: &[T]) {
        self.elements.write(start, source);
    }

    /// The elements as they are now, one after the other.
    pub fn iter(&self) -> std::vec::IntoIter<T> {
        self.to_vec().into_iter()
    }
}

impl<T: Shared> IntoIterator for &RawArray<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
