//! Opening what somebody named: regular files, and nothing that waits for another process or has no end.

use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens the regular file at `path`, or at the end of the links there, for reading.
///
/// A folder, pipe, socket or device is an error that says which of them it is, at once: opening a pipe would wait for
/// its writer, and reading a device may never end. Both the name and what was opened are looked at, so it does not help
/// to put a pipe there in between.
pub fn open(path: &Path) -> io::Result<File> {
    check(fs::metadata(path)?.file_type())?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

/// Fails, and says what it is, unless it is a regular file.
pub fn check(kind: FileType) -> io::Result<()> {
    let name = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    let message = format!("expected a regular file, got {name}");
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}
