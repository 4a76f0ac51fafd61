//! A folder for each class, by torchvision's rules.
//!
//! Classes are the folders in the root, sorted by name; hidden ones too. A class has every file below its folder,
//! however deep, whose name ends as a picture's does; the folders of a class are sorted by their whole path, the files
//! of each by name. Links are followed. Files that lie beside the folders of classes belong to none.
//!
//! Where torchvision passes over a folder that cannot be read, and follows a link in a circle until the system stops
//! it, there is an error here.

use std::fs::{self, DirEntry};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Files;
use crate::{Error, Result};

/// torchvision's list. What is not decoded here (JPEG, PNG and WebP are) is a broken file to a loader.
const ENDINGS: [&str; 9] =
    [".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"];

/// Lists the files of `root` by class.
///
/// Fails with `Error::PhotoFile` where a folder cannot be read, and `Error::Photo` where there is no class, a link
/// leads into a circle, or a class has no picture and `allow_empty` is not set.
pub fn image_folder(root: &Path, allow_empty: bool) -> Result<Files> {
    let mut classes = Vec::new();
    for entry in entries(root)? {
        if is_folder(&entry.path()) {
            classes.push(entry.file_name());
        }
    }
    classes.sort();
    let (mut paths, mut labels, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for (label, class) in classes.iter().enumerate() {
        let before = paths.len();
        add_files(root, &root.join(class), &mut paths)?;
        labels.resize(paths.len(), label);
        if paths.len() == before {
            empty.push(class.to_string_lossy());
        }
    }
    let flaw =
        |expected: &str, got| Error::Photo { path: root.into(), expected: expected.into(), got };
    if classes.is_empty() {
        return Err(flaw("a folder for each class", "none".into()));
    }
    if !empty.is_empty() && !allow_empty {
        let got = format!("none in {}", empty.join(", "));
        return Err(flaw("a picture in the folder of every class", got));
    }
    let names = classes.iter().map(|class| class.to_string_lossy().into_owned()).collect();
    Files::new(root.into(), paths, labels, Some(names))
}

/// Adds the pictures below `class`, as paths from `root` on.
fn add_files(root: &Path, class: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let mut folders = Vec::new();
    add_folders(class, &mut Vec::new(), &mut folders)?;
    // As text, in which "a-b" comes before "a/b"; part by part it would come after.
    folders.sort_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
    for (folder, mut names) in folders {
        names.sort();
        let folder = folder.strip_prefix(root).unwrap_or(&folder);
        paths.extend(names.iter().map(|name| folder.join(name)));
    }
    Ok(())
}

type Folder = (PathBuf, Vec<std::ffi::OsString>);

/// Adds `folder` and all below it, each with the names of its pictures. `above` are the folders around it, by device
/// and number.
fn add_folders(folder: &Path, above: &mut Vec<(u64, u64)>, found: &mut Vec<Folder>) -> Result<()> {
    let unreadable = |source| Error::PhotoFile { path: folder.into(), source };
    let metadata = fs::metadata(folder).map_err(unreadable)?;
    let identity = (metadata.dev(), metadata.ino());
    if above.contains(&identity) {
        return Err(Error::Photo {
            path: folder.into(),
            expected: "folders in a tree".into(),
            got: "a link to a folder around it".into(),
        });
    }
    above.push(identity);
    let mut names = Vec::new();
    for entry in entries(folder)? {
        let path = entry.path();
        if is_folder(&path) {
            add_folders(&path, above, found)?;
        } else if is_picture(&entry) {
            names.push(entry.file_name());
        }
    }
    above.pop();
    found.push((folder.into(), names));
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let unreadable = |source| Error::PhotoFile { path: folder.into(), source };
    fs::read_dir(folder).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)
}

/// Also of a link to one; a link that leads nowhere is a file.
fn is_folder(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn is_picture(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy().to_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}
