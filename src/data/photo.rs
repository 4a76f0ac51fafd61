//! Decoded photographs: rows of 8-bit values from the top, RGB or grey.

use std::borrow::Cow;

use ndarray::{Array3, ArrayView3, ArrayViewMut2, s};

use crate::memory::{Shortage, room};
use crate::{Error, Result};

/// The most pixels a photograph may have: Pillow's limit too, with a `DecompressionBombError`.
pub const MAX_PIXELS: usize = 2 * 89_478_485;

/// The longest side a photograph may have, so that tables made for one side stay small.
pub const MAX_SIDE: usize = 1 << 20;

/// Bytes of one pixel of a colour photograph.
pub const CHANNELS: usize = 3;

/// Bytes of red, green and blue, or of grey alone. Neither side is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    /// (height, width, channels), in row-major order.
    pixels: Array3<u8>,
}

/// The size of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub height: usize,
    pub width: usize,
}

/// A rectangle of a picture, in pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

impl Window {
    /// The window of one channel of a picture; it must lie inside.
    pub fn of<T>(self, plane: ArrayViewMut2<'_, T>) -> ArrayViewMut2<'_, T> {
        let Self { left, top, width, height } = self;
        plane.slice_move(s![top..top + height, left..left + width])
    }
}

/// A rectangular view of a photograph, without a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// The bytes from the upper left corner on.
    pub pixels: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    pub width: usize,
    pub height: usize,
    pub channels: usize,
}

impl<'a> View<'a> {
    /// The bytes of each row, from the top.
    pub fn rows(self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator {
        let length = self.width * self.channels;
        self.pixels.chunks(self.stride).take(self.height).map(move |row| &row[..length])
    }

    /// Its pixels, without gaps.
    pub fn copied(self) -> Result<Vec<u8>> {
        let mut pixels = room(self.width * self.height * self.channels).map_err(no_room)?;
        self.rows().for_each(|row| pixels.extend_from_slice(row));
        Ok(pixels)
    }
}

impl Photo {
    /// Takes `pixels` of shape (height, width, 3): red, green, blue.
    ///
    /// Fails with `Error::Shape` when a side is zero or too long, or the number of bytes is another.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        Self::with_channels(width, height, CHANNELS, pixels)
    }

    /// Takes `pixels` of shape (height, width): grey.
    ///
    /// Fails as `new` does.
    pub fn grey(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        Self::with_channels(width, height, 1, pixels)
    }

    /// Takes `pixels` of shape (height, width, channels), 1 or 3 channels.
    ///
    /// Fails as `new` does.
    pub fn with_channels(
        width: usize,
        height: usize,
        channels: usize,
        pixels: Vec<u8>,
    ) -> Result<Self> {
        let flaw = |expected, got| Error::Shape { at: "photo".into(), expected, got };
        check_size(width, height)
            .map_err(|expected| flaw(expected, format!("{width}x{height}")))?;
        if channels != 1 && channels != CHANNELS {
            return Err(flaw("1 or 3 channels".into(), channels.to_string()));
        }
        let count = pixels.len();
        let pixels = Array3::from_shape_vec((height, width, channels), pixels).map_err(|_| {
            let expected = format!("{width} * {height} * {channels} bytes");
            flaw(expected, format!("{count} bytes"))
        })?;
        Ok(Self { pixels })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.pixels.dim().1
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.pixels.dim().0
    }

    /// 3 (red, green, blue) or 1 (grey).
    pub fn channels(&self) -> usize {
        self.pixels.dim().2
    }

    /// The bytes, shape (height, width, channels).
    pub fn pixels(&self) -> &[u8] {
        self.pixels.as_slice().unwrap_or_default()
    }

    pub(crate) fn pixels_mut(&mut self) -> &mut [u8] {
        self.pixels.as_slice_mut().unwrap_or_default()
    }

    /// The bytes of a part, which must lie inside, shape (height, width, channels).
    pub fn array(&self, part: Window) -> ArrayView3<'_, u8> {
        let Window { left, top, width, height } = part;
        self.pixels.slice(s![top..top + height, left..left + width, ..])
    }

    /// Converts into the bytes, shape (height, width, channels).
    pub fn into_array(self) -> Array3<u8> {
        self.pixels
    }

    /// All of it.
    pub fn whole(&self) -> Window {
        Window { left: 0, top: 0, width: self.width(), height: self.height() }
    }

    /// A view of the whole photograph.
    pub(crate) fn view(&self) -> View<'_> {
        self.part(self.whole())
    }

    /// A view of a part, which must lie inside.
    pub(crate) fn part(&self, window: Window) -> View<'_> {
        let Window { left, top, width, height } = window;
        let (stride, channels) = (self.width() * self.channels(), self.channels());
        View {
            pixels: &self.pixels()[top * stride + left * channels..],
            stride,
            width,
            height,
            channels,
        }
    }

    /// Converts to 3 channels, or to 1: grey is repeated, colours become the luma of ITU-R 601, as by Pillow's
    /// `convert`.
    ///
    /// Fails with `Error::OutOfMemory`.
    pub fn to_channels(&self, channels: usize) -> Result<Cow<'_, Self>> {
        if self.channels() == channels {
            return Ok(Cow::Borrowed(self));
        }
        let mut pixels = room(self.width() * self.height() * channels).map_err(no_room)?;
        if channels == 1 {
            let (colours, _) = self.pixels().as_chunks::<CHANNELS>();
            pixels.extend(colours.iter().copied().map(luma));
        } else {
            pixels.extend(self.pixels().iter().flat_map(|&grey| [grey; CHANNELS]));
        }
        Self::with_channels(self.width(), self.height(), channels, pixels).map(Cow::Owned)
    }

    /// Rotates and mirrors the photograph upright from an EXIF orientation (1 to 8); any other value leaves it as it
    /// is, as Pillow's `exif_transpose` does.
    ///
    /// Fails with `Error::OutOfMemory`.
    pub fn upright(self, orientation: u16) -> Result<Self> {
        let (turned, right_to_left, bottom_up) = match orientation {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, false, true),
            7 => (true, true, true),
            8 => (true, true, false),
            _ => return Ok(self),
        };
        let (rows, columns, channels) = self.pixels.dim();
        let (width, height) = if turned { (rows, columns) } else { (columns, rows) };
        let bytes = self.pixels();
        let mut pixels = room(bytes.len()).map_err(no_room)?;
        for y in 0..height {
            for x in 0..width {
                let (column, row) = if turned { (y, x) } else { (x, y) };
                let column = if right_to_left { columns - 1 - column } else { column };
                let row = if bottom_up { rows - 1 - row } else { row };
                let start = (row * columns + column) * channels;
                pixels.extend_from_slice(&bytes[start..start + channels]);
            }
        }
        Self::with_channels(width, height, channels, pixels)
    }
}

/// The error for too little memory for a photograph's pixels.
pub(crate) fn no_room(shortage: Shortage) -> Error {
    shortage.at("photo")
}

/// The luma of a colour, in 16-bit fixed point.
pub(crate) fn luma([red, green, blue]: [u8; CHANNELS]) -> u8 {
    const HALF: u32 = 1 << 15;
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + HALF) >> 16)
        as u8
}

/// Checks a size; the error is what it should be.
pub(crate) fn check_size(width: usize, height: usize) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err("at least one pixel".into());
    }
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(format!("sides of at most {MAX_SIDE} pixels"));
    }
    if width * height > MAX_PIXELS {
        return Err(format!("at most {MAX_PIXELS} pixels"));
    }
    Ok(())
}
