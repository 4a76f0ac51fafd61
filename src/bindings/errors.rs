//! The crate's errors as Python's.

use std::io::ErrorKind;

use pyo3::PyErr;
use pyo3::exceptions::{PyFileNotFoundError, PyOSError, PyTypeError, PyValueError};

use crate::Error;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::PhotoFile { source, .. } if source.kind() == ErrorKind::NotFound => {
                PyFileNotFoundError::new_err(message)
            }
            Error::PhotoFile { .. } => PyOSError::new_err(message),
            Error::ElementType { .. } => PyTypeError::new_err(message),
            _ => PyValueError::new_err(message),
        }
    }
}
