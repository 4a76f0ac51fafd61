//! Scaled dot-product attention: softmax(q · kᵀ / √d) · v for each head, as two matrix products.

use std::ops::Range;

use super::super::form::Form;
use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::{Pool, part, rows_of};
use super::super::simd::{Element, Instructions, Kernel, Lent, SIDE, Simd, exp};
use super::gemm::{Rows, Store, Weights, multiply};
use super::numbers::fold;
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
    pub form: Form,
    /// Pairs of bfloat16 are for evenly many channels of queries.
    pub kind: (Instructions, Element),
}

/// The channels of every head in a value.
#[derive(Clone, Copy, Debug)]
pub(in crate::infer) struct Part {
    pub layout: Layout,
    /// That of the products, or float32.
    pub form: Form,
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
        // The last heads are two threads', who both prepare keys and values.
        let queries = self.queries.layout.pixels();
        let parts = queries.div_ceil(TOGETHER).max(1);
        pool.try_divide((batch * self.heads, parts), &|task, some| {
            let queries = rows_of(&(0..queries), 1, parts, &some);
            self.head(pool, (task / self.heads, task % self.heads), queries, [q, k, v], y)
        })
    }

    fn head(
        &self,
        pool: &Pool,
        (image, head): (usize, usize),
        queries: Range<usize>,
        [q, k, v]: [Source<'_>; 3],
        y: Target<'_>,
    ) -> Result<()> {
        let keys = self.keys.layout.pixels();
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
        let transpose = |keys: Range<usize>, width: usize, packed: &mut [f32]| {
            let mut own = vec![0.0; deep];
            for (lane, key) in keys.enumerate() {
                let words = self.words(k, &self.keys, place(&self.keys, key), &mut own);
                for (row, word) in packed.chunks_exact_mut(width).zip(words) {
                    row[lane] = *word;
                }
            }
        };
        let value_at = |key: usize| v.of(self.values.form, place(&self.values, key), self.width);
        let none = vec![0.0; self.width];
        let copy = |channels: Range<usize>, width: usize, packed: &mut [f32]| {
            let count = channels.len();
            for (row, packed) in packed.chunks_exact_mut(width).enumerate() {
                let packed = &mut packed[..count];
                if !is_paired {
                    let first = place(&self.values, row) + channels.start;
                    // SAFETY: nobody writes to values meanwhile.
                    packed.copy_from_slice(unsafe { v.slice(first, count) });
                } else if 2 * row < keys {
                    // The word of an odd key has a zero.
                    let is_odd = 2 * row + 1 == keys;
                    let second = if is_odd { none.as_ptr() } else { value_at(2 * row + 1) };
                    let pair = [value_at(2 * row), second];
                    // SAFETY: both have all channels, or are zeros.
                    unsafe { weave(instructions, self.values.form, pair, channels.start, packed) };
                }
            }
        };
        // This is a task, so the pool leaves it the work.
        let transposed = Weights::pack(pool, self.kind, (keys, deep), &[], transpose)?;
        let mixed = Weights::pack(pool, self.kind, (self.width, long), &[], copy)?;
        let _held = transposed.tiles().map(Lent::of);
        let most = TOGETHER.min(queries.len());
        let mut shares = vec![0.0; most * wide];
        let mut paired_shares = vec![0.0; if is_paired { most * long } else { 0 }];
        let mut own = vec![0.0; most * deep];
        let mut starts = Vec::with_capacity(TOGETHER);
        let blocks = queries.len().div_ceil(TOGETHER);
        for block in (0..blocks).map(|block| part(queries.len(), block, blocks)) {
            let (first, count) = (queries.start + block.start, block.len());
            starts.clear();
            for (query, own) in own.chunks_exact_mut(deep).take(count).enumerate() {
                let place = place(&self.queries, first + query);
                starts.push(self.words(q, &self.queries, place, own).as_ptr());
            }
            let target = Target::from(&mut shares[..]);
            let store = stored(target, (0, wide), Form::Float32);
            multiply(&transposed, 0..transposed.panels(), Rows::new(&starts, &[0], deep), store);
            let mut pairs = paired_shares.chunks_exact_mut(long);
            starts.clear();
            for row in shares.chunks_exact_mut(wide).take(count) {
                let row = &mut row[..keys];
                let words = pairs.next();
                starts.push(words.as_ref().map_or(row.as_ptr(), |words| words.as_ptr()));
                instructions.run_with(element, Softmax { row, scale, words });
            }
            let output = &self.output;
            let place = image * output.image + first * output.pixel + head * self.width;
            let store = stored(y, (place, output.pixel), self.form);
            multiply(&mixed, 0..mixed.panels(), Rows::new(&starts, &[0], long), store);
        }
        Ok(())
    }

    /// The words of a query or key, where they lie or converted into `own`.
    fn words<'a>(
        &self,
        source: Source<'a>,
        part: &Part,
        place: usize,
        own: &'a mut [f32],
    ) -> &'a [f32] {
        let (instructions, element) = self.kind;
        let from = source.of(part.form, place, self.depth);
        // SAFETY: they have `depth` numbers of that form, to which nobody writes meanwhile.
        let words = unsafe { std::slice::from_raw_parts(from, part.form.words(self.depth)) };
        if part.form.suits(element) {
            return words;
        }
        to_pairs(instructions, self.depth, words, own);
        own
    }
}

/// Results as they are, in a form.
fn stored(target: Target<'_>, (offset, stride): (usize, usize), form: Form) -> Store<'_> {
    let forms = (Form::Float32, form);
    Store { target, offset, stride, residual: None, forms, function: None, rescale: None }
}

/// Softmax of a row times a scale, in place or as words of pairs.
struct Softmax<'a> {
    row: &'a mut [f32],
    scale: f32,
    words: Option<&'a mut [f32]>,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { row, scale, words } = self;
        let scale = s.splat(scale);
        // NaN may be lost here, but then the powers are NaN.
        let mut most = s.splat(f32::NEG_INFINITY);
        let vectors = row.chunks_exact(S::LANES);
        let rest = vectors.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for vector in vectors {
            // SAFETY: the slice is a vector.
            most = s.max(most, unsafe { s.load(vector.as_ptr()) });
        }
        let largest = s.splat(fold(s.numbers(most, f32::NEG_INFINITY), f32::max).max(rest));
        let mut sums = s.splat(0.0);
        for part in row.chunks_mut(S::LANES) {
            let (numbers, count) = (part.as_mut_ptr(), part.len());
            // SAFETY: the slice has `count` numbers; lanes without one become zeros.
            unsafe {
                let power = exp(s, s.mul(scale, s.sub(s.load_up_to(numbers, count), largest)));
                s.store_up_to(numbers, count, power);
                let power = if count < S::LANES { s.load_part(numbers, count) } else { power };
                sums = s.add(sums, power);
            }
        }
        let share = s.splat(1.0 / fold(s.numbers(sums, 0.0), |a, b| a + b));
        let Some(words) = words else {
            for part in row.chunks_mut(S::LANES) {
                let (numbers, count) = (part.as_mut_ptr(), part.len());
                // SAFETY: the slice has `count` numbers.
                unsafe {
                    let shares = s.mul(share, s.load_up_to(numbers, count));
                    s.store_up_to(numbers, count, shares);
                }
            }
            return;
        };
        for (part, words) in row.chunks(2 * S::LANES).zip(words.chunks_mut(S::LANES)) {
            let (first, second) = part.split_at(part.len().min(S::LANES));
            // SAFETY: the slices have so many numbers; as many words as they fill are written.
            unsafe {
                let [first, second] = [first, second]
                    .map(|part| s.mul(share, s.load_up_to(part.as_ptr(), part.len())));
                let count = part.len().div_ceil(2).min(words.len());
                s.store_up_to(words.as_mut_ptr(), count, s.pairs(first, second));
            }
        }
    }
}
