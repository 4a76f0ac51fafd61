//! Names users see in Python, one file per class; the only room that names pyo3 and numpy.

pub mod checkpoint;
mod errors;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    checkpoint::register(module)
}
