//! WebP.
//!
//! Lossy, lossless and extended files; alpha is dropped and the colours under it are kept, as Pillow does. An animation
//! gives its first frame.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::decoded::{DecodeError, Decoded, sizes};
use super::exif::orientation;
use crate::memory::{probe, room, zeros};

const EXPECTED: &str = "a complete, undamaged WebP file";

/// The most bytes that the decoder takes per pixel: colours twice, planes, alpha, and the result.
const BYTES: usize = 16;

pub(super) fn decode(bytes: &[u8], orient: bool) -> Result<Decoded, DecodeError> {
    check_length(bytes)?;
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(flaw)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = sizes(width as usize, height as usize)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    check_frames(bytes.get(12..).unwrap_or_default(), width, height)?;
    probe(width * height * BYTES + (1 << 20))?;
    let mut pixels = zeros(width * height * channels)?;
    decoder.read_image(&mut pixels).map_err(flaw)?;
    if channels == 4 {
        let mut colours = room(width * height * 3)?;
        colours.extend(pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]));
        pixels = colours;
    }
    decoder.set_memory_limit(bytes.len());
    // Errors in EXIF data are ignored.
    let exif = if orient { decoder.exif_metadata().ok().flatten() } else { None };
    Ok(Decoded { width, height, pixels, orientation: exif.as_deref().and_then(orientation) })
}

/// Refuses a frame that is larger than the picture, before the decoder allocates it.
fn check_frames(mut chunks: &[u8], width: usize, height: usize) -> Result<(), DecodeError> {
    while let Some((head, rest)) = chunks.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let data = &rest[..length.min(rest.len())];
        let size = match (&head[..4], data) {
            (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
                let side = |low, high| usize::from(u16::from_le_bytes([low, high]) & 0x3fff);
                (side(*w0, *w1), side(*h0, *h1))
            }
            (b"VP8L", [0x2f, bits @ ..]) if bits.len() >= 4 => {
                let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
                ((bits & 0x3fff) as usize + 1, (bits >> 14 & 0x3fff) as usize + 1)
            }
            (b"ANMF", [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, frame @ ..]) => {
                check_frames(frame, width, height)?;
                (0, 0)
            }
            _ => (0, 0),
        };
        if size.0 > width || size.1 > height {
            let expected = format!("frames of at most {width}x{height}");
            return Err(DecodeError::new(expected, format!("{}x{}", size.0, size.1)));
        }
        chunks = rest.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    Ok(())
}

/// Checks the length in the file's header.
fn check_length(bytes: &[u8]) -> Result<(), DecodeError> {
    let length: [u8; 4] = bytes
        .get(4..8)
        .and_then(|length| length.try_into().ok())
        .ok_or_else(|| DecodeError::new(EXPECTED, "a truncated file"))?;
    let length = u64::from(u32::from_le_bytes(length)) + 8;
    if (bytes.len() as u64) < length {
        return Err(DecodeError::new(
            EXPECTED,
            format!("a truncated file, {} of {length} bytes", bytes.len()),
        ));
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value)]
fn flaw(error: DecodingError) -> DecodeError {
    DecodeError::new(EXPECTED, error.to_string())
}
