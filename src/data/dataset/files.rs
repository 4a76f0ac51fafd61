//! Data sets of photographs in files, each with a class label.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::fingerprint::Fingerprint;
use super::{Dataset, named};
use crate::data::decode::decode_file;
use crate::data::photo::Photo;
use crate::{Error, Result};

/// Files that are decoded when they are asked for.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    paths: Vec<PathBuf>,
    labels: Vec<usize>,
    classes: Vec<String>,
    fingerprint: OnceLock<u64>,
}

impl Files {
    /// `paths` are relative to `root`. Without class names the classes are numbers.
    ///
    /// Fails with `Error::Photo`, which names `root`, where there is no file, a label without a class, or another
    /// number of labels than of paths.
    pub fn new(
        root: PathBuf,
        paths: Vec<PathBuf>,
        labels: Vec<usize>,
        classes: Option<Vec<String>>,
    ) -> Result<Self> {
        let flaw = |expected, got| Err(Error::Photo { path: root.clone(), expected, got });
        if paths.len() != labels.len() {
            let expected = format!("a label for each of {} files", paths.len());
            return flaw(expected, format!("{} labels", labels.len()));
        }
        let Some(&largest) = labels.iter().max() else {
            return flaw("at least one file".into(), "none".into());
        };
        let classes = match named(largest, classes) {
            Ok(classes) => classes,
            Err(expected) => return flaw(expected, largest.to_string()),
        };
        Ok(Self { root, paths, labels, classes, fingerprint: OnceLock::new() })
    }

    fn path(&self, index: usize) -> PathBuf {
        self.root.join(&self.paths[index])
    }
}

impl Dataset for Files {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn read(&self, index: usize, orientation: bool) -> Result<Photo> {
        decode_file(&self.path(index), orientation)
    }

    fn label(&self, index: usize) -> usize {
        self.labels[index]
    }

    fn name(&self, index: usize) -> String {
        self.path(index).display().to_string()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    /// A hash of the paths relative to the root, so that a folder may be moved.
    fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| {
            let mut fingerprint = Fingerprint::default();
            fingerprint.texts(&self.classes).numbers(&self.labels);
            for path in &self.paths {
                fingerprint.bytes(bytes_of(path));
            }
            fingerprint.value()
        })
    }
}

fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}
