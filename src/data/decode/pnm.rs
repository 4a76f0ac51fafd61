//! PBM, PGM and PPM, as text (P1 to P3) or bytes (P4 to P6).
//!
//! | kind | RGB, as Pillow's |
//! |---|---|
//! | P1, P4 | 1 is black, 0 white |
//! | P2, P5 | value / maximum * 255, rounded half to even, three times |
//! | P3, P6 | the same of each colour |
//!
//! 16-bit grey is scaled as 16-bit colours are, where Pillow's `convert` would make it white. Of several pictures in a
//! file the first is read.

use super::decoded::{DecodeError, Decoded, sizes};
use crate::memory::room;

const EXPECTED: &str = "a complete, undamaged PBM, PGM or PPM file";

/// Whether the file begins as one of these.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    matches!(bytes, [b'P', b'1'..=b'6', next, ..] if next.is_ascii_whitespace() || *next == b'#')
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let kind = bytes[1] - b'0';
    let mut text = Text { bytes, at: 2 };
    let width = text.number()?;
    let height = text.number()?;
    let (width, height) = sizes(width, height)?;
    let bits = kind == 1 || kind == 4;
    let most = if bits { 1 } else { text.number()? };
    if !(1..=65_535).contains(&most) {
        return Err(DecodeError::new("a maximum value of 1 to 65535", most.to_string()));
    }
    let channels = if kind == 3 || kind == 6 { 3 } else { 1 };
    let mut out = room(width * height * 3)?;
    let scaled: Vec<u8> = (0..=most)
        .map(|value| (value as f64 / most as f64 * 255.0).round_ties_even() as u8)
        .collect();
    // Values may exceed the maximum in the header.
    let mut put =
        |value: usize| out.extend(std::iter::repeat_n(scaled[value.min(most)], 3 / channels));
    let count = width * height * channels;
    match kind {
        1 => (0..count).try_for_each(|_| text.bit().map(|bit| put(1 - bit)))?,
        2 | 3 => (0..count).try_for_each(|_| text.number().map(&mut put))?,
        _ => {
            // One character after the last number, whatever it is.
            let data = bytes.get(text.at + 1..).ok_or_else(cut)?;
            let line = if bits { width.div_ceil(8) } else { width * channels };
            let line = if most > 255 { line * 2 } else { line };
            if data.len() < line * height {
                return Err(cut());
            }
            for row in data.chunks_exact(line).take(height) {
                match most {
                    1 if bits => (0..width).for_each(|x| {
                        put(usize::from(!row[x / 8] >> (7 - x % 8) & 1));
                    }),
                    256.. => row.as_chunks().0.iter().for_each(|&pair| {
                        put(usize::from(u16::from_be_bytes(pair)));
                    }),
                    _ => row.iter().for_each(|&value| put(usize::from(value))),
                }
            }
        }
    }
    Ok(Decoded { width, height, pixels: out, orientation: None })
}

/// Numbers separated by white space and comments.
struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Text<'_> {
    /// Skips white space and comments.
    fn skip(&mut self) -> Result<u8, DecodeError> {
        let mut comment = false;
        loop {
            match *self.bytes.get(self.at).ok_or_else(cut)? {
                b'\n' | b'\r' => comment = false,
                _ if comment => {}
                b'#' => comment = true,
                byte if byte.is_ascii_whitespace() || byte == 0x0b => {}
                byte => return Ok(byte),
            }
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<usize, DecodeError> {
        let first = self.skip()?;
        let (start, mut number) = (self.at, 0_usize);
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            number = number.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start {
            return Err(DecodeError::new(
                EXPECTED,
                format!("byte {first:02x} in the place of a number"),
            ));
        }
        Ok(number)
    }

    /// 0 or 1, which need no space between them.
    fn bit(&mut self) -> Result<usize, DecodeError> {
        let byte = self.skip()?;
        self.at += 1;
        match byte {
            b'0' => Ok(0),
            b'1' => Ok(1),
            _ => {
                Err(DecodeError::new(EXPECTED, format!("byte {byte:02x} in the place of a 0 or 1")))
            }
        }
    }
}

fn cut() -> DecodeError {
    DecodeError::new(EXPECTED, "a truncated file")
}
