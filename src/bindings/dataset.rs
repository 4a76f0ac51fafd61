//! Data sets in Python.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use numpy::{PyArray1, PyArray3, PyReadonlyArray1, PyReadonlyArray4};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::errors::detached;
use super::interrupt::interruptible;
use super::photo::to_array;
use crate::data;
use crate::data::dataset::{Arrays, Files, Labels, Size, Subset, cifar, idx, image_folder, split};
use crate::data::list::SUFFIXES;
use crate::error::{Error, Result};
use crate::memory::room;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(list_photos, module)?)?;
    module.add("PHOTO_SUFFIXES", PyTuple::new(module.py(), SUFFIXES)?)?;
    module.add_class::<Dataset>()
}

/// The photographs below a folder, and an exception for each folder that cannot be read.
#[pyfunction]
fn list_photos(py: Python<'_>, folder: PathBuf) -> PyResult<(Vec<OsString>, Vec<PyErr>)> {
    let listing = interruptible(py, move || Ok(data::list_photos(&folder)))?;
    let photos = listing.photos.into_iter().map(PathBuf::into_os_string).collect();
    Ok((photos, listing.unreadable.into_iter().map(PyErr::from).collect()))
}

/// A labelled data set.
#[pyclass(frozen, module = "cnnzoo")]
#[derive(Debug)]
pub(super) struct Dataset(pub(super) Arc<dyn data::Dataset>);

#[pymethods]
impl Dataset {
    #[staticmethod]
    fn image_folder(py: Python<'_>, root: PathBuf, allow_empty: bool) -> PyResult<Self> {
        interruptible(py, move || image_folder(&root, allow_empty)).map(Self::new)
    }

    #[staticmethod]
    fn files(
        root: PathBuf,
        paths: Vec<PathBuf>,
        labels: PyReadonlyArray1<'_, i64>,
        classes: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let labels = indices(&labels, "labels")?;
        Ok(Self::new(Files::new(root, paths, labels, classes)?))
    }

    /// A data set from bytes (N, H, W, C).
    #[staticmethod]
    fn arrays(
        py: Python<'_>,
        name: &str,
        pixels: PyReadonlyArray4<'_, u8>,
        labels: PyReadonlyArray1<'_, i64>,
        classes: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let view = pixels.as_array();
        let (_, height, width, channels) = view.dim();
        let size = Size { height, width, channels };
        // A broadcast array may be larger than its memory.
        let mut pixels = room(view.len()).map_err(|shortage| shortage.at(name))?;
        let labels = indices(&labels, name)?;
        detached(py, || {
            match view.as_slice() {
                Some(bytes) => pixels.extend_from_slice(bytes),
                None => pixels.extend(view.iter().copied()),
            }
            Arrays::new(name, size, pixels, labels, classes)
        })
        .map(Self::new)
    }

    #[staticmethod]
    fn idx(
        py: Python<'_>,
        images: PathBuf,
        labels: PathBuf,
        classes: Option<Vec<String>>,
    ) -> PyResult<Self> {
        interruptible(py, move || idx(&images, &labels, classes)).map(Self::new)
    }

    /// `labels` is only, coarse or fine.
    #[staticmethod]
    fn cifar(py: Python<'_>, files: Vec<PathBuf>, labels: &str, names: PathBuf) -> PyResult<Self> {
        let labels = match labels {
            "coarse" => Labels::Coarse,
            "fine" => Labels::Fine,
            _ => Labels::Only,
        };
        interruptible(py, move || cifar(&files, labels, &names)).map(Self::new)
    }

    fn subset(&self, indices: Vec<usize>) -> PyResult<Self> {
        Ok(Self::new(Subset::new(self.0.clone(), indices)?))
    }

    fn split(&self, fraction: f64, seed: u64) -> PyResult<(Self, Self)> {
        let (first, second) = split(&self.0, fraction, seed)?;
        Ok((Self::new(first), Self::new(second)))
    }

    #[pyo3(signature = (index, *, orientation = true))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        orientation: bool,
    ) -> PyResult<Bound<'py, PyArray3<u8>>> {
        self.check(index)?;
        Ok(to_array(py, detached(py, || self.0.read(index, orientation))?))
    }

    fn label(&self, index: usize) -> PyResult<usize> {
        self.check(index)?;
        Ok(self.0.label(index))
    }

    fn name(&self, index: usize) -> PyResult<String> {
        self.check(index)?;
        Ok(self.0.name(index))
    }

    fn labels<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let labels = (0..self.0.len()).map(|index| self.0.label(index) as i64);
        PyArray1::from_iter(py, labels)
    }

    fn classes(&self) -> Vec<String> {
        self.0.classes().to_vec()
    }

    fn fingerprint(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || Ok(format!("{:016x}", self.0.fingerprint())))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

impl Dataset {
    fn new(dataset: impl data::Dataset + 'static) -> Self {
        Self(Arc::new(dataset))
    }

    fn check(&self, index: usize) -> Result<()> {
        if index < self.0.len() {
            return Ok(());
        }
        Err(Error::Argument {
            at: "data set".into(),
            expected: format!("an index below {}", self.0.len()),
            got: index.to_string(),
        })
    }
}

fn indices(numbers: &PyReadonlyArray1<'_, i64>, at: &str) -> Result<Vec<usize>> {
    let index = |&number: &i64| {
        usize::try_from(number).map_err(|_| Error::Argument {
            at: at.into(),
            expected: "labels of 0 and more".into(),
            got: number.to_string(),
        })
    };
    let numbers = numbers.as_array();
    let mut found = room(numbers.len()).map_err(|shortage| shortage.at(at))?;
    for number in numbers {
        found.push(index(number)?);
    }
    Ok(found)
}
