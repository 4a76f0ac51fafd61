//! Atomic replacement of files: they appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file;

/// Writes a temporary file beside `path`, syncs it and renames it over `path`. Where anything fails, the old file stays
/// and nothing is left behind.
pub(super) fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = Replacement::begin(path)?;
    write(&mut file)?;
    file.finish()?.rename()
}

/// A temporary file that is to replace another one. It is removed on drop.
///
/// A symbolic link stays, and its target is replaced, which keeps its permissions. A folder, pipe, socket or device is
/// an error that says which of them it is.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    temporary: TemporaryFile,
    writer: BufWriter<File>,
}

impl Replacement {
    pub fn begin(path: &Path) -> io::Result<Self> {
        let path = end_of_links(path)?;
        let before = match fs::metadata(&path) {
            Ok(before) => Some(before),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(before) = &before {
            file::check(before.file_type())?;
        }
        let (temporary, file) = temporary_beside(&path)?;
        if let Some(before) = before {
            file.set_permissions(before.permissions())?;
        }
        Ok(Self { path, temporary, writer: BufWriter::with_capacity(1 << 20, file) })
    }

    /// Syncs it: only the rename may fail then.
    pub fn finish(self) -> io::Result<Replaced> {
        let Self { path, temporary, writer } = self;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(Replaced { path, temporary })
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A temporary file that has all its bytes. It is removed on drop.
#[derive(Debug)]
pub struct Replaced {
    path: PathBuf,
    temporary: TemporaryFile,
}

impl Replaced {
    /// Renames it over the other one.
    pub fn rename(self) -> io::Result<()> {
        fs::rename(&self.temporary.0, &self.path)?;
        sync_folder(&self.path);
        Ok(())
    }
}

/// The target of the links at `path`, which need not exist.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    // Linux's limit.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..=LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().map_or(next.clone(), |folder| folder.join(next)),
            // No link.
            Err(_) => return Ok(path),
        }
    }
    let message = format!("expected at most {LINKS} symbolic links, got more");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// A new temporary file. A process that died may have left some, also with the id of this one.
fn temporary_beside(path: &Path) -> io::Result<(TemporaryFile, File)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    };
    loop {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        hidden.push(format!(".{}-{count}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        match File::create_new(&temporary) {
            Ok(file) => return Ok((TemporaryFile(temporary), file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// A file that is removed on drop, unless it was renamed before.
#[derive(Debug)]
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the rename itself survive a power cut, where the file system can.
fn sync_folder(path: &Path) {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return,
    };
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
