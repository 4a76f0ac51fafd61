//! The default of a data loader without a transform.

use ndarray::{ArrayViewMut3, Zip};

use crate::Result;
use crate::data::photo::Photo;
use crate::data::prepare::Prepare;
use crate::data::random::Key;

/// Scales bytes to 0 to 1; the size stays.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Prepare for Plain {
    fn shape(&self, photo: &Photo) -> [usize; 3] {
        [photo.channels(), photo.height(), photo.width()]
    }

    fn write(&self, photo: &Photo, _key: Key, out: ArrayViewMut3<'_, f32>) -> Result<()> {
        let bytes = photo.array(photo.whole()).permuted_axes([2, 0, 1]);
        Zip::from(out).and(bytes).for_each(|out, &byte| *out = f32::from(byte) / 255.0);
        Ok(())
    }
}
