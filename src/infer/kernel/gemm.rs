//! Matrix products: rows of inputs, given by their addresses, times packed weights. Rows are anywhere, so a convolution
//! is a product whose rows are windows of the image, which are never copied.

mod tiled;

use std::ops::Range;
use std::ptr::null;

use super::super::form::Form;
use super::super::layout::LINE;
use super::super::memory::{Buffer, Source, Target, zeros};
use super::super::pool::{Pool, part};
use super::super::simd::{Element, Instructions, Kernel, SIDE, Simd, activate};
use super::integers::Integers;
use super::numbers::{read, write};
use crate::error::Result;
use crate::graph::op::Function;
use tiled::Tiled;

/// Weights in the order in which tiles read them: panels of two vectors of columns, in each the rows one after another.
#[derive(Debug)]
pub(in crate::infer) struct Weights {
    pub columns: usize,
    /// Words of a column.
    pub depth: usize,
    pub element: Element,
    instructions: Instructions,
    panels: Vec<Panel>,
    numbers: Buffer,
    bias: Buffer,
    /// For each column, if they are bytes.
    integers: Vec<Integers>,
}

/// Consecutive columns.
#[derive(Clone, Copy, Debug)]
struct Panel {
    column: usize,
    /// Columns with those of zeros that complete one or two vectors; the last panel may be half a vector wide.
    width: usize,
    start: usize,
}

impl Weights {
    /// Packs weights and biases for these instructions. `fill` writes columns, of so many that a panel is wide, into the
    /// panel's rows, one after another; `depth` and rows count words.
    pub fn pack(
        pool: &Pool,
        (instructions, element): (Instructions, Element),
        (columns, depth): (usize, usize),
        bias: &[f32],
        fill: impl Fn(Range<usize>, usize, &mut [f32]) + Sync,
    ) -> Result<Self> {
        let lanes = instructions.lanes();
        let narrow = match element {
            Element::Float32 => instructions.narrower().lanes(),
            Element::BFloat16 | Element::Byte => lanes,
        };
        let (mut panels, mut start, mut column) = (Vec::new(), 0, 0);
        while column < columns {
            let left = columns - column;
            let width = match left {
                _ if left <= narrow => narrow,
                // Half a vector follows.
                _ if left <= lanes + narrow && narrow < lanes => lanes,
                _ => left.div_ceil(lanes).min(2) * lanes,
            };
            panels.push(Panel { column, width, start });
            column += width;
            start += width * depth;
        }
        let (mut numbers, mut biases) = (zeros(start)?, zeros(column)?);
        let all = Target::from(numbers.as_mut_slice());
        pool.run(panels.len(), &|panel| {
            let Panel { column, width, start } = panels[panel];
            // SAFETY: the panel is no other task's.
            let packed = unsafe { all.slice(start, width * depth) };
            fill(column..(column + width).min(columns), width, packed);
        });
        biases.as_mut_slice()[..bias.len()].copy_from_slice(bias);
        let integers = Vec::new();
        Ok(Self { columns, depth, element, instructions, panels, numbers, bias: biases, integers })
    }

    /// The same, where these integers are packed.
    pub fn with(self, integers: Vec<Integers>) -> Self {
        Self { integers, ..self }
    }

    pub fn integers(&self) -> &[Integers] {
        &self.integers
    }

    /// The columns of panels.
    pub fn columns_of(&self, panels: Range<usize>) -> Range<usize> {
        let begin = |panel: usize| self.panels.get(panel).map_or(self.columns, |of| of.column);
        begin(panels.start)..begin(panels.end)
    }

    /// Calls `run` with panels and the instructions whose vectors fill them.
    pub fn by_width(&self, panels: Range<usize>, mut run: impl FnMut(Instructions, Range<usize>)) {
        let is_narrow = |panel: &Panel| panel.width < self.instructions.lanes();
        let narrow = self.panels[panels.clone()].last().is_some_and(is_narrow);
        let middle = panels.end - usize::from(narrow);
        if panels.start < middle {
            run(self.instructions, panels.start..middle);
        }
        if narrow {
            run(self.instructions.narrower(), middle..panels.end);
        }
    }

    /// The first column of a panel.
    pub fn column(&self, panel: usize) -> usize {
        self.panels[panel].column
    }

    /// Columns of a panel with those of zeros.
    pub fn width(&self, panel: usize) -> usize {
        self.panels[panel].width
    }

    /// Columns of all panels with those of zeros.
    pub fn padded(&self) -> usize {
        self.bias.as_slice().len()
    }

    /// All packed numbers.
    pub fn numbers(&self) -> &[f32] {
        self.numbers.as_slice()
    }

    /// The places of a panel's numbers.
    pub fn of_panel(&self, panel: usize) -> Range<usize> {
        let Panel { start, width, .. } = self.panels[panel];
        start..start + width * self.depth
    }

    /// Where the numbers of a panel begin; the end for the one after the last.
    #[inline(always)]
    pub fn start(&self, panel: usize) -> *const f32 {
        let numbers = self.numbers.as_slice();
        let start = self.panels.get(panel).map_or(numbers.len(), |of| of.start);
        numbers[start..].as_ptr()
    }

    /// The number of panels.
    pub fn panels(&self) -> usize {
        self.panels.len()
    }

    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Rows of the largest tile of two vectors.
    pub fn rows(&self) -> usize {
        if self.tiles() { SIDE } else { self.instructions.rows() }
    }

    /// Whether the processor multiplies them by tiles.
    pub fn tiles(&self) -> bool {
        self.element != Element::Float32 && self.instructions.tiles().is_some()
    }
}

/// The rows of a product: windows of segments that are each contiguous.
#[derive(Clone, Copy)]
pub(in crate::infer) struct Rows<'a> {
    /// The address of each row's first segment.
    pub starts: &'a [*const f32],
    /// The distance of each segment from the first one.
    pub segments: &'a [isize],
    /// The length of a segment; all together have the depth of the weights.
    pub length: usize,
    /// Memory that is read next, to be fetched meanwhile; if none, the weights that follow are.
    pub next: Next,
}

impl<'a> Rows<'a> {
    /// Rows after which nothing else is read.
    pub fn new(starts: &'a [*const f32], segments: &'a [isize], length: usize) -> Self {
        Self { starts, segments, length, next: Next::NOTHING }
    }
}

/// So many bytes from an address on, which are never read through it.
#[derive(Clone, Copy, Debug)]
pub(in crate::infer) struct Next {
    pub start: *const u8,
    pub bytes: usize,
}

impl Next {
    pub const NOTHING: Self = Self { start: null(), bytes: 0 };

    /// One of equal parts.
    pub fn part(self, number: usize, parts: usize) -> Self {
        let range = part(self.bytes, number, parts);
        Self { start: self.start.wrapping_add(range.start), bytes: range.len() }
    }
}

/// Where the results go, and what is added before they are stored. Places and strides are counted in numbers.
#[derive(Clone, Copy)]
pub(in crate::infer) struct Store<'a> {
    pub target: Target<'a>,
    /// The place of the first row's first column.
    pub offset: usize,
    /// From a row to the next.
    pub stride: usize,
    /// A value of the same layout to add: its place and stride.
    pub residual: Option<(Source<'a>, usize, usize)>,
    /// The forms of the value to add and of the results; sums of float32 numbers have no other.
    pub forms: (Form, Form),
    pub function: Option<Function>,
    /// For sums of bytes.
    pub rescale: Option<Rescale<'a>>,
}

/// From sums of products of bytes to the numbers that are stored: sum · scale + shift, and a value to add times a factor,
/// between bounds. For bytes, all in steps of these.
#[derive(Clone, Copy, Debug)]
pub(in crate::infer) struct Rescale<'a> {
    /// For each column, and those of zeros.
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    /// The factor of the value to add; `shift` has what is added to all its numbers.
    pub residual: f32,
    pub bounds: (f32, f32),
}

/// Computes the columns of some panels for a block of rows.
pub(in crate::infer) fn multiply(
    weights: &Weights,
    panels: Range<usize>,
    rows: Rows<'_>,
    store: Store<'_>,
) {
    multiply_packed((weights, Source::from(weights.numbers())), panels, rows, store);
}

/// The same with the weights' numbers or others, which are packed alike.
pub(super) fn multiply_packed(
    (weights, numbers): (&Weights, Source<'_>),
    panels: Range<usize>,
    rows: Rows<'_>,
    store: Store<'_>,
) {
    debug_assert_eq!(rows.segments.len() * rows.length, weights.depth);
    weights.by_width(panels, |on, panels| match weights.element {
        Element::Float32 => on.run(Multiply::<1> { weights, numbers, panels, rows, store }),
        Element::BFloat16 => Multiply::<2> { weights, numbers, panels, rows, store }.on(on),
        Element::Byte => Multiply::<4> { weights, numbers, panels, rows, store }.on(on),
    });
}

/// A product of words of so many factors.
struct Multiply<'a, const FACTORS: usize> {
    weights: &'a Weights,
    numbers: Source<'a>,
    panels: Range<usize>,
    rows: Rows<'a>,
    store: Store<'a>,
}

impl<const FACTORS: usize> Multiply<'_, FACTORS> {
    /// Multiplies by tiles where there are any: the same for any number of rows, so that a row has the same sums.
    fn on(self, instructions: Instructions) {
        let Weights { element, depth, .. } = *self.weights;
        let words = tiled::words(element, depth, self.rows.length);
        match instructions.tiles().zip(words) {
            Some((tiles, words)) => {
                instructions.run_with(element, Tiled { product: self, tiles, words });
            }
            None => instructions.run_with(element, self),
        }
    }
}

impl<const FACTORS: usize> Kernel for Multiply<'_, FACTORS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { weights, numbers, panels, rows, store } = self;
        let panels = &weights.panels[panels];
        for (at, panel) in panels.iter().enumerate() {
            let block = Block {
                rows: Rows { next: rows.next.part(at, panels.len()), ..rows },
                store,
                panel: *panel,
                weights: numbers.at(panel.start, panel.width * weights.depth),
                bias: weights.bias.as_slice()[panel.column..].as_ptr(),
                columns: weights.columns - panel.column,
            };
            block.run::<S, FACTORS>(simd);
        }
    }
}

const LINE_BYTES: usize = LINE * size_of::<f32>();

/// Weights that come next, to be fetched a step of so many bytes at a time.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    pub next: *const u8,
    pub step: usize,
}

/// Adds to sums the products of `depth` words of each row with as many rows of weights.
///
/// # Safety
/// `depth` words must be readable at each row, and `depth` times V vectors of weights.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, const R: usize, const V: usize, const FACTORS: usize>(
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
                *sum = match FACTORS {
                    4 => s.dot_quads(number, columns, *sum),
                    2 => s.dot_pairs(number, columns, *sum),
                    _ => s.fma(number, columns, *sum),
                };
            }
        }
        weights = weights.wrapping_add(V * S::LANES);
    }
    sums
}

/// One panel and a block of rows.
struct Block<'a> {
    rows: Rows<'a>,
    store: Store<'a>,
    panel: Panel,
    weights: *const f32,
    bias: *const f32,
    /// The columns from the panel's first to the last of all.
    columns: usize,
}

impl Block<'_> {
    #[inline(always)]
    fn run<S: Simd, const FACTORS: usize>(&self, simd: S) {
        let count = self.rows.starts.len();
        let most = if self.panel.width == S::LANES { S::ROWS_OF_ONE } else { S::ROWS };
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
            ($($rows:literal)*) => {
                match (rows, self.panel.width / S::LANES) {
                    $(($rows, 1) if $rows <= S::ROWS_OF_ONE => {
                        self.tile::<S, $rows, 1, FACTORS>(s, first, ahead);
                    }
                    ($rows, _) if $rows <= S::ROWS => {
                        self.tile::<S, $rows, 2, FACTORS>(s, first, ahead);
                    })*
                    _ => unreachable!("a tile has at most {} rows", S::ROWS_OF_ONE),
                }
            };
        }
        tile!(1 2 3 4 5 6 7 8 9 10 11 12);
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
        match &self.store.rescale {
            Some(rescale) if FACTORS == 4 => self.rescale(s, first, sums, rescale),
            _ => self.store::<S, R, V, FACTORS>(s, first, sums),
        }
    }

    /// The biases, from which sums begin.
    #[inline(always)]
    fn first_sums<S: Simd, const V: usize, const FACTORS: usize>(&self, s: S) -> [S::Vector; V] {
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
    fn rescale<S: Simd, const R: usize, const V: usize>(
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
    fn store<S: Simd, const R: usize, const V: usize, const FACTORS: usize>(
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
    fn activate<S: Simd>(&self, s: S, rows: Range<usize>) {
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
pub(super) fn apply<S: Simd>(
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
pub(super) fn clamp(function: Option<Function>) -> (f32, f32) {
    match function {
        Some(Function::Relu) => (0.0, f32::INFINITY),
        Some(Function::Relu6) => (0.0, 6.0),
        _ => (f32::NEG_INFINITY, f32::INFINITY),
    }
}

pub(in crate::infer) fn is_clamp(function: Function) -> bool {
    matches!(function, Function::Relu | Function::Relu6)
}
