//! [`Shared`]: what may lie in memory that processes share.

#![expect(unsafe_code, reason = "what a type promises cannot be checked")]

/// A type whose values may lie in shared memory: in a `Value`, an `Array`, a
/// `RawValue` or a `RawArray`.
///
/// It is implemented for integers, floats, `bool`, `char`, arrays of fixed
/// length and tuples of up to twelve. For a struct, derive it, together with
/// `Clone` and `Copy`; the struct needs `#[repr(C)]` and `Shared` fields:
///
/// ```
/// use procession::{Shared, Value};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Shared)]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let point = Value::new(Point { x: 1.0, y: 2.0 })?;
/// point.update(|point| Point { x: 3.0, ..point });
/// assert_eq!(point.get(), Point { x: 3.0, y: 2.0 });
/// # Ok(())
/// # }
/// ```
///
/// What cannot be shared is refused when the program is compiled: a layout
/// that is not fixed,
///
/// ```compile_fail
/// #[derive(Clone, Copy, procession::Shared)]
/// struct Point {
///     x: f64,
/// }
/// ```
///
/// and fields that mean nothing to another process.
///
/// ```compile_fail
/// #[derive(Clone, Copy, procession::Shared)]
/// #[repr(C)]
/// struct Name {
///     text: &'static str,
/// }
/// ```
///
/// # Safety
///
/// The type promises that
///
/// * it has the same layout in every process that runs the same executable,
///   which any type has, and contains nothing that means something in one
///   process alone: no pointer, reference, descriptor or thread's id;
/// * bytes that are all 0 are a valid value of it;
/// * a value of which some fields come from one write and some from another is
///   valid too. This is what a process sees that reads without the lock while
///   another one writes. Only numbers of up to 8 bytes never come apart, so an
///   invalid combination of bytes may exist only inside one of those (as for
///   `bool` and `char`).
pub unsafe trait Shared: Copy + Send + Sync + 'static {}

macro_rules! shared {
    ($($type:ty)*) => {
        $(
            // SAFETY: one number, which is never seen half written, or for which all bytes are valid; 0 is valid.
            unsafe impl Shared for $type {}
        )*
    };
}

shared!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char);

// SAFETY: its elements side by side, which keep the promises.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

macro_rules! shared_tuple {
    ($($name:ident)+) => {
        // SAFETY: its fields, which keep the promises; their order is the same wherever the same executable runs.
        unsafe impl<$($name: Shared),+> Shared for ($($name,)+) {}
    };
}

shared_tuple!(A);
shared_tuple!(A B);
shared_tuple!(A B C);
shared_tuple!(A B C D);
shared_tuple!(A B C D E);
shared_tuple!(A B C D E F);
shared_tuple!(A B C D E F G);
shared_tuple!(A B C D E F G H);
shared_tuple!(A B C D E F G H I);
shared_tuple!(A B C D E F G H I J);
shared_tuple!(A B C D E F G H I J K);
shared_tuple!(A B C D E F G H I J K L);
