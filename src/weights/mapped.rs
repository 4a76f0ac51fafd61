//! The bytes of a weights file: read, or mapped where that would take too much memory.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use memmap2::Mmap;

use crate::{Error, Result};

/// Files up to this size are read: what is read stays as it is, while a mapped file that is cut ends the process.
const READ: u64 = 2 << 30;

/// The bytes of a file.
#[derive(Debug)]
pub(super) enum Mapped {
    Read(Vec<u8>),
    /// Read by the operating system as they are touched.
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
    let facts = file.metadata()?;
    if is_worth_reading(&facts) {
        return read(file, facts.len()).map(Mapped::Read);
    }
    // SAFETY: the map is private to this value, never written, and handed out only as bytes, for
    // which every bit pattern is valid. Another process that changes the file meanwhile is outside
    // of what can be checked here; `Checkpoint` says what happens then.
    let map = unsafe { Mmap::map(&file)? };
    Ok(Mapped::Map(map))
}

/// Whether a file is not too large, and no hole, which would take memory that it has no bytes for.
fn is_worth_reading(facts: &Metadata) -> bool {
    facts.len() <= READ && facts.blocks().saturating_mul(512) >= facts.len() / 2
        || facts.len() <= 1 << 16
}

fn read(file: File, length: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size)?;
    // No further than it was long, so that one that grows meanwhile ends.
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            Self::Map(map) => map,
        }
    }
}
