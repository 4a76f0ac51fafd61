//! PNG.
//!
//! | colour type | RGB, as Pillow's |
//! |---|---|
//! | grey, 1, 2 or 4 bits | spread over 0 to 255, three times |
//! | grey, 8 or 16 bits, with or without alpha | high byte three times, alpha dropped |
//! | colour, 8 or 16 bits, with or without alpha | high byte, alpha dropped |
//! | palette | the entry; an index past the end is black |
//!
//! Pillow's `convert` makes nearly all grey of 16 bits without alpha white instead: it does not scale.
//!
//! A `tRNS` chunk changes nothing, nor do gamma, colour profile and background. An animation gives its default image.
//! Every checksum up to the last pixel must be right, and the zlib stream must end; what follows (`IEND`) may be
//! missing.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Transformations};

use super::decoded::{DecodeError, Decoded, sizes};
use super::exif::orientation;
use crate::memory::{probe, room, zeros};

pub(super) fn decode(bytes: &[u8], orient: bool) -> Result<Decoded, DecodeError> {
    let mut options = DecodeOptions::default();
    options.set_ignore_checksums(false);
    options.set_skip_ancillary_crc_failures(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_transformations(Transformations::IDENTITY);
    let header = decoder.read_header_info().map_err(flaw)?;
    let (width, height) = sizes(header.width as usize, header.height as usize)?;
    let mut reader = decoder.read_info().map_err(flaw)?;
    let length = reader.output_buffer_size().ok_or_else(|| {
        DecodeError::new("a PNG that fits into memory", format!("{width}x{height}"))
    })?;
    // Besides, a few rows and the decompressor's window.
    probe(length.saturating_add(width * height * 3 + 8 * length / height + (1 << 20)))?;
    let mut data = zeros(length)?;
    let frame = reader.next_frame(&mut data).map_err(flaw)?;
    let palette = reader.info().palette.clone().unwrap_or_default();
    let mut pixels = room(width * height * 3)?;
    for row in data.chunks_exact(frame.line_size).take(height) {
        spread(row, width, frame.color_type, frame.bit_depth, &palette, &mut pixels);
    }
    let orientation = orient.then(|| {
        // EXIF data may follow the picture; errors in it are ignored.
        let _ = reader.finish();
        reader.info().exif_metadata.as_deref().and_then(orientation)
    });
    Ok(Decoded { width, height, pixels, orientation: orientation.flatten() })
}

/// Appends one row of `width` pixels as RGB.
fn spread(
    row: &[u8],
    width: usize,
    color: ColorType,
    depth: BitDepth,
    palette: &[u8],
    out: &mut Vec<u8>,
) {
    let grey = |value: u8| [value; 3];
    let wide = depth == BitDepth::Sixteen;
    match color {
        ColorType::Grayscale if wide => {
            out.extend(row.chunks_exact(2).flat_map(|pair| grey(pair[0])));
        }
        ColorType::Grayscale => {
            let scale = u8::MAX / (u8::MAX >> (8 - depth as u8));
            out.extend(samples(row, depth).take(width).flat_map(|value| grey(value * scale)));
        }
        ColorType::GrayscaleAlpha => {
            let size = if wide { 4 } else { 2 };
            out.extend(row.chunks_exact(size).flat_map(|pixel| grey(pixel[0])));
        }
        ColorType::Indexed => out.extend(samples(row, depth).take(width).flat_map(|index| {
            let entry = palette.chunks_exact(3).nth(usize::from(index));
            entry.map_or([0; 3], |entry| [entry[0], entry[1], entry[2]])
        })),
        ColorType::Rgb if !wide => out.extend_from_slice(row),
        ColorType::Rgb => {
            out.extend(row.chunks_exact(6).flat_map(|pixel| [pixel[0], pixel[2], pixel[4]]));
        }
        ColorType::Rgba if !wide => {
            out.extend(row.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]));
        }
        ColorType::Rgba => {
            out.extend(row.chunks_exact(8).flat_map(|pixel| [pixel[0], pixel[2], pixel[4]]));
        }
    }
}

/// The samples of a row of 1, 2, 4 or 8 bits, the high bits of each byte first.
fn samples(row: &[u8], depth: BitDepth) -> impl Iterator<Item = u8> {
    let bits = depth as u8;
    let each = 8 / bits;
    let mask = u8::MAX >> (8 - bits);
    row.iter()
        .flat_map(move |&byte| (0..each).rev().map(move |place| (byte >> (place * bits)) & mask))
}

#[allow(clippy::needless_pass_by_value)]
fn flaw(error: DecodingError) -> DecodeError {
    let expected = "a complete, undamaged PNG file";
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::new(expected, "a truncated file")
        }
        error => DecodeError::new(expected, error.to_string()),
    }
}
