//! Preparing samples: from a decoded photograph to an array, perhaps with random augmentation.

use std::fmt::Debug;

use ndarray::{Array3, ArrayViewMut3};

use super::photo::Photo;
use super::random::Key;
use crate::Result;
use crate::memory::zero_array;

/// The transform that a loader applies to each photograph.
pub trait Prepare: Debug + Send + Sync {
    /// The shape (channels, height, width) of the result for this photograph.
    fn shape(&self, photo: &Photo) -> [usize; 3];

    /// Writes the sample into `out`, which has that shape. Random draws follow from `key` alone.
    fn write(&self, photo: &Photo, key: Key, out: ArrayViewMut3<'_, f32>) -> Result<()>;

    /// The sample as an array of its own.
    fn apply(&self, photo: &Photo, key: Key) -> Result<Array3<f32>> {
        let out = zero_array(self.shape(photo));
        let mut out = out.map_err(|shortage| shortage.at("a prepared photograph"))?;
        self.write(photo, key, out.view_mut())?;
        Ok(out)
    }
}
