//! A model that many threads use: each reads it, or waits to change it.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, ThreadId};

use super::{Model, Row, RunOptions};
use crate::error::{Error, Result};

/// A model behind a lock. Many threads may read at once; writers wait for them.
#[derive(Debug)]
pub struct Shared {
    name: String,
    row: Option<Row>,
    model: RwLock<Model>,
    /// The threads that hold the model while they call a function of the user, with the place and what is expected of it.
    asking: Mutex<Vec<(ThreadId, [&'static str; 2])>>,
}

impl From<Model> for Shared {
    fn from(model: Model) -> Self {
        let (name, row) = (model.name().to_owned(), model.row);
        Self { name, row, model: RwLock::new(model), asking: Mutex::default() }
    }
}

impl Shared {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The registered network; none if a user wrote the graph.
    pub fn row(&self) -> Option<Row> {
        self.row
    }

    /// Marks that this thread calls a function of the user while it holds the model, until the result is dropped.
    pub fn asking(&self, at: &'static str, expected: &'static str) -> Asking<'_> {
        let this = (thread::current().id(), [at, expected]);
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).push(this);
        Asking(self)
    }

    /// Fails with `Error::Argument` on a thread that would deadlock on itself.
    fn not_asking(&self) -> Result<()> {
        let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let this = thread::current().id();
        let Some((_, [at, expected])) = asking.iter().find(|(thread, _)| *thread == this) else {
            return Ok(());
        };
        let (at, expected) = (format!("{} {at}", self.name), (*expected).into());
        Err(Error::Argument { at, expected, got: "one that uses the model itself".into() })
    }

    pub fn read(&self) -> Result<RwLockReadGuard<'_, Model>> {
        self.not_asking()?;
        Ok(self.model.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The model, ready for a run: libtorch's runs need the parameters in a layout that training steps change.
    pub fn prepared(&self, options: RunOptions) -> Result<RwLockReadGuard<'_, Model>> {
        loop {
            let model = self.read()?;
            if model.is_native(options)? || model.engine()?.is_prepared() {
                return Ok(model);
            }
            drop(model);
            self.write()?.prepare()?;
        }
    }

    pub fn write(&self) -> Result<RwLockWriteGuard<'_, Model>> {
        self.not_asking()?;
        Ok(self.model.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Marks, while it lives, that a thread calls a function of the user.
#[derive(Debug)]
pub struct Asking<'a>(&'a Shared);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let this = thread::current().id();
        let mut asking = self.0.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = asking.iter().rposition(|(thread, _)| *thread == this) {
            asking.remove(at);
        }
    }
}
