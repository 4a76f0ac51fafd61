//! JPEG.
//!
//! | colour space | RGB, as Pillow's |
//! |---|---|
//! | YCbCr, RGB | by the Adobe marker, the JFIF marker or the component names, as libjpeg |
//! | grey | three times |
//! | CMYK | taken as inverted (Adobe's way), then ink by ink |
//! | YCCK | to inverted CMYK, then ink by ink |
//!
//! Baseline and progressive, Huffman coded, 8 bits. A file without its end marker is refused, as by Pillow; libjpeg
//! would paint the missing part grey.

use std::borrow::Cow;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::decoded::{DecodeError, Decoded, sizes};
use super::exif::orientation;
use crate::memory::{probe, room, zeros};

const EXPECTED: &str = "a complete, undamaged JPEG file";

/// The longest side that the format can store.
const LONGEST: usize = 65_535;

const BASELINE: u8 = 0xc0;
const EXTENDED: u8 = 0xc1;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const RESTARTS: u8 = 0xdd;
const APP1: u8 = 0xe1;

/// The number of bytes that the decoder's bit buffer may be ahead of the pixels.
const AHEAD: usize = 8;

pub(super) fn decode(bytes: &[u8], orient: bool) -> Result<Decoded, DecodeError> {
    let survey = Markers::new(bytes)?;
    let bytes = survey.open_ended(bytes)?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(LONGEST)
        .set_max_height(LONGEST);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&*bytes), options);
    decoder.decode_headers().map_err(flaw)?;
    let info = decoder.info().ok_or_else(|| DecodeError::new(EXPECTED, "no frame header"))?;
    let (width, height) = sizes(usize::from(info.width), usize::from(info.height))?;
    let space = decoder.input_colorspace().unwrap_or(ColorSpace::Unknown);
    let output = match space {
        ColorSpace::CMYK | ColorSpace::YCCK => space,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let size = decoder.output_buffer_size();
    let size = size.ok_or_else(|| DecodeError::new(EXPECTED, "no frame header"))?;
    // Files of several scans are held as coefficients; others as a few rows of blocks.
    let blocks = if survey.sequential && survey.scans == 1 {
        64 * width
    } else {
        2 * width.next_multiple_of(32) * height.next_multiple_of(32)
    };
    probe(size.saturating_add(blocks * usize::from(info.components) + (1 << 20)))?;
    let mut pixels = zeros(size)?;
    decoder.decode_into(&mut pixels).map_err(flaw)?;
    match space {
        ColorSpace::CMYK => pixels = four_to_three(&pixels, |inks| inks)?,
        ColorSpace::YCCK => pixels = four_to_three(&pixels, inks_of)?,
        _ => {}
    }
    let orientation = survey.exif.filter(|_| orient).and_then(orientation);
    Ok(Decoded { width, height, pixels, orientation })
}

/// Converts each pixel's inks to RGB.
fn four_to_three(pixels: &[u8], inks: impl Fn([u8; 4]) -> [u8; 4]) -> Result<Vec<u8>, DecodeError> {
    let (pixels, _) = pixels.as_chunks();
    let mut out = room(pixels.len() * 3)?;
    for &pixel in pixels {
        let [cyan, magenta, yellow, white] = inks(pixel);
        out.extend(mixed([cyan, magenta, yellow].map(|ink| u8::MAX - ink), white));
    }
    Ok(out)
}

/// The colour of cyan, magenta and yellow inks over what black ink leaves of white.
pub(super) fn mixed(inks: [u8; 3], white: u8) -> [u8; 3] {
    inks.map(|ink| white.saturating_sub(share(ink, white)))
}

/// YCCK to CMYK: the colour that is the complement of YCbCr's, black as it is.
fn inks_of([luma, blue, red, black]: [u8; 4]) -> [u8; 4] {
    let [red, green, blue] = rgb_of([luma, blue, red]).map(|color| u8::MAX - color);
    [red, green, blue, black]
}

/// YCbCr to RGB, as libjpeg.
pub(super) fn rgb_of(pixel: [u8; 3]) -> [u8; 3] {
    let [luma, blue, red] = pixel.map(i32::from);
    let (blue, red) = (blue - 128, red - 128);
    let weigh = |value: i32| (value + (1 << 15)) >> 16;
    let green = -22_554 * blue - 46_802 * red;
    [weigh(91_881 * red), weigh(green), weigh(116_130 * blue)]
        .map(|part| (luma + part).clamp(0, 255) as u8)
}

/// `one` * `other` / 255, rounded.
fn share(one: u8, other: u8) -> u8 {
    let product = u32::from(one) * u32::from(other) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// The facts in the markers, before anything is decoded.
#[derive(Default)]
pub(super) struct Markers<'a> {
    exif: Option<&'a [u8]>,
    /// The offset of the end marker.
    end: usize,
    sequential: bool,
    restarts: bool,
    scans: usize,
    /// Width and height of the frame.
    pub(super) size: Option<(u16, u16)>,
}

impl<'a> Markers<'a> {
    /// Walks from marker to marker until the end of the picture.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let cut = || DecodeError::new(EXPECTED, "a truncated file");
        let mut survey = Self::default();
        let mut at = 2;
        loop {
            let rest = bytes.get(at..).ok_or_else(cut)?;
            at += rest.iter().position(|&byte| byte == 0xff).ok_or_else(cut)?;
            match *bytes.get(at + 1).ok_or_else(cut)? {
                // A padding byte may be the first of the marker.
                0xff => at += 1,
                // A stuffed zero, TEM, RST0 to RST7 and SOI stand alone.
                0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
                END => {
                    survey.end = at;
                    return Ok(survey);
                }
                kind => {
                    let length = bytes.get(at + 2..at + 4).ok_or_else(cut)?;
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                    let segment = bytes.get(at + 4..at + 2 + length).ok_or_else(cut)?;
                    survey.take(kind, segment);
                    at += 2 + length;
                }
            }
        }
    }

    fn take(&mut self, kind: u8, segment: &'a [u8]) {
        if let (0xc0..=0xcf, [_, h0, h1, w0, w1, ..]) = (kind, segment)
            && ![0xc4, 0xc8, 0xcc].contains(&kind)
        {
            let side = |high, low| u16::from_be_bytes([high, low]);
            self.size.get_or_insert((side(*w0, *w1), side(*h0, *h1)));
        }
        match kind {
            BASELINE | EXTENDED => self.sequential = true,
            RESTARTS => self.restarts = segment != [0, 0],
            SCAN => self.scans += 1,
            APP1 if self.exif.is_none() && segment.starts_with(b"Exif\0\0") => {
                self.exif = Some(segment);
            }
            _ => {}
        }
    }

    /// The bytes to decode. The decoder takes an end marker that comes too early for the end and paints the rest, but
    /// fails when it runs out of bytes. So, where nothing else follows the last pixel, the end marker is replaced by
    /// bytes that the decoder may read ahead.
    fn open_ended(&self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
        if self.sequential && self.scans == 1 && !self.restarts {
            let mut longer = room(self.end + AHEAD)?;
            longer.extend_from_slice(&bytes[..self.end]);
            longer.extend([0; AHEAD]);
            return Ok(longer.into());
        }
        Ok(bytes.into())
    }
}

#[allow(clippy::needless_pass_by_value)]
fn flaw(error: DecodeErrors) -> DecodeError {
    DecodeError::new(EXPECTED, error.to_string())
}
