//! What is done to a photograph, with nothing left to chance.

use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use super::enlarge::{Margins, PaddingMode, enlarge};
use super::{affine, blend, hue, table};
use crate::data::photo::{CHANNELS, Photo, Window};
use crate::data::resize::resize_view;
use crate::data::{Filter, filter};
use crate::{Error, Result};

/// Each is equal to the function of torchvision's `transforms.functional` on a Pillow picture, in every bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// To this size.
    Resize {
        height: usize,
        width: usize,
        interpolation: Filter,
    },
    /// A part, which lies inside.
    Crop {
        top: usize,
        left: usize,
        height: usize,
        width: usize,
    },
    /// Adds margins. `fill` is red, green and blue; a grey photograph takes its luma.
    Pad {
        margins: Margins,
        fill: [u8; CHANNELS],
        mode: PaddingMode,
    },
    FlipHorizontal,
    FlipVertical,
    /// To 1 or 3 channels, all with the luma.
    Grayscale {
        channels: usize,
    },
    /// From black (0) over the photograph (1) on.
    AdjustBrightness {
        factor: f64,
    },
    /// From the mean grey (0) over the photograph (1) on.
    AdjustContrast {
        factor: f64,
    },
    /// From grey (0) over the photograph (1) on.
    AdjustSaturation {
        factor: f64,
    },
    /// Around the circle of colours, of which `factor` is a part of -0.5 to 0.5.
    AdjustHue {
        factor: f64,
    },
    /// From smoothed (0) over the photograph (1) on.
    AdjustSharpness {
        factor: f64,
    },
    /// Keeps the upper bits of each byte, 1 to 8.
    Posterize {
        bits: u32,
    },
    /// Inverts bytes from `threshold` on.
    Solarize {
        threshold: f64,
    },
    /// Stretches each channel to 0 to 255.
    AutoContrast,
    /// Makes the histogram of each channel flat.
    Equalize,
    Invert,
    /// Moves each row by `factor` times its height.
    ShearX {
        factor: f64,
        fill: [u8; CHANNELS],
    },
    /// Moves each column by `factor` times its place.
    ShearY {
        factor: f64,
        fill: [u8; CHANNELS],
    },
    /// To the right and down, in pixels.
    Translate {
        x: i64,
        y: i64,
        fill: [u8; CHANNELS],
    },
    /// Counter-clockwise about the middle.
    Rotate {
        degrees: f64,
        fill: [u8; CHANNELS],
    },
}

impl Operation {
    /// Does it to a whole photograph.
    ///
    /// Fails with `Error::Argument` where a value makes no sense for it.
    pub fn apply(&self, photo: &Photo) -> Result<Photo> {
        let mut canvas = Canvas::new(std::borrow::Cow::Borrowed(photo));
        self.draw_on(&mut canvas)?;
        canvas.into_photo()
    }

    pub(super) fn draw_on(&self, canvas: &mut Canvas<'_>) -> Result<()> {
        match *self {
            Self::Resize { height, width, interpolation } => {
                resize_canvas(canvas, height, width, interpolation)
            }
            Self::Crop { top, left, height, width } => {
                crop_canvas(canvas, Window { left, top, width, height })
            }
            Self::Pad { margins, fill, mode } => enlarge(canvas, margins, fill, mode),
            Self::FlipHorizontal => {
                canvas.flip_horizontal();
                Ok(())
            }
            Self::FlipVertical => {
                canvas.flip_vertical();
                Ok(())
            }
            Self::Grayscale { channels } => {
                canvas.convert(1)?;
                canvas.convert(channels)
            }
            Self::AdjustBrightness { factor } => blend::brightness(canvas, factor),
            Self::AdjustContrast { factor } => blend::contrast(canvas, factor),
            Self::AdjustSaturation { factor } => blend::saturation(canvas, factor),
            Self::AdjustSharpness { factor } => blend::sharpness(canvas, factor),
            Self::AdjustHue { factor } => hue::turn(canvas, factor),
            Self::Posterize { bits } => table::posterize(canvas, bits),
            Self::Solarize { threshold } => table::solarize(canvas, threshold),
            Self::AutoContrast => table::autocontrast(canvas),
            Self::Equalize => table::equalize(canvas),
            Self::Invert => table::invert(canvas),
            Self::ShearX { factor, fill } => affine::shear(canvas, [factor, 0.0], fill),
            Self::ShearY { factor, fill } => affine::shear(canvas, [0.0, factor], fill),
            Self::Translate { x, y, fill } => affine::translate(canvas, x, y, fill),
            Self::Rotate { degrees, fill } => affine::rotate(canvas, degrees, fill),
        }
    }
}

fn resize_canvas(
    canvas: &mut Canvas<'_>,
    height: usize,
    width: usize,
    filter: filter::Filter,
) -> Result<()> {
    if (height, width) != (canvas.height(), canvas.width()) {
        let whole = Window { left: 0, top: 0, width, height };
        let photo = resize_view(canvas.upright()?, width, height, filter, whole)?;
        canvas.replace(photo);
    }
    Ok(())
}

fn crop_canvas(canvas: &mut Canvas<'_>, part: Window) -> Result<()> {
    let Window { left, top, width, height } = part;
    let inside = width > 0
        && height > 0
        && left.saturating_add(width) <= canvas.width()
        && top.saturating_add(height) <= canvas.height();
    if !inside {
        return Err(Error::Argument {
            at: "crop".into(),
            expected: format!(
                "a part of {} by {} pixels (height, width)",
                canvas.height(),
                canvas.width()
            ),
            got: format!("{height} by {width} at ({top}, {left})"),
        });
    }
    canvas.crop(part);
    Ok(())
}
