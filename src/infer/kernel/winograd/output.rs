//! The transform of products to outputs.

use std::ops::Range;

use super::super::super::form::Form;
use super::super::super::layout::Layout;
use super::super::super::memory::Target;
use super::super::super::simd::{Kernel, Simd};
use super::super::conv::Residual;
use super::super::gemm::{apply, clamp, is_clamp};
use super::super::numbers::read;
use super::place::{Place, Run};
use super::transform::Points;

/// Transforms products back, and stores a panel of outputs.
pub(super) struct Finish<'a, const NR: usize, const MR: usize, const NC: usize, const MC: usize> {
    pub run: Run<'a>,
    pub panel: usize,
    pub tiles: Range<usize>,
    pub products: Target<'a>,
    pub stride: usize,
}

/// The same, where the outputs are rounded to bfloat16.
pub(super) struct Narrow<'a, const NR: usize, const MR: usize, const NC: usize, const MC: usize>(
    pub Finish<'a, NR, MR, NC, MC>,
);

impl<const NR: usize, const MR: usize, const NC: usize, const MC: usize> Kernel
    for Finish<'_, NR, MR, NC, MC>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.all::<S, 1>(s);
    }
}

impl<const NR: usize, const MR: usize, const NC: usize, const MC: usize> Kernel
    for Narrow<'_, NR, MR, NC, MC>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.0.all::<S, 2>(s);
    }
}

impl<const NR: usize, const MR: usize, const NC: usize, const MC: usize>
    Finish<'_, NR, MR, NC, MC>
{
    /// Finishes all tiles. Words of the output have so many numbers.
    #[inline(always)]
    fn all<S: Simd, const WRITTEN: usize>(&self, s: S) {
        let vectors = self.run.conv.weights.vectors(self.panel);
        let mut place = Place::new(self.run.conv, self.tiles.start);
        for at in 0..self.tiles.len() {
            for vector in 0..vectors {
                let products = self.products.at(at * self.stride, NR * NC * vectors * S::LANES);
                let products = products.wrapping_add(vector * S::LANES);
                let column = self.panel * self.run.conv.weights.width() + vector * S::LANES;
                self.tile::<S, WRITTEN>(s, &place, (products, vectors * S::LANES), column);
            }
            place.advance();
        }
    }

    /// One vector of a tile's outputs, from products that are `step` numbers apart.
    #[inline(always)]
    fn tile<S: Simd, const WRITTEN: usize>(
        &self,
        s: S,
        place: &Place,
        (products, step): (*const f32, usize),
        column: usize,
    ) {
        let mut lines = [[s.splat(0.0); NC]; MR];
        for at in 0..NC {
            let mut numbers = [s.splat(0.0); NR];
            for (row, number) in numbers.iter_mut().enumerate() {
                // SAFETY: `run` checked the products of the tile.
                *number = unsafe { s.load(products.add((row * NC + at) * step)) };
            }
            let numbers = Points::<NR>::output::<S, MR>(s, numbers);
            for row in 0..MR {
                lines[row][at] = numbers[row];
            }
        }
        let Run { conv, y, residual, .. } = self.run;
        let count = S::LANES.min(conv.weights.outputs - column);
        // SAFETY: the biases are padded to whole vectors.
        let bias = unsafe { s.load(conv.weights.bias.as_slice()[column..].as_ptr()) };
        let (low, high) = clamp(conv.function);
        let (low, high) = (s.splat(low), s.splat(high));
        let (image, (row, first)) = (place.image, place.outputs());
        let rows = MR.min(conv.output.height - row);
        let columns = MC.min(conv.output.width - first);
        for at in 0..MR {
            if at >= rows {
                break;
            }
            let outputs = Points::<NC>::output::<S, MC>(s, lines[at]);
            let line = |layout: &Layout, form: Form| {
                let begin = layout.at(image, row + at, first) + column;
                (form.words(begin), form.words((columns - 1) * layout.pixel + count))
            };
            let (begin, len) = line(&conv.output, conv.forms.1);
            let to = y.at(begin, len);
            let other = residual.map(|Residual { source, layout, form }| {
                let (begin, len) = line(&layout, form);
                (source.at(begin, len), form, layout.pixel)
            });
            for x in 0..MC {
                if x >= columns {
                    break;
                }
                let mut sum = s.add(outputs[x], bias);
                if let Some((other, form, pixel)) = other {
                    // SAFETY: `count` numbers of each pixel were checked.
                    sum = s.add(sum, unsafe { read(s, form, other, x * pixel, count) });
                }
                let sum = s.min(high, s.max(low, sum));
                let place = x * conv.output.pixel;
                // SAFETY: as above, and they are no other task's.
                unsafe {
                    match WRITTEN {
                        2 => {
                            s.store_halves(to.cast::<u16>().wrapping_add(place), count, sum);
                        }
                        _ => s.store_up_to(to.wrapping_add(place), count, sum),
                    }
                }
            }
        }
        let Some(function) = conv.function.filter(|function| !is_clamp(*function)) else { return };
        for at in 0..rows * columns {
            let (row, x) = (row + at / columns, first + at % columns);
            let (form, place) = (conv.forms.1, conv.output.at(image, row, x) + column);
            apply(s, function, form, y.of(form, place, count), count);
        }
    }
}
