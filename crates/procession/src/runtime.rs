//! What a program does before its `main`, and a child instead of it.

use procession_core::process::{Entered, image, program};

use crate::error::{Error, ErrorKind, Result};

/// A function that a child enters; its position travels in the launch.
pub(crate) type Trampoline = fn(&Entered, &[u8]) -> i32;

/// How many bytes of a launch's payload say which executable it is for.
const IDENTITY: usize = procession_core::process::image::IDENTITY_LENGTH;

/// Makes this program able to start processes. Call it first thing in `main`.
///
/// A process that procession starts runs this same program. In such a child
/// the call does the child's work and ends the process; in any other process
/// it returns at once. Calling it again does nothing.
///
/// [`#[procession::main]`](crate::main) and
/// [`#[procession::test]`](crate::test) call it.
///
/// When the program ends by returning from `main` or by `exit`, its
/// non-daemonic children are joined and its daemonic ones are ended.
///
/// # Panics
/// In a child that cannot join the family of its parent (because something
/// closed the descriptors it was started with, for instance): it cannot do
/// its work, and must not run the program's `main` either.
pub fn init() {
    if let Err(error) = procession_core::process::init(run_child) {
        panic!("a process started by procession could not begin: {error}");
    }
}

/// The runtime half of `#[procession::test]`.
#[doc(hidden)]
pub fn run_test<R>(path: &str, body: fn() -> R) -> R {
    // The harness leaves out the crate's own name.
    let path = path.split_once("::").map_or(path, |(_, path)| path);
    program::enter_through_test(path);
    init();
    body()
}

/// The position of a trampoline, and the executable's identity for the front
/// of the payload.
pub(crate) fn entry_of(trampoline: Trampoline) -> Result<(u64, Vec<u8>)> {
    let position = image::position_of(trampoline as usize)?;
    Ok((position, image::identity()?.to_bytes().to_vec()))
}

fn run_child(entered: Entered) -> i32 {
    match enter(&entered) {
        Ok(code) => code,
        Err(error) => {
            report(&error.to_string());
            1
        }
    }
}

fn enter(entered: &Entered) -> Result<i32> {
    let (identity, payload) = entered
        .payload()
        .split_at_checked(IDENTITY)
        .ok_or_else(|| Error::new(ErrorKind::Other, "the launch message is too short"))?;
    if identity != image::identity()?.to_bytes() {
        return Err(Error::new(
            ErrorKind::WrongState,
            "the child runs another build of the program than its parent",
        ));
    }
    let address = image::address_of(entered.entry)?;
    Ok(function_at::<Trampoline>(address)(entered, payload))
}

/// The function at an address that was checked to lie in this executable's
/// code.
pub(crate) fn function_at<F: Copy + 'static>(address: usize) -> F {
    const {
        assert!(
            size_of::<F>() == size_of::<usize>(),
            "only for function pointers"
        )
    };
    #[expect(unsafe_code, reason = "a function is known by its position")]
    // SAFETY: the position was taken from a function pointer of this very type by a process that runs the same executable
    // (its identity was compared), and `address_of` put it into this process's image.
    unsafe {
        std::mem::transmute_copy(&address)
    }
}

/// Tells the user about the end of a child, as a program's `main` would.
pub(crate) fn report(text: &str) {
    use std::io::Write as _;
    // A child whose standard error is closed has nobody to tell.
    let _ = writeln!(std::io::stderr(), "Error: {text}");
}
