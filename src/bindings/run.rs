//! Run checkpoints in Python.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::errors::detached;
use super::model::Model;
use super::train::Optimizer;
use crate::train::checkpoint::{self, Checkpoint};

/// Names of the models in the file: the trained one, and its exponential moving average (EMA).
const MODEL: &str = "model";
const AVERAGE: &str = "average";

/// Writes a run checkpoint with `text` over `path`.
#[pyfunction]
fn save_run(
    py: Python<'_>,
    path: PathBuf,
    model: &Model,
    average: Option<&Model>,
    optimizer: &Optimizer,
    text: &str,
) -> PyResult<()> {
    detached(py, || {
        let (state, averaged) =
            (model.0.read()?, average.map(|average| average.0.read()).transpose()?);
        let mut models = vec![(MODEL, state.store()?)];
        if let Some(averaged) = &averaged {
            models.push((AVERAGE, averaged.store()?));
        }
        let inner = optimizer.lock();
        checkpoint::write(&path, &models, &inner, text)
    })
}

/// A run checkpoint that was opened and verified.
#[pyclass(frozen, module = "cnnzoo._torch")]
struct Run {
    checkpoint: Checkpoint,
}

#[pymethods]
impl Run {
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        detached(py, || Ok(Self { checkpoint: Checkpoint::open(&path)? }))
    }

    /// The text in the run checkpoint.
    #[getter]
    fn text(&self) -> &str {
        self.checkpoint.text()
    }

    /// Fails unless the file has an array of the right shape for each parameter of the network, and of its average if
    /// `averaged`.
    fn expect(&self, py: Python<'_>, model: &Model, averaged: bool) -> PyResult<()> {
        detached(py, || {
            let parameters = model.0.read()?.graph().parameters();
            self.checkpoint.expect(MODEL, &parameters)?;
            if averaged { self.checkpoint.expect(AVERAGE, &parameters) } else { Ok(()) }
        })
    }

    /// Restores the models and the optimiser's state; `waiting` as `Optimizer.waiting` returned it.
    fn restore(
        &self,
        py: Python<'_>,
        model: &Model,
        average: Option<&Model>,
        optimizer: &Optimizer,
        waiting: (u64, u64),
    ) -> PyResult<()> {
        detached(py, || {
            let mut state = model.0.write()?;
            state.changing_store(|_, store| self.checkpoint.fill(MODEL, store))?;
            if let Some(average) = average {
                let mut averaged = average.0.write()?;
                averaged.changing_store(|_, store| self.checkpoint.fill(AVERAGE, store))?;
            }
            let mut inner = optimizer.lock();
            self.checkpoint.recall(&mut inner, state.store()?, waiting)
        })
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Run>()?;
    module.add_function(wrap_pyfunction!(save_run, module)?)
}
