//! Weights files in Python.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use numpy::{Element, IntoPyArray, PyArrayMethods};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList};

use super::errors::detached;
use crate::weights::{self, Data, Dtype, Item, Value};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Checkpoint>()?;
    module.add_function(wrap_pyfunction!(read_checkpoint, module)?)?;
    module.add_function(wrap_pyfunction!(write_safetensors, module)?)
}

/// A weights file: a mapping from names to arrays, which are read when they are asked for.
#[pyclass(frozen, mapping, module = "cnnzoo._native")]
#[derive(Debug)]
pub struct Checkpoint {
    pub(super) inner: Arc<weights::Checkpoint>,
}

/// Opens a .safetensors or .pth file without executing anything stored in it.
#[pyfunction]
#[pyo3(signature = (path, key=None))]
fn read_checkpoint(py: Python<'_>, path: PathBuf, key: Option<&str>) -> PyResult<Checkpoint> {
    detached(py, || Ok(Checkpoint { inner: Arc::new(weights::Checkpoint::open_at(path, key)?) }))
}

#[pymethods]
impl Checkpoint {
    /// The same as `read_checkpoint`.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        read_checkpoint(py, path, None)
    }

    /// The tensors' names, in the order of the file.
    fn names(&self) -> Vec<&str> {
        self.inner.names().collect()
    }

    fn keys(&self) -> Vec<&str> {
        self.names()
    }

    /// The stored element type of each tensor.
    fn dtypes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for name in self.inner.names() {
            dict.set_item(name, self.inner.dtype(name).map(Dtype::name))?;
        }
        Ok(dict)
    }

    /// A tensor as a new array of its stored type; bfloat16, which NumPy lacks, as float32.
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        if !self.inner.contains(name) {
            return Err(PyKeyError::new_err(name.to_owned()));
        }
        let value = detached(py, || self.inner.get(name))?;
        to_array(py, &value)
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<&str>().is_ok_and(|name| self.inner.contains(name))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.inner.names())?.try_iter()
    }

    fn __repr__(&self) -> String {
        format!(
            "Checkpoint({}, tensors={}, {})",
            self.inner.path().display(),
            self.inner.len(),
            self.provenance()
        )
    }

    /// The metadata of a .safetensors file: string pairs.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (key, value) in self.inner.metadata() {
            dict.set_item(key, value)?;
        }
        Ok(dict)
    }

    /// The origin of the tensors in the file, such as a key.
    #[getter]
    fn provenance(&self) -> &str {
        self.inner.provenance()
    }

    /// The other contents of the file: pairs of a key and its kind.
    #[getter]
    fn ignored(&self) -> Vec<(&str, &str)> {
        self.inner
            .ignored()
            .iter()
            .map(|entry| (entry.name.as_str(), entry.what.as_str()))
            .collect()
    }
}

fn to_array<'py>(py: Python<'py>, value: &Value<'_>) -> PyResult<Bound<'py, PyAny>> {
    match value.dtype {
        Dtype::F64 => elements(py, value, f64::from_le_bytes),
        Dtype::F32 => elements(py, value, f32::from_le_bytes),
        Dtype::BF16 => {
            elements(py, value, |bits| f32::from_bits(u32::from(u16::from_le_bytes(bits)) << 16))
        }
        Dtype::F16 => elements(py, value, u16::from_le_bytes)?.call_method1("view", ("float16",)),
        Dtype::I64 => elements(py, value, i64::from_le_bytes),
        Dtype::I32 => elements(py, value, i32::from_le_bytes),
        Dtype::I16 => elements(py, value, i16::from_le_bytes),
        Dtype::I8 => elements(py, value, i8::from_le_bytes),
        Dtype::U8 => elements(py, value, u8::from_le_bytes),
        Dtype::Bool => elements(py, value, |[byte]: [u8; 1]| byte != 0),
    }
}

fn elements<'py, T: Element, const SIZE: usize>(
    py: Python<'py>,
    value: &Value<'_>,
    one: impl Fn([u8; SIZE]) -> T + Sync,
) -> PyResult<Bound<'py, PyAny>> {
    let elements: Vec<T> =
        detached(py, || Ok(value.bytes.as_chunks().0.iter().map(|&bytes| one(bytes)).collect()))?;
    Ok(elements.into_pyarray(py).reshape(value.shape.clone())?.into_any())
}

/// Writes arrays to a .safetensors file that appears whole or not at all.
#[pyfunction]
#[pyo3(signature = (path, tensors, *, metadata=None))]
fn write_safetensors(
    py: Python<'_>,
    path: PathBuf,
    tensors: &Bound<'_, PyDict>,
    metadata: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let mut arrays = Vec::with_capacity(tensors.len());
    for (name, array) in tensors {
        arrays.push(Array::new(name.extract()?, &array)?);
    }
    let mut pairs = IndexMap::new();
    for (key, value) in metadata.into_iter().flatten() {
        pairs.insert(key.extract()?, value.extract()?);
    }
    let items: Vec<Item<'_>> = arrays.iter().map(|array| array.item(py)).collect();
    detached(py, || weights::write_safetensors(path, items, &pairs))
}

/// A named array, copied to row-major little-endian bytes.
struct Array {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Py<PyBytes>,
}

impl Array {
    fn new(name: String, array: &Bound<'_, PyAny>) -> PyResult<Self> {
        let kind = array.getattr("dtype")?;
        let little = array.call_method1("astype", (kind.call_method1("newbyteorder", ("<",))?,))?;
        let bytes = little.call_method0("tobytes")?.cast_into::<PyBytes>()?.unbind();
        let kind: String = kind.getattr("name")?.extract()?;
        let Some(dtype) = DTYPES.into_iter().find(|dtype| dtype.name() == kind) else {
            return Err(PyTypeError::new_err(format!(
                "`{name}`: {kind} has no place in a weights file"
            )));
        };
        Ok(Self { name, dtype, shape: array.getattr("shape")?.extract()?, bytes })
    }

    fn item<'a>(&'a self, py: Python<'a>) -> Item<'a> {
        let data = Data::Bytes(self.bytes.bind(py).as_bytes());
        Item { name: &self.name, dtype: self.dtype, shape: &self.shape, data }
    }
}

/// The element types that NumPy has.
const DTYPES: [Dtype; 9] = [
    Dtype::F64,
    Dtype::F32,
    Dtype::F16,
    Dtype::I64,
    Dtype::I32,
    Dtype::I16,
    Dtype::I8,
    Dtype::U8,
    Dtype::Bool,
];
