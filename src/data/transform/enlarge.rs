//! Padding of a photograph.

use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use crate::data::photo::{CHANNELS, Photo, check_size, luma, no_room};
use crate::memory::room;
use crate::{Error, Result};

/// Pixels of padding on each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Margins {
    pub left: usize,
    pub top: usize,
    pub right: usize,
    pub bottom: usize,
}

/// The content of the padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingMode {
    /// One colour.
    #[default]
    Constant,
    /// Repeats the outermost pixel.
    Edge,
    /// Mirrors the photograph at its outermost pixel.
    Reflect,
    /// Mirrors the photograph at its edge, so that the outermost pixel comes twice.
    Symmetric,
}

impl PaddingMode {
    /// The pixel of a side of `length` that is seen at `place`, which may lie outside.
    fn source(self, place: i64, length: usize) -> Option<usize> {
        let length = length as i64;
        let inside = (0..length).contains(&place);
        let place = match self {
            Self::Constant if inside => place,
            Self::Constant => return None,
            Self::Edge => place.clamp(0, length - 1),
            // A side of one pixel has nothing to mirror.
            Self::Reflect if length == 1 => 0,
            Self::Reflect => {
                let around = place.rem_euclid(2 * (length - 1));
                around.min(2 * (length - 1) - around)
            }
            Self::Symmetric => {
                let around = place.rem_euclid(2 * length);
                around.min(2 * length - 1 - around)
            }
        };
        Some(place as usize)
    }
}

/// A colour in as many bytes as a pixel has.
pub fn colour(fill: [u8; CHANNELS], channels: usize) -> Vec<u8> {
    if channels == 1 { vec![luma(fill)] } else { fill.to_vec() }
}

pub fn enlarge(
    canvas: &mut Canvas<'_>,
    margins: Margins,
    fill: [u8; CHANNELS],
    mode: PaddingMode,
) -> Result<()> {
    if margins == Margins::default() {
        return Ok(());
    }
    let Margins { left, top, right, bottom } = margins;
    let view = canvas.upright()?;
    let channels = view.channels;
    let sum =
        |one: usize, side: usize, other: usize| one.saturating_add(side).saturating_add(other);
    let (width, height) = (sum(left, view.width, right), sum(top, view.height, bottom));
    check_size(width, height).map_err(|expected| Error::Argument {
        at: "padding".into(),
        expected: format!("{expected} with the photograph"),
        got: format!("{width}x{height}"),
    })?;
    let columns: Vec<Option<usize>> =
        (0..width).map(|column| mode.source(column as i64 - left as i64, view.width)).collect();
    let fill = colour(fill, channels);
    let mut pixels = room(width * height * channels).map_err(no_room)?;
    for row in 0..height {
        let Some(row) = mode.source(row as i64 - top as i64, view.height) else {
            (0..width).for_each(|_| pixels.extend_from_slice(&fill));
            continue;
        };
        let row = &view.pixels[row * view.stride..];
        for column in &columns {
            pixels.extend_from_slice(
                column.map_or(&fill[..], |column| &row[column * channels..][..channels]),
            );
        }
    }
    let photo = Photo::with_channels(width, height, channels, pixels)?;
    canvas.replace(photo);
    Ok(())
}
