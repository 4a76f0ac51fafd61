//! JPEG.
//!
//! | colour space | RGB, as Pillow's |
//! |---|---|
//! | YCbCr, RGB | by the Adobe marker, the JFIF marker or the component names, as libjpeg |
//! | grey | three times |
//! | CMYK | taken as inverted (Adobe's way), then ink by ink |
//! | YCCK | to inverted CMYK, then ink by ink |
//!
//! Baseline and progressive, Huffman coded, 8 bits. The file has to reach its end marker: libjpeg
//! paints what is missing grey, and Pillow refuses it.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::exif::orientation;
use super::{Decoded, Flaw, sizes};

const EXPECTED: &str = "a whole and sound JPEG file";

/// The longest side that the format can say.
const LONGEST: usize = 65_535;

const END: u8 = 0xd9;
const APP1: u8 = 0xe1;

pub(super) fn decode(bytes: &[u8], apply_orientation: bool) -> Result<Decoded, Flaw> {
    let exif = survey(bytes)?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(LONGEST)
        .set_max_height(LONGEST);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(flaw)?;
    let info = decoder.info().ok_or_else(|| Flaw::new(EXPECTED, "no frame header"))?;
    let (width, height) = sizes(usize::from(info.width), usize::from(info.height))?;
    let space = decoder.input_colorspace().unwrap_or(ColorSpace::Unknown);
    let output = match space {
        ColorSpace::CMYK | ColorSpace::YCCK => space,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let mut pixels = decoder.decode().map_err(flaw)?;
    match space {
        ColorSpace::CMYK => pixels = four_to_three(&pixels, |pixel| pixel),
        ColorSpace::YCCK => pixels = four_to_three(&pixels, |pixel| pixel),
        _ => {}
    }
    let orientation = exif.filter(|_| apply_orientation).and_then(orientation);
    Ok(Decoded { width, height, pixels, orientation })
}

/// Mixes each pixel's inks into RGB.
fn four_to_three(pixels: &[u8], inks: impl Fn([u8; 4]) -> [u8; 4]) -> Vec<u8> {
    let inks = pixels.chunks_exact(4).map(|pixel| inks([pixel[0], pixel[1], pixel[2], pixel[3]]));
    inks.flat_map(|[cyan, magenta, yellow, black]| {
        [cyan, magenta, yellow].map(|ink| black.saturating_sub(share(u8::MAX - ink, black)))
    })
    .collect()
}

/// `one` * `other` / 255, rounded.
fn share(one: u8, other: u8) -> u8 {
    let product = u32::from(one) * u32::from(other) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// Walks from marker to marker until the end of the picture and returns the EXIF data on the way.
fn survey(bytes: &[u8]) -> Result<Option<&[u8]>, Flaw> {
    let cut = || Flaw::new(EXPECTED, "a file that is cut short");
    let mut exif = None;
    let mut rest = bytes.get(2..).ok_or_else(cut)?;
    loop {
        let start = rest.iter().position(|&byte| byte == 0xff).ok_or_else(cut)?;
        let [_, marker, after @ ..] = &rest[start..] else { return Err(cut()) };
        match marker {
            // A padding byte may be the first of the marker.
            0xff => rest = &rest[start + 1..],
            // A stuffed zero, TEM, RST0 to RST7 and SOI stand alone.
            0x00 | 0x01 | 0xd0..=0xd8 => rest = after,
            &END => return Ok(exif),
            &kind => {
                let [high, low, ..] = after else { return Err(cut()) };
                let length = usize::from(u16::from_be_bytes([*high, *low])).max(2);
                let segment = after.get(2..length).ok_or_else(cut)?;
                if kind == APP1 && exif.is_none() && segment.starts_with(b"Exif\0\0") {
                    exif = Some(segment);
                }
                rest = &after[length..];
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value)]
fn flaw(error: DecodeErrors) -> Flaw {
    Flaw::new(EXPECTED, error.to_string())
}
