//! From a decoded photograph to the numbers of one sample, perhaps at random.

use std::fmt::Debug;

use super::photo::Photo;
use super::random::Key;
use crate::Result;

/// What a loader does to each photograph.
pub trait Prepare: Debug + Send + Sync {
    /// The shape (channels, height, width) of what comes out for this photograph.
    fn shape(&self, photo: &Photo) -> [usize; 3];

    /// Writes the sample into `out`, of that shape in row-major order. What is drawn follows from `key` alone.
    fn write(&self, photo: &Photo, key: Key, out: &mut [f32]) -> Result<()>;
}
