//! The targets of a batch, in training and evaluation.

use numpy::{
    PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::array::{floats, untyped};
use crate::error::{Error, shape_text};
use crate::torch;

/// The targets of a batch, as contiguous arrays.
pub(super) enum Targets<'py> {
    Classes(PyReadonlyArrayDyn<'py, i64>),
    Shares(PyReadonlyArrayDyn<'py, f32>),
}

impl<'py> Targets<'py> {
    /// Class labels (N,) of integers, or shares of each class (N, K) of floats, integers or booleans. Any other shape
    /// is a `ShapeError`.
    pub(super) fn new(y: &Bound<'py, PyAny>, at: &str) -> PyResult<Self> {
        const EXPECTED: &str = "integers (N,) or numbers (N, K)";
        let array = untyped(y)?;
        let kind = array.dtype().kind();
        if array.ndim() == 2 || !b"iu".contains(&kind) {
            let fits = |shape: &[usize]| {
                if shape.len() == 2 { Ok(()) } else { Err(EXPECTED.into()) }
            };
            let floating = match kind {
                b'b' | b'i' | b'u' => array.call_method1("astype", ("float32",))?,
                _ => array.into_any(),
            };
            return Ok(Self::Shares(floats(&floating, at, fits)?));
        }
        if array.ndim() != 1 {
            let (at, expected) = (at.to_owned(), EXPECTED.into());
            return Err(Error::Shape { at, expected, got: shape_text(array.shape()) }.into());
        }
        let numpy = y.py().import("numpy")?;
        let contiguous = numpy.call_method1("require", (array, "int64", ["C", "ALIGNED"]))?;
        Ok(Self::Classes(contiguous.cast_into::<PyArrayDyn<i64>>()?.try_readonly()?))
    }

    pub(super) fn view(&self) -> PyResult<torch::Targets<'_>> {
        Ok(match self {
            Self::Classes(classes) => torch::Targets::Classes(classes.as_slice()?),
            Self::Shares(shares) => {
                torch::Targets::Shares { values: shares.as_slice()?, classes: shares.shape()[1] }
            }
        })
    }
}
