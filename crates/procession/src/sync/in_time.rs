//! Timeouts as an outcome instead of an error, for the `_timeout` methods.

/// `None` for what could not be done in time.
pub(crate) fn in_time<T>(result: procession_core::Result<T>) -> procession_core::Result<Option<T>> {
    match result {
        Err(error) if error.is_timeout() => Ok(None),
        result => result.map(Some),
    }
}
