//! Errors of weights files before their path is known.

use std::io;
use std::path::Path;

use crate::Error;

/// The contents of [`Error::Weights`] without the path, or of [`Error::WeightsFile`].
#[derive(Debug)]
pub(super) struct Refusal {
    key: Option<String>,
    expected: String,
    got: String,
    source: Option<io::Error>,
    is_cut: bool,
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Self {
        Self { source: Some(source), ..Self::new("", "") }
    }
}

impl Refusal {
    pub(super) fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        let (expected, got) = (expected.into(), got.into());
        Self { key: None, expected, got, source: None, is_cut: false }
    }

    /// Adds the name of the tensor or archive entry at fault.
    pub(super) fn of(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Marks that more bytes might resolve the error.
    pub(super) fn cut(self) -> Self {
        Self { is_cut: true, ..self }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(super) fn at(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self.source {
            Some(source) => Error::WeightsFile { path, source },
            None => Error::Weights { path, key: self.key, expected: self.expected, got: self.got },
        }
    }
}

const LONGEST_NAME: usize = 60;

/// Text of a file, cut to the length that a message has room for.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
