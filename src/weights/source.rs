//! The bytes of a weights file, read on demand.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::refusal::Refusal;
use crate::file;

/// The most bytes of one read, or twice the file's size on disk if that is more: a hole in a sparse file would take
/// memory without taking disk. Some file systems report that size only after a while.
const HOLE: u64 = 2 << 30;

/// An open file that must not change: reads fail once it was changed or truncated.
#[derive(Debug)]
pub(super) struct Source {
    file: Mutex<File>,
    length: u64,
    blocks: u64,
    changed: (i64, i64),
}

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = file::open(path)?;
        let facts = file.metadata()?;
        let changed = changed(&facts);
        Ok(Self { file: Mutex::new(file), length: facts.len(), blocks: facts.blocks(), changed })
    }

    pub(super) fn length(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    /// Reads `length` bytes from `start` on.
    ///
    /// # Errors
    /// The file is shorter, was changed after it was opened, or cannot be read; or memory is short.
    pub(super) fn read(&self, start: usize, length: usize) -> Result<Vec<u8>, Refusal> {
        if start.checked_add(length).is_none_or(|end| end > self.length()) {
            let got = format!("the file's end at byte {}", self.length());
            return Err(Refusal::new(format!("{length} bytes at byte {start}"), got));
        }
        let most = HOLE.max(self.blocks.saturating_mul(2 * 512));
        if length as u64 > most {
            return Err(Refusal::new(
                format!("at most {most} bytes in one piece"),
                length.to_string(),
            ));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let file = self.file();
        (&*file).seek(SeekFrom::Start(start as u64))?;
        (&*file).take(length as u64).read_to_end(&mut bytes)?;
        let facts = file.metadata()?;
        if bytes.len() < length || facts.len() != self.length || changed(&facts) != self.changed {
            let got = format!("one that was changed while it was open, of {} bytes", facts.len());
            let expected = format!("an unchanged file of {} bytes", self.length);
            return Err(Refusal::new(expected, got));
        }
        Ok(bytes)
    }

    /// Locks the file, to seek and read in it.
    pub(super) fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time at which the contents were last written.
fn changed(facts: &Metadata) -> (i64, i64) {
    (facts.mtime(), facts.mtime_nsec())
}
