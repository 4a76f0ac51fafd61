//! Arrays that stay in their file until somebody needs them.

use std::sync::Arc;

use super::Checkpoint;
use crate::error::Result;
use crate::memory::zeros;

/// A float32 array in a file, which must not change.
#[derive(Clone, Debug)]
pub struct Filed {
    file: Arc<Checkpoint>,
    name: String,
}

impl Filed {
    /// An array of a file, if it is a large one of float32 values that lie there one behind the other. Small ones are not
    /// worth being read several times.
    pub fn of(file: &Arc<Checkpoint>, name: &str) -> Option<Self> {
        const LEAST: usize = 1 << 16;
        let elements = file.shape(name)?.iter().product::<usize>();
        let stays = elements >= LEAST && file.is_plain(name);
        stays.then(|| Self { file: Arc::clone(file), name: name.to_owned() })
    }

    /// Reads the values. Fails where the file was changed after it was opened.
    pub fn read(&self, values: &mut [f32]) -> Result<()> {
        if !self.file.read_into(&self.name, values)? {
            self.file.get(&self.name)?.write_f32(values)?;
        }
        Ok(())
    }

    /// A copy of as many values.
    pub fn floats(&self, count: usize) -> Result<Vec<f32>> {
        let mut values = zeros(count).map_err(|shortage| shortage.at(self.name.as_str()))?;
        self.read(&mut values)?;
        Ok(values)
    }
}
