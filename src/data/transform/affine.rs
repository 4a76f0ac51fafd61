//! Shear, translation and rotation with nearest-neighbour sampling: each pixel is the source pixel at its centre, or
//! the fill.

use super::canvas::Canvas;
use super::enlarge::colour;
use crate::Result;
use crate::data::photo::{CHANNELS, Photo, View, no_room};
use crate::memory::room;

/// An affine map from a place (x, y) of the result to one of the source: a row for its x and one for its y, each with
/// the factors of x and y and the offset.
type Matrix = [[f64; 3]; 2];

/// Shears by factors of the distance from the upper left corner.
pub fn shear(canvas: &mut Canvas<'_>, factors: [f64; 2], fill: [u8; CHANNELS]) -> Result<()> {
    // torchvision converts to degrees and back, which rounds.
    let [x, y] = factors.map(|factor| factor.atan().to_degrees().to_radians());
    let down = (-y).sin() / y.cos();
    let across = (-y).cos() / y.cos();
    let matrix = [[-down * x.tan() + 1.0, across * x.tan(), 0.0], [-down, across, 0.0]];
    transform(canvas, matrix, fill)
}

pub fn translate(canvas: &mut Canvas<'_>, x: i64, y: i64, fill: [u8; CHANNELS]) -> Result<()> {
    transform(canvas, [[1.0, 0.0, -(x as f64)], [0.0, 1.0, -(y as f64)]], fill)
}

/// Rotates about the centre, counter-clockwise.
pub fn rotate(canvas: &mut Canvas<'_>, degrees: f64, fill: [u8; CHANNELS]) -> Result<()> {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    // Pillow rounds to 15 digits, so that right angles are exact.
    let [cos, sin] = [angle.cos(), angle.sin()].map(rounded);
    let (x, y) = (canvas.width() as f64 / 2.0, canvas.height() as f64 / 2.0);
    let matrix = [[cos, sin, cos * -x + sin * -y + x], [-sin, cos, -sin * -x + cos * -y + y]];
    transform(canvas, matrix, fill)
}

fn rounded(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

fn transform(canvas: &mut Canvas<'_>, matrix: Matrix, fill: [u8; CHANNELS]) -> Result<()> {
    let view = canvas.upright()?;
    let View { width, height, channels, .. } = view;
    let pixels = if let Some(walk) = fixed(matrix, width, height) {
        gather(view, walk, fill, |place| usize::try_from(place >> 16).ok())?
    } else {
        let walk = Walk {
            column: matrix.map(|[x, _, _]| x),
            row: matrix.map(|[_, y, _]| y),
            // In Pillow's order, which decides the last bit.
            start: matrix.map(|[x, y, moved]| moved + y * 0.5 + x * 0.5),
        };
        gather(view, walk, fill, |place| (place >= 0.0).then_some(place as usize))?
    };
    let photo = Photo::with_channels(width, height, channels, pixels)?;
    canvas.replace(photo);
    Ok(())
}

/// The source's (x, y) along the pixels of the result.
struct Walk<T> {
    /// The step from one column to the next.
    column: [T; 2],
    /// The step from one row to the next.
    row: [T; 2],
    /// The place of the first pixel.
    start: [T; 2],
}

/// In 16-bit fixed point, unless a place overflows it. Pillow does so for all maps but those that only scale and
/// translate.
fn fixed(matrix: Matrix, width: usize, height: usize) -> Option<Walk<i32>> {
    let (width, height) = (width as f64, height as f64);
    let fits = |(across, down): (f64, f64)| {
        matrix.iter().all(|[x, y, moved]| (x * across + y * down + moved).abs() < 32768.0)
    };
    let corners = [(0.0, 0.0), (width, height), (0.0, height), (width, 0.0)];
    let moved = matrix[0][1] == 0.0 && matrix[1][0] == 0.0;
    if moved || !corners.into_iter().all(fits) {
        return None;
    }
    let fix = |value: f64| (value * 65536.0 + 0.5).floor() as i32;
    Some(Walk {
        column: matrix.map(|[x, _, _]| fix(x)),
        row: matrix.map(|[_, y, _]| fix(y)),
        start: matrix.map(|[x, y, moved]| fix(moved + x * 0.5 + y * 0.5)),
    })
}

fn gather<T: Copy + Step>(
    view: View<'_>,
    Walk { column, row, mut start }: Walk<T>,
    fill: [u8; CHANNELS],
    index: impl Fn(T) -> Option<usize>,
) -> Result<Vec<u8>> {
    let View { width, height, channels, .. } = view;
    let fill = colour(fill, channels);
    let mut out = room(width * height * channels).map_err(no_room)?;
    let line = fill.repeat(width);
    (0..height).for_each(|_| out.extend_from_slice(&line));
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
    Ok(out)
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
