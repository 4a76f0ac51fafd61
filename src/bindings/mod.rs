//! The Python bindings of the crate, one file per class; the only module that uses pyo3 and numpy.

mod array;
mod checkpoint;
mod dataset;
mod errors;
mod graph;
mod load;
mod loader;
#[cfg(feature = "torch")]
mod mix;
mod model;
mod photo;
mod prepare;
mod process;
mod registry;
#[cfg(feature = "torch")]
mod run;
#[cfg(feature = "torch")]
mod targets;
mod threads;
#[cfg(feature = "torch")]
mod train;
mod transform;
mod tune;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    checkpoint::register(module)?;
    dataset::register(module)?;
    graph::register(module)?;
    loader::register(module)?;
    model::register(module)?;
    photo::register(module)?;
    process::register(module)?;
    threads::register(module)?;
    registry::register(module)?;
    transform::register(module)?;
    tune::register(module)?;
    #[cfg(feature = "torch")]
    mix::register(module)?;
    #[cfg(feature = "torch")]
    run::register(module)?;
    #[cfg(feature = "torch")]
    train::register(module)?;
    Ok(())
}
