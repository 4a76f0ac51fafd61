//! Names users see in Python, one file per class; the only room that names pyo3 and numpy.

mod errors;
pub mod photo;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    photo::register(module)
}
