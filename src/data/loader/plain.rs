//! The default of a data loader without a transform.

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

    fn write(&self, photo: &Photo, _key: Key, out: &mut [f32]) -> Result<()> {
        let plane = photo.width() * photo.height();
        for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
            let bytes = photo.pixels().iter().skip(channel).step_by(photo.channels());
            for (out, &byte) in out.iter_mut().zip(bytes) {
                *out = f32::from(byte) / 255.0;
            }
        }
        Ok(())
    }
}
