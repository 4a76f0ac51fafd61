//! The products of transformed tiles and weights.

use std::hint::black_box;
use std::ops::Range;

use super::super::super::memory::Target;
use super::super::super::simd::{Kernel, Simd};
use super::super::gemm::{Ahead, accumulate, every_tile, most};
use super::place::Inputs;
use super::weights::Transformed;

/// Multiplies transformed tiles with a panel of weights, point by point.
pub(super) struct Multiply<'a> {
    pub weights: &'a Transformed,
    pub panel: usize,
    pub inputs: Inputs<'a>,
    pub tiles: Range<usize>,
    /// For each tile the points, for each point the outputs.
    pub products: Target<'a>,
    /// Numbers from a tile to the next.
    pub stride: usize,
}

/// Some tiles at one point: their inputs, the weights, what to prefetch, and where the products go.
#[derive(Clone, Copy)]
struct Rows {
    inputs: *const f32,
    weights: *const f32,
    ahead: Ahead,
    products: *mut f32,
}

/// The same, of words that are pairs of bfloat16.
pub(super) struct Pairs<'a>(pub Multiply<'a>);

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.all::<S, 1>(s);
    }
}

impl Kernel for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.0.all::<S, 2>(s);
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn all<S: Simd, const FACTORS: usize>(&self, s: S) {
        let (vectors, depth) = (self.weights.vectors(self.panel), self.weights.depth());
        let width = vectors * S::LANES;
        let points = self.weights.tile.points();
        let start = self.panel * self.weights.width() * points * depth;
        let numbers = &self.weights.numbers.as_slice()[start..][..width * points * depth];
        let count = self.tiles.len();
        let groups = count.div_ceil(S::ROWS[vectors - 1]);
        let bytes = width * size_of::<f32>();
        for point in 0..points {
            let weights = numbers[point * width * depth..][..width * depth].as_ptr();
            let next = weights.wrapping_add(width * depth).cast::<u8>();
            let mut row = 0;
            for group in 0..groups {
                let rows = count / groups + usize::from(group < count % groups);
                let from = point * self.inputs.point + (self.tiles.start + row) * self.inputs.row;
                let to = row * self.stride + point * width;
                let place = Rows {
                    inputs: self.inputs.numbers.at(from, (rows - 1) * self.inputs.row + depth),
                    weights,
                    ahead: Ahead {
                        next: next.wrapping_add(bytes * depth / groups * group),
                        step: bytes / groups,
                    },
                    products: self.products.at(to, (rows - 1) * self.stride + width),
                };
                self.tile_of::<S, FACTORS>(s, (rows, vectors), place);
                row += rows;
            }
        }
    }

    #[inline(always)]
    fn tile_of<S: Simd, const FACTORS: usize>(&self, s: S, size: (usize, usize), rows: Rows) {
        macro_rules! tile {
            ($($vectors:literal: $($rows:literal)*;)*) => {
                match size {
                    $($(($rows, $vectors) if $rows <= most::<S, FACTORS>($vectors) => {
                        self.tile::<S, $rows, $vectors, FACTORS>(s, rows);
                    })*)*
                    _ => unreachable!("a tile has at most {:?} rows", S::ROWS),
                }
            };
        }
        every_tile!(tile);
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize, const FACTORS: usize>(
        &self,
        s: S,
        rows: Rows,
    ) {
        let mut starts = [rows.inputs; R];
        for (at, start) in starts.iter_mut().enumerate() {
            *start = rows.inputs.wrapping_add(at * self.inputs.row);
        }
        // Else each address would be computed from the one before in every step.
        let starts = black_box(starts);
        let sums = [[s.splat(0.0); V]; R];
        let (depth, mut ahead) = (self.weights.depth(), rows.ahead);
        // SAFETY: `run` checked all rows; a point of a panel has `V` vectors for each input.
        let sums = unsafe {
            accumulate::<S, R, V, FACTORS>(s, sums, &starts, depth, rows.weights, &mut ahead)
        };
        for (at, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                // SAFETY: `run` checked all rows of products, which are the thread's own.
                unsafe { s.store(rows.products.add(at * self.stride + vector * S::LANES), sum) };
            }
        }
    }
}
