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
        self.check(&file, bytes.len() == length)?;
        Ok(bytes)
    }

    /// Reads bytes from `start` on, as many as there is room for; with the errors of `read`.
    pub(super) fn read_into(&self, start: usize, bytes: &mut [u8]) -> Result<(), Refusal> {
        let file = self.file();
        (&*file).seek(SeekFrom::Start(start as u64))?;
        let found = (&*file).read_exact(bytes);
        let is_short = found.as_ref().is_err_and(|of| of.kind() == io::ErrorKind::UnexpectedEof);
        self.check(&file, !is_short)?;
        Ok(found?)
    }

    /// Fails where the file was changed after it was opened, or was too short.
    fn check(&self, file: &File, is_whole: bool) -> Result<(), Refusal> {
        let facts = file.metadata()?;
        if is_whole && facts.len() == self.length && changed(&facts) == self.changed {
            return Ok(());
        }
        let got = format!("one that was changed while it was open, of {} bytes", facts.len());
        Err(Refusal::new(format!("an unchanged file of {} bytes", self.length), got))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_cut_after_it_was_opened_is_refused() {
        let path = std::env::temp_dir().join(format!("cnnzoo-source-{}", std::process::id()));
        std::fs::write(&path, [1, 2, 3, 4, 5]).unwrap();
        let source = Source::open(&path).unwrap();
        let mut bytes = [0; 3];
        source.read_into(1, &mut bytes).unwrap();
        assert_eq!(bytes, [2, 3, 4]);
        File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
        let refused = source.read_into(1, &mut bytes).unwrap_err().at(&path).to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(refused.contains("an unchanged file of 5 bytes"), "{refused}");
        assert!(source.read(1, 3).is_err());
    }
}
