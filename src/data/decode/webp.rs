//! WebP.
//!
//! Lossy, lossless and extended files; alpha is dropped and the colours under it are kept, as Pillow
//! does. Of an animation it is the first frame.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::exif::orientation;
use super::{Decoded, Flaw, sizes};

const EXPECTED: &str = "a whole and sound WebP file";

pub(super) fn decode(bytes: &[u8], apply_orientation: bool) -> Result<Decoded, Flaw> {
    check_length(bytes)?;
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(flaw)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = sizes(width as usize, height as usize)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; width * height * channels];
    decoder.read_image(&mut pixels).map_err(flaw)?;
    if channels == 4 {
        pixels = pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    }
    let exif = if apply_orientation { decoder.exif_metadata().map_err(flaw)? } else { None };
    Ok(Decoded { width, height, pixels, orientation: exif.as_deref().and_then(orientation) })
}

/// The file says in its head how long it is.
fn check_length(bytes: &[u8]) -> Result<(), Flaw> {
    let length: [u8; 4] = bytes
        .get(4..8)
        .and_then(|length| length.try_into().ok())
        .ok_or_else(|| Flaw::new(EXPECTED, "a file that is cut short"))?;
    let length = u64::from(u32::from_le_bytes(length)) + 8;
    if (bytes.len() as u64) < length {
        return Err(Flaw::new(
            EXPECTED,
            format!("a file that is cut short, {} of {length} bytes", bytes.len()),
        ));
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value)]
fn flaw(error: DecodingError) -> Flaw {
    Flaw::new(EXPECTED, error.to_string())
}
