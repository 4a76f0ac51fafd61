//! A decoded photograph: 8-bit RGB rows from the top, nothing else.

use crate::{Error, Result};

/// The most pixels a photograph may have: where Pillow stops too, with a `DecompressionBombError`.
pub const MAX_PIXELS: usize = 2 * 89_478_485;

/// The longest side a photograph may have, so that tables made for one side stay small.
pub const MAX_SIDE: usize = 1 << 20;

/// Bytes of one pixel.
pub const CHANNELS: usize = 3;

/// RGB bytes, shape (height, width, 3), rows without gaps. Neither side is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Photo {
    /// Takes `pixels` of shape (height, width, 3).
    ///
    /// Fails with `Error::Shape` when a side is zero or too long, or the number of bytes is another.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        check_size(width, height).map_err(|expected| Error::Shape {
            at: "photo".into(),
            expected,
            got: format!("{width}x{height}"),
        })?;
        if pixels.len() != width * height * CHANNELS {
            return Err(Error::Shape {
                at: "photo".into(),
                expected: format!("{width} * {height} * {CHANNELS} bytes"),
                got: format!("{} bytes", pixels.len()),
            });
        }
        Ok(Self { width, height, pixels })
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes, shape (height, width, 3).
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Gives the bytes away.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The photograph in grey, each byte three times, as Pillow's `convert("L")` makes it: by ITU-R 601-2, in 16-bit
    /// fixed point.
    #[must_use]
    pub fn grey(&self) -> Self {
        let luma = |pixel: &[u8]| {
            let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            [((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8; CHANNELS]
        };
        let pixels = self.pixels.chunks_exact(CHANNELS).flat_map(luma).collect();
        Self { pixels, ..*self }
    }

    /// Turns and mirrors the photograph upright from an EXIF orientation (1 to 8); any other value
    /// leaves it as it is, as Pillow's `exif_transpose` does.
    #[must_use]
    pub fn upright(self, orientation: u16) -> Self {
        let (turned, right_to_left, bottom_up) = match orientation {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, false, true),
            7 => (true, true, true),
            8 => (true, true, false),
            _ => return self,
        };
        let (width, height) =
            if turned { (self.height, self.width) } else { (self.width, self.height) };
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..height {
            for x in 0..width {
                let (column, row) = if turned { (y, x) } else { (x, y) };
                let column = if right_to_left { self.width - 1 - column } else { column };
                let row = if bottom_up { self.height - 1 - row } else { row };
                let start = (row * self.width + column) * CHANNELS;
                pixels.extend_from_slice(&self.pixels[start..start + CHANNELS]);
            }
        }
        Self { width, height, pixels }
    }
}

/// What a size has to be, where `width` x `height` is something else.
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
