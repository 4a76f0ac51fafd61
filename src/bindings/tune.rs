//! Measurement of algorithms in Python.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use super::errors::detached;
use crate::engine::Precision;
use crate::error::Result;
use crate::infer::{self, Instructions, Layer, Measured, Native, candidates};

/// Kernel, stride, dilation, groups, padding, channels in and out, and the size of the image.
pub(super) type LayerRow =
    ([usize; 2], [usize; 2], [usize; 2], usize, [usize; 4], usize, usize, [usize; 2]);

/// A layer, its nodes, the seconds of each algorithm, that of the rules and the chosen one.
type MeasuredRow = (LayerRow, Vec<String>, Vec<(String, f64)>, String, String);

pub(super) fn layer(row: LayerRow) -> Layer {
    let (kernel, stride, dilation, groups, padding, in_channels, out_channels, image) = row;
    Layer { kernel, stride, dilation, groups, padding, in_channels, out_channels, image }
}

/// A measurement of the algorithms for a model's convolutions.
#[pyclass(frozen, module = "cnnzoo._native")]
pub(super) struct Tuner {
    /// The names of the model's nodes.
    pub(super) names: Vec<String>,
    pub(super) inner: Mutex<infer::Tuner>,
    #[pyo3(get)]
    pub(super) variants: usize,
    #[pyo3(get)]
    pub(super) threads: usize,
}

#[pymethods]
impl Tuner {
    /// Runs a variant of the plan once.
    fn run(&self, py: Python<'_>, variant: usize) -> PyResult<()> {
        detached(py, || self.inner.lock().unwrap_or_else(PoisonError::into_inner).run(variant))
    }

    /// The median times so far, and the choices that follow from them.
    fn measured(&self, py: Python<'_>) -> PyResult<Vec<MeasuredRow>> {
        let found = detached(py, || {
            Ok(self.inner.lock().unwrap_or_else(PoisonError::into_inner).measured())
        })?;
        let row = |Measured { layer, nodes, times, rule, chosen }: Measured| {
            let Layer {
                kernel,
                stride,
                dilation,
                groups,
                padding,
                in_channels,
                out_channels,
                image,
            } = layer;
            let layer =
                (kernel, stride, dilation, groups, padding, in_channels, out_channels, image);
            let names = nodes.iter().map(|node| self.names[node.index()].clone()).collect();
            let times = times.into_iter().map(|(name, time)| (name, time.as_secs_f64())).collect();
            (layer, names, times, rule, chosen)
        };
        Ok(found.into_iter().map(row).collect())
    }
}

/// The names of the algorithms that there are for a layer.
#[pyfunction]
fn algorithms(row: LayerRow) -> Vec<String> {
    candidates(&layer(row))
}

/// The name of the vector instructions that the native engine uses.
#[pyfunction]
fn instructions() -> &'static str {
    Instructions::best().name()
}

/// Whether the native engine computes in a precision on this processor.
#[pyfunction]
fn offers(precision: &str) -> Result<bool> {
    Ok(Native::offers(Precision::of_inference(precision)?))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Tuner>()?;
    module.add_function(wrap_pyfunction!(algorithms, module)?)?;
    module.add_function(wrap_pyfunction!(instructions, module)?)?;
    module.add_function(wrap_pyfunction!(offers, module)?)
}
