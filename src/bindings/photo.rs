//! Photographs in Python: decoding, resizing and the preprocessing that belongs to weights.

// Doc comments here are Python docstrings, in Google form.
#![allow(clippy::doc_markdown)]

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use ndarray::{ArrayViewD, Axis};
use numpy::{
    IntoPyArray, PyArray3, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray,
    PyUntypedArrayMethods, dtype,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::errors::detached;
use crate::data::photo::{check_size, no_room};
use crate::data::preprocess::Grey;
use crate::data::{
    Filter, Key, Photo, Prepare, Window, decode_bytes, decode_file, preprocess, resize,
};
use crate::error::{Error, Result, shape_text};
use crate::memory::{Shortage, copied, room};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(decode_photo, module)?)?;
    module.add_function(wrap_pyfunction!(resize_photo, module)?)?;
    module.add_class::<Preprocess>()
}

/// A path, or the bytes of a file and their name in errors.
pub(super) enum Source {
    Path(PathBuf),
    Bytes(Vec<u8>, PathBuf),
}

impl Source {
    pub(super) fn read(self, orientation: bool) -> Result<Photo> {
        match self {
            Self::Path(path) => decode_file(&path, orientation),
            Self::Bytes(bytes, name) => decode_bytes(&bytes, &name, orientation),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Source {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.as_bytes().to_vec(), "<bytes>".into()));
        }
        if let Ok((bytes, name)) = object.extract::<(Bound<'py, PyBytes>, PathBuf)>() {
            return Ok(Self::Bytes(bytes.as_bytes().to_vec(), name));
        }
        object.extract().map(Self::Path).map_err(|_| {
            let expected = "a path or the bytes of a file".into();
            Error::ElementType { at: "photo".into(), expected, got: kind(&object) }.into()
        })
    }
}

/// Decodes a JPEG, PNG, WebP, GIF, BMP, TIFF or PNM file as Pillow's `Image.open(path).convert("RGB")` does.
///
/// Grey of 16 bits becomes its high byte, as colours of 16 bits do; Pillow makes nearly all of it white.
///
/// Args:
///     path_or_bytes: The path of the file, its bytes, or these and a name for errors.
///     orientation: Turn the picture upright from its EXIF data, as `ImageOps.exif_transpose` does. torchvision does
///         not; without it the picture stays as the camera held it.
///
/// Returns:
///     uint8 of shape (H, W, 3), red, green, blue.
///
/// Raises:
///     FileNotFoundError: There is no such file.
///     OSError: The file cannot be read.
///     ValueError: It is truncated, damaged, too large or of another format.
#[pyfunction]
#[pyo3(signature = (path_or_bytes, *, orientation = true))]
#[allow(clippy::needless_pass_by_value)]
fn decode_photo(
    py: Python<'_>,
    path_or_bytes: Source,
    orientation: bool,
) -> PyResult<Bound<'_, PyArray3<u8>>> {
    let photo = detached(py, || path_or_bytes.read(orientation))?;
    Ok(to_array(py, photo))
}

/// Resizes a photograph as Pillow's `Image.resize((width, height), resample)` does, bit for bit.
///
/// Args:
///     array: uint8, or uint16 of which the high byte counts, of shape (H, W, 3); grey (H, W) and (H, W, 1) are
///         repeated, alpha of (H, W, 4) is dropped.
///     width: Width of the result in pixels.
///     height: Height of the result in pixels.
///     interpolation: nearest, box, bilinear, hamming, bicubic or lanczos.
///
/// Returns:
///     uint8 of shape (height, width, 3).
///
/// Raises:
///     TypeError: The array is neither uint8 nor uint16.
///     ValueError: The array has another shape, or a size or the interpolation is invalid.
#[pyfunction]
#[pyo3(signature = (array, width, height, interpolation))]
fn resize_photo<'py>(
    array: &Bound<'py, PyAny>,
    width: i64,
    height: i64,
    interpolation: &str,
) -> PyResult<Bound<'py, PyArray3<u8>>> {
    let py = array.py();
    let filter: Filter = interpolation.parse()?;
    let photo = to_photo(array)?;
    // A negative size is an error like zero.
    let size = |pixels: i64| usize::try_from(pixels).unwrap_or(0);
    let resized = detached(py, || resize(&photo, size(width), size(height), filter))?;
    Ok(to_array(py, resized))
}

/// The preprocessing of a network's input, as torchvision does it.
///
/// The short side is resized to `resize` pixels, a square of `crop` pixels is cropped from the centre
/// (black where the photograph is smaller), bytes are divided by 255, then `mean` is subtracted and
/// the result divided by `std`, channel by channel.
///
/// Args:
///     resize: Length of the short side in pixels.
///     crop: Side of the square in pixels.
///     interpolation: nearest, box, bilinear, hamming, bicubic or lanczos.
///     mean: Mean of red, green and blue, between 0 and 1.
///     std: Standard deviation of red, green and blue.
#[pyclass(frozen, module = "cnnzoo")]
#[derive(Clone, Copy, Debug)]
pub struct Preprocess(pub preprocess::Preprocess);

/// Top, left, height and width of a window.
type Corners = (usize, usize, usize, usize);

#[pymethods]
impl Preprocess {
    #[new]
    #[pyo3(signature = (
        *,
        resize = 256,
        crop = 224,
        interpolation = "bilinear",
        mean = [0.485, 0.456, 0.406],
        std = [0.229, 0.224, 0.225],
    ))]
    fn new(
        resize: i64,
        crop: i64,
        interpolation: &str,
        mean: [f32; 3],
        std: [f32; 3],
    ) -> PyResult<Self> {
        let size = |name: &str, pixels: i64| {
            u32::try_from(pixels).map_err(|_| Error::Argument {
                at: format!("preprocess: {name}"),
                expected: "a number of pixels".into(),
                got: pixels.to_string(),
            })
        };
        let value = preprocess::Preprocess {
            resize: size("resize", resize)?,
            crop: size("crop", crop)?,
            interpolation: interpolation.parse()?,
            mean,
            std,
        };
        value.check()?;
        Ok(Self(value))
    }

    /// Length of the short side in pixels.
    #[getter]
    fn resize(&self) -> u32 {
        self.0.resize
    }

    /// Side of the square in pixels.
    #[getter]
    fn crop(&self) -> u32 {
        self.0.crop
    }

    /// Interpolation: nearest, box, bilinear, hamming, bicubic or lanczos.
    #[getter]
    fn interpolation(&self) -> &'static str {
        self.0.interpolation.name()
    }

    /// Mean of red, green and blue.
    #[getter]
    fn mean(&self) -> (f64, f64, f64) {
        decimals(self.0.mean)
    }

    /// Standard deviation of red, green and blue.
    #[getter]
    fn std(&self) -> (f64, f64, f64) {
        decimals(self.0.std)
    }

    /// Preprocesses a decoded photograph.
    ///
    /// Args:
    ///     array: uint8 or uint16 of shape (H, W, 3), (H, W), (H, W, 1) or (H, W, 4).
    ///     grey: Make it grey before it is resized, as Pillow's `convert("L")` does.
    ///
    /// Returns:
    ///     float32 of shape (3, crop, crop), or (1, crop, crop) in grey, normalised as red is.
    ///
    /// Raises:
    ///     TypeError: The array is neither uint8 nor uint16.
    ///     ValueError: The array has another shape.
    #[pyo3(signature = (array, *, grey = false))]
    fn apply_array<'py>(
        &self,
        array: &Bound<'py, PyAny>,
        grey: bool,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let photo = to_photo(array)?;
        self.run(array.py(), grey, || Ok(photo))
    }

    /// The place of a photograph of this size in the square: the height and width that it is resized to; the window
    /// (top, left, height, width) of that which stays; the top left corner of this in the square.
    fn placement(&self, height: usize, width: usize) -> ((usize, usize), Corners, (usize, usize)) {
        let place = self.0.placement(width, height);
        let Window { left, top, width, height } = place.window;
        let window = (top, left, height, width);
        ((place.height, place.width), window, (place.square.top, place.square.left))
    }

    /// Decodes and preprocesses a file.
    ///
    /// Args:
    ///     path_or_bytes: The path of a picture file, or its bytes.
    ///     orientation: Turn the picture upright from its EXIF data first.
    ///     grey: As in `apply_array`.
    ///
    /// Returns:
    ///     float32 of shape (3, crop, crop), or (1, crop, crop) in grey.
    ///
    /// Raises:
    ///     FileNotFoundError: There is no such file.
    ///     OSError: The file cannot be read.
    ///     ValueError: It is truncated, damaged, too large or of another format.
    #[pyo3(signature = (path_or_bytes, *, orientation = true, grey = false))]
    fn apply_file<'py>(
        &self,
        py: Python<'py>,
        path_or_bytes: Source,
        orientation: bool,
        grey: bool,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        self.run(py, grey, || path_or_bytes.read(orientation))
    }

    fn __repr__(&self) -> String {
        let Self(value) = self;
        format!(
            "Preprocess(resize={}, crop={}, interpolation='{}', mean={:?}, std={:?})",
            value.resize,
            value.crop,
            value.interpolation,
            decimals(value.mean),
            decimals(value.std),
        )
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().0 == self.0)
    }

    fn __hash__(&self) -> u64 {
        let Self(value) = self;
        let mut hasher = DefaultHasher::new();
        (value.resize, value.crop, value.interpolation).hash(&mut hasher);
        // Adding zero makes -0.0 and 0.0, which are equal, hash alike.
        value.mean.map(|mean| (mean + 0.0).to_bits()).hash(&mut hasher);
        value.std.map(f32::to_bits).hash(&mut hasher);
        hasher.finish()
    }
}

impl Preprocess {
    fn run<'py>(
        &self,
        py: Python<'py>,
        grey: bool,
        photo: impl FnOnce() -> Result<Photo> + Send,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let prepare: &dyn Prepare = if grey { &Grey(self.0) } else { &self.0 };
        // Nothing is drawn from it.
        let key = Key { seed: 0, epoch: 0, sample: 0 };
        let out = detached(py, || prepare.apply(&photo()?, key))?;
        Ok(out.into_pyarray(py))
    }
}

/// float32 as the shortest decimals that round to it, so that 0.485 stays 0.485 in Python.
fn decimals(values: [f32; 3]) -> (f64, f64, f64) {
    let [red, green, blue] =
        values.map(|value| value.to_string().parse().unwrap_or(f64::from(value)));
    (red, green, blue)
}

/// The type of an object for messages: an array's element type or the object's class.
pub(super) fn kind(object: &Bound<'_, PyAny>) -> String {
    let class = object.get_type();
    class.fully_qualified_name().map_or_else(|_| class.to_string(), |name| name.to_string())
}

/// Copies an array, (H, W, 3), (H, W), (H, W, 1) or (H, W, 4), of any memory layout: uint8, or the high bytes of
/// uint16.
pub(crate) fn to_photo(array: &Bound<'_, PyAny>) -> PyResult<Photo> {
    let at = || "photo".to_string();
    let expected =
        || "a uint8 array of shape (H, W, 3), (H, W), (H, W, 1) or (H, W, 4)".to_string();
    let Ok(untyped) = array.cast::<PyUntypedArray>() else {
        return Err(Error::ElementType { at: at(), expected: expected(), got: kind(array) }.into());
    };
    let element = untyped.dtype();
    let wide = element.kind() == b'u' && element.itemsize() == 2;
    if !wide && !element.is_equiv_to(&dtype::<u8>(array.py())) {
        let got = element.to_string();
        return Err(Error::ElementType { at: at(), expected: expected(), got }.into());
    }
    let shape = untyped.shape().to_vec();
    let shaped_so = match *shape {
        [height, width] | [height, width, 1 | 3 | 4] => width > 0 && height > 0,
        _ => false,
    };
    if !shaped_so {
        return Err(Error::Shape { at: at(), expected: expected(), got: shape_text(&shape) }.into());
    }
    let (height, width) = (shape[0], shape[1]);
    // A broadcast array may be larger than its memory.
    check_size(width, height).map_err(|expected| {
        let got = format!("an array of shape {}", shape_text(&shape));
        Error::Shape { at: at(), expected, got }
    })?;
    if wide {
        // In this machine's byte order, whatever the array's is.
        let native = array.call_method1("astype", ("uint16",))?;
        let native = native.cast::<PyArrayDyn<u16>>()?.try_readonly()?;
        let pixels = gather(&native.as_array(), |value| (value >> 8) as u8).map_err(no_room)?;
        return Ok(Photo::new(width, height, pixels)?);
    }
    let array = array.cast::<PyArrayDyn<u8>>()?.try_readonly()?;
    // `as_slice` alone takes the columns of a Fortran-ordered array for rows.
    let rows = untyped.is_c_contiguous().then(|| array.as_slice());
    let pixels = match (rows, &*shape) {
        (Some(Ok(bytes)), [_, _, 3]) => copied(bytes),
        _ => gather(&array.as_array(), |value| value),
    };
    Ok(Photo::new(width, height, pixels.map_err(no_room)?)?)
}

fn gather<T: Copy>(view: &ArrayViewD<'_, T>, byte: impl Fn(T) -> u8) -> Result<Vec<u8>, Shortage> {
    let mut pixels = room(view.shape()[0] * view.shape()[1] * 3)?;
    match view.shape() {
        [_, _, 3 | 4] => {
            for pixel in view.lanes(Axis(2)) {
                pixels.extend([0, 1, 2].map(|channel| byte(pixel[channel])));
            }
        }
        _ => pixels.extend(view.iter().flat_map(|&grey| [byte(grey); 3])),
    }
    Ok(pixels)
}

pub(super) fn to_array(py: Python<'_>, photo: Photo) -> Bound<'_, PyArray3<u8>> {
    photo.into_array().into_pyarray(py)
}
