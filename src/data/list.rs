//! Listing of the photographs below a folder: one rule for data sets and the command.
//!
//! A photograph is a regular file, or a link to one, whose name has a picture's suffix; a broken link is listed too, so
//! that reading it gives an error. Pipes, sockets and devices are skipped. So are, with everything below them, hidden
//! entries (whose names begin with a dot) and folders that programs keep for themselves. Links to folders are followed,
//! unless they lead to a folder that they lie in.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The suffixes of photographs in lower case: the formats that are decoded here.
pub const SUFFIXES: [&str; 13] = [
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pbm", ".pgm",
    ".ppm", ".pnm",
];

/// Folders of programs: what macOS packs beside files, thumbnails of Synology, and the bin of Windows.
const FOREIGN: [&str; 3] = ["__MACOSX", "@eaDir", "$RECYCLE.BIN"];

/// The identity of a folder: its device and inode number.
type Identity = (u64, u64);

/// The photographs below a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Sorted by the text of the folder's path, then by name, as torchvision does.
    pub photos: Vec<PathBuf>,
    /// An error for each folder that cannot be read.
    pub unreadable: Vec<Error>,
}

/// Lists the photographs below `folder`, however deep; their paths begin with its own.
pub fn list_photos(folder: &Path) -> Listing {
    below(folder, Vec::new())
}

/// Lists each folder directly in `root`, with its name, sorted by name.
///
/// Fails with `Error::PhotoFile` where `root` cannot be read.
pub(super) fn list_folders(root: &Path) -> Result<Vec<(OsString, Listing)>> {
    let mut names: Vec<OsString> = entries(root)?.iter().map(DirEntry::file_name).collect();
    names.sort();
    let around = identity(root)?;
    let mut folders = Vec::new();
    for name in names.into_iter().filter(|name| !is_foreign(name)) {
        let path = root.join(&name);
        if is_folder(&path) && identity(&path)? != around {
            folders.push((name, below(&path, vec![around])));
        }
    }
    Ok(folders)
}

fn below(folder: &Path, mut above: Vec<Identity>) -> Listing {
    let mut listing = Listing::default();
    let mut folders = Vec::new();
    walk(folder, &mut above, &mut folders, &mut listing.unreadable);
    // Compared as text, where "a-b" comes before "a/b"; part by part it would come after.
    folders.sort_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
    for (folder, mut names) in folders {
        names.sort();
        listing.photos.extend(names.iter().map(|name| folder.join(name)));
    }
    listing
}

/// Adds `folder` and all below it, each with the names of its photographs. `above` are the folders around it.
fn walk(
    folder: &Path,
    above: &mut Vec<Identity>,
    found: &mut Vec<(PathBuf, Vec<OsString>)>,
    unreadable: &mut Vec<Error>,
) {
    let opened = identity(folder).and_then(|identity| Ok((identity, entries(folder)?)));
    let (identity, entries) = match opened {
        Ok((identity, _)) if above.contains(&identity) => return,
        Ok(opened) => opened,
        Err(error) => return unreadable.push(error),
    };
    above.push(identity);
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.file_name();
        if is_foreign(&name) {
            continue;
        }
        match kind(&entry) {
            Kind::Folder => walk(&entry.path(), above, found, unreadable),
            Kind::File if has_suffix(&name) => names.push(name),
            Kind::File | Kind::Other => {}
        }
    }
    above.pop();
    found.push((folder.into(), names));
}

enum Kind {
    Folder,
    File,
    Other,
}

/// The kind of an entry, or of a link's target.
fn kind(entry: &DirEntry) -> Kind {
    let Ok(mut kind) = entry.file_type() else { return Kind::File };
    if kind.is_symlink() {
        match fs::metadata(entry.path()) {
            Ok(target) => kind = target.file_type(),
            Err(_) => return Kind::File,
        }
    }
    if kind.is_dir() {
        Kind::Folder
    } else if kind.is_file() {
        Kind::File
    } else {
        Kind::Other
    }
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let unreadable = |source| Error::PhotoFile { path: folder.into(), source };
    fs::read_dir(folder).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)
}

fn identity(folder: &Path) -> Result<Identity> {
    let unreadable = |source| Error::PhotoFile { path: folder.into(), source };
    let metadata = fs::metadata(folder).map_err(unreadable)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn is_folder(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn is_foreign(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || FOREIGN.iter().any(|foreign| name == *foreign)
}

fn has_suffix(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}
