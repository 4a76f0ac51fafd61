//! The one place where errors become Python exceptions.

use pyo3::PyErr;
use pyo3::exceptions::PyValueError;

use crate::Error;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::WeightsFile { path, source } => {
                let message = format!("{}: {source}", path.display());
                std::io::Error::new(source.kind(), message).into()
            }
            error => PyValueError::new_err(error.to_string()),
        }
    }
}
