//! The crate's errors as exceptions of `cnnzoo.errors`, whose attributes are their fields.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use super::process::{Running, with_pools};
use crate::error::{Error, Result};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        Python::attach(|py| exception(py, &error).unwrap_or_else(|failure| failure))
    }
}

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let message = error.to_string();
    let fields = PyDict::new(py);
    let class = match error {
        Error::ElementType { .. } => return Ok(PyTypeError::new_err(message)),
        Error::Graph { node, op, expected, got } => {
            set(&fields, &[("node", node), ("op", op), ("expected", expected), ("got", got)])?;
            "GraphError"
        }
        Error::Text { line, expected, got } => {
            fields.set_item("line", line)?;
            set(&fields, &[("expected", expected), ("got", got)])?;
            "GraphError"
        }
        Error::Shape { at, expected, got } => {
            set(&fields, &[("at", at), ("expected", expected), ("got", got)])?;
            "ShapeError"
        }
        Error::UnknownModel { name, closest } => {
            set(&fields, &[("name", name)])?;
            fields.set_item("closest", closest)?;
            "UnknownModelError"
        }
        Error::Argument { at, expected, got } => {
            set(&fields, &[("at", at), ("expected", expected), ("got", got)])?;
            "ArgumentError"
        }
        Error::WeightsFile { path, source } => {
            fields.set_item("path", path)?;
            errno(&fields, source)?;
            file(source, "WeightsFileNotFoundError", "WeightsFileError")
        }
        Error::Weights { path, key, expected, got } => {
            fields.set_item("path", path)?;
            fields.set_item("key", key)?;
            set(&fields, &[("expected", expected), ("got", got)])?;
            "WeightsError"
        }
        Error::StateDict { .. } => "WeightsError",
        Error::PhotoFile { path, source } => {
            fields.set_item("path", path)?;
            errno(&fields, source)?;
            file(source, "PhotoNotFoundError", "PhotoFileError")
        }
        Error::Photo { path, expected, got } => {
            fields.set_item("path", path)?;
            set(&fields, &[("expected", expected), ("got", got)])?;
            "DataError"
        }
        Error::CheckpointFile { path, source } => {
            fields.set_item("path", path)?;
            errno(&fields, source)?;
            file(source, "CheckpointNotFoundError", "CheckpointFileError")
        }
        Error::Checkpoint { path, key, expected, got } => {
            fields.set_item("path", path)?;
            fields.set_item("key", key)?;
            set(&fields, &[("expected", expected), ("got", got)])?;
            "CheckpointError"
        }
        Error::Device { device, expected, got } => {
            set(&fields, &[("device", device), ("expected", expected), ("got", got)])?;
            "DeviceError"
        }
        Error::OutOfMemory { at, .. } => {
            set(&fields, &[("at", at)])?;
            "OutOfMemoryError"
        }
        Error::Defect { at, .. } | Error::Torch { at, .. } => {
            set(&fields, &[("at", at)])?;
            "CnnzooError"
        }
    };
    let class = py.import("cnnzoo.errors")?.getattr(class)?.cast_into::<PyType>()?;
    let exception = class.call1((message,))?;
    for (name, value) in fields {
        exception.setattr(name.cast_into::<PyString>()?, value)?;
    }
    Ok(PyErr::from_value(exception))
}

fn set(fields: &Bound<'_, PyDict>, values: &[(&str, &str)]) -> PyResult<()> {
    values.iter().try_for_each(|(name, value)| fields.set_item(name, value))
}

fn errno(fields: &Bound<'_, PyDict>, source: &io::Error) -> PyResult<()> {
    fields.set_item("errno", source.raw_os_error())
}

fn file(source: &io::Error, missing: &'static str, other: &'static str) -> &'static str {
    if source.kind() == io::ErrorKind::NotFound { missing } else { other }
}

/// Runs `work` without the GIL, and outside of `torch.inference_mode` and `torch.autocast`. A panic in it is a bug of this
/// package, and becomes an exception instead of ending the process.
pub(super) fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    #[cfg(feature = "torch")]
    let work = || crate::torch::outside_modes(work);
    // Dropped after the GIL is taken again.
    let running = Running::begin(py)?;
    let outcome = py.detach(|| catch_unwind(AssertUnwindSafe(|| with_pools(work))));
    drop(running);
    // That of Python code which libtorch called, such as hooks on saved tensors.
    let raised = PyErr::take(py);
    let found = settled(outcome);
    raised.map_or(found, Err)
}

pub(super) fn settled<T>(outcome: thread::Result<io::Result<Result<T>>>) -> PyResult<T> {
    match outcome {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(error)) => Err(Error::OutOfMemory {
            at: "a thread, without which a forked child runs nothing".into(),
            message: error.to_string(),
        }
        .into()),
        Err(panic) => Err(defect(&*panic).into()),
    }
}

fn defect(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let message = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    Error::Defect { at: "without the GIL".into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::defect;

    /// The message must say that the bug is in this package, and not in libtorch or an argument.
    #[test]
    fn a_panic_is_a_defect_of_ours() {
        let (shape, index) = ([2, 3], 7);
        let messages = [
            catch_unwind(|| panic!("no such thing")),
            catch_unwind(|| panic!("no axis {index} of {shape:?}")),
            catch_unwind(|| std::panic::panic_any(5)),
        ]
        .map(|outcome| defect(&*outcome.unwrap_err()).to_string());
        assert_eq!(
            messages,
            [
                "without the GIL: a defect in cnnzoo: no such thing",
                "without the GIL: a defect in cnnzoo: no axis 7 of [2, 3]",
                "without the GIL: a defect in cnnzoo: a panic",
            ]
        );
    }
}
