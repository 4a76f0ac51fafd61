//! Work that Ctrl-C ends at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

use super::errors::settled;
use crate::error::{Error, Result};

/// The longest delay of Ctrl-C.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs `work` like `detached`, in a thread of its own: Ctrl-C is handled at once, however long a disk or a server does
/// not answer. The thread is then left behind.
pub(super) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let (sender, mut receiver) = sync_channel(1);
    let work = move || {
        // After Ctrl-C there is no receiver.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(|| Ok(work()))));
    };
    thread::Builder::new().name("cnnzoo-reader".into()).spawn(work).map_err(|error| {
        let (at, expected) = ("reading".into(), "a thread to read in".into());
        Error::Argument { at, expected, got: error.to_string() }
    })?;
    loop {
        let receiver = &mut receiver;
        match py.detach(move || receiver.recv_timeout(PATIENCE)) {
            Ok(outcome) => return settled(outcome),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                let (at, message) = ("reading".into(), "its thread has ended".into());
                return Err(Error::Defect { at, message }.into());
            }
        }
    }
}
