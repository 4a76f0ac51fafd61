//! Preprocessing of a network's input: resize, centre crop, normalise, as torchvision does.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::decode::decode_file;
use super::filter::Filter;
use super::photo::{CHANNELS, MAX_SIDE, Photo, Window};
use super::prepare::Prepare;
use super::random::Key;
use super::resize::resize_window;
use crate::{Error, Result};

/// The preprocessing that belongs to a set of weights.
///
/// Equal to torchvision's `Resize(resize, interpolation)`, `CenterCrop(crop)`, `ToTensor()` and
/// `Normalize(mean, std)` on an RGB picture, in every bit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Pixels of the short side after resizing; the long side keeps the ratio, rounded down.
    pub resize: u32,
    /// Side of the square that is cropped from the centre, in pixels.
    pub crop: u32,
    pub interpolation: Filter,
    /// Mean of each channel, in values of 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, by which it is divided.
    pub std: [f32; 3],
}

/// The place of the photograph in the square: a window of the resized photograph, and its corner in the square (which
/// is not zero where the photograph is the smaller one).
#[derive(Clone, Copy, Debug)]
struct Placement {
    width: usize,
    height: usize,
    window: Window,
    left: usize,
    top: usize,
}

impl Preprocess {
    /// With ImageNet's mean and standard deviation, which most weights were trained with.
    pub const fn imagenet(resize: u32, crop: u32, interpolation: Filter) -> Self {
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        Self { resize, crop, interpolation, mean, std }
    }

    /// With ImageNet's mean colour subtracted from values of 0 to 255, as for the networks before batch norm.
    pub const fn centred(resize: u32, crop: u32) -> Self {
        let mean = [123.68 / 255.0, 116.779 / 255.0, 103.939 / 255.0];
        Self { resize, crop, interpolation: Filter::Bilinear, mean, std: [1.0 / 255.0; 3] }
    }

    /// To values of -1 to 1, as for Google's networks.
    pub const fn inception(resize: u32, crop: u32, interpolation: Filter) -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3], ..Self::imagenet(resize, crop, interpolation) }
    }

    /// CIFAR-10's pictures without resizing, with the mean and standard deviation of their channels.
    pub const CIFAR10: Self = Self {
        resize: 32,
        crop: 32,
        interpolation: Filter::Bilinear,
        mean: [125.3 / 255.0, 123.0 / 255.0, 113.9 / 255.0],
        std: [63.0 / 255.0, 62.1 / 255.0, 66.7 / 255.0],
    };

    /// The number of values of one photograph: 3 * crop * crop.
    pub fn len(&self) -> usize {
        CHANNELS * self.crop as usize * self.crop as usize
    }

    /// Whether the square has no pixel; `check` refuses that.
    pub fn is_empty(&self) -> bool {
        self.crop == 0
    }

    /// Fails with `Error::Argument` where a size is zero or out of range, or a channel cannot be normalised.
    pub fn check(&self) -> Result<()> {
        for (name, size, largest) in
            [("resize", self.resize, MAX_SIDE), ("crop", self.crop, MAX_CROP)]
        {
            if size == 0 || size as usize > largest {
                return Err(Error::Argument {
                    at: format!("preprocess: {name}"),
                    expected: format!("1 to {largest} pixels"),
                    got: size.to_string(),
                });
            }
        }
        let usable = self.mean.iter().all(|mean| mean.is_finite())
            && self.std.iter().all(|std| std.is_finite() && *std != 0.0);
        if usable {
            return Ok(());
        }
        Err(Error::Argument {
            at: "preprocess: mean and std".into(),
            expected: "finite numbers, std not zero".into(),
            got: format!("{:?} and {:?}", self.mean, self.std),
        })
    }

    /// Writes the photograph into `out`, shape (3, crop, crop), channels red, green, blue; or in grey, shape
    /// (1, crop, crop), normalised as red is, where `out` is that long.
    ///
    /// Fails with `Error::Shape` when `out` has another length, and as `check` does.
    pub fn write(&self, photo: &Photo, out: &mut [f32]) -> Result<()> {
        self.check()?;
        let crop = self.crop as usize;
        let grey = out.len() == crop * crop;
        if !grey && out.len() != self.len() {
            return Err(Error::Shape {
                at: "preprocess".into(),
                expected: format!("{} numbers of (3, {crop}, {crop})", self.len()),
                got: out.len().to_string(),
            });
        }
        let photo = photo.to_channels(if grey { 1 } else { CHANNELS })?;
        let Placement { width, height, window, left, top } = self.place(&photo);
        let part = resize_window(&photo, width, height, self.interpolation, window)?;
        for (channel, out) in out.chunks_exact_mut(crop * crop).enumerate() {
            let values = normalised(self.mean[channel], self.std[channel]);
            if window.width < crop || window.height < crop {
                out.fill(values[0]);
            }
            let rows = part.pixels().chunks_exact(window.width * part.channels());
            for (out, row) in out.chunks_exact_mut(crop).skip(top).zip(rows) {
                let bytes = row.iter().skip(channel).step_by(part.channels());
                for (out, &byte) in out[left..].iter_mut().zip(bytes) {
                    *out = values[usize::from(byte)];
                }
            }
        }
        Ok(())
    }

    /// Decodes the file at `path` and writes it into `out`, as `write` does.
    ///
    /// Fails as `decode_file` and `write` do.
    pub fn write_file(&self, path: &Path, orientation: bool, out: &mut [f32]) -> Result<()> {
        self.check()?;
        self.write(&decode_file(path, orientation)?, out)
    }

    fn place(&self, photo: &Photo) -> Placement {
        let (width, height) = (photo.width(), photo.height());
        let (width, height) = short_side(width, height, self.resize as usize);
        let (x, columns, left) = centre(width, self.crop as usize);
        let (y, rows, top) = centre(height, self.crop as usize);
        Placement {
            width,
            height,
            window: Window { left: x, top: y, width: columns, height: rows },
            left,
            top,
        }
    }
}

impl Prepare for Preprocess {
    fn shape(&self, _photo: &Photo) -> [usize; 3] {
        [CHANNELS, self.crop as usize, self.crop as usize]
    }

    fn write(&self, photo: &Photo, _key: Key, out: &mut [f32]) -> Result<()> {
        Self::write(self, photo, out)
    }
}

/// The same for a network of one channel: the photograph is converted to grey first.
#[derive(Clone, Copy, Debug)]
pub struct Grey(pub Preprocess);

impl Prepare for Grey {
    fn shape(&self, _photo: &Photo) -> [usize; 3] {
        [1, self.0.crop as usize, self.0.crop as usize]
    }

    fn write(&self, photo: &Photo, _key: Key, out: &mut [f32]) -> Result<()> {
        self.0.write(photo, out)
    }
}

/// The largest square: its values still fit the limit for one photograph.
const MAX_CROP: usize = 1 << 13;

/// The lookup table of a channel: the normalised value of each byte.
pub(crate) fn normalised(mean: f32, std: f32) -> [f32; 256] {
    std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
}

/// The width and height whose short side is `short`; the long one keeps the ratio, rounded down.
pub(crate) fn short_side(width: usize, height: usize, short: usize) -> (usize, usize) {
    let long = |long: usize, of: usize| ((short * long) as f64 / of as f64) as usize;
    if width <= height { (short, long(height, width)) } else { (long(width, height), short) }
}

/// For one side: the start and length of the part that stays, and its place in the square.
pub(crate) fn centre(side: usize, crop: usize) -> (usize, usize, usize) {
    if side < crop {
        return (0, side, (crop - side) / 2);
    }
    let start = ((side - crop) as f64 / 2.0).round_ties_even() as usize;
    (start, crop, 0)
}
