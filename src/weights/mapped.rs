//! A weights file mapped into memory.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::{Error, Result};

/// The bytes of a file, read by the operating system as they are touched.
#[derive(Debug)]
pub(super) enum Mapped {
    Empty,
    Map(Mmap),
}

impl Mapped {
    /// # Errors
    /// [`Error::WeightsFile`] where the file is missing, not readable, or not a regular file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        map(path).map_err(|source| Error::WeightsFile { path: path.to_owned(), source })
    }
}

fn map(path: &Path) -> io::Result<Mapped> {
    // Asked before opening: opening a pipe would wait for a writer.
    let kind = std::fs::metadata(path)?;
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Mapped::Empty);
    }
    // SAFETY: the map is private to this value, never written, and handed out only as bytes, for
    // which every bit pattern is valid. Another process that changes the file meanwhile is outside
    // of what can be checked here; `Checkpoint` says what happens then.
    let map = unsafe { Mmap::map(&file)? };
    Ok(Mapped::Map(map))
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Map(map) => map,
        }
    }
}
