//! Operations that change each byte by itself, through a lookup table.

use super::canvas::Canvas;
use crate::{Error, Result};

/// Replaces each byte by `change` of it.
pub fn map(canvas: &mut Canvas<'_>, change: impl Fn(u8) -> u8) -> Result<()> {
    let table: [u8; 256] = std::array::from_fn(|byte| change(byte as u8));
    for byte in canvas.pixels_mut()? {
        *byte = table[usize::from(*byte)];
    }
    Ok(())
}

pub fn invert(canvas: &mut Canvas<'_>) -> Result<()> {
    map(canvas, |byte| 255 - byte)
}

pub fn posterize(canvas: &mut Canvas<'_>, bits: u32) -> Result<()> {
    if !(1..=8).contains(&bits) {
        return Err(Error::Argument {
            at: "posterize: bits".into(),
            expected: "1 to 8".into(),
            got: bits.to_string(),
        });
    }
    let kept = (0xff_u32 << (8 - bits)) as u8;
    map(canvas, |byte| byte & kept)
}

pub fn solarize(canvas: &mut Canvas<'_>, threshold: f64) -> Result<()> {
    map(canvas, |byte| if f64::from(byte) < threshold { byte } else { 255 - byte })
}

pub fn autocontrast(canvas: &mut Canvas<'_>) -> Result<()> {
    by_histogram(canvas, |counts| {
        let darkest = counts.iter().position(|&count| count > 0)?;
        let brightest = counts.iter().rposition(|&count| count > 0)?;
        if darkest == brightest {
            return None;
        }
        let scale = 255.0 / (brightest - darkest) as f64;
        let offset = -(darkest as f64) * scale;
        Some(std::array::from_fn(|byte| (byte as f64 * scale + offset) as u8))
    })
}

pub fn equalize(canvas: &mut Canvas<'_>) -> Result<()> {
    by_histogram(canvas, |counts| {
        let brightest = counts.iter().rposition(|&count| count > 0)?;
        let step = counts[..brightest].iter().sum::<usize>() / 255;
        if step == 0 {
            return None;
        }
        let mut sum = step / 2;
        Some(std::array::from_fn(|byte| {
            let level = sum / step;
            sum += counts[byte];
            level.min(255) as u8
        }))
    })
}

/// Changes each channel by the lookup table that `table_of` makes of its histogram, if any.
fn by_histogram(
    canvas: &mut Canvas<'_>,
    table_of: impl Fn(&[usize; 256]) -> Option<[u8; 256]>,
) -> Result<()> {
    let channels = canvas.channels();
    let pixels = canvas.pixels_mut()?;
    for channel in 0..channels {
        let mut counts = [0; 256];
        for byte in pixels.iter().skip(channel).step_by(channels) {
            counts[usize::from(*byte)] += 1;
        }
        let Some(table) = table_of(&counts) else { continue };
        for byte in pixels.iter_mut().skip(channel).step_by(channels) {
            *byte = table[usize::from(*byte)];
        }
    }
    Ok(())
}
