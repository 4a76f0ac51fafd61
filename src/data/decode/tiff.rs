//! TIFF: the first picture of the file.
//!
//! | kind | RGB, as Pillow's |
//! |---|---|
//! | grey, 1, 2, 4 or 8 bits, black or white as 0 | spread over 0 to 255, three times; alpha dropped |
//! | palette, 1, 2, 4 or 8 bits | the high byte of the entry |
//! | colour, 8 bits | as it is; alpha dropped, and divided out where colours were multiplied by it |
//! | CMYK, 8 bits | ink by ink |
//! | YCbCr, 8 bits, not subsampled outside JPEG | by ITU-R 601, full range |
//! | all of these but palettes in 16 bits | the high byte |
//!
//! In strips or tiles, planar or not; uncompressed or by LZW, Deflate, PackBits or JPEG. 16-bit grey is scaled as
//! colours are, where Pillow's `convert` would make it white. Other kinds are refused, and so is the thumbnail at the
//! start of a camera's raw file.

use std::borrow::Cow;
use std::io::Cursor;

use tiff::decoder::{Decoder, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::bmp::spread;
use super::decoded::{DecodeError, Decoded, sizes};
use super::exif::Directory;
use super::jpeg::{Markers, mixed, rgb_of};
use crate::data::photo::MAX_SIDE;
use crate::memory::{copied, probe, room, zeros};

const EXPECTED: &str = "a complete, undamaged TIFF file";

const PHOTOMETRIC: u16 = 262;
const WHITE_IS_ZERO: u32 = 0;
const BLACK_IS_ZERO: u8 = 1;
const PALETTE: u32 = 3;
const JPEG: u16 = 7;
const UNSIGNED: u16 = 1;
const UNDEFINED: u16 = 4;
const ASSOCIATED_ALPHA: u16 = 1;
const DNG_VERSION: u16 = 50_706;
/// The most bytes that the decoder takes for each value of an entry.
const OF_VALUE: usize = 64;
/// More channels than any kind has, with alpha and masks.
const MOST_SAMPLES: u16 = 16;

pub(super) fn is_one(bytes: &[u8]) -> bool {
    matches!(bytes, [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..])
}

type File<'a> = Decoder<Cursor<&'a [u8]>>;

pub(super) fn decode(bytes: &[u8], orient: bool) -> Result<Decoded, DecodeError> {
    let directory =
        Directory::of(bytes).ok_or_else(|| DecodeError::new(EXPECTED, "no directory"))?;
    let values = directory.most_values();
    if values > bytes.len() {
        return Err(DecodeError::new(EXPECTED, format!("an entry of {values} values")));
    }
    probe(values * OF_VALUE)?;
    let photometric = directory.number(PHOTOMETRIC);
    // The decoder supports no palettes, and inverts only some greys. Greys with black as 0 come out as they are stored.
    let bytes = match (photometric, directory.place(PHOTOMETRIC)) {
        (Some(WHITE_IS_ZERO | PALETTE), Some(place)) => {
            let mut bytes = copied(bytes)?;
            bytes[place] = BLACK_IS_ZERO;
            Cow::Owned(bytes)
        }
        _ => Cow::Borrowed(bytes),
    };
    let mut limits = Limits::default();
    limits.intermediate_buffer_size = bytes.len();
    let mut file = Decoder::new(Cursor::new(&*bytes)).map_err(flaw)?.with_limits(limits);
    let (width, height) = file.dimensions().map_err(flaw)?;
    let (width, height) = sizes(width as usize, height as usize)?;
    check(&mut file, &bytes)?;
    let color = file.colortype().map_err(flaw)?;
    let samples = usize::from(color.num_samples());
    let bits = usize::from(color.bit_depth());
    let supported = match color {
        ColorType::Gray(16) => photometric != Some(PALETTE),
        ColorType::Gray(1 | 2 | 4 | 8)
        | ColorType::RGB(8 | 16)
        | ColorType::RGBA(8 | 16)
        | ColorType::CMYK(8 | 16)
        | ColorType::CMYKA(8 | 16)
        | ColorType::YCbCr(8)
        | ColorType::Multiband { bit_depth: 8 | 16, num_samples: 2 } => true,
        _ => false,
    };
    if !supported {
        let expected = "a TIFF file of grey, palette, RGB, CMYK or YCbCr in 8 or 16 bits";
        return Err(DecodeError::new(expected, format!("{color:?}")));
    }
    let layout = file.image_buffer_layout().map_err(flaw)?;
    let mut data = zeros::<u8>(layout.complete_len)?;
    file.read_image_bytes(&mut data).map_err(flaw)?;
    let stride = layout.row_stride.map_or(0, usize::from);
    let plane = layout.plane_stride.map_or(0, usize::from);
    let mut pixels = room(width * height * 3)?;
    let orientation = file.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten();
    let orientation = orientation.filter(|_| orient);
    if bits < 8 || photometric == Some(PALETTE) {
        let inverted = photometric == Some(WHITE_IS_ZERO);
        let palette = match photometric {
            Some(PALETTE) => palette(&mut file, 1 << bits)?,
            _ => greys(1 << bits, inverted),
        };
        for row in data.chunks_exact(stride).take(height) {
            spread(row, width, bits, &palette, &mut pixels);
        }
        return Ok(Decoded { width, height, pixels, orientation });
    }
    let extra = file.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).ok().flatten();
    let associated = extra.is_some_and(|extra| extra.first() == Some(&ASSOCIATED_ALPHA));
    let planar = layout.planes > 1;
    let size = bits / 8;
    let sample = |row: usize, column: usize, channel: usize| {
        let at = if planar {
            channel * plane + row * stride + column * size
        } else {
            row * stride + (column * samples + channel) * size
        };
        match size {
            1 => data[at],
            _ => (u16::from_ne_bytes([data[at], data[at + 1]]) >> 8) as u8,
        }
    };
    for row in 0..height {
        for column in 0..width {
            let value = |channel| sample(row, column, channel);
            pixels.extend(match color {
                ColorType::RGBA(_) if associated => {
                    [0, 1, 2].map(|channel| divided(value(channel), value(3)))
                }
                ColorType::RGB(_) | ColorType::RGBA(_) => [0, 1, 2].map(value),
                ColorType::CMYK(_) | ColorType::CMYKA(_) => {
                    mixed([0, 1, 2].map(value), u8::MAX - value(3))
                }
                ColorType::YCbCr(_) => rgb_of([0, 1, 2].map(value)),
                _ if photometric == Some(WHITE_IS_ZERO) => [u8::MAX - value(0); 3],
                _ => [value(0); 3],
            });
        }
    }
    Ok(Decoded { width, height, pixels, orientation })
}

/// Refuses files that the decoder would read wrongly.
fn check(file: &mut File<'_>, bytes: &[u8]) -> Result<(), DecodeError> {
    let formats = file.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).map_err(flaw)?;
    if let Some(format) =
        formats.into_iter().flatten().find(|format| ![UNSIGNED, UNDEFINED].contains(format))
    {
        let got = if format == 3 { "floating-point numbers" } else { "signed or complex numbers" };
        return Err(DecodeError::new("a TIFF file of whole numbers from 0 on", got));
    }
    if file.find_tag(Tag::Unknown(DNG_VERSION)).ok().flatten().is_some() {
        return Err(DecodeError::new("a TIFF file", "a camera's raw file (DNG)"));
    }
    if file.find_tag_unsigned::<u16>(Tag::FillOrder).ok().flatten() == Some(2) {
        return Err(DecodeError::new(
            "a TIFF file whose bytes begin with the high bit",
            "fill order 2",
        ));
    }
    let samples = file.find_tag_unsigned::<u16>(Tag::SamplesPerPixel).ok().flatten().unwrap_or(1);
    let (across, _) = file.chunk_dimensions();
    if samples > MOST_SAMPLES || across as usize > MAX_SIDE {
        let expected =
            format!("parts of at most {MAX_SIDE} pixels across and {MOST_SAMPLES} channels");
        return Err(DecodeError::new(expected, format!("{across} and {samples}")));
    }
    // Memory for a row of a strip or tile.
    probe(across as usize * usize::from(samples) * 2 + (1 << 20))?;
    if file.find_tag_unsigned::<u16>(Tag::Compression).ok().flatten() == Some(JPEG) {
        check_parts(file, bytes)?;
    }
    Ok(())
}

/// Checks that each JPEG in the file is whole and of the size of its strip or tile.
fn check_parts(file: &mut File<'_>, bytes: &[u8]) -> Result<(), DecodeError> {
    let mut offsets = None;
    for tag in [Tag::StripOffsets, Tag::TileOffsets] {
        offsets = offsets.or(file.find_tag_unsigned_vec::<u64>(tag).map_err(flaw)?);
    }
    let (across, _) = file.chunk_dimensions();
    for (part, offset) in offsets.into_iter().flatten().enumerate() {
        let (_, down) = file.chunk_data_dimensions(part as u32);
        let start = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
        let survey = Markers::new(start.unwrap_or_default())?;
        let (width, height) = survey.size.unwrap_or_default();
        let (_, most) = file.chunk_dimensions();
        if u32::from(width) != across || !(down..=most.max(down)).contains(&u32::from(height)) {
            let expected = format!("JPEG parts of {across}x{down} pixels");
            return Err(DecodeError::new(expected, format!("{width}x{height}")));
        }
        probe(usize::from(width) * usize::from(height) * 16)?;
    }
    Ok(())
}

fn palette(file: &mut File<'_>, entries: usize) -> Result<Vec<[u8; 3]>, DecodeError> {
    let map = file.find_tag_unsigned_vec::<u16>(Tag::ColorMap).map_err(flaw)?.unwrap_or_default();
    if map.len() != 3 * entries {
        let expected = format!("a palette of {entries} colours");
        return Err(DecodeError::new(expected, format!("{} numbers", map.len())));
    }
    let color = |entry| [0, 1, 2].map(|channel| (map[channel * entries + entry] >> 8) as u8);
    Ok((0..entries).map(color).collect())
}

/// A grey palette from black to white, or from white to black.
fn greys(count: usize, inverted: bool) -> Vec<[u8; 3]> {
    let grey = |index: usize| (index * 255 / (count - 1)) as u8;
    (0..count).map(|index| [grey(if inverted { count - 1 - index } else { index }); 3]).collect()
}

/// A colour with its alpha divided out.
fn divided(color: u8, alpha: u8) -> u8 {
    (u32::from(color) * 255).checked_div(u32::from(alpha)).unwrap_or(0).min(255) as u8
}

#[allow(clippy::needless_pass_by_value)]
fn flaw(error: TiffError) -> DecodeError {
    match error {
        TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::new(EXPECTED, "a truncated file")
        }
        error => DecodeError::new(EXPECTED, error.to_string()),
    }
}
