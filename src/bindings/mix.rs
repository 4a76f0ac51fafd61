//! Mixup and CutMix in Python.

use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;

use super::array::{floats, from_array};
use super::errors::detached;
use super::targets::Targets;
use crate::data::random::of_batch;
use crate::engine::Array;
use crate::error::{Error, shape_text};
use crate::train::mix::{self, Mix, Window};

/// The implementation of Python's `cnnzoo.Mixing`.
#[pyclass(frozen, module = "cnnzoo._torch")]
struct Mixing(mix::Mixing);

/// The mixing ratio, and the window's (left, top, right, bottom).
type Drawn = (f64, Option<(usize, usize, usize, usize)>);

#[pymethods]
impl Mixing {
    #[new]
    fn new(mixup: f64, cutmix: f64) -> PyResult<Self> {
        let mixing = mix::Mixing { mixup, cutmix };
        mixing.check()?;
        Ok(Self(mixing))
    }

    /// Draws the mixing of a batch of images of this size.
    fn draw(
        &self,
        height: usize,
        width: usize,
        seed: u64,
        epoch: u64,
        batch: u64,
    ) -> PyResult<Option<Drawn>> {
        if height == 0 || width == 0 {
            let (at, expected) = ("the size of images".into(), "at least (1, 1)".into());
            return Err(Error::Shape { at, expected, got: shape_text(&[height, width]) }.into());
        }
        let drawn = self.0.draw([height, width], &mut of_batch(seed, epoch, batch));
        let corners = |w: Window| (w.left, w.top, w.right, w.bottom);
        Ok(drawn.map(|Mix { share, window }| (share, window.map(corners))))
    }

    /// Mixed images (N, C, H, W), and their class shares (N, K).
    #[allow(clippy::too_many_arguments, reason = "Python passes them by keyword")]
    fn apply<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        y: &Bound<'py, PyAny>,
        num_classes: Option<usize>,
        seed: u64,
        epoch: u64,
        batch: u64,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let py = x.py();
        let x = floats(x, "the images of a batch", |shape| match shape {
            [_, _, _, _] if !shape.contains(&0) => Ok(()),
            _ => Err("(N, C, H, W), all at least 1".into()),
        })?;
        let &[count, channels, height, width] = x.shape() else { unreachable!("it was checked") };
        let given = Targets::new(y, "the targets of a batch")?;
        let (pixels, targets) = (x.as_slice()?, given.view()?);
        let (images, shares, classes) = detached(py, || {
            let shares = mix::shares(targets, num_classes, count)?;
            let classes = shares.len() / count;
            let drawn = self.0.draw([height, width], &mut of_batch(seed, epoch, batch));
            let Some(mix) = drawn else { return Ok((mix::copied(pixels)?, shares, classes)) };
            let images = mix.images(pixels, [count, channels, height, width])?;
            Ok((images, mix.shares(&shares, [count, classes])?, classes))
        })?;
        let images =
            from_array(py, Array { shape: vec![count, channels, height, width], values: images })?;
        Ok((images, from_array(py, Array { shape: vec![count, classes], values: shares })?))
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Mixing>()
}
