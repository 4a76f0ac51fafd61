//! Data loaders in Python.

use std::time::Duration;

use numpy::{IntoPyArray, PyArray1, PyArray4};
use pyo3::prelude::*;

use super::dataset::Dataset;
use super::errors::detached;
use super::prepare::{orientation, prepare};
use crate::data;
use crate::data::loader::{self, Next, OnError, Options};
use crate::error::Error;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Loader>()?;
    module.add_class::<Epoch>()
}

/// The longest delay of Ctrl-C while waiting for a batch.
const PATIENCE: Duration = Duration::from_millis(50);

/// A data loader: a data set, the transform of its photographs, and the options.
#[pyclass(frozen, module = "cnnzoo")]
#[derive(Debug)]
pub(super) struct Loader(data::Loader);

#[pymethods]
impl Loader {
    #[new]
    #[pyo3(signature = (
        dataset, transform, *, batch_size, shuffle, seed, drop_last, threads, prefetch, on_error,
        share=(0, 1)
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        dataset: &Bound<'_, Dataset>,
        transform: &Bound<'_, PyAny>,
        batch_size: usize,
        shuffle: bool,
        seed: u64,
        drop_last: bool,
        threads: Option<usize>,
        prefetch: Option<usize>,
        on_error: &str,
        share: (usize, usize),
    ) -> PyResult<Self> {
        let on_error = match on_error {
            "raise" => OnError::Raise,
            "skip" => OnError::Skip,
            "replace" => OnError::Replace,
            other => {
                return Err(Error::Argument {
                    at: "loader: on_error".into(),
                    expected: "raise, skip or replace".into(),
                    got: other.into(),
                }
                .into());
            }
        };
        let threads = threads.unwrap_or(Options::new(batch_size).threads);
        let prefetch = prefetch.unwrap_or(Options::ahead(batch_size, threads));
        let orientation = orientation(transform)?;
        let options = Options {
            batch_size,
            shuffle,
            seed,
            drop_last,
            threads,
            prefetch,
            on_error,
            share,
            orientation,
        };
        let dataset = dataset.get().0.clone();
        Ok(Self(data::Loader::new(dataset, prepare(transform)?, options)?))
    }

    #[getter]
    fn threads(&self) -> usize {
        self.0.options().threads
    }

    #[getter]
    fn prefetch(&self) -> usize {
        self.0.options().prefetch
    }

    fn order<'py>(&self, py: Python<'py>, epoch: u64) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let order = detached(py, || Ok(self.0.order(epoch)))?;
        Ok(PyArray1::from_iter(py, order.into_iter().map(|index| index as i64)))
    }

    fn epoch(&self, py: Python<'_>, epoch: u64, first: usize) -> PyResult<Epoch> {
        detached(py, || self.0.epoch(epoch, first)).map(Epoch)
    }

    fn __len__(&self) -> usize {
        self.0.batches()
    }
}

/// A pass over a data set. Its threads end with it.
#[pyclass(frozen, module = "cnnzoo")]
#[derive(Debug)]
pub(super) struct Epoch(loader::Epoch);

/// The number of the batch, x, y, and the bad samples: index, name, message, replacement.
type Batch<'py> = (
    usize,
    Bound<'py, PyArray4<f32>>,
    Bound<'py, PyArray1<i64>>,
    Vec<(usize, String, PyErr, Option<usize>)>,
);

#[pymethods]
impl Epoch {
    /// Waits for the next batch without the GIL; none at the end.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Batch<'py>>> {
        loop {
            match detached(py, || self.0.next(PATIENCE))? {
                Next::Waiting => py.check_signals()?,
                Next::End => return Ok(None),
                Next::Batch(batch) => {
                    let labels = batch.labels.into_iter().map(|label| label as i64);
                    let x = batch.images.into_pyarray(py);
                    let y = PyArray1::from_iter(py, labels);
                    let bad = batch.bad.into_iter();
                    let bad =
                        bad.map(|bad| (bad.index, bad.name, bad.error.into(), bad.replacement));
                    return Ok(Some((batch.number, x, y, bad.collect())));
                }
            }
        }
    }

    /// Ends the threads.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || {
            self.0.stop();
            Ok(())
        })
    }
}
