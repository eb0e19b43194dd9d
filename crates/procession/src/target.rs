//! What may run in another process: plain functions, generic functions and closures that capture nothing.
//!
//! Such a value has no bytes, so its type alone says what to run. The parent sends the position of a function made for that type (a
//! *trampoline*); the child, which runs the same executable, finds it at the same position and calls the target from there.

/// A function of `Arguments` (a tuple) that can run in another process.
///
/// Implemented for every function, generic function and closure of up to
/// twelve arguments. Only those without captured state can be sent; that is
/// checked when the program is compiled, where the target is used.
///
/// ```compile_fail
/// # procession::init();
/// let name = String::from("world");
/// let pool = procession::Pool::new().unwrap();
/// pool.map(move |n: usize| n + name.len(), 0..10).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called in another process: it captures state, or takes other arguments",
    note = "a target is a function, or a closure that captures nothing: pass captured values as arguments"
)]
pub trait Target<Arguments>: Copy + Send + 'static {
    /// What a call returns.
    type Output;

    /// Calls the target.
    fn call(self, arguments: Arguments) -> Self::Output;
}

/// `Copy` by another name. The compiler would explain why a closure is not
/// `Copy`; through this it says what a target may be.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called in another process: it captures state",
    note = "a target is a function, or a closure that captures nothing: pass captured values as arguments"
)]
pub trait Stateless: Copy {}

#[diagnostic::do_not_recommend]
impl<T: Copy> Stateless for T {}

macro_rules! target {
    ($($name:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<Function, Output, $($name),*> Target<($($name,)*)> for Function
        where
            Function: Fn($($name),*) -> Output + Stateless + Send + 'static,
        {
            type Output = Output;

            #[allow(non_snake_case, reason = "the arguments are named after their types")]
            #[allow(clippy::allow_attributes, reason = "the tuple without members has no names")]
            #[inline]
            fn call(self, ($($name,)*): ($($name,)*)) -> Output {
                self($($name),*)
            }
        }
    };
}

target!();
target!(A);
target!(A B);
target!(A B C);
target!(A B C D);
target!(A B C D E);
target!(A B C D E F);
target!(A B C D E F G);
target!(A B C D E F G H);
target!(A B C D E F G H I);
target!(A B C D E F G H I J);
target!(A B C D E F G H I J K);
target!(A B C D E F G H I J K L);

/// Refuses, at compile time, a target that carries state.
pub(crate) const fn assert_stateless<F>() {
    assert!(
        size_of::<F>() == 0,
        "a target must be a function or a closure that captures nothing: \
         pass captured values as arguments; a function pointer has to be replaced by the function itself"
    );
}

/// The one value of a stateless type, in a process that has never seen it.
pub(crate) fn conjure<F: Copy + 'static>() -> F {
    const { assert_stateless::<F>() };
    #[expect(
        unsafe_code,
        reason = "there is no safe way to name a closure's only value"
    )]
    // SAFETY: `F` has no bytes (asserted above), so any well-aligned pointer can be read; it is `Copy`, and a value of it existed in the
    // process that sent its trampoline, so having another one breaks no promise of the type.
    unsafe {
        std::ptr::NonNull::<F>::dangling().read()
    }
}

/// The readable name of a target, as tasks and processes are called after it.
pub(crate) fn name_of<F>() -> &'static str {
    std::any::type_name::<F>()
}
