//! Labelled data sets, whose samples are photographs: in files, in memory, or a subset of another data set.

mod arrays;
mod cifar;
mod files;
mod fingerprint;
mod folder;
mod idx;
mod split;
mod subset;

use std::fmt::Debug;

pub use arrays::{Arrays, Size};
pub use cifar::{Labels, cifar};
pub use files::Files;
pub use folder::image_folder;
pub use idx::idx;
pub use split::split;
pub use subset::Subset;

use super::photo::Photo;
use crate::Result;

/// A data set that a loader reads from, in many threads at once.
pub trait Dataset: Debug + Send + Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes a sample, `index` below `len`; upright by its EXIF data where `orientation` says so.
    fn read(&self, index: usize, orientation: bool) -> Result<Photo>;

    /// The class label of a sample: an index into `classes`.
    fn label(&self, index: usize) -> usize;

    /// The name of a sample in messages: its path, where it has one.
    fn name(&self, index: usize) -> String;

    /// The class names, in the order of the labels.
    fn classes(&self) -> &[String];

    /// A hash that tells data sets apart: it follows from the samples, their order and their labels. For files the
    /// names are hashed and not the contents, so that this takes no time.
    fn fingerprint(&self) -> u64;
}

/// The most classes that may go without names: a larger label means something else, such as the number of a record.
const MOST_NUMBERED: usize = 1 << 20;

/// The class names, which are numbers up to the largest label if none are given.
///
/// Fails with the expected value where a label has no class.
fn named(largest: usize, classes: Option<Vec<String>>) -> Result<Vec<String>, String> {
    match classes {
        Some(classes) if largest < classes.len() => Ok(classes),
        Some(classes) => Err(format!("labels below {} classes", classes.len())),
        None if largest < MOST_NUMBERED => {
            Ok((0..=largest).map(|class| class.to_string()).collect())
        }
        None => Err(format!("labels below {MOST_NUMBERED}, or names of the classes")),
    }
}
