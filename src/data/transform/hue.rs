//! Hue shifts around the colour circle: to 8-bit hue, saturation and value, and back.

use super::canvas::Canvas;
use crate::data::photo::CHANNELS;
use crate::{Error, Result};

pub fn turn(canvas: &mut Canvas<'_>, factor: f64) -> Result<()> {
    if !(-0.5..=0.5).contains(&factor) {
        return Err(Error::Argument {
            at: "hue: factor".into(),
            expected: "-0.5 to 0.5".into(),
            got: factor.to_string(),
        });
    }
    // Grey has no hue.
    if canvas.channels() == CHANNELS {
        let by = (factor * 255.0) as i32 as u8;
        let (pixels, _) = canvas.pixels_mut()?.as_chunks_mut::<CHANNELS>();
        for pixel in pixels {
            let [hue, saturation, value] = to_hsv(*pixel);
            *pixel = to_rgb([hue.wrapping_add(by), saturation, value]);
        }
    }
    Ok(())
}

/// Pillow mixes 32-bit and 64-bit floats here; which is which decides the last bit.
fn to_hsv([red, green, blue]: [u8; CHANNELS]) -> [u8; CHANNELS] {
    let value = red.max(green).max(blue);
    let least = red.min(green).min(blue);
    if value == least {
        return [0, 0, value];
    }
    let range = f32::from(value - least);
    let distance = |colour: u8| f32::from(value - colour) / range;
    let (to_red, to_green, to_blue) = (distance(red), distance(green), distance(blue));
    let sixths = if red == value {
        to_blue - to_green
    } else if green == value {
        (2.0 + f64::from(to_red) - f64::from(to_blue)) as f32
    } else {
        (4.0 + f64::from(to_green) - f64::from(to_red)) as f32
    };
    let hue = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
    let saturation = range / f32::from(value);
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, value]
}

fn to_rgb([hue, saturation, value]: [u8; CHANNELS]) -> [u8; CHANNELS] {
    if saturation == 0 {
        return [value; CHANNELS];
    }
    let sixths = f64::from(hue) * 6.0 / 255.0;
    let sector = sixths.floor();
    let part = (sixths - sector) as f32;
    let saturation = (f64::from(saturation) / 255.0) as f32;
    let less = |by: f64| (f64::from(value) * (1.0 - by)).round() as u8;
    let low = less(f64::from(saturation));
    let falling = less(f64::from(saturation * part));
    let rising = less(f64::from(saturation) * (1.0 - f64::from(part)));
    match sector as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}
