//! Where a submission's result is left by the thread that finished it, and awaited by those who want it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::job::lock;
use crate::error::Result;

/// One result, delivered once and taken once.
pub(super) struct Delivery<T> {
    state: Mutex<State<T>>,
    delivered: Condvar,
}

struct State<T> {
    result: Option<Result<T>>,
    is_over: bool,
    waker: Option<Waker>,
}

impl<T> Delivery<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                result: None,
                is_over: false,
                waker: None,
            }),
            delivered: Condvar::new(),
        })
    }

    pub(super) fn deliver(&self, result: Result<T>) {
        let waker = {
            let mut state = lock(&self.state);
            state.result = Some(result);
            state.is_over = true;
            state.waker.take()
        };
        self.delivered.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until it is there; false if the deadline came first.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = lock(&self.state);
        while !state.is_over {
            let Some(deadline) = deadline else {
                let waited = self.delivered.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.delivered.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Whether it was delivered, taken or not.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.state).is_over
    }

    /// Whether the result that is there is a good one.
    pub(super) fn is_ok(&self) -> Option<bool> {
        lock(&self.state).result.as_ref().map(Result::is_ok)
    }

    pub(super) fn take(&self) -> Option<Result<T>> {
        lock(&self.state).result.take()
    }

    /// Wakes `waker` on delivery; false if that has happened already.
    pub(super) fn register(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        if !state.is_over {
            state.waker = Some(waker.clone());
        }
        !state.is_over
    }
}
