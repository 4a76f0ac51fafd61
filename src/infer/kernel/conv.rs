//! Convolution as a product of matrices, whose rows are windows of the image where it lies.

use std::ops::Range;
use std::ptr::null;
use std::sync::Arc;

use super::super::form::Form;
use super::super::layout::{Layout, Window, spread};
use super::super::memory::{Source, Target, with_own};
use super::super::pool::{PARTS, Pool, rows_of};
use super::super::simd::{Element, Instructions, pair};
use super::bytes::Bytes;
use super::gate::Gate;
use super::gemm::{Rescale, Rows, Store, Weights, multiply, multiply_packed};
use super::integers::Integers;
use super::pairs::to_pairs;
use crate::error::Result;
use crate::graph::op::{Function, Pair};

/// A convolution of images of one layout.
#[derive(Debug)]
pub(in crate::infer) struct Conv {
    pub input: Layout,
    pub output: Layout,
    pub window: Window,
    /// One for each group of channels; plans for other shapes have the same.
    pub groups: Arc<Vec<Weights>>,
    pub function: Option<Function>,
    /// The forms of input and output.
    pub forms: (Form, Form),
    /// If it multiplies bytes.
    pub bytes: Option<Bytes>,
    /// Whether the images have their border already, and no gaps.
    pub is_bordered: bool,
}

/// A value to read, from its first number on.
#[derive(Clone, Copy)]
pub(in crate::infer) struct Residual<'a> {
    pub source: Source<'a>,
    pub layout: Layout,
    pub form: Form,
}

/// The most rows of a task.
pub(super) const MOST_ROWS: usize = 192;

/// The most words of weights that each thread reads, rather than some columns of them. Tiles multiply so fast that they wait
/// for weights from beyond the second-level cache.
const MOST_TWICE: usize = 1600 * 1024;
const MOST_TWICE_OF_TILES: usize = 512 * 1024;

/// The division of the work.
#[derive(Clone, Copy, Debug)]
struct Division {
    /// Rows of a thread; all of them where threads divide the columns.
    share: usize,
    /// Rows and panels of a task.
    rows: usize,
    panels: usize,
}

impl Conv {
    /// Packs the weights (out, in / groups, height, width) with their biases. The channels of each of several groups fill
    /// words.
    pub fn pack(
        pool: &Pool,
        kind: (Instructions, Element),
        (out, within, groups): (usize, usize, usize),
        window: &Window,
        (weight, bias): (&[f32], &[f32]),
    ) -> Result<Vec<Weights>> {
        /// Rows that are packed together, so that they stay in the cache.
        const TOGETHER: usize = 64;
        let taps = window.kernel.height * window.kernel.width;
        let (each, depth, together) = (out / groups, within * taps, kind.1.per_word());
        // A row of the product is a pixel's channels, then the next pixel's. What fills their last word has no place.
        let padded = within.next_multiple_of(together);
        let place = |row: usize| {
            let channel = row % padded;
            if channel < within { channel * taps + row / padded } else { usize::MAX }
        };
        let places: Vec<usize> = (0..padded * taps).map(place).collect();
        let pack = |group: usize| {
            let columns = group * each..(group + 1) * each;
            let weight = &weight[columns.start * depth..columns.end * depth];
            let integers: Vec<Integers> = match kind.1 {
                Element::Byte => weight.chunks_exact(depth.max(1)).map(Integers::of).collect(),
                Element::Float32 | Element::BFloat16 => Vec::new(),
            };
            let fill = |columns: Range<usize>, width: usize, packed: &mut [f32]| {
                let blocks = packed.chunks_mut(width * TOGETHER);
                for (packed, places) in blocks.zip(places.chunks(TOGETHER * together)) {
                    for (lane, column) in columns.clone().enumerate() {
                        let weight = &weight[column * depth..][..depth];
                        let rows = packed.chunks_exact_mut(width);
                        let at = |place: usize| weight.get(place).copied().unwrap_or_default();
                        for (row, places) in rows.zip(places.chunks_exact(together)) {
                            row[lane] = match *places {
                                [a, b] => pair(at(a), at(b)),
                                [a, b, c, d] => integers[column].word([a, b, c, d].map(at)),
                                _ => weight[places[0]],
                            };
                        }
                    }
                }
            };
            let size = (each, padded / together * taps);
            Ok(Weights::pack(pool, kind, size, &bias[columns], fill)?.with(integers))
        };
        (0..groups).map(pack).collect()
    }

    /// Whether it computes each pixel from that pixel alone.
    pub fn is_pointwise(&self) -> bool {
        let Window { kernel, stride, .. } = self.window;
        (kernel, stride) == (Pair::ONE, Pair::ONE)
            && !self.window.has_border()
            && self.groups.len() == 1
    }

    /// The number of its weights.
    pub fn weights(&self) -> usize {
        self.groups.iter().map(|weights| weights.depth * weights.columns).sum()
    }

    pub fn element(&self) -> Element {
        self.groups[0].element
    }

    fn has_tiles(&self) -> bool {
        self.groups[0].tiles().is_some()
    }

    /// Words that `run` needs for a copy of the images with their border, or of another type.
    pub fn scratch(&self, batch: usize) -> usize {
        if self.reads_a_copy() { batch * self.padded().image } else { 0 }
    }

    fn reads_a_copy(&self) -> bool {
        self.window.has_border() && !self.is_bordered || self.converts()
    }

    /// Whether the images are of another type than the weights.
    pub fn converts(&self) -> bool {
        !self.forms.0.suits(self.element())
    }

    /// The forms of a value that is added, and of the results.
    pub(super) fn stores(&self, residual: Option<&Residual<'_>>) -> (Form, Form) {
        (residual.map_or(Form::Float32, |residual| residual.form), self.forms.1)
    }

    /// The scales and shifts of the only group, if it multiplies bytes.
    pub(super) fn rescale(&self) -> Option<Rescale<'_>> {
        self.bytes.as_ref().map(|bytes| bytes.rescale(0))
    }

    /// The images with their border, in words.
    pub fn padded(&self) -> Layout {
        let Window { top, bottom, left, right, .. } = self.window;
        let Layout { height, width, channels, .. } = self.input;
        let words = channels.div_ceil(self.element().per_word());
        let dense = Layout::dense(height + top + bottom, width + left + right, words);
        if self.has_tiles() && !self.is_bordered { spread(dense, true) } else { dense }
    }

    pub fn run(
        &self,
        pool: &Pool,
        batch: usize,
        x: Source<'_>,
        y: Target<'_>,
        residual: Option<Residual<'_>>,
        scratch: Target<'_>,
    ) -> Result<()> {
        let image = if self.converts_rows(batch, pool.threads()) {
            (x, self.input)
        } else {
            self.bordered(pool, batch, x, scratch)
        };
        self.product(pool, batch, image, y, residual, None)
    }

    /// Whether each task converts the rows that it multiplies to the type of the weights: no other task then has them, nor
    /// has a row numbers of another.
    fn converts_rows(&self, batch: usize, threads: usize) -> bool {
        self.converts()
            && self.window.kernel == Pair::ONE
            && !self.window.has_border()
            && self.groups.len() == 1
            && self.division(batch * self.output.pixels(), threads).panels
                >= self.groups[0].panels()
    }

    /// The product of images that have their border with the weights, which a gate scales for each image.
    pub(super) fn product(
        &self,
        pool: &Pool,
        batch: usize,
        (x, input): (Source<'_>, Layout),
        y: Target<'_>,
        residual: Option<Residual<'_>>,
        gate: Option<Gate<'_>>,
    ) -> Result<()> {
        // The rows of all images are one matrix where they lie evenly, and have the same gate.
        let even = self.output.is_even()
            && residual.is_none_or(|of| of.layout.is_even())
            && (gate.is_none() || batch == 1);
        let (matrices, count) =
            if even { (1, batch * self.output.pixels()) } else { (batch, self.output.pixels()) };
        let (segments, length) = self.segments(&input);
        let mut division = self.division(matrices * count, pool.threads());
        let share = division.share.min(count.max(1));
        if gate.is_some() {
            // Each task scales all weights.
            let (rows, panels) = (share.min(self.longest()), self.groups[0].panels());
            division = Division { share, rows, panels };
        }
        let (shares, blocks) = (count.div_ceil(share), share.div_ceil(division.rows));
        let panels = self.groups[0].panels().div_ceil(division.panels);
        let within = input.channels / self.groups.len();
        let (blocks_of, columns_of) = (matrices * shares * blocks, self.groups.len() * panels);
        let converts = self.converts_rows(batch, pool.threads());
        let by_rows = self.by_rows();
        // Each task of a gate scales all weights.
        let (tile, least) = (self.groups[0].rows(), division.rows.min(share));
        let parts = if gate.is_some() { 1 } else { (least / (2 * tile)).clamp(1, PARTS) };
        pool.try_divide((blocks_of * columns_of, parts), &|task, some| {
            let (at, columns) = if by_rows {
                (task / columns_of, task % columns_of)
            } else {
                (task % blocks_of, task / blocks_of)
            };
            let (matrix, place) = (at / (shares * blocks), at % (shares * blocks));
            let (group, panel) = (columns / panels, columns % panels);
            let weights = &self.groups[group];
            let (begin, end) = (place / blocks * share, (place / blocks + 1) * share);
            let begin = begin + place % blocks * division.rows;
            let rows = begin..(begin + division.rows).min(end).min(count).max(begin);
            let rows = rows_of(&rows, tile, parts, &some);
            if rows.is_empty() {
                return Ok(());
            }
            let (begin, rows) = (rows.start, rows.len());
            let mut starts = [null(); MOST_ROWS];
            self.starts(x, &input, (matrix, begin), group * within, &mut starts[..rows]);
            let first = panel * division.panels;
            let place = |layout: &Layout| matrix * layout.image + begin * layout.pixel;
            let column = group * weights.columns;
            let store = Store {
                target: y,
                offset: place(&self.output) + column,
                stride: self.output.pixel,
                residual: residual.map(|Residual { source, layout, .. }| {
                    (source, place(&layout) + column, layout.pixel)
                }),
                forms: self.stores(residual.as_ref()),
                function: self.function,
                rescale: self.bytes.as_ref().map(|bytes| bytes.rescale(group)),
            };
            let panels = first..(first + division.panels).min(weights.panels());
            let starts = &mut starts[..rows];
            if let Some(gate) = gate {
                return with_own(weights.numbers().len(), |own| {
                    gate.scale(matrix, weights, own);
                    let rows = Rows::new(starts, &segments, length);
                    multiply_packed((weights, own.source()), panels, rows, store);
                });
            }
            if converts {
                return with_own(rows * weights.depth, |own| {
                    self.convert(starts, own);
                    multiply(weights, panels, Rows::new(starts, &[0], weights.depth), store);
                });
            }
            multiply(weights, panels, Rows::new(starts, &segments, length), store);
            Ok(())
        })
    }

    /// Whether a thread has the same rows in every step, which it then finds in its cache, and reads all weights. Where these
    /// are many, it has some of the columns instead.
    fn by_rows(&self) -> bool {
        let most = if self.has_tiles() { MOST_TWICE_OF_TILES } else { MOST_TWICE };
        self.weights() <= most
    }

    /// Converts rows, each the numbers of one pixel, to the type of the weights, and puts their new addresses in place of
    /// the old ones.
    fn convert(&self, starts: &mut [*const f32], own: Target<'_>) {
        let (channels, words) = (self.input.channels, self.groups[0].depth);
        let instructions = self.groups[0].instructions();
        let step = channels * size_of::<f32>();
        let is_dense = starts.windows(2).all(|two| two[1] as usize == two[0] as usize + step);
        let together = if is_dense { starts.len() } else { 1 };
        for (at, starts) in starts.chunks_mut(together).enumerate() {
            // SAFETY: `starts` found the pixels in the images. The words are the thread's own.
            let (from, to) = unsafe {
                (
                    std::slice::from_raw_parts(starts[0], together * channels),
                    own.slice(at * together * words, together * words),
                )
            };
            self.to_words(instructions, from, to);
            for (row, start) in starts.iter_mut().enumerate() {
                *start = own.at((at * together + row) * words, words);
            }
        }
    }

    /// Writes numbers of whole pixels as words of the type of the weights.
    pub(super) fn to_words(&self, instructions: Instructions, from: &[f32], to: &mut [f32]) {
        match &self.bytes {
            Some(bytes) => bytes.convert(instructions, self.input.channels, from, to),
            None => to_pairs(instructions, self.input.channels, from, to),
        }
    }

    /// The images with their border and of the type of the weights, and how they lie; those that have no border, and are of
    /// that type, stay where they are.
    pub(super) fn bordered<'a>(
        &self,
        pool: &Pool,
        batch: usize,
        x: Source<'a>,
        scratch: Target<'a>,
    ) -> (Source<'a>, Layout) {
        if !self.reads_a_copy() {
            let dense = self.forms.0.words_of(self.input);
            return (x, if self.is_bordered { self.padded() } else { dense });
        }
        self.pad(pool, batch, x, scratch);
        (scratch.source(), self.padded())
    }

    /// The addresses of the windows of consecutive output pixels, the first counted from the matrix's first one on.
    pub(super) fn starts(
        &self,
        x: Source<'_>,
        input: &Layout,
        (matrix, first): (usize, usize),
        channel: usize,
        starts: &mut [*const f32],
    ) {
        let Window { stride, kernel, dilation, .. } = self.window;
        let (width, step) = (self.output.width, stride.width * input.pixel);
        // From a window's first number to after its last one.
        let reach =
            input.at(0, (kernel.height - 1) * dilation.height, (kernel.width - 1) * dilation.width)
                + input.channels / self.groups.len();
        let (mut image, pixel) =
            (matrix + first / self.output.pixels(), first % self.output.pixels());
        let (mut row, mut column, mut from) = (pixel / width, pixel % width, 0);
        while from < starts.len() {
            // Those of a row are evenly apart.
            let count = (width - column).min(starts.len() - from);
            let (down, right) = (row * stride.height, column * stride.width);
            debug_assert!(down + (kernel.height - 1) * dilation.height < input.height);
            debug_assert!(
                right + (count - 1) * stride.width + (kernel.width - 1) * dilation.width
                    < input.width
            );
            let first = x.at(input.at(image, down, right) + channel, (count - 1) * step + reach);
            for (at, start) in starts[from..from + count].iter_mut().enumerate() {
                *start = first.wrapping_add(at * step);
            }
            (row, column, from) = (row + 1, 0, from + count);
            if row == self.output.height {
                (image, row) = (image + 1, 0);
            }
        }
    }

    /// The distances of a window's contiguous parts from its first number, and their length.
    pub(super) fn segments(&self, input: &Layout) -> (Vec<isize>, usize) {
        let Window { kernel, dilation, .. } = self.window;
        let within = input.channels / self.groups.len();
        let row = input.width * input.pixel * dilation.height;
        let rows = (0..kernel.height).map(|y| (y * row) as isize);
        if within == input.pixel && dilation.width == 1 {
            return (rows.collect(), kernel.width * within);
        }
        let column = dilation.width * input.pixel;
        let pixels =
            rows.flat_map(|row| (0..kernel.width).map(move |x| row + (x * column) as isize));
        (pixels.collect(), within)
    }

    /// The most rows of a task that are whole tiles.
    fn longest(&self) -> usize {
        MOST_ROWS - MOST_ROWS % self.groups[0].rows()
    }

    fn division(&self, all: usize, threads: usize) -> Division {
        /// The fewest rows that are divided.
        const FEWEST: usize = 56;
        /// As many numbers as fill half of a small second-level cache.
        const CACHE: usize = 48 * 1024;
        let (depth, panels) = (self.groups[0].depth, self.groups[0].panels());
        let tile = self.groups[0].rows();
        let (longest, cache) = (self.longest(), (CACHE / depth.max(1)).clamp(48, MOST_ROWS));
        let most = if self.has_tiles() { longest } else { cache - cache % (2 * tile) };
        let shares = if self.by_rows() { threads.min(all / FEWEST).max(1) } else { 1 };
        let share = all.div_ceil(shares);
        let is_short = share <= FEWEST || share <= (most + most / 4).min(longest);
        let blocks = if is_short { 1 } else { share.div_ceil(most) };
        // Nearly equal ones, of whole tiles: all but the last are as fast as can be.
        let rows = share.div_ceil(blocks).next_multiple_of(tile).min(longest);
        let blocks = all.div_ceil(rows);
        let heavy = self.groups[0].is_heavy();
        if blocks >= 8 && !(heavy && all < 400) {
            return Division { share, rows, panels };
        }
        let parts = if blocks < 8 { 16_usize.div_ceil(blocks.max(1)) } else { 4 };
        Division { share, rows, panels: panels.div_ceil(parts).max(1) }
    }

    /// Copies the images into the middle of a border of zeros, as words of the type of the weights.
    fn pad(&self, pool: &Pool, batch: usize, x: Source<'_>, to: Target<'_>) {
        let (padded, window) = (self.padded(), self.window);
        let input = self.forms.0.words_of(self.input);
        let zeros = self.bytes.as_ref().map_or(0.0, Bytes::zeros);
        let rows = batch * padded.height;
        // Rows of a task.
        let each = 8;
        pool.run(rows.div_ceil(each), &|task| {
            for row in task * each..((task + 1) * each).min(rows) {
                let (image, row) = (row / padded.height, row % padded.height);
                let numbers = input.channels;
                // SAFETY: the line is no other task's.
                let line =
                    unsafe { to.slice(padded.at(image, row, 0), padded.width * padded.pixel) };
                let Some(row) = row.checked_sub(window.top).filter(|row| *row < input.height)
                else {
                    line.fill(zeros);
                    continue;
                };
                let words = padded.pixel;
                let (left, rest) = line.split_at_mut(window.left * words);
                let (middle, right) = rest.split_at_mut(input.width * words);
                left.fill(zeros);
                right.fill(zeros);
                let place = input.at(image, row, 0);
                // Pixels that lie close are copied together.
                let is_dense = input.pixel == numbers && words == padded.channels;
                let (count, together) = if is_dense { (1, input.width) } else { (input.width, 1) };
                for at in 0..count {
                    let (place, numbers) = (place + at * input.pixel, numbers * together);
                    let middle = &mut middle[at * words..][..padded.channels * together];
                    // SAFETY: the numbers lie outside of the target.
                    let from = unsafe { x.slice(place, numbers) };
                    if self.converts() {
                        self.to_words(self.groups[0].instructions(), from, middle);
                    } else {
                        middle.copy_from_slice(from);
                    }
                }
            }
        });
    }
}
