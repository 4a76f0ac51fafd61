//! Conversion of NumPy arrays to and from Rust.

use numpy::{
    PyArray1, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::engine::Array;
use crate::error::{Error, shape_text};
use crate::memory::has_room;

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

/// An array in Python, without a copy.
pub(super) fn from_array(py: Python<'_>, array: Array) -> PyResult<Bound<'_, PyAny>> {
    Ok(PyArray1::from_vec(py, array.values).reshape(array.shape)?.into_any())
}

/// A count as an int64 array without axes.
pub(super) fn count(py: Python<'_>, number: i64) -> PyResult<Bound<'_, PyAny>> {
    Ok(PyArray1::from_vec(py, vec![number]).reshape([])?.into_any())
}
