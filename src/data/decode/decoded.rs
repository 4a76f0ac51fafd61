//! The result of a decoder: a picture, or the reason why there is none.

use std::path::Path;

use crate::data::photo::check_size;
use crate::memory::Shortage;
use crate::{Error, Result};

/// The reason why a file does not decode; the path is added where it is known.
#[derive(Debug)]
pub(super) enum DecodeError {
    /// The expected and the actual content.
    Content {
        expected: String,
        got: String,
    },
    Memory(Shortage),
}

impl DecodeError {
    pub(super) fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Content { expected: expected.into(), got: got.into() }
    }

    pub(super) fn at(self, path: &Path) -> Error {
        match self {
            Self::Content { expected, got } => Error::Photo { path: path.into(), expected, got },
            Self::Memory(shortage) => shortage.at(path.display().to_string()),
        }
    }
}

impl From<Shortage> for DecodeError {
    fn from(shortage: Shortage) -> Self {
        Self::Memory(shortage)
    }
}

/// A decoded picture and its EXIF orientation, if that was asked for.
pub(super) struct Decoded {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<u8>,
    pub(super) orientation: Option<u16>,
}

/// The sizes from a header, if they are within the limits.
pub(super) fn sizes(width: usize, height: usize) -> Result<(usize, usize), DecodeError> {
    check_size(width, height)
        .map_err(|expected| DecodeError::new(expected, format!("{width}x{height}")))?;
    Ok((width, height))
}
