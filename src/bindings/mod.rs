//! What Python sees of the crate, one file per class; the only room that names pyo3 and numpy.

mod array;
mod errors;
mod graph;
#[cfg(feature = "torch")]
mod model;
mod registry;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    graph::register(module)?;
    registry::register(module)?;
    #[cfg(feature = "torch")]
    model::register(module)?;
    Ok(())
}
