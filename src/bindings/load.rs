//! Inputs and results of loading parameters.

use std::borrow::Cow;
use std::collections::HashMap;

use indexmap::IndexMap;
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::array::{count, from_array};
use crate::engine::Array;
use crate::error::Error;
use crate::model::Loaded;
use crate::weights::fill::LoadOutcome;
use crate::weights::load::{Given, Mismatched};
use crate::weights::{Dtype, Ignored, Stored, Value};

/// The result of a load, as the fields of `cnnzoo.LoadReport`. `unread` has the other contents of the file, and `origin`
/// says where in it the parameters were.
pub(super) fn into_python<'py>(
    py: Python<'py>,
    loaded: Loaded,
    unread: &[Ignored],
    origin: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let Loaded { outcome, ignored, prefix } = loaded;
    let LoadOutcome { loaded, matched, converted, naming } = outcome;
    let shapes = |pairs: &[Mismatched]| {
        let shapes = pairs
            .iter()
            .map(|m| Ok((&m.name, PyTuple::new(py, &m.expected)?, PyTuple::new(py, &m.got)?)));
        PyTuple::new(py, shapes.collect::<PyResult<Vec<_>>>()?)
    };
    let ignored = unread.iter().chain(&ignored).map(|entry| (&entry.name, &entry.what));
    let ignored: HashMap<_, _> = ignored.collect();
    let provenance = match prefix.as_str() {
        "" => origin.to_owned(),
        prefix => format!("{origin}, prefix `{prefix}` removed"),
    };
    let converted: HashMap<_, _> =
        converted.into_iter().map(|(name, dtype)| (name, dtype.name())).collect();
    let fields = PyDict::new(py);
    fields.set_item("loaded", PyTuple::new(py, loaded)?)?;
    fields.set_item("missing", PyTuple::new(py, matched.missing)?)?;
    fields.set_item("unexpected", PyTuple::new(py, matched.unexpected)?)?;
    fields.set_item("mismatched", shapes(&matched.mismatched)?)?;
    fields.set_item("resampled", shapes(&matched.resampled)?)?;
    fields.set_item("adapted", shapes(&matched.adapted)?)?;
    fields.set_item("converted", converted)?;
    fields.set_item("ignored", ignored)?;
    fields.set_item("naming", naming.to_string())?;
    fields.set_item("provenance", provenance)?;
    Ok(fields)
}

/// Arrays by name.
pub(super) fn state_dict(
    py: Python<'_>,
    arrays: Vec<(String, Vec<usize>, Stored)>,
) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for (name, shape, stored) in arrays {
        let array = match stored {
            Stored::Floats(values) => from_array(py, Array { shape, values })?,
            Stored::Count(number) => count(py, number)?,
        };
        dict.set_item(name, array)?;
    }
    Ok(dict)
}

/// Python arrays and their bytes, which are kept alive while they are read.
pub(super) struct PinnedArrays<'py>(Vec<(String, Dtype, Vec<usize>, Bound<'py, PyBytes>)>);

impl<'py> PinnedArrays<'py> {
    pub(super) fn new(arrays: &Bound<'py, PyDict>) -> PyResult<Self> {
        let pinned = arrays.iter().map(|(name, array)| {
            let name: String = name.extract()?;
            let array = array.cast_into::<PyUntypedArray>()?;
            let text: String = array.dtype().getattr("name")?.extract()?;
            let dtype = Dtype::from_name(&text).ok_or_else(|| Error::ElementType {
                at: format!("`{name}`"),
                expected: "an array of numbers".into(),
                got: text,
            })?;
            let bytes = array.call_method0("tobytes")?.cast_into::<PyBytes>()?;
            Ok((name, dtype, array.shape().to_vec(), bytes))
        });
        pinned.collect::<PyResult<_>>().map(Self)
    }

    /// The arrays, and `others`: the names and kinds of entries that are no arrays.
    pub(super) fn beside(&self, others: HashMap<String, String>) -> Given<'_> {
        let mut values = IndexMap::new();
        for (name, dtype, shape, bytes) in &self.0 {
            let bytes = Cow::Borrowed(bytes.as_bytes());
            values.insert(name.as_str(), Value { dtype: *dtype, shape: shape.clone(), bytes });
        }
        Given { values, others }
    }
}
