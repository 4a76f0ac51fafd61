//! The number of threads that one run uses.

use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::infer::Pool;

/// More threads than any machine has cores.
const MOST: i64 = 4096;

/// Sets the number of threads that one run uses, of the native engine and of libtorch.
#[pyfunction]
fn set_num_threads(threads: i64) -> Result<()> {
    if !(1..=MOST).contains(&threads) {
        return Err(Error::Argument {
            at: "the number of threads".into(),
            expected: format!("1 to {MOST}"),
            got: threads.to_string(),
        });
    }
    Pool::set_threads(threads as usize);
    #[cfg(feature = "torch")]
    crate::torch::set_threads(threads as usize);
    Ok(())
}

/// The number of threads that one run of the native engine uses.
#[pyfunction]
fn get_num_threads() -> usize {
    Pool::shared().threads()
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(get_num_threads, module)?)
}
