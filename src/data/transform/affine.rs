//! Shears, moves and turns: each pixel is the one source pixel that its centre comes from, or the fill.

use super::canvas::Canvas;
use super::enlarge::colour;
use crate::Result;
use crate::data::photo::{CHANNELS, Photo, View};

/// From a place (x, y) of the result to a place of the source: (a x + b y + c, d x + e y + f).
type Matrix = [f64; 6];

/// By factors of the distance from the upper left corner.
pub fn shear(canvas: &mut Canvas<'_>, factors: [f64; 2], fill: [u8; CHANNELS]) -> Result<()> {
    // torchvision goes through degrees, which rounds.
    let [x, y] = factors.map(|factor| factor.atan().to_degrees().to_radians());
    let down = (-y).sin() / y.cos();
    let across = (-y).cos() / y.cos();
    let matrix = [-down * x.tan() + 1.0, across * x.tan(), 0.0, -down, across, 0.0];
    transform(canvas, matrix, fill)
}

pub fn translate(canvas: &mut Canvas<'_>, x: i64, y: i64, fill: [u8; CHANNELS]) -> Result<()> {
    transform(canvas, [1.0, 0.0, -(x as f64), 0.0, 1.0, -(y as f64)], fill)
}

/// About the middle, counter-clockwise.
pub fn rotate(canvas: &mut Canvas<'_>, degrees: f64, fill: [u8; CHANNELS]) -> Result<()> {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    // Pillow rounds to 15 digits, so that right angles are exact.
    let [cos, sin] = [angle.cos(), angle.sin()].map(|value| rounded(value));
    let (x, y) = (canvas.width() as f64 / 2.0, canvas.height() as f64 / 2.0);
    let matrix = [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y];
    transform(canvas, matrix, fill)
}

fn rounded(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

fn transform(canvas: &mut Canvas<'_>, matrix: Matrix, fill: [u8; CHANNELS]) -> Result<()> {
    let view = canvas.upright()?;
    let View { width, height, channels, .. } = view;
    let pixels = if let Some(fixed) = fixed(matrix, width, height) {
        gather(view, fixed, fill, |place| usize::try_from(place >> 16).ok())
    } else {
        let [a, b, c, d, e, f] = matrix;
        let start = [c + b * 0.5 + a * 0.5, f + e * 0.5 + d * 0.5];
        let inside = |place: f64| (place >= 0.0).then_some(place as usize);
        gather(view, ([a, d], [b, e], start), fill, inside)
    };
    let photo = Photo::with_channels(width, height, channels, pixels)?;
    canvas.replace(photo);
    Ok(())
}

/// The source's (x, y): from one column to the next, from one row to the next, and of the first pixel.
type Walk<T> = ([T; 2], [T; 2], [T; 2]);

/// In 16-bit fixed point, where no place overflows it. Pillow walks so unless nothing but a scale or a move is asked for.
fn fixed([a, b, c, d, e, f]: Matrix, width: usize, height: usize) -> Option<Walk<i32>> {
    let (width, height) = (width as f64, height as f64);
    let fits =
        |x: f64, y: f64| (a * x + b * y + c).abs() < 32768.0 && (d * x + e * y + f).abs() < 32768.0;
    let corners = [(0.0, 0.0), (width, height), (0.0, height), (width, 0.0)];
    let moved = b == 0.0 && d == 0.0;
    if moved || !corners.into_iter().all(|(x, y)| fits(x, y)) {
        return None;
    }
    let fix = |value: f64| (value * 65536.0 + 0.5).floor() as i32;
    let start = [c + a * 0.5 + b * 0.5, f + d * 0.5 + e * 0.5];
    Some(([fix(a), fix(d)], [fix(b), fix(e)], start.map(fix)))
}

fn gather<T: Copy + Step>(
    view: View<'_>,
    (column, row, mut start): Walk<T>,
    fill: [u8; CHANNELS],
    index: impl Fn(T) -> Option<usize>,
) -> Vec<u8> {
    let View { width, height, channels, .. } = view;
    let fill = colour(fill, channels);
    let mut out = fill.repeat(width * height);
    for out in out.chunks_exact_mut(width * channels) {
        let [mut x, mut y] = start;
        for out in out.chunks_exact_mut(channels) {
            if let Some(left) = index(x).filter(|&left| left < width)
                && let Some(top) = index(y).filter(|&top| top < height)
            {
                let place = top * view.stride + left * channels;
                out.copy_from_slice(&view.pixels[place..place + channels]);
            }
            x = x.step(column[0]);
            y = y.step(column[1]);
        }
        start = [start[0].step(row[0]), start[1].step(row[1])];
    }
    out
}

/// Addition that never panics; what leaves the range lies outside the photograph anyway.
trait Step {
    fn step(self, by: Self) -> Self;
}

impl Step for i32 {
    fn step(self, by: Self) -> Self {
        self.wrapping_add(by)
    }
}

impl Step for f64 {
    fn step(self, by: Self) -> Self {
        self + by
    }
}
