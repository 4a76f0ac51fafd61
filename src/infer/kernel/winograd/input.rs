//! The transform of inputs.

use std::ops::Range;

use super::super::super::form::Form;
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

/// The same, where the transformed inputs are rounded to pairs of bfloat16.
pub(super) struct Rounded<'a, const NR: usize, const NC: usize>(pub Transform<'a, NR, NC>);

impl<const NR: usize, const NC: usize> Kernel for Transform<'_, NR, NC> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.run.conv.forms.0 {
            Form::BFloat16 => self.all::<S, 2, 1>(s),
            Form::Float32 | Form::Byte(_) => self.all::<S, 1, 1>(s),
        }
    }
}

impl<const NR: usize, const NC: usize> Kernel for Rounded<'_, NR, NC> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.0.run.conv.forms.0 {
            Form::BFloat16 => self.0.all::<S, 2, 2>(s),
            Form::Float32 | Form::Byte(_) => self.0.all::<S, 1, 2>(s),
        }
    }
}

impl<const NR: usize, const NC: usize> Transform<'_, NR, NC> {
    /// Transforms all tiles. Words of the input and of what is written have so many numbers.
    #[inline(always)]
    fn all<S: Simd, const READ: usize, const WRITTEN: usize>(&self, s: S) {
        let Range { start, end } = self.channels;
        let mut place = Place::new(self.run.conv, self.tiles.start);
        for at in 0..self.tiles.len() {
            let pixels = self.pixels(&place);
            place.advance();
            let row = (self.first + at) * self.inputs.row;
            let mut channel = start;
            while channel + S::LANES <= end {
                self.vector::<S, READ, WRITTEN, true>(s, &pixels, row, channel, S::LANES);
                channel += S::LANES;
            }
            if channel < end {
                self.vector::<S, READ, WRITTEN, false>(s, &pixels, row, channel, end - channel);
            }
        }
    }

    /// The addresses of a tile's pixels; those outside of the image are zeros.
    #[inline(always)]
    fn pixels(&self, place: &Place) -> [[*const f32; NC]; NR] {
        let Run { conv, x, input, before, .. } = self.run;
        let (row, column) = place.outputs();
        let form = conv.forms.0;
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
                    let at = form.words(input.at(place.image, y, column));
                    *pixel = x.at(at, form.words(channels));
                }
            }
        }
        pixels
    }

    #[inline(always)]
    fn vector<S: Simd, const READ: usize, const WRITTEN: usize, const WHOLE: bool>(
        &self,
        s: S,
        pixels: &[[*const f32; NC]; NR],
        row_of_tile: usize,
        channel: usize,
        count: usize,
    ) {
        let count = if WHOLE { S::LANES } else { count };
        let mut columns = [[s.splat(0.0); NC]; NR];
        for column in 0..NC {
            let mut numbers = [s.splat(0.0); NR];
            for row in 0..NR {
                let pixel = pixels[row][column];
                // SAFETY: pixels have `count` channels from this one on, which are whole words.
                numbers[row] = unsafe {
                    match READ {
                        2 => s.load_halves(pixel.cast::<u16>().wrapping_add(channel), count),
                        _ => s.load_up_to(pixel.wrapping_add(channel), count),
                    }
                };
            }
            let numbers = Points::<NR>::input(s, numbers);
            for row in 0..NR {
                columns[row][column] = numbers[row];
            }
        }
        let point = self.inputs.point;
        let place = row_of_tile + channel / WRITTEN;
        let words = if WRITTEN == 2 { count / 2 } else { S::LANES };
        let mut to = self.inputs.numbers.at(place, (NR * NC - 1) * point + words);
        for row in 0..NR {
            let numbers = Points::<NC>::input(s, columns[row]);
            for column in 0..NC {
                // SAFETY: all places were checked; rows of float32 are padded to whole vectors. No other task writes there.
                unsafe {
                    match WRITTEN {
                        2 => s.store_halves(to.cast(), count, numbers[column]),
                        _ => s.store(to, numbers[column]),
                    }
                }
                to = to.wrapping_add(point);
            }
        }
    }
}
