//! Why a file was refused, before anybody knows its path.

use std::path::Path;

use crate::Error;

/// What [`Error::Weights`] says, without the path.
#[derive(Debug)]
pub(super) struct Refusal {
    key: Option<String>,
    expected: String,
    got: String,
}

impl Refusal {
    pub(super) fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { key: None, expected: expected.into(), got: got.into() }
    }

    /// Names the tensor or archive entry that is wrong.
    pub(super) fn of(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub(super) fn at(self, path: &Path) -> Error {
        Error::Weights {
            path: path.to_owned(),
            key: self.key,
            expected: self.expected,
            got: self.got,
        }
    }
}
