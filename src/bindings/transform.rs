//! Augmentation in Python: pipelines, and single operations.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray3};
use pyo3::prelude::*;

use super::errors::detached;
use super::photo::{Source, to_array, to_photo};
use crate::data::{Key, Operation, Photo, Pipeline, Prepare, Step};
use crate::error::{Error, Result};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(apply_operation, module)?)?;
    module.add_class::<Transform>()
}

/// A pipeline of steps, written as JSON.
#[pyclass(frozen, module = "cnnzoo")]
#[derive(Clone, Debug)]
pub struct Transform(pub Arc<Pipeline>);

#[pymethods]
impl Transform {
    #[new]
    #[pyo3(signature = (steps, channels = None))]
    fn new(steps: &str, channels: Option<usize>) -> PyResult<Self> {
        let steps: Vec<Step> =
            serde_json::from_str(steps).map_err(|error| unreadable("steps", &error))?;
        Ok(Self(Arc::new(Pipeline::new(steps, channels)?)))
    }

    #[getter]
    fn channels(&self) -> usize {
        self.0.channels()
    }

    fn shape(&self, height: usize, width: usize) -> [usize; 3] {
        self.0.shape_of(height, width)
    }

    /// Draws the operations for a photograph of this size, as JSON.
    fn draw(
        &self,
        height: usize,
        width: usize,
        seed: u64,
        epoch: u64,
        index: u64,
    ) -> PyResult<String> {
        let drawn = self.0.draw(height, width, Key { seed, epoch, sample: index })?;
        Ok(serde_json::to_string(&drawn).map_err(|error| unreadable("operations", &error))?)
    }

    fn apply_array<'py>(
        &self,
        array: &Bound<'py, PyAny>,
        seed: u64,
        epoch: u64,
        index: u64,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let photo = to_photo(array)?;
        self.run(array.py(), Key { seed, epoch, sample: index }, || Ok(photo))
    }

    #[pyo3(signature = (path_or_bytes, seed, epoch, index, *, orientation = true))]
    fn apply_file<'py>(
        &self,
        py: Python<'py>,
        path_or_bytes: Source,
        seed: u64,
        epoch: u64,
        index: u64,
        orientation: bool,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let key = Key { seed, epoch, sample: index };
        self.run(py, key, || path_or_bytes.read(orientation))
    }
}

impl Transform {
    fn run<'py>(
        &self,
        py: Python<'py>,
        key: Key,
        photo: impl FnOnce() -> Result<Photo> + Send,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let out = detached(py, || self.0.apply(&photo()?, key))?;
        Ok(out.into_pyarray(py))
    }
}

/// Applies one operation, written as JSON, to a photograph: uint8 (H, W, 3), or (H, W) as grey.
#[pyfunction]
fn apply_operation<'py>(
    array: &Bound<'py, PyAny>,
    operation: &str,
    channels: usize,
) -> PyResult<Bound<'py, PyArray3<u8>>> {
    let operation: Operation =
        serde_json::from_str(operation).map_err(|error| unreadable("operation", &error))?;
    let photo = to_photo(array)?;
    let photo = photo.to_channels(channels)?;
    let photo = operation.apply(&photo)?;
    Ok(to_array(array.py(), photo))
}

fn unreadable(at: &str, error: &serde_json::Error) -> Error {
    Error::Argument {
        at: at.into(),
        expected: "options of the right types".into(),
        got: error.to_string(),
    }
}
