//! Checkpoints of runs.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::errors::detached;
use super::model::Model;
use super::train::Optimizer;
use crate::train::checkpoint::{self, Checkpoint};

/// Names of the models in the file: the one that is trained, and the running average of its parameters.
const MODEL: &str = "model";
const AVERAGE: &str = "average";

/// Writes a checkpoint over `path`, and `text` into it.
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
        let (state, averaged) = (model.read()?, average.map(Model::read).transpose()?);
        let mut models = vec![(MODEL, state.store()?)];
        if let Some(averaged) = &averaged {
            models.push((AVERAGE, averaged.store()?));
        }
        let inner = optimizer.lock();
        checkpoint::write(&path, &models, &inner, text)
    })
}

/// A checkpoint that was opened and found whole.
#[pyclass(frozen, module = "cnnzoo._native")]
struct Run {
    checkpoint: Checkpoint,
}

#[pymethods]
impl Run {
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        detached(py, || Ok(Self { checkpoint: Checkpoint::open(&path)? }))
    }

    /// What was written into it.
    #[getter]
    fn text(&self) -> &str {
        self.checkpoint.text()
    }

    /// Fails unless the file has an array for each parameter of the network, of its shape, and for its average.
    fn expect(&self, py: Python<'_>, model: &Model, averaged: bool) -> PyResult<()> {
        detached(py, || {
            let parameters = model.read()?.graph.parameters();
            self.checkpoint.expect(MODEL, &parameters)?;
            if averaged { self.checkpoint.expect(AVERAGE, &parameters) } else { Ok(()) }
        })
    }

    /// Fills the models, and makes the optimiser of the first remember what it did; `waiting` as the optimiser told it.
    fn restore(
        &self,
        py: Python<'_>,
        model: &Model,
        average: Option<&Model>,
        optimizer: &Optimizer,
        waiting: (u64, u64),
    ) -> PyResult<()> {
        detached(py, || {
            let mut state = model.write()?;
            let (_, store) = state.parts()?;
            self.checkpoint.fill(MODEL, store)?;
            if let Some(average) = average {
                self.checkpoint.fill(AVERAGE, average.write()?.parts()?.1)?;
            }
            let mut inner = optimizer.lock();
            self.checkpoint.recall(&mut inner, store, waiting)
        })
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Run>()?;
    module.add_function(wrap_pyfunction!(save_run, module)?)
}
