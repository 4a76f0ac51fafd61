//! The transform of inputs.

use std::ops::Range;

use super::super::super::layout::Layout;
use super::super::super::simd::{Kernel, Simd};
use super::place::{Inputs, Place, Run};
use super::transform::Points;

/// Transforms inputs.
pub(super) struct Transform<'a, const NR: usize, const NC: usize> {
    pub run: Run<'a>,
    pub tiles: Range<usize>,
    pub channels: Range<usize>,
    pub inputs: Inputs<'a>,
    /// The place of the first tile among the transformed ones.
    pub first: usize,
}

impl<const NR: usize, const NC: usize> Kernel for Transform<'_, NR, NC> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Range { start, end } = self.channels;
        let mut place = Place::new(self.run.conv, self.tiles.start);
        for at in 0..self.tiles.len() {
            let pixels = self.pixels(&place);
            place.advance();
            let row = (self.first + at) * self.inputs.row;
            let mut channel = start;
            while channel + S::LANES <= end {
                self.vector::<S, true>(s, &pixels, row + channel, channel, S::LANES);
                channel += S::LANES;
            }
            if channel < end {
                self.vector::<S, false>(s, &pixels, row + channel, channel, end - channel);
            }
        }
    }
}

impl<const NR: usize, const NC: usize> Transform<'_, NR, NC> {
    /// The addresses of a tile's pixels; those outside of the image are zeros.
    #[inline(always)]
    fn pixels(&self, place: &Place) -> [[*const f32; NC]; NR] {
        let Run { conv, x, input, before, .. } = self.run;
        let (row, column) = place.outputs();
        let Layout { height, width, channels, .. } = input;
        let zeros = conv.weights.zeros.as_slice().as_ptr();
        let mut pixels = [[zeros; NC]; NR];
        for (y, pixels) in pixels.iter_mut().enumerate() {
            // Below zero, the row is larger than any image.
            let y = (row + y).wrapping_sub(before.0);
            if y >= height {
                continue;
            }
            for (x_, pixel) in pixels.iter_mut().enumerate() {
                let column = (column + x_).wrapping_sub(before.1);
                if column < width {
                    *pixel = x.at(input.at(place.image, y, column), channels);
                }
            }
        }
        pixels
    }

    #[inline(always)]
    fn vector<S: Simd, const WHOLE: bool>(
        &self,
        s: S,
        pixels: &[[*const f32; NC]; NR],
        place: usize,
        channel: usize,
        count: usize,
    ) {
        let mut columns = [[s.splat(0.0); NC]; NR];
        for column in 0..NC {
            let mut numbers = [s.splat(0.0); NR];
            for row in 0..NR {
                let pixel = pixels[row][column].wrapping_add(channel);
                // SAFETY: pixels have `count` channels from this one on, and vectors that are whole have as many lanes.
                numbers[row] =
                    unsafe { if WHOLE { s.load(pixel) } else { s.load_part(pixel, count) } };
            }
            let numbers = Points::<NR>::input(s, numbers);
            for row in 0..NR {
                columns[row][column] = numbers[row];
            }
        }
        let point = self.inputs.point;
        let mut to = self.inputs.numbers.at(place, (NR * NC - 1) * point + S::LANES);
        for row in 0..NR {
            let numbers = Points::<NC>::input(s, columns[row]);
            for column in 0..NC {
                // SAFETY: all places were checked; rows are padded to whole vectors. No other task writes there.
                unsafe { s.store(to, numbers[column]) };
                to = to.wrapping_add(point);
            }
        }
    }
}
