//! Scaled dot-product attention: softmax(q · kᵀ / √d) · v for each head, as two matrix products.

use std::ops::Range;

use super::super::form::Form;
use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;
use super::super::simd::{Element, Instructions, Kernel, SIDE, Simd, exp};
use super::gemm::{Rows, Store, Weights, multiply};
use super::pairs::{to_pairs, weave};
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
    /// Pairs of bfloat16 are for evenly many channels of queries.
    pub kind: (Instructions, Element),
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
        let (instructions, element) = self.kind;
        let is_paired = element == Element::BFloat16;
        // Words of a query, words of a row of shares, which are whole tiles of pairs, and numbers of one.
        let (deep, long, wide) = if is_paired {
            (self.depth / 2, keys.next_multiple_of(2 * SIDE) / 2, keys.next_multiple_of(2))
        } else {
            (self.depth, keys, keys)
        };
        // SAFETY: nobody writes to keys and values meanwhile.
        let key_at = |key: usize| unsafe { k.slice(place(&self.keys, key), self.depth) };
        // SAFETY: as above.
        let value_at = |key: usize| unsafe { v.slice(place(&self.values, key), self.width) };
        let transpose = |keys: Range<usize>, width: usize, packed: &mut [f32]| {
            let mut words = vec![0.0; deep];
            for (lane, key) in keys.enumerate() {
                if is_paired {
                    to_pairs(instructions, self.depth, key_at(key), &mut words);
                } else {
                    words.copy_from_slice(key_at(key));
                }
                for (row, number) in packed.chunks_exact_mut(width).zip(&words) {
                    row[lane] = *number;
                }
            }
        };
        let none = vec![0.0; self.width];
        let copy = |channels: Range<usize>, width: usize, packed: &mut [f32]| {
            let count = channels.len();
            for (row, packed) in packed.chunks_exact_mut(width).enumerate() {
                let packed = &mut packed[..count];
                if !is_paired {
                    packed.copy_from_slice(&value_at(row)[channels.clone()]);
                } else if 2 * row < keys {
                    // The word of an odd key has a zero.
                    let first = &value_at(2 * row)[channels.clone()];
                    let second = if 2 * row + 1 < keys { value_at(2 * row + 1) } else { &none[..] };
                    weave(instructions, first, &second[channels.clone()], packed);
                }
            }
        };
        // This is a task, so the pool leaves it the work.
        let transposed = Weights::pack(pool, self.kind, (keys, deep), &[], transpose)?;
        let mixed = Weights::pack(pool, self.kind, (self.width, long), &[], copy)?;
        let most = TOGETHER.min(queries);
        let mut shares = vec![0.0; most * wide];
        let (mut paired_queries, mut paired_shares) = if is_paired {
            (vec![0.0; most * deep], vec![0.0; most * long])
        } else {
            (Vec::new(), Vec::new())
        };
        let mut starts = Vec::with_capacity(TOGETHER);
        for first in (0..queries).step_by(TOGETHER) {
            let count = TOGETHER.min(queries - first);
            starts.clear();
            let query_at = |query: usize| place(&self.queries, first + query);
            if is_paired {
                for (query, words) in paired_queries.chunks_exact_mut(deep).take(count).enumerate()
                {
                    // SAFETY: nobody writes to the queries meanwhile.
                    let query = unsafe { q.slice(query_at(query), self.depth) };
                    to_pairs(instructions, self.depth, query, words);
                    starts.push(words.as_ptr());
                }
            } else {
                starts.extend((0..count).map(|query| q.at(query_at(query), deep)));
            }
            let store = floats(Target::from(&mut shares[..]), 0, wide);
            multiply(&transposed, 0..transposed.panels(), Rows::new(&starts, &[0], deep), store);
            for row in shares.chunks_exact_mut(wide).take(count) {
                instructions.run(Softmax { row: &mut row[..keys], scale });
            }
            starts.clear();
            if is_paired {
                let rows = paired_shares.chunks_exact_mut(long).take(count);
                for (row, words) in shares.chunks_exact(wide).zip(rows) {
                    to_pairs(instructions, wide, row, &mut words[..wide / 2]);
                    starts.push(words.as_ptr());
                }
            } else {
                starts.extend(shares.chunks_exact(wide).take(count).map(<[f32]>::as_ptr));
            }
            let output = &self.output;
            let place = image * output.image + first * output.pixel + head * self.width;
            let store = floats(y, place, output.pixel);
            multiply(&mixed, 0..mixed.panels(), Rows::new(&starts, &[0], long), store);
        }
        Ok(())
    }
}

/// Results as they are, in float32.
fn floats(target: Target<'_>, offset: usize, stride: usize) -> Store<'_> {
    let (residual, forms) = (None, Form::FLOATS);
    Store { target, offset, stride, residual, forms, function: None, rescale: None }
}

/// Softmax of a row times a scale, in place.
struct Softmax<'a> {
    row: &'a mut [f32],
    scale: f32,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { row, scale } = self;
        let scale = s.splat(scale);
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
                let power = exp(s, s.mul(scale, s.sub(s.load(numbers), largest)));
                sums = s.add(sums, power);
                s.store(numbers, power);
            }
        }
        let rest = vectors.into_remainder();
        let (numbers, count) = (rest.as_mut_ptr(), rest.len());
        // SAFETY: the rest has `count` numbers.
        unsafe {
            let power = exp(s, s.mul(scale, s.sub(s.load_part(numbers, count), largest)));
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
