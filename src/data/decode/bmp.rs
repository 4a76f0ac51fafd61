//! BMP.
//!
//! | bits of a pixel | RGB, as Pillow's |
//! |---|---|
//! | 1, 4, 8 | the palette's entry; an index past the end is black; 4 and 8 bits also run-length coded |
//! | 16, 32 | by the masks, else 5 bits each or 8 bits each; scaled to 0 to 255 and rounded down |
//! | 24 | as they are |
//!
//! Alpha is dropped. Rows may stand in either order; the header may be any from OS/2's on. Pixels that a run-length
//! code skips are the palette's first entry. JPEG and PNG inside a BMP are refused.

use super::decoded::{DecodeError, Decoded, sizes};
use crate::memory::{room, zeros};

const EXPECTED: &str = "a complete, undamaged BMP file";

/// The bytes before the header that says the size.
const FILE_HEADER: usize = 14;
/// The header of OS/2 1, whose numbers and palette are shorter.
const CORE: usize = 12;
const MASKS: usize = FILE_HEADER + 40;

/// The storage of a pixel.
enum Pixels {
    Palette,
    Runs,
    Colours([u32; 3]),
}

/// Whether the header is one of a BMP file: other files begin with the same two letters.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let known = |size| matches!(size, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124);
    bytes.starts_with(b"BM") && long(bytes, FILE_HEADER).is_ok_and(known)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let header = long(bytes, FILE_HEADER)? as usize;
    let after = FILE_HEADER + header;
    let start = long(bytes, 10)? as usize;
    let core = header == CORE;
    let (width, height, bits, compression) = if core {
        let (width, height) = (short(bytes, 18)?, short(bytes, 20)?);
        (i64::from(width), i64::from(height), short(bytes, 24)?, 0)
    } else {
        let side = |at| long(bytes, at).map(|side| i64::from(side.cast_signed()));
        let compression = if header < 40 { 0 } else { long(bytes, 30)? };
        (side(18)?, side(22)?, short(bytes, 28)?, compression)
    };
    let side = |side: i64| usize::try_from(side).unwrap_or(0);
    let (width, rows) = sizes(side(width), side(height.abs()))?;
    let pixels = match (compression, bits) {
        (0, 1 | 4 | 8) => Pixels::Palette,
        (1, 8) | (2, 4) => Pixels::Runs,
        (0, 16) => Pixels::Colours([0x7c00, 0x03e0, 0x001f]),
        (0, 24 | 32) => Pixels::Colours([0xff_0000, 0xff00, 0xff]),
        (3 | 6, 16 | 32) => {
            Pixels::Colours([long(bytes, MASKS)?, long(bytes, MASKS + 4)?, long(bytes, MASKS + 8)?])
        }
        _ => {
            let expected = "a BMP file of 1, 4, 8, 16, 24 or 32 bits, plain or run-length coded";
            return Err(DecodeError::new(
                expected,
                format!("{bits} bits, compression {compression}"),
            ));
        }
    };
    let bits = usize::from(bits);
    let data = bytes.get(start..).ok_or_else(cut)?;
    let palette = || -> Result<Vec<[u8; 3]>, DecodeError> {
        let used = if header < 40 { 0 } else { long(bytes, 46)? as usize };
        let entries = if used == 0 { 1 << bits } else { used.min(1 << bits) };
        let size = if core { 3 } else { 4 };
        let palette = bytes.get(after..).unwrap_or_default().chunks_exact(size).take(entries);
        Ok(palette.map(|entry| [entry[2], entry[1], entry[0]]).collect())
    };
    let mut out = room(width * rows * 3)?;
    let line = (width * bits).div_ceil(32) * 4;
    let upwards = height > 0;
    let row = |row: usize| if upwards { rows - 1 - row } else { row };
    match pixels {
        Pixels::Runs => {
            let palette = palette()?;
            let indices = runs(data, width, rows, bits == 4)?;
            for row in (0..rows).map(row) {
                spread(&indices[row * width..][..width], width, 8, &palette, &mut out);
            }
        }
        _ if data.len() < line * rows => return Err(cut()),
        Pixels::Palette => {
            let palette = palette()?;
            for row in (0..rows).map(row) {
                spread(&data[row * line..][..line], width, bits, &palette, &mut out);
            }
        }
        Pixels::Colours(masks) => {
            for row in (0..rows).map(row) {
                let line = &data[row * line..][..line];
                for pixel in line.chunks_exact(bits / 8).take(width) {
                    let value =
                        pixel.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
                    out.extend(masks.map(|mask| scaled(value, mask)));
                }
            }
        }
    }
    Ok(Decoded { width, height: rows, pixels: out, orientation: None })
}

/// The bits under the mask, as 0 to 255.
fn scaled(value: u32, mask: u32) -> u8 {
    let shift = mask.trailing_zeros() & 31;
    let (value, most) = ((value & mask) >> shift, mask >> shift);
    if most == 0 { 0 } else { (u64::from(value) * 255 / u64::from(most)) as u8 }
}

/// Appends the colours of a row of indices, the high bits of each byte first.
pub(super) fn spread(
    row: &[u8],
    width: usize,
    bits: usize,
    palette: &[[u8; 3]],
    out: &mut Vec<u8>,
) {
    let mask = u8::MAX >> (8 - bits);
    let places = (0..8 / bits).rev().map(|place| place * bits);
    let indices =
        row.iter().flat_map(|&byte| places.clone().map(move |place| byte >> place & mask));
    for index in indices.take(width) {
        out.extend(palette.get(usize::from(index)).unwrap_or(&[0; 3]));
    }
}

/// The indices decoded from run-length codes, the rows as they are stored.
fn runs(data: &[u8], width: usize, rows: usize, halves: bool) -> Result<Vec<u8>, DecodeError> {
    let mut indices = zeros::<u8>(width * rows)?;
    let (mut x, mut y, mut at) = (0, 0, 0);
    let index = |bytes: &[u8], place: usize| match (halves, place % 2) {
        (false, _) => bytes[place],
        (true, 0) => bytes[place / 2] >> 4,
        (true, _) => bytes[place / 2] & 15,
    };
    while y < rows {
        let code = data.get(at..at + 2).ok_or_else(cut)?;
        at += 2;
        let (count, bytes) = match (code[0], code[1]) {
            (0, 0) => {
                (x, y) = (0, y + 1);
                continue;
            }
            (0, 1) => break,
            (0, 2) => {
                let step = data.get(at..at + 2).ok_or_else(cut)?;
                (x, y, at) = (x + usize::from(step[0]), y + usize::from(step[1]), at + 2);
                continue;
            }
            (0, count) => {
                let count = usize::from(count);
                let length = if halves { count.div_ceil(2) } else { count };
                let bytes = data.get(at..at + length).ok_or_else(cut)?;
                at += length.next_multiple_of(2);
                (count, bytes)
            }
            (count, _) => (usize::from(count), &code[1..]),
        };
        let run = code[0] != 0;
        for place in 0..count.min(width.saturating_sub(x)) {
            // A run repeats its one byte.
            indices[y * width + x + place] =
                index(bytes, if run { place % 2 * usize::from(halves) } else { place });
        }
        x += count;
    }
    Ok(indices)
}

fn short(bytes: &[u8], at: usize) -> Result<u16, DecodeError> {
    let bytes = bytes.get(at..at + 2).ok_or_else(cut)?;
    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn long(bytes: &[u8], at: usize) -> Result<u32, DecodeError> {
    let bytes = bytes.get(at..at + 4).ok_or_else(cut)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn cut() -> DecodeError {
    DecodeError::new(EXPECTED, "a truncated file")
}
