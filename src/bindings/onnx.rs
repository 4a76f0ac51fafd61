//! The choices of an export to ONNX as Python gives them, and what it hears of the files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyo3::prelude::*;

use crate::onnx::{Exported, Image, Normalize, Options, Size};

/// The entries of a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Choices {
    batch: Option<usize>,
    /// Height and width; any if none.
    image: Option<(usize, usize)>,
    opset: usize,
    /// Mean and standard deviation of each channel, if bytes are to be normalised.
    normalize: Option<(Vec<f32>, Vec<f32>)>,
    fold: bool,
    external: Option<bool>,
    input_name: String,
    output_name: String,
    metadata: BTreeMap<String, String>,
}

impl Choices {
    pub(super) fn into_options(self) -> Options {
        let image = |(height, width)| Image::Fixed { height, width };
        Options {
            batch: self.batch,
            image: self.image.map_or(Image::Any, image),
            opset: self.opset,
            normalize: self.normalize.map(|(mean, std)| Normalize { mean, std }),
            fold: self.fold,
            external: self.external,
            names: [self.input_name, self.output_name],
            metadata: self.metadata,
        }
    }
}

/// The paths of the files, that of the operators first, and the shapes of input and output.
pub(super) type Written = (Vec<PathBuf>, Vec<Axis>, Vec<Axis>);

/// The size of an axis, or a word for any.
#[derive(IntoPyObject)]
pub(super) enum Axis {
    Fixed(usize),
    Any(&'static str),
}

pub(super) fn written(exported: Exported) -> Written {
    let axes = |sizes: Vec<Size>| sizes.into_iter().map(Axis::from).collect();
    (exported.files, axes(exported.input), axes(exported.output))
}

impl From<Size> for Axis {
    fn from(size: Size) -> Self {
        match size {
            Size::Fixed(size) => Self::Fixed(size),
            Size::Named(name) => Self::Any(name),
            Size::Unknown => Self::Any("any"),
        }
    }
}
