//! The number of threads that one run uses.

use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::infer::{MOST_THREADS, Pool};

/// Sets the number of threads that one run uses, of the native engine and of libtorch.
#[pyfunction]
fn set_num_threads(threads: i64) -> Result<()> {
    let within = usize::try_from(threads).ok().filter(|count| (1..=MOST_THREADS).contains(count));
    let count = within.ok_or_else(|| Error::Argument {
        at: "the number of threads".into(),
        expected: format!("1 to {MOST_THREADS}"),
        got: threads.to_string(),
    })?;
    Pool::set_threads(count);
    #[cfg(feature = "torch")]
    crate::torch::set_threads(count);
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
