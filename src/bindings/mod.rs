//! The Python bindings of the crate, one file per class; the only module that uses pyo3 and numpy.
//!
//! Python sees two modules, of two builds of the crate: `cnnzoo._native`, and with the feature `torch`
//! `cnnzoo._torch`, which has models and training alone.

mod array;
mod checkpoint;
#[cfg(not(feature = "torch"))]
mod dataset;
mod errors;
#[cfg(feature = "torch")]
mod explain;
mod graph;
#[cfg(not(feature = "torch"))]
mod interrupt;
mod load;
#[cfg(not(feature = "torch"))]
mod loader;
#[cfg(feature = "torch")]
mod mix;
mod model;
#[cfg(feature = "torch")]
mod module;
mod onnx;
mod options;
#[cfg(not(feature = "torch"))]
mod photo;
#[cfg(not(feature = "torch"))]
mod prepare;
mod process;
#[cfg(not(feature = "torch"))]
mod registry;
#[cfg(feature = "torch")]
mod run;
#[cfg(feature = "torch")]
mod targets;
mod threads;
#[cfg(feature = "torch")]
mod train;
#[cfg(not(feature = "torch"))]
mod transform;
mod tune;

use pyo3::prelude::*;

#[cfg(not(feature = "torch"))]
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    models(module)?;
    dataset::register(module)?;
    loader::register(module)?;
    photo::register(module)?;
    registry::register(module)?;
    transform::register(module)
}

#[cfg(feature = "torch")]
#[pymodule]
fn _torch(module: &Bound<'_, PyModule>) -> PyResult<()> {
    models(module)?;
    explain::register(module)?;
    mix::register(module)?;
    module::register(module)?;
    run::register(module)?;
    train::register(module)
}

fn models(module: &Bound<'_, PyModule>) -> PyResult<()> {
    checkpoint::register(module)?;
    graph::register(module)?;
    model::register(module)?;
    process::register(module)?;
    threads::register(module)?;
    tune::register(module)
}
