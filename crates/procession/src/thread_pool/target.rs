//! What may run on a thread of a pool: any function or closure that threads may share.

/// A function of `Arguments` (a tuple) that the threads of a
/// [`ThreadPool`](crate::ThreadPool) may call.
///
/// Implemented for every function and closure of up to twelve arguments that
/// is `Send + Sync + 'static`; what a closure captures stays in this process.
pub trait ThreadTarget<Arguments>: Send + Sync + 'static {
    /// What a call returns.
    type Output;

    /// Calls the target.
    fn call(&self, arguments: Arguments) -> Self::Output;
}

macro_rules! target {
    ($($name:ident)*) => {
        impl<Function, Output, $($name),*> ThreadTarget<($($name,)*)> for Function
        where
            Function: Fn($($name),*) -> Output + Send + Sync + 'static,
        {
            type Output = Output;

            #[allow(non_snake_case, reason = "the arguments are named after their types")]
            #[allow(clippy::allow_attributes, reason = "the tuple without members has no names")]
            #[inline]
            fn call(&self, ($($name,)*): ($($name,)*)) -> Output {
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
