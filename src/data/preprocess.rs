//! Preprocessing of a network's input: resize, centre crop, normalise, as torchvision does.

use ndarray::{ArrayViewMut3, Axis, Zip};
use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::photo::{CHANNELS, MAX_SIDE, Photo, Window};
use super::prepare::Prepare;
use super::random::Key;
use super::resize::resize_window;
use crate::error::{Error, Result, shape_text};

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

/// The place of the photograph in the square: the size that it is resized to, a window of that, and the window's place in
/// the square (not its corner where the photograph is the smaller one).
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    pub width: usize,
    pub height: usize,
    pub window: Window,
    pub square: Window,
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

    /// Writes the photograph into `out`, shape (3, crop, crop), channels red, green, blue; or (1, crop, crop) in grey,
    /// normalised as red is.
    ///
    /// Fails with `Error::Shape` when `out` has another shape, and as `check` does.
    pub fn write(&self, photo: &Photo, mut out: ArrayViewMut3<'_, f32>) -> Result<()> {
        self.check()?;
        let crop = self.crop as usize;
        let (channels @ (1 | CHANNELS), true) = (out.dim().0, out.shape()[1..] == [crop, crop])
        else {
            return Err(Error::Shape {
                at: "preprocess".into(),
                expected: shape_text(&[CHANNELS, crop, crop]),
                got: shape_text(out.shape()),
            });
        };
        let photo = photo.to_channels(channels)?;
        let Placement { width, height, window, square } = self.place(&photo);
        let part = resize_window(&photo, width, height, self.interpolation, window)?;
        for (channel, mut plane) in out.outer_iter_mut().enumerate() {
            let values = normalised(self.mean[channel], self.std[channel]);
            if window.width < crop || window.height < crop {
                plane.fill(values[0]);
            }
            let bytes = part.array(part.whole()).index_axis_move(Axis(2), channel);
            Zip::from(square.of(plane))
                .and(bytes)
                .for_each(|out, &byte| *out = values[usize::from(byte)]);
        }
        Ok(())
    }

    fn place(&self, photo: &Photo) -> Placement {
        self.placement(photo.width(), photo.height())
    }

    /// The place of a photograph of this size.
    pub fn placement(&self, width: usize, height: usize) -> Placement {
        let (width, height) = short_side(width, height, self.resize as usize);
        let (x, columns, left) = centre(width, self.crop as usize);
        let (y, rows, top) = centre(height, self.crop as usize);
        Placement {
            width,
            height,
            window: Window { left: x, top: y, width: columns, height: rows },
            square: Window { left, top, width: columns, height: rows },
        }
    }
}

impl Prepare for Preprocess {
    fn shape(&self, _photo: &Photo) -> [usize; 3] {
        [CHANNELS, self.crop as usize, self.crop as usize]
    }

    fn write(&self, photo: &Photo, _key: Key, out: ArrayViewMut3<'_, f32>) -> Result<()> {
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

    fn write(&self, photo: &Photo, _key: Key, out: ArrayViewMut3<'_, f32>) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn arrays_of_another_shape_are_refused() {
        let photo = Photo::new(4, 4, vec![7; 48]).unwrap();
        let preprocess = Preprocess::imagenet(4, 4, Filter::Bilinear);
        for shape in [[3, 4, 4], [1, 4, 4]] {
            preprocess.write(&photo, Array3::zeros(shape).view_mut()).unwrap();
        }
        for shape in [[2, 4, 4], [3, 4, 5], [3, 5, 4], [0, 4, 4]] {
            let error = preprocess.write(&photo, Array3::zeros(shape).view_mut()).unwrap_err();
            let [channels, height, width] = shape;
            let expected =
                format!("preprocess: expected (3, 4, 4), got ({channels}, {height}, {width})");
            assert_eq!(error.to_string(), expected);
        }
    }
}
