//! Attributes and derives of [`procession`](https://docs.rs/procession): `#[procession::main]`, `#[procession::test]` and
//! `#[derive(Shared)]`. Users reach them through the `procession` crate, whose documentation describes them.

#![forbid(unsafe_code)]

mod entry;
mod shared;

use proc_macro::TokenStream;

/// Makes `main` the entry of a program that starts processes.
///
/// A process started by procession runs the same executable; this attribute
/// lets such a child do its work before the body of `main` is reached. It is
/// `procession::init()` as the first statement, no more.
///
/// ```ignore
/// #[procession::main]
/// fn main() -> procession::Result<()> {
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::main(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// A `#[test]` that may start processes.
///
/// The children of such a test run the test executable again, with this one
/// test selected; the attribute lets them do their work and end before the
/// test's body would run. Output of the harness inside a child is discarded.
///
/// ```ignore
/// #[procession::test]
/// fn squares() {
///     let pool = procession::Pool::new().unwrap();
///     assert_eq!(pool.map(|n: u32| n * n, 0..3).unwrap(), [0, 1, 4]);
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::test(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Implements `procession::Shared` for a `#[repr(C)]` or
/// `#[repr(transparent)]` struct whose fields are all `Shared`, so that it may
/// be the content of a `Value` or an `Array`.
#[proc_macro_derive(Shared)]
pub fn derive_shared(item: TokenStream) -> TokenStream {
    shared::derive(item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
