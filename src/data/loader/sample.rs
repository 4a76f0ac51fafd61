//! Reading and preparing one sample, and the handling of errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ndarray::ArrayViewMut3;

use super::outcome::{BadSample, Outcome};
use super::{Loader, OnError};
use crate::data::random::{Key, below};
use crate::{Error, Result};

/// The number of replacements that are tried for a sample that cannot be read.
const REPLACEMENTS: usize = 16;

/// The place to which a sample is written.
pub(super) trait Target {
    /// The memory for sample `index`, which has this shape.
    fn memory(&mut self, shape: [usize; 3], index: usize) -> Result<ArrayViewMut3<'_, f32>>;
}

impl Loader {
    /// Reads sample `index` and writes it into `target`. A panic is an error under every policy.
    pub(super) fn sample(&self, epoch: u64, index: usize, target: &mut impl Target) -> Outcome {
        catch_unwind(AssertUnwindSafe(|| self.try_sample(epoch, index, target))).unwrap_or_else(
            |panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                Outcome::Failed(Error::Defect {
                    at: self.dataset.name(index),
                    message: text.unwrap_or("a panic").into(),
                })
            },
        )
    }

    fn try_sample(&self, epoch: u64, index: usize, target: &mut impl Target) -> Outcome {
        let (error, placed) = match self.write(epoch, index, target) {
            Ok(()) => return Outcome::Kept { label: self.dataset.label(index), bad: None },
            Err(failure) => failure,
        };
        if !placed {
            return Outcome::Failed(error);
        }
        let mut bad = BadSample { index, name: self.dataset.name(index), error, replacement: None };
        match self.options.on_error {
            OnError::Raise => Outcome::Failed(bad.error),
            OnError::Skip => Outcome::Skipped(bad),
            OnError::Replace => {
                // Independent of the draws of the sample's transform.
                let seed = !self.options.seed;
                let mut random = Key { seed, epoch, sample: index as u64 }.random();
                for _ in 0..REPLACEMENTS {
                    let other = below(self.dataset.len(), &mut random);
                    match self.write(epoch, other, target) {
                        Ok(()) => {
                            bad.replacement = Some(other);
                            let label = self.dataset.label(other);
                            return Outcome::Kept { label, bad: Some(bad) };
                        }
                        Err((error, false)) => return Outcome::Failed(error),
                        Err((_, true)) => {}
                    }
                }
                Outcome::Failed(bad.error)
            }
        }
    }

    /// An error comes with whether `OnError` applies to it; it does not where a sample does not fit its batch.
    fn write(
        &self,
        epoch: u64,
        index: usize,
        target: &mut impl Target,
    ) -> Result<(), (Error, bool)> {
        let photo =
            self.dataset.read(index, self.options.orientation).map_err(|error| (error, true))?;
        let shape = self.prepare.shape(&photo);
        let out = target.memory(shape, index).map_err(|error| (error, false))?;
        let key = Key { seed: self.options.seed, epoch, sample: index as u64 };
        self.prepare.write(&photo, key, out).map_err(|error| (error, true))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ndarray::Array4;

    use super::*;
    use crate::data::dataset::{Arrays, Size};
    use crate::data::loader::{Next, Options};
    use crate::data::{Photo, Prepare};

    /// Panics at the photograph that begins with 2.
    #[derive(Debug)]
    struct Panics;

    impl Prepare for Panics {
        fn shape(&self, _photo: &Photo) -> [usize; 3] {
            [1, 1, 1]
        }

        fn write(&self, photo: &Photo, _key: Key, mut out: ArrayViewMut3<'_, f32>) -> Result<()> {
            assert!(photo.pixels()[0] != 2, "two");
            out.fill(1.0);
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_an_error_of_its_batch_under_every_policy() {
        let size = Size { height: 1, width: 1, channels: 1 };
        let dataset = Arc::new(Arrays::new("x", size, vec![0, 1, 2, 3], vec![0; 4], None).unwrap());
        for on_error in [OnError::Raise, OnError::Skip, OnError::Replace] {
            let options = Options { threads: 2, on_error, ..Options::new(2) };
            let loader = Loader::new(dataset.clone(), Arc::new(Panics), options).unwrap();
            let epoch = loader.epoch(0, 0).unwrap();
            let patience = Duration::from_secs(60);
            assert!(
                matches!(epoch.next(patience), Ok(Next::Batch(batch)) if batch.images == Array4::<f32>::ones([2, 1, 1, 1]))
            );
            let error = epoch.next(patience).unwrap_err();
            assert_eq!(error.to_string(), "x[2]: a defect in cnnzoo: two");
            assert!(matches!(epoch.next(patience), Ok(Next::End)));
        }
    }
}
