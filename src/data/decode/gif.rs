//! GIF: the first frame, as Pillow shows it.
//!
//! A frame may be smaller than the picture: around it lies the colour of the frame's transparent index, else of index
//! 0. Transparency changes nothing else. Without any palette an index is a grey; an index past the palette's end is
//! black.

use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::decoded::{DecodeError, Decoded, sizes};
use crate::memory::{probe, room, zeros};

const EXPECTED: &str = "a complete, undamaged GIF file";

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(flaw)?;
    let screen = [decoder.width(), decoder.height()].map(usize::from);
    let frame = decoder.next_frame_info().map_err(flaw)?;
    let frame = frame.ok_or_else(|| DecodeError::new(EXPECTED, "no picture"))?;
    let [left, top, across, down] =
        [frame.left, frame.top, frame.width, frame.height].map(usize::from);
    let around = frame.transparent.unwrap_or(0);
    let own = frame.palette.clone();
    let (width, height) = sizes(screen[0].max(left + across), screen[1].max(top + down))?;
    sizes(across, down)?;
    let size = decoder.buffer_size();
    probe(size + (1 << 16))?;
    let mut indices = zeros::<u8>(size)?;
    decoder.read_into_buffer(&mut indices).map_err(flaw)?;
    let palette = own.as_deref().or(decoder.global_palette());
    let colour = |index: u8| match palette {
        None => [index; 3],
        Some(palette) => {
            let entry = palette.chunks_exact(3).nth(usize::from(index));
            entry.map_or([0; 3], |entry| [entry[0], entry[1], entry[2]])
        }
    };
    let table: Vec<[u8; 3]> = (0..=u8::MAX).map(colour).collect();
    let mut pixels = room(width * height * 3)?;
    for y in 0..height {
        let row = y.checked_sub(top).filter(|&row| row < down);
        let row = row.map(|row| &indices[row * across..][..across]);
        for x in 0..width {
            let inside = row.and_then(|row| row.get(x.checked_sub(left)?));
            pixels.extend(table[usize::from(*inside.unwrap_or(&around))]);
        }
    }
    Ok(Decoded { width, height, pixels, orientation: None })
}

#[allow(clippy::needless_pass_by_value)]
fn flaw(error: DecodingError) -> DecodeError {
    match error {
        DecodingError::UnexpectedEof => DecodeError::new(EXPECTED, "a truncated file"),
        DecodingError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::new(EXPECTED, "a truncated file")
        }
        error => DecodeError::new(EXPECTED, error.to_string()),
    }
}
