//! Panics of pools' tasks: caught where they happen and described, so that they can travel to whoever asks for the result.
//!
//! Used by the workers of [`Pool`](crate::Pool) and by the threads of [`ThreadPool`](crate::ThreadPool). What is caught here is not
//! printed: the program that asks for the result is told.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

/// A panic, as its task's error describes it.
#[derive(Debug)]
pub(crate) struct Panic {
    pub(crate) message: String,
    pub(crate) location: String,
    pub(crate) backtrace: String,
}

thread_local! {
    /// Whether the thread is inside a task, whose panic travels to the program instead of being printed here.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
    static NOTED: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Runs the user's code; a panic becomes a description of it.
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, Panic> {
    let outer = IN_TASK.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    IN_TASK.set(outer);
    result.map_err(|payload| {
        // A program that sets a hook of its own after ours is not asked where it was.
        let (location, backtrace) = NOTED
            .take()
            .unwrap_or_else(|| ("an unknown place".to_owned(), String::new()));
        Panic {
            message: text_of(payload.as_ref()),
            location,
            backtrace,
        }
    })
}

/// Has panics of tasks noted, and others reported as ever. Further calls do
/// nothing.
pub(crate) fn note_those_of_tasks() {
    static INSTALLED: Once = Once::new();
    // A panicking thread may not set the hook.
    if std::thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let outer = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_TASK.get() {
                note(info);
            } else {
                outer(info);
            }
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => backtrace.to_string(),
        _ => String::new(),
    };
    NOTED.set(Some((location, backtrace)));
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    match (
        payload.downcast_ref::<&str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a value that is not a text".to_owned(),
    }
}
