//! Preparing samples: from a decoded photograph to an array, perhaps with random augmentation.

use std::fmt::Debug;

use super::photo::Photo;
use super::random::Key;
use crate::Result;

/// The transform that a loader applies to each photograph.
pub trait Prepare: Debug + Send + Sync {
    /// The shape (channels, height, width) of the result for this photograph.
    fn shape(&self, photo: &Photo) -> [usize; 3];

    /// Writes the sample into `out`, of that shape in row-major order. Random draws follow from `key` alone.
    fn write(&self, photo: &Photo, key: Key, out: &mut [f32]) -> Result<()>;
}
