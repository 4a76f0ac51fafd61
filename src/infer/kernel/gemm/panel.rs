//! Products of blocks of rows and panels of weights, one panel after the other.

use std::ops::Range;
use std::ptr::null;

use super::super::super::form::Form;
use super::super::super::layout::LINE;
use super::super::super::memory::Source;
use super::super::super::simd::{Kernel, Simd, activate};
use super::super::numbers::{read, write};
use super::rows::{Next, Rescale, Rows, Store};
use super::weights::{Panel, Weights};
use crate::graph::op::Function;

/// A product of words of so many factors.
pub(super) struct Multiply<'a, const FACTORS: usize> {
    pub weights: &'a Weights,
    pub numbers: Source<'a>,
    pub panels: Range<usize>,
    pub rows: Rows<'a>,
    pub store: Store<'a>,
}

impl<'a, const FACTORS: usize> Multiply<'a, FACTORS> {
    /// Rows and one panel.
    #[inline(always)]
    pub fn block(&self, rows: Rows<'a>, panel: Panel) -> Block<'a> {
        let Panel { column, width, start } = panel;
        Block {
            rows,
            store: self.store,
            panel,
            weights: self.numbers.at(start, width * self.weights.depth),
            bias: self.weights.bias(column),
            columns: self.weights.columns - column,
        }
    }
}

impl<const FACTORS: usize> Kernel for Multiply<'_, FACTORS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let panels = &self.weights.panels[self.panels.clone()];
        for (at, panel) in panels.iter().enumerate() {
            let next = self.rows.next.part(at, panels.len());
            self.block(Rows { next, ..self.rows }, *panel).run::<S, FACTORS>(simd);
        }
    }
}

/// Calls a macro with the rows of all tiles, by their vectors; `Simd::ROWS` says which of them stay in registers.
macro_rules! every_tile {
    ($tile:ident) => {
        $tile! {
            1: 1 2 3 4 5 6 7 8 9 10 11 12;
            2: 1 2 3 4 5 6 7 8 9 10 11 12;
            3: 1 2 3 4 5 6 7 8;
            4: 1 2 3 4 5 6;
        }
    };
}
pub(in super::super) use every_tile;

const LINE_BYTES: usize = LINE * size_of::<f32>();

/// Weights that come next, to be fetched a step of so many bytes at a time.
#[derive(Clone, Copy)]
pub(in super::super) struct Ahead {
    pub next: *const u8,
    pub step: usize,
}

/// The sum of `c` and the products of words `a` and `b` of so many factors.
#[inline(always)]
pub(super) fn added<S: Simd, const FACTORS: usize>(
    s: S,
    a: S::Vector,
    b: S::Vector,
    c: S::Vector,
) -> S::Vector {
    match FACTORS {
        4 => s.dot_quads(a, b, c),
        2 => s.dot_pairs(a, b, c),
        _ => s.fma(a, b, c),
    }
}

/// Adds to sums the products of `depth` words of each row with as many rows of weights.
///
/// # Safety
/// `depth` words must be readable at each row, and `depth` times V vectors of weights.
#[inline(always)]
pub(in super::super) unsafe fn accumulate<
    S: Simd,
    const R: usize,
    const V: usize,
    const FACTORS: usize,
>(
    s: S,
    mut sums: [[S::Vector; V]; R],
    rows: &[*const f32; R],
    depth: usize,
    mut weights: *const f32,
    ahead: &mut Ahead,
) -> [[S::Vector; V]; R] {
    for k in 0..depth {
        s.prefetch(ahead.next.cast());
        if ahead.step > LINE_BYTES {
            s.prefetch(ahead.next.wrapping_add(LINE_BYTES).cast());
            if V > 2 && ahead.step > 2 * LINE_BYTES {
                s.prefetch(ahead.next.wrapping_add(2 * LINE_BYTES).cast());
                s.prefetch(ahead.next.wrapping_add(3 * LINE_BYTES).cast());
            }
        }
        ahead.next = ahead.next.wrapping_add(ahead.step);
        let mut columns = [s.splat(0.0); V];
        for (vector, columns) in columns.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *columns = unsafe { s.load(weights.add(vector * S::LANES)) };
        }
        for (sums, row) in sums.iter_mut().zip(rows) {
            // SAFETY: the caller's promise.
            let number = s.splat(unsafe { *row.add(k) });
            for (sum, columns) in sums.iter_mut().zip(columns) {
                *sum = added::<S, FACTORS>(s, number, columns, *sum);
            }
        }
        weights = weights.wrapping_add(V * S::LANES);
    }
    sums
}

/// The most rows of a tile of so many vectors; only panels of float32 are wider than two.
pub(in super::super) const fn most<S: Simd, const FACTORS: usize>(vectors: usize) -> usize {
    if FACTORS > 1 && vectors > 2 { 0 } else { S::ROWS[vectors - 1] }
}

/// One panel and a block of rows.
pub(super) struct Block<'a> {
    pub rows: Rows<'a>,
    pub store: Store<'a>,
    pub panel: Panel,
    pub weights: *const f32,
    bias: *const f32,
    /// The columns from the panel's first to the last of all.
    pub columns: usize,
}

impl Block<'_> {
    #[inline(always)]
    fn run<S: Simd, const FACTORS: usize>(&self, simd: S) {
        let count = self.rows.starts.len();
        let most = S::ROWS[self.panel.width / S::LANES - 1];
        let tiles = count.div_ceil(most);
        let (each, larger) = (count / tiles.max(1), count % tiles.max(1));
        // The panel that follows, or what else comes next, is fetched while this one is multiplied.
        let depth = self.rows.segments.len() * self.rows.length;
        let panel_len = depth * self.panel.width;
        let mut first = 0;
        for tile in 0..tiles {
            let rows = each + usize::from(tile < larger);
            let ahead = if self.rows.next.bytes > 0 {
                let Next { start, bytes } = self.rows.next.part(tile, tiles);
                Ahead { next: start, step: bytes.div_ceil(depth) }
            } else {
                let next = self.weights.wrapping_add(panel_len + panel_len / tiles * tile);
                Ahead { next: next.cast(), step: self.panel.width * size_of::<f32>() / tiles }
            };
            self.tile_of::<S, FACTORS>(simd, first, rows, ahead);
            first += rows;
        }
        self.activate(simd, 0..count);
    }

    #[inline(always)]
    fn tile_of<S: Simd, const FACTORS: usize>(
        &self,
        s: S,
        first: usize,
        rows: usize,
        ahead: Ahead,
    ) {
        macro_rules! tile {
            ($($vectors:literal: $($rows:literal)*;)*) => {
                match (self.panel.width / S::LANES, rows) {
                    $($(($vectors, $rows) if $rows <= most::<S, FACTORS>($vectors) => {
                        self.tile::<S, $rows, $vectors, FACTORS>(s, first, ahead);
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
        first: usize,
        mut ahead: Ahead,
    ) {
        let mut sums = [self.first_sums::<S, V, FACTORS>(s); R];
        let mut weights = self.weights;
        for &segment in self.rows.segments {
            let mut row = [null(); R];
            for (at, row) in row.iter_mut().enumerate() {
                *row = self.rows.starts[first + at].wrapping_offset(segment);
            }
            // SAFETY: whoever gave the rows promises their segments, which count the panel's rows.
            sums = unsafe {
                accumulate::<S, R, V, FACTORS>(s, sums, &row, self.rows.length, weights, &mut ahead)
            };
            weights = weights.wrapping_add(self.rows.length * V * S::LANES);
        }
        self.put::<S, R, V, FACTORS>(s, first, sums);
    }

    /// Stores the sums of rows from `first` on.
    #[inline(always)]
    pub(super) fn put<S: Simd, const R: usize, const V: usize, const FACTORS: usize>(
        &self,
        s: S,
        first: usize,
        sums: [[S::Vector; V]; R],
    ) {
        match &self.store.rescale {
            Some(rescale) if FACTORS == 4 => self.rescale(s, first, sums, rescale),
            _ => self.store::<S, R, V, FACTORS>(s, first, sums),
        }
    }

    /// The biases, from which sums begin.
    #[inline(always)]
    pub(super) fn first_sums<S: Simd, const V: usize, const FACTORS: usize>(
        &self,
        s: S,
    ) -> [S::Vector; V] {
        let mut sums = [s.splat(0.0); V];
        // A word of zeros is the integer 0, to which the rescaling adds what is to be added.
        if FACTORS != 4 {
            for (vector, bias) in sums.iter_mut().enumerate() {
                // SAFETY: the biases are padded to whole vectors.
                *bias = unsafe { s.load(self.bias.add(vector * S::LANES)) };
            }
        }
        sums
    }

    #[inline(always)]
    pub(super) fn rescale<S: Simd, const R: usize, const V: usize>(
        &self,
        s: S,
        first: usize,
        sums: [[S::Vector; V]; R],
        rescale: &Rescale<'_>,
    ) {
        let Rescale { residual: factor, bounds: (low, high), .. } = *rescale;
        let (added, form) = self.store.forms;
        let (low, high, factor) = (s.splat(low), s.splat(high), s.splat(factor));
        let (store, column) = (&self.store, self.panel.column);
        let width = V * S::LANES;
        let [scale, shift] =
            [rescale.scale, rescale.shift].map(|of| Source::from(of).at(column, width));
        let (mut scales, mut shifts) = ([s.splat(0.0); V], [s.splat(0.0); V]);
        for vector in 0..V {
            // SAFETY: scales and shifts are padded to whole vectors, as was checked.
            (scales[vector], shifts[vector]) = unsafe {
                (s.load(scale.add(vector * S::LANES)), s.load(shift.add(vector * S::LANES)))
            };
        }
        let within = self.columns.min(width);
        for (at, sums) in sums.into_iter().enumerate() {
            let place = store.offset + (first + at) * store.stride + column;
            for (vector, sum) in sums.into_iter().enumerate() {
                let lane = vector * S::LANES;
                let count = S::LANES.min(within - lane);
                let mut value = s.fma(s.of_integers(sum), scales[vector], shifts[vector]);
                if let Some((source, offset, stride)) = store.residual {
                    let place = offset + (first + at) * stride + column + lane;
                    // SAFETY: `count` numbers are checked.
                    let number = unsafe {
                        match added {
                            Form::Byte(_) => s.load_bytes(source.bytes_at(place, count), count),
                            _ => s.load_up_to(source.at(place, count), count),
                        }
                    };
                    value = s.fma(number, factor, value);
                }
                // SAFETY: `count` numbers are checked.
                unsafe {
                    if let Form::Byte(_) = form {
                        let value = s.min(s.max(value, low), high);
                        s.store_bytes(store.target.bytes_at(place + lane, count), count, value);
                    } else {
                        // NaN passes through both bounds.
                        let value = s.min(high, s.max(low, value));
                        s.store_up_to(store.target.at(place + lane, count), count, value);
                    }
                }
            }
        }
    }

    #[inline(always)]
    pub(super) fn store<S: Simd, const R: usize, const V: usize, const FACTORS: usize>(
        &self,
        s: S,
        first: usize,
        sums: [[S::Vector; V]; R],
    ) {
        let (low, high) = clamp(self.store.function);
        let (low, high) = (s.splat(low), s.splat(high));
        let store = &self.store;
        let (added, form) = if FACTORS == 1 { Form::FLOATS } else { store.forms };
        let within = self.columns.min(V * S::LANES);
        for (at, sums) in sums.into_iter().enumerate() {
            let place = store.offset + (first + at) * store.stride + self.panel.column;
            let to = store.target.of(form, place, within);
            let residual = store.residual.map(|(source, offset, stride)| {
                source.of(added, offset + (first + at) * stride + self.panel.column, within)
            });
            for (vector, sum) in sums.into_iter().enumerate() {
                let lane = vector * S::LANES;
                let count = S::LANES.min(within - lane);
                // SAFETY: of the target and the residual, `within` numbers were checked above.
                unsafe {
                    let sum = match residual {
                        Some(residual) => s.add(sum, read(s, added, residual, lane, count)),
                        None => sum,
                    };
                    write(s, form, to, (lane, count), s.min(high, s.max(low, sum)));
                }
            }
        }
    }

    /// Applies a function that is no clamp to what was stored of some rows, while it is in the cache.
    #[inline(always)]
    pub(super) fn activate<S: Simd>(&self, s: S, rows: Range<usize>) {
        let Some(function) = self.store.function.filter(|function| !is_clamp(*function)) else {
            return;
        };
        let within = self.columns.min(self.panel.width);
        for row in rows {
            let place = self.store.offset + row * self.store.stride + self.panel.column;
            let form = self.store.forms.1;
            apply(s, function, form, self.store.target.of(form, place, within), within);
        }
    }
}

/// Applies a function to `count` numbers of a form in place, which the caller has checked.
#[inline(always)]
pub(in super::super) fn apply<S: Simd>(
    s: S,
    function: Function,
    form: Form,
    numbers: *mut f32,
    count: usize,
) {
    let mut lane = 0;
    while lane < count {
        let left = S::LANES.min(count - lane);
        // SAFETY: `left` numbers are within.
        unsafe {
            let number = activate(s, function, read(s, form, numbers, lane, left));
            write(s, form, numbers, (lane, left), number);
        }
        lane += S::LANES;
    }
}

/// The bounds of an activation that only clamps. NaN passes through both.
pub(in super::super) fn clamp(function: Option<Function>) -> (f32, f32) {
    match function {
        Some(Function::Relu) => (0.0, f32::INFINITY),
        Some(Function::Relu6) => (0.0, 6.0),
        _ => (f32::NEG_INFINITY, f32::INFINITY),
    }
}

pub(in crate::infer) fn is_clamp(function: Function) -> bool {
    matches!(function, Function::Relu | Function::Relu6)
}
