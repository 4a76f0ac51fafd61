//! Data sets of photographs in memory, all of one size.

use std::sync::OnceLock;

use super::fingerprint::Fingerprint;
use super::{Dataset, named};
use crate::data::photo::{CHANNELS, Photo};
use crate::memory::copied;
use crate::{Error, Result};

/// Bytes of shape (N, height, width, channels), and N class labels.
#[derive(Debug)]
pub struct Arrays {
    name: String,
    /// Size of each photograph.
    size: Size,
    pixels: Vec<u8>,
    labels: Vec<usize>,
    classes: Vec<String>,
    fingerprint: OnceLock<u64>,
}

/// The size of a photograph. Grey ones have one channel, others three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl Size {
    fn bytes(self) -> usize {
        self.height * self.width * self.channels
    }
}

impl Arrays {
    /// `name` is used in messages. Without class names the classes are numbers.
    ///
    /// Fails with `Error::Shape` where there is no photograph or the number of bytes does not follow from the labels
    /// and size, and with `Error::Argument` where a label has no class.
    pub fn new(
        name: impl Into<String>,
        size: Size,
        pixels: Vec<u8>,
        labels: Vec<usize>,
        classes: Option<Vec<String>>,
    ) -> Result<Self> {
        let name = name.into();
        if size.bytes() == 0 || ![1, CHANNELS].contains(&size.channels) {
            let expected = "photographs of at least one pixel and of 1 or 3 channels".into();
            let Size { height, width, channels } = size;
            let got = format!("{height}×{width} pixels, channels: {channels}");
            return Err(Error::Shape { at: name, expected, got });
        }
        if pixels.len() != labels.len() * size.bytes() {
            let expected = format!("{} bytes for each of {} labels", size.bytes(), labels.len());
            return Err(Error::Shape {
                at: name,
                expected,
                got: format!("{} bytes", pixels.len()),
            });
        }
        let Some(&largest) = labels.iter().max() else {
            let (expected, got) = ("at least one photograph".into(), "none".into());
            return Err(Error::Shape { at: name, expected, got });
        };
        let classes = match named(largest, classes) {
            Ok(classes) => classes,
            Err(expected) => {
                return Err(Error::Argument { at: name, expected, got: largest.to_string() });
            }
        };
        Ok(Self { name, size, pixels, labels, classes, fingerprint: OnceLock::new() })
    }
}

impl Dataset for Arrays {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn read(&self, index: usize, _orientation: bool) -> Result<Photo> {
        let Size { height, width, channels } = self.size;
        let bytes = &self.pixels[index * self.size.bytes()..][..self.size.bytes()];
        let bytes = copied(bytes).map_err(|shortage| shortage.at(self.name(index)))?;
        Photo::with_channels(width, height, channels, bytes)
    }

    fn label(&self, index: usize) -> usize {
        self.labels[index]
    }

    fn name(&self, index: usize) -> String {
        format!("{}[{index}]", self.name)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| {
            let Size { height, width, channels } = self.size;
            Fingerprint::default()
                .texts(&self.classes)
                .numbers(&self.labels)
                .numbers(&[height, width, channels])
                .bytes(&self.pixels)
                .value()
        })
    }
}
