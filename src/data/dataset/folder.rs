//! Image folders, with one folder per class, by torchvision's rules except for hidden entries and what is no file.
//!
//! Classes are the folders in the root, sorted by name. A class has every photograph below its folder, however deep
//! (`data::list` says what that is); the folders of a class are sorted by their whole path, the files of each by name.
//! Files that lie beside the folders of classes belong to none.
//!
//! Where torchvision skips a folder that cannot be read, this fails.

use std::path::Path;

use super::Files;
use crate::data::list::list_folders;
use crate::{Error, Result};

/// Lists the files of `root` by class.
///
/// Fails with `Error::PhotoFile` where a folder cannot be read, and `Error::Photo` where there is no class, the name of one
/// is not UTF-8, or a class has no picture and `allow_empty` is not set.
pub fn image_folder(root: &Path, allow_empty: bool) -> Result<Files> {
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    let (mut names, mut empty) = (Vec::new(), Vec::new());
    for (label, (class, listing)) in list_folders(root)?.into_iter().enumerate() {
        if let Some(error) = listing.unreadable.into_iter().next() {
            return Err(error);
        }
        let class = class.into_string().map_err(|name| Error::Photo {
            path: root.join(&name),
            expected: "a folder whose name, which is that of a class, is UTF-8".into(),
            got: format!("\"{}\"", name.as_encoded_bytes().escape_ascii()),
        })?;
        if listing.photos.is_empty() {
            empty.push(class.clone());
        }
        names.push(class);
        let below = listing.photos.iter().map(|path| path.strip_prefix(root).unwrap_or(path));
        paths.extend(below.map(Path::to_path_buf));
        labels.resize(paths.len(), label);
    }
    let flaw =
        |expected: &str, got| Error::Photo { path: root.into(), expected: expected.into(), got };
    if names.is_empty() {
        return Err(flaw("a folder for each class", "none".into()));
    }
    if !empty.is_empty() && !allow_empty {
        let got = format!("none in {}", empty.join(", "));
        return Err(flaw("a picture in the folder of every class", got));
    }
    Files::new(root.into(), paths, labels, Some(names))
}
