//! Labelled photographs, by number: in files, in memory, or some of another data set.

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

/// What a loader reads from, in many threads at once.
pub trait Dataset: Debug + Send + Sync {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes a sample, `index` below `len`; upright by its EXIF data where `orientation` says so.
    fn read(&self, index: usize, orientation: bool) -> Result<Photo>;

    /// The class of a sample: an index into `classes`.
    fn label(&self, index: usize) -> usize;

    /// What a message calls a sample: its path, where it has one.
    fn name(&self, index: usize) -> String;

    /// The names of the classes, in the order of their labels.
    fn classes(&self) -> &[String];

    /// Tells data sets apart: a number that follows from the samples, their order and their labels. Of files it is
    /// their names that count and not their contents, so that telling takes no time.
    fn fingerprint(&self) -> u64;
}

/// The most classes that go without names: a larger label means something else, such as the number of a record.
const MOST_NUMBERED: usize = 1 << 20;

/// The names of the classes, which are numbers up to the largest label if none are given.
///
/// Fails with what was expected where a label has no class.
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
