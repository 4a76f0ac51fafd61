//! Deterministic operations on photographs.

use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use super::enlarge::{Margins, PaddingMode, enlarge};
use super::{affine, blend, hue, table};
use crate::data::photo::{CHANNELS, Photo, Window};
use crate::data::resize::resize_view;
use crate::data::{Filter, filter};
use crate::{Error, Result};

/// Operations, each equal to the function of torchvision's `transforms.functional` on a Pillow picture, in every bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// Resizes to this size.
    Resize {
        height: usize,
        width: usize,
        interpolation: Filter,
    },
    /// Crops to a part, which must lie inside.
    Crop {
        top: usize,
        left: usize,
        height: usize,
        width: usize,
    },
    /// Pads. `fill` is red, green and blue; a grey photograph takes its luma.
    Pad {
        margins: Margins,
        fill: [u8; CHANNELS],
        mode: PaddingMode,
    },
    FlipHorizontal,
    FlipVertical,
    /// Converts to 1 or 3 channels that all hold the luma.
    Grayscale {
        channels: usize,
    },
    /// A `factor` of 0 gives black, 1 the photograph; more is brighter.
    AdjustBrightness {
        factor: f64,
    },
    /// A `factor` of 0 gives the mean grey, 1 the photograph; more has higher contrast.
    AdjustContrast {
        factor: f64,
    },
    /// A `factor` of 0 gives grey, 1 the photograph; more is more saturated.
    AdjustSaturation {
        factor: f64,
    },
    /// Shifts the hue by `factor`, -0.5 to 0.5 of the colour circle.
    AdjustHue {
        factor: f64,
    },
    /// A `factor` of 0 gives a smoothed photograph, 1 the photograph; more is sharper.
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
    /// Equalises the histogram of each channel.
    Equalize,
    Invert,
    /// Shifts each row by `factor` times its distance from the top.
    ShearX {
        factor: f64,
        fill: [u8; CHANNELS],
    },
    /// Shifts each column by `factor` times its distance from the left.
    ShearY {
        factor: f64,
        fill: [u8; CHANNELS],
    },
    /// Translates to the right and down, in pixels.
    Translate {
        x: i64,
        y: i64,
        fill: [u8; CHANNELS],
    },
    /// Rotates counter-clockwise about the centre.
    Rotate {
        degrees: f64,
        fill: [u8; CHANNELS],
    },
}

impl Operation {
    /// Applies the operation to a whole photograph.
    ///
    /// Fails with `Error::Argument` where a value is out of range for the operation.
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
