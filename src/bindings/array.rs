//! Conversion of NumPy arrays to and from Rust.

use numpy::{
    PyArray1, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::error::{Error, shape_text};
use crate::memory::has_room;
use crate::torch;

/// `x` as a NumPy array; other objects, such as torch's tensors, are converted by `cnnzoo._arrays`.
pub(super) fn untyped<'py>(x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = x.cast::<PyUntypedArray>() {
        return Ok(array.clone());
    }
    Ok(x.py().import("cnnzoo._arrays")?.call_method1("as_array", (x,))?.cast_into()?)
}

/// A batch of floating-point images (N, C, H, W), or any float array where `rank` is none, as contiguous float32.
///
/// float32 that is contiguous and aligned already is not copied; float64, float16, other byte orders and strides are
/// converted in one copy. Any other element type is a `TypeError`, any other shape a `ShapeError`.
pub(super) fn floats<'py>(
    x: &Bound<'py, PyAny>,
    at: &str,
    fits: impl FnOnce(&[usize]) -> Result<(), String>,
) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
    let array = untyped(x)?;
    let dtype = array.dtype();
    if dtype.kind() != b'f' || ![2, 4, 8].contains(&dtype.itemsize()) {
        let hint = if dtype.kind() == b'u' {
            "; photographs of bytes go through `preprocess` or `predict`"
        } else {
            ""
        };
        return Err(Error::ElementType {
            at: at.to_owned(),
            expected: "an array of float32, float64 or float16".into(),
            got: format!("{dtype}{hint}"),
        }
        .into());
    }
    fits(array.shape()).map_err(|expected| Error::Shape {
        at: at.to_owned(),
        expected,
        got: shape_text(array.shape()),
    })?;
    let elements = array.shape().iter().fold(1_u64, |n, &size| n.saturating_mul(size as u64));
    if !(array.is_c_contiguous() && dtype.itemsize() == size_of::<f32>()) {
        has_room(elements.saturating_mul(size_of::<f32>() as u64), || at.to_owned())?;
    }
    let numpy = x.py().import("numpy")?;
    let contiguous = numpy.call_method1("require", (array, "float32", ["C", "ALIGNED"]))?;
    Ok(contiguous.cast_into::<PyArrayDyn<f32>>()?.try_readonly()?)
}

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

/// An array of these values, without a copy.
pub(super) fn from_values<'py>(
    py: Python<'py>,
    shape: &[usize],
    values: Vec<f32>,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyArray1::from_vec(py, values).reshape(shape.to_vec())?.into_any())
}

/// A count as an int64 array without axes.
pub(super) fn count(py: Python<'_>, number: i64) -> PyResult<Bound<'_, PyAny>> {
    Ok(PyArray1::from_vec(py, vec![number]).reshape([])?.into_any())
}
