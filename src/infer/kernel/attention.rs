//! Scaled dot-product attention: softmax(q · kᵀ / √d) · v for each head, as two matrix products.

use std::ops::Range;

use super::super::form::Form;
use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;
use super::super::simd::Element;
use super::super::simd::{Instructions, Kernel, Simd, exp};
use super::gemm::{Rows, Store, Weights, multiply};
use crate::error::Result;

/// Heads of attention; each reads its own part of the channels.
#[derive(Debug)]
pub(in crate::infer) struct Attention {
    pub heads: usize,
    /// Channels of a head's queries and keys, and of its values.
    pub depth: usize,
    pub width: usize,
    /// Where a head's queries, keys and values begin, and how many channels further on those of the next head do.
    pub queries: Part,
    pub keys: Part,
    pub values: Part,
    pub output: Layout,
    pub instructions: Instructions,
}

/// The channels of every head in a value.
#[derive(Clone, Copy, Debug)]
pub(in crate::infer) struct Part {
    pub layout: Layout,
    pub first: usize,
    pub step: usize,
}

/// Queries that are multiplied together.
const TOGETHER: usize = 96;

impl Attention {
    pub fn run(
        &self,
        pool: &Pool,
        batch: usize,
        [q, k, v]: [Source<'_>; 3],
        y: Target<'_>,
    ) -> Result<()> {
        pool.try_run(batch * self.heads, &|task| {
            self.head(pool, (task / self.heads, task % self.heads), [q, k, v], y)
        })
    }

    fn head(
        &self,
        pool: &Pool,
        (image, head): (usize, usize),
        [q, k, v]: [Source<'_>; 3],
        y: Target<'_>,
    ) -> Result<()> {
        let (queries, keys) = (self.queries.layout.pixels(), self.keys.layout.pixels());
        let place = |part: &Part, pixel: usize| {
            image * part.layout.image + pixel * part.layout.pixel + part.first + head * part.step
        };
        let scale = 1.0 / (self.depth as f32).sqrt();
        let transpose = |keys: Range<usize>, width: usize, packed: &mut [f32]| {
            for (lane, key) in keys.enumerate() {
                // SAFETY: nobody writes to the keys meanwhile.
                let key = unsafe { k.slice(place(&self.keys, key), self.depth) };
                for (row, number) in packed.chunks_exact_mut(width).zip(key) {
                    row[lane] = number * scale;
                }
            }
        };
        let copy = |channels: Range<usize>, width: usize, packed: &mut [f32]| {
            for (key, row) in packed.chunks_exact_mut(width).enumerate() {
                let begin = place(&self.values, key) + channels.start;
                // SAFETY: as above.
                row[..channels.len()].copy_from_slice(unsafe { v.slice(begin, channels.len()) });
            }
        };
        let instructions = self.instructions;
        // This is a task, so the pool leaves it the work.
        let plain = (instructions, Element::Float32);
        let transposed = Weights::pack(pool, plain, (keys, self.depth), &[], transpose)?;
        let mixed = Weights::pack(pool, plain, (self.width, keys), &[], copy)?;
        let mut shares = vec![0.0; TOGETHER.min(queries) * keys];
        let mut starts = Vec::with_capacity(TOGETHER);
        for first in (0..queries).step_by(TOGETHER) {
            let count = TOGETHER.min(queries - first);
            starts.clear();
            starts.extend(
                (first..first + count).map(|at| q.at(place(&self.queries, at), self.depth)),
            );
            let store = Store {
                target: Target::from(&mut shares[..]),
                offset: 0,
                stride: keys,
                residual: None,
                forms: Form::FLOATS,
                function: None,
                rescale: None,
            };
            let rows = Rows::new(&starts, &[0], self.depth);
            multiply(&transposed, 0..transposed.panels(), rows, store);
            for row in shares.chunks_exact_mut(keys).take(count) {
                self.instructions.run(Softmax(row));
            }
            starts.clear();
            starts.extend(shares.chunks_exact(keys).take(count).map(<[f32]>::as_ptr));
            let output = &self.output;
            let store = Store {
                target: y,
                offset: image * output.image + first * output.pixel + head * self.width,
                stride: output.pixel,
                residual: None,
                forms: Form::FLOATS,
                function: None,
                rescale: None,
            };
            let rows = Rows::new(&starts, &[0], keys);
            multiply(&mixed, 0..mixed.panels(), rows, store);
        }
        Ok(())
    }
}

/// Softmax of a row, in place.
struct Softmax<'a>(&'a mut [f32]);

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let row = self.0;
        let vectors = row.chunks_exact(S::LANES);
        // NaN may be lost here, but then the powers are NaN.
        let mut most = s.splat(f32::NEG_INFINITY);
        let mut largest = vectors.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for vector in vectors {
            // SAFETY: the slice is a vector.
            most = s.max(most, unsafe { s.load(vector.as_ptr()) });
        }
        largest = s.numbers(most, f32::NEG_INFINITY).into_iter().fold(largest, f32::max);
        let largest = s.splat(largest);
        let mut sums = s.splat(0.0);
        let mut vectors = row.chunks_exact_mut(S::LANES);
        for vector in &mut vectors {
            let numbers = vector.as_mut_ptr();
            // SAFETY: the slice is a vector.
            unsafe {
                let power = exp(s, s.sub(s.load(numbers), largest));
                sums = s.add(sums, power);
                s.store(numbers, power);
            }
        }
        let rest = vectors.into_remainder();
        let (numbers, count) = (rest.as_mut_ptr(), rest.len());
        // SAFETY: the rest has `count` numbers.
        unsafe {
            let power = exp(s, s.sub(s.load_part(numbers, count), largest));
            s.store_part(numbers, count, power);
        }
        let sum: f32 = s.numbers(sums, 0.0).iter().chain(rest.iter()).sum();
        let share = s.splat(1.0 / sum);
        let mut vectors = row.chunks_exact_mut(S::LANES);
        for vector in &mut vectors {
            let numbers = vector.as_mut_ptr();
            // SAFETY: the slice is a vector.
            unsafe { s.store(numbers, s.mul(share, s.load(numbers))) };
        }
        let rest = vectors.into_remainder();
        let (numbers, count) = (rest.as_mut_ptr(), rest.len());
        // SAFETY: the rest has `count` numbers.
        unsafe { s.store_part(numbers, count, s.mul(share, s.load_part(numbers, count))) };
    }
}
