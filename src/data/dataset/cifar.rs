//! The binary version of CIFAR-10 and CIFAR-100.
//!
//! A file is a row of records: one label (CIFAR-10) or two, the coarse and the fine one (CIFAR-100), and the 32x32
//! bytes of the red, the green and the blue channel. <https://www.cs.toronto.edu/~kriz/cifar.html>

use std::io::Read;
use std::path::{Path, PathBuf};

use super::arrays::{Arrays, Size};
use crate::{Error, Result, file};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// The labels that the records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// One label: CIFAR-10's.
    Only,
    /// The first of two: CIFAR-100's superclasses.
    Coarse,
    /// The second of two: CIFAR-100's classes.
    Fine,
}

/// Reads `files` in order, and the class names from `names`, one per line.
///
/// Fails with `Error::PhotoFile` where a file cannot be read, and `Error::Photo` where it is truncated, or a label has
/// no class name.
pub fn cifar(files: &[PathBuf], labels: Labels, names: &Path) -> Result<Arrays> {
    let (before, which) = match labels {
        Labels::Only => (1, 0),
        Labels::Coarse => (2, 0),
        Labels::Fine => (2, 1),
    };
    let record = before + 3 * PLANE;
    let text = String::from_utf8_lossy(&read(names)?).into_owned();
    let classes: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let (mut pixels, mut found) = (Vec::new(), Vec::new());
    for file in files {
        let flaw = |expected, got| Err(Error::Photo { path: file.clone(), expected, got });
        let bytes = read(file)?;
        if bytes.is_empty() || bytes.len() % record != 0 {
            return flaw(format!("records of {record} bytes"), format!("{} bytes", bytes.len()));
        }
        for (index, record) in bytes.chunks_exact(record).enumerate() {
            let label = usize::from(record[which]);
            if label >= classes.len() {
                let expected =
                    format!("labels below the {} classes of {}", classes.len(), names.display());
                return flaw(expected, format!("{label} in record {index}"));
            }
            found.push(label);
            let (red, rest) = record[before..].split_at(PLANE);
            let (green, blue) = rest.split_at(PLANE);
            let colours = red.iter().zip(green).zip(blue);
            pixels.extend(colours.flat_map(|((&red, &green), &blue)| [red, green, blue]));
        }
    }
    let size = Size { height: SIDE, width: SIDE, channels: 3 };
    let name = files.first().and_then(|file| file.parent()).unwrap_or(names).display().to_string();
    Arrays::new(name, size, pixels, found, Some(classes))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        file::open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| Error::PhotoFile { path: path.into(), source })
}
