//! Brightness, contrast, saturation and sharpness: blends of a photograph with a version that lacks them.

use super::canvas::Canvas;
use super::table::map;
use crate::Result;
use crate::data::photo::{CHANNELS, Photo, View, luma};

pub fn brightness(canvas: &mut Canvas<'_>, factor: f64) -> Result<()> {
    map(canvas, |byte| mix(0, byte, factor as f32))
}

pub fn contrast(canvas: &mut Canvas<'_>, factor: f64) -> Result<()> {
    let colour = canvas.channels() == CHANNELS;
    let pixels = canvas.pixels_mut()?;
    let (sum, count) = if colour {
        let (pixels, _) = pixels.as_chunks::<CHANNELS>();
        (pixels.iter().map(|&pixel| u64::from(luma(pixel))).sum::<u64>(), pixels.len())
    } else {
        (pixels.iter().map(|&byte| u64::from(byte)).sum(), pixels.len())
    };
    let mean = (sum as f64 / count as f64 + 0.5) as u8;
    map(canvas, |byte| mix(mean, byte, factor as f32))
}

pub fn saturation(canvas: &mut Canvas<'_>, factor: f64) -> Result<()> {
    if canvas.channels() == CHANNELS {
        let (pixels, _) = canvas.pixels_mut()?.as_chunks_mut::<CHANNELS>();
        for pixel in pixels {
            let grey = luma(*pixel);
            *pixel = pixel.map(|byte| mix(grey, byte, factor as f32));
        }
    }
    Ok(())
}

pub fn sharpness(canvas: &mut Canvas<'_>, factor: f64) -> Result<()> {
    let view = canvas.upright()?;
    let mut pixels = view.copied()?;
    let length = view.width * view.channels;
    // The outermost pixels have too few neighbours and stay.
    for row in 1..view.height.saturating_sub(1) {
        let (first, last) = (view.channels, length.saturating_sub(view.channels));
        let out = &mut pixels[row * length..][..length];
        for (place, byte) in out.iter_mut().enumerate().take(last).skip(first) {
            *byte = mix(smooth(view, row, place), *byte, factor as f32);
        }
    }
    let photo = Photo::with_channels(view.width, view.height, view.channels, pixels)?;
    canvas.replace(photo);
    Ok(())
}

/// The mean of nine pixels, the middle one with weight five. In Pillow's order, from below.
fn smooth(view: View<'_>, row: usize, place: usize) -> u8 {
    const SIDE: f32 = 1.0 / 13.0;
    const MIDDLE: f32 = 5.0 / 13.0;
    let mut sum = 0.5;
    for (row, middle) in [(row + 1, SIDE), (row, MIDDLE), (row - 1, SIDE)] {
        let at = |place: usize| f32::from(view.pixels[row * view.stride + place]);
        sum += at(place - view.channels) * SIDE
            + at(place) * middle
            + at(place + view.channels) * SIDE;
    }
    sum as u8
}

/// Linear interpolation: `from` where `factor` is 0, `to` where it is 1; beyond that, extrapolation.
fn mix(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    (from + factor * (to - from)) as u8
}
