//! Owns failure injection: each operation of several steps names the step it is about to take, and a test can make any
//! one of them fail. Outside tests a step is nothing.

use crate::error::Result;

/// About to take the step `name`.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step(_name: &'static str) -> Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use injected::{fail_at, step};

#[cfg(test)]
mod injected {
    use super::Result;
    use crate::error::Error;
    use std::cell::Cell;
    use std::io;

    thread_local! {
        /// Steps still to pass on this thread before one fails.
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    pub(crate) fn step(name: &'static str) -> Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => {
                // One failure only: the undoing that follows must not be hit.
                LEFT.set(None);
                Err(Error::system("injected", name, io::Error::from_raw_os_error(libc::EIO)))
            }
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }

    /// Runs `operation` so that its step number `index` (from 0) fails. `None` when it has fewer steps, and so was done.
    pub(crate) fn fail_at<T>(index: usize, operation: impl FnOnce() -> Result<T>) -> (Result<T>, bool) {
        LEFT.set(Some(index));
        let outcome = operation();
        let hit = LEFT.take().is_none();
        (outcome, hit)
    }
}
