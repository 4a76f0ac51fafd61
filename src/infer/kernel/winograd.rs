//! Convolution with a window of 3×3 and stride 1 by Winograd's algorithm: tiles of the image are transformed, multiplied
//! with transformed weights for each point of the transform, and transformed back. A tile of 2×2 outputs takes 16
//! multiplications for each pair of channels instead of 36, one of 4×4 takes 36 instead of 144, one of 6×6 takes 64
//! instead of 324. Every output is computed in the same way wherever its tile falls, so it depends neither on the batch
//! nor on the threads.

#![allow(
    clippy::needless_range_loop,
    reason = "iterators over arrays of vectors would copy the arrays"
)]

#[cfg(test)]
mod tests;
mod transform;

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use super::super::layout::{LINE, Layout, Window};
use super::super::memory::{Buffer, Source, Target, with_own};
use super::super::pool::{Pool, part};
use super::super::simd::{Instructions, Kernel, Simd};
use super::conv::Residual;
use super::gemm::{apply, clamp, is_clamp};
use crate::error::Result;
use crate::graph::op::Function;
use transform::Points;

/// Outputs that are computed together, in rows and in columns. Larger tiles need fewer multiplications and have larger
/// errors, which grow with the channels: beside float64, for normal weights and inputs after a ReLU, relative to the
/// largest output, for 64 and for 512 channels:
///
/// | tile | rms | most |
/// | --- | --- | --- |
/// | none, the direct convolution | 8e-8, 2.1e-7 | 4e-7, 1.5e-6 |
/// | 2×2 | 6e-8, 1.7e-7 | 3e-7, 9e-7 |
/// | 4×4 | 1.7e-7, 4.9e-7 | 9e-7, 3.2e-6 |
/// | 6×6 | 7.1e-7, 2.2e-6 | 8e-6, 2.4e-5 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::infer) enum Tile {
    Two,
    Four,
    Six,
}

impl Tile {
    pub fn outputs(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
            Self::Six => 6,
        }
    }

    /// Products of a tile for each pair of channels.
    pub fn points(self) -> usize {
        (self.outputs() + 2) * (self.outputs() + 2)
    }
}

/// Transformed weights in the order in which they are read: panels of two vectors of outputs, in each the points, in each
/// the input channels.
#[derive(Debug)]
pub(in crate::infer) struct Transformed {
    tile: Tile,
    inputs: usize,
    outputs: usize,
    instructions: Instructions,
    numbers: Buffer,
    bias: Buffer,
    /// A pixel outside of the image.
    zeros: Buffer,
}

impl Transformed {
    /// Transforms weights (outputs, inputs, 3, 3) in float64, and packs them with the biases for these instructions.
    pub fn pack(
        pool: &Pool,
        instructions: Instructions,
        tile: Tile,
        (outputs, inputs): (usize, usize),
        (weight, bias): (&[f32], &[f32]),
    ) -> Result<Self> {
        let columns = outputs.next_multiple_of(instructions.lanes());
        let mut biases = Buffer::zeros(columns)?;
        biases.as_mut_slice()[..outputs].copy_from_slice(bias);
        let mut packed = Self {
            tile,
            inputs,
            outputs,
            instructions,
            numbers: Buffer::zeros(columns * inputs * tile.points())?,
            bias: biases,
            zeros: Buffer::zeros(inputs)?,
        };
        let (panels, width) = (packed.panels(), packed.width());
        let each = width * inputs * tile.points();
        let all = packed.numbers.as_mut_slice().len();
        let numbers = Target::from(packed.numbers.as_mut_slice());
        pool.run(panels, &|panel| {
            let place = panel * each;
            // SAFETY: the panel is no other task's.
            let packed = unsafe { numbers.slice(place, each.min(all - place)) };
            let first = panel * width;
            match tile {
                Tile::Two => {
                    instructions.run(Pack::<4> { weight, outputs, inputs, first, packed });
                }
                Tile::Four => {
                    instructions.run(Pack::<6> { weight, outputs, inputs, first, packed });
                }
                Tile::Six => {
                    instructions.run(Pack::<8> { weight, outputs, inputs, first, packed });
                }
            }
        });
        Ok(packed)
    }

    pub fn tile(&self) -> Tile {
        self.tile
    }

    /// The number of its weights and biases.
    pub fn numbers(&self) -> usize {
        self.outputs * (self.inputs * self.tile.points() + 1)
    }

    /// Outputs of a panel.
    fn width(&self) -> usize {
        2 * self.instructions.lanes()
    }

    fn panels(&self) -> usize {
        self.outputs.div_ceil(self.width())
    }

    /// Vectors of a panel, 1 or 2.
    fn vectors(&self, panel: usize) -> usize {
        let left = self.outputs - panel * self.width();
        left.div_ceil(self.instructions.lanes()).min(2)
    }
}

/// Transforms and packs the weights of a panel.
struct Pack<'a, const N: usize> {
    weight: &'a [f32],
    outputs: usize,
    inputs: usize,
    /// The panel's first output.
    first: usize,
    packed: &'a mut [f32],
}

/// Outputs whose weights are transformed together; vectors are multiples of it.
const TOGETHER: usize = 8;

impl<const N: usize> Kernel for Pack<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { weight, outputs, inputs, first, packed } = self;
        let width = packed.len() / (inputs * N * N).max(1);
        for input in 0..inputs {
            for lane in (0..width).step_by(TOGETHER) {
                let mut taps = [[0.0; TOGETHER]; 9];
                let within = TOGETHER.min(outputs.saturating_sub(first + lane));
                for at in 0..within {
                    let from = ((first + lane + at) * inputs + input) * 9;
                    for (tap, &number) in taps.iter_mut().zip(&weight[from..from + 9]) {
                        tap[at] = f64::from(number);
                    }
                }
                for (point, number) in transformed::<N>(&taps).iter().flatten().enumerate() {
                    let to = (point * inputs + input) * width + lane;
                    for (to, &number) in packed[to..to + TOGETHER].iter_mut().zip(number) {
                        *to = number as f32;
                    }
                }
            }
        }
    }
}

/// G · g · Gᵀ for several windows.
#[inline(always)]
fn transformed<const N: usize>(taps: &[[f64; TOGETHER]; 9]) -> [[[f64; TOGETHER]; N]; N] {
    let mut points = [[[0.0; TOGETHER]; N]; N];
    for (points, row) in points.iter_mut().zip(Points::<N>::WEIGHT) {
        let mut line = [[0.0; TOGETHER]; 3];
        for (column, line) in line.iter_mut().enumerate() {
            for (tap, factor) in row.into_iter().enumerate() {
                for (sum, number) in line.iter_mut().zip(taps[3 * tap + column]) {
                    *sum += factor * number;
                }
            }
        }
        for (point, column) in points.iter_mut().zip(Points::<N>::WEIGHT) {
            for (factor, line) in column.into_iter().zip(line) {
                for (sum, number) in point.iter_mut().zip(line) {
                    *sum += factor * number;
                }
            }
        }
    }
    points
}

/// A convolution of images of one layout, with a window of 3×3, stride 1 and dilation 1.
#[derive(Debug)]
pub(in crate::infer) struct Winograd {
    pub input: Layout,
    pub output: Layout,
    pub window: Window,
    /// Plans for other shapes have the same.
    pub weights: Arc<Transformed>,
    pub function: Option<Function>,
}

/// The division of the work among tasks.
#[derive(Clone, Copy, Debug)]
struct Division {
    /// Blocks of tiles that are transformed before they are multiplied.
    blocks: usize,
    /// Whether all threads share a block. Else each block is a task, whose numbers stay in the cache of its thread.
    shared: bool,
    /// Parts of a shared block that are multiplied by tasks of their own.
    parts: usize,
}

/// The memory that a run reads and writes.
#[derive(Clone, Copy)]
struct Run<'a> {
    conv: &'a Winograd,
    x: Source<'a>,
    y: Target<'a>,
    residual: Option<Residual<'a>>,
}

/// Transformed inputs: for each point the tiles, for each tile its channels.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    numbers: Target<'a>,
    /// Numbers from a tile to the next, and from a point to the next.
    row: usize,
    point: usize,
}

impl Winograd {
    /// Numbers that `run` needs for the transformed inputs that the threads share.
    pub fn scratch(&self, batch: usize) -> usize {
        let Division { blocks, shared, .. } = self.division(batch);
        if shared { self.transformed(self.tiles(batch).div_ceil(blocks)) } else { 0 }
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
        self.run_divided(self.division(batch), pool, batch, (x, y, residual), scratch)
    }

    fn run_divided(
        &self,
        division: Division,
        pool: &Pool,
        batch: usize,
        (x, y, residual): (Source<'_>, Target<'_>, Option<Residual<'_>>),
        scratch: Target<'_>,
    ) -> Result<()> {
        let run = Run { conv: self, x, y, residual };
        match self.weights.tile {
            Tile::Two => run.all::<4, 2>(pool, batch, division, scratch),
            Tile::Four => run.all::<6, 4>(pool, batch, division, scratch),
            Tile::Six => run.all::<8, 6>(pool, batch, division, scratch),
        }
    }

    /// Rows and columns of tiles in an image.
    fn grid(&self) -> (usize, usize) {
        let outputs = self.weights.tile.outputs();
        (self.output.height.div_ceil(outputs), self.output.width.div_ceil(outputs))
    }

    fn tiles(&self, batch: usize) -> usize {
        let (rows, columns) = self.grid();
        batch * rows * columns
    }

    fn division(&self, batch: usize) -> Division {
        /// The most numbers of transformed tiles that stay in a second-level cache, and of weights that do in the last.
        const TRANSFORMED: usize = 80 * 1024;
        const WEIGHTS: usize = 1200 * 1024;
        let Transformed { tile, inputs, outputs, .. } = *self.weights;
        let (tiles, points) = (self.tiles(batch), tile.points());
        let shared = inputs * outputs * points > WEIGHTS || tiles < 36;
        if shared {
            return self.divided(tiles, tiles.div_ceil(64), true);
        }
        let rows = self.weights.instructions.rows();
        let most = (TRANSFORMED / (points * inputs.max(1)) / rows * rows).clamp(12, 30);
        // Two or four threads have the same number of blocks.
        self.divided(tiles, (tiles + 2 * most) / (4 * most) * 4, false)
    }

    /// A division into so many blocks.
    fn divided(&self, tiles: usize, blocks: usize, shared: bool) -> Division {
        let blocks = blocks.clamp(1, tiles.max(1));
        // At least 16 tasks, of at least 24 tiles.
        let parts = 16_usize.div_ceil(self.weights.panels().max(1)).min(tiles / blocks / 24).max(1);
        Division { blocks, shared, parts }
    }

    /// Numbers from a transformed tile to the next. Rows must not all fall on the same lines of a cache.
    fn row(&self) -> usize {
        let row = self.weights.inputs.next_multiple_of(LINE);
        if row.is_multiple_of(512) { row + LINE } else { row }
    }

    /// Numbers of one point of so many tiles; likewise.
    fn point(&self, tiles: usize) -> usize {
        (tiles * self.row()).next_multiple_of(512) + LINE
    }

    fn transformed(&self, tiles: usize) -> usize {
        self.point(tiles) * self.weights.tile.points()
    }

    /// Numbers of the products of a tile with a panel.
    fn products(&self) -> usize {
        self.weights.tile.points() * self.weights.width() + LINE
    }
}

impl<'a> Run<'a> {
    fn all<const N: usize, const M: usize>(
        self,
        pool: &Pool,
        batch: usize,
        division: Division,
        scratch: Target<'a>,
    ) -> Result<()> {
        let conv = self.conv;
        let tiles = conv.tiles(batch);
        if tiles == 0 || conv.weights.outputs == 0 {
            return Ok(());
        }
        let Division { blocks, parts, .. } = division;
        // Tiles of the largest block.
        let most = tiles.div_ceil(blocks);
        if division.shared {
            let inputs = conv.inputs(scratch, most);
            for index in 0..blocks {
                let block = part(tiles, index, blocks);
                self.shared::<N, M>(pool, block, parts, inputs)?;
            }
            Ok(())
        } else {
            let (len, products) = (conv.transformed(most), most * conv.products());
            pool.try_run(blocks, &|task| {
                let block = part(tiles, task, blocks);
                with_own(len + products, |own| {
                    let inputs = conv.inputs(own.part(0, len), most);
                    let products = own.part(len, products);
                    self.transform::<N, M>(block.clone(), 0..conv.weights.inputs, inputs, 0);
                    for panel in 0..conv.weights.panels() {
                        self.panel::<N, M>(panel, (block.clone(), 0), inputs, products);
                    }
                })
            })
        }
    }

    /// A block of tiles whose transformed inputs all threads share.
    fn shared<const N: usize, const M: usize>(
        self,
        pool: &Pool,
        block: Range<usize>,
        parts: usize,
        inputs: Inputs<'a>,
    ) -> Result<()> {
        /// The most channels that a task transforms, and about as many numbers of a point.
        const CHANNELS: usize = 256;
        let (conv, tiles) = (self.conv, block.len());
        let channels = conv.weights.inputs;
        let (each, slices) = ((CHANNELS / channels.max(1)).max(1), channels.div_ceil(CHANNELS));
        pool.run(tiles.div_ceil(each) * slices, &|task| {
            let (first, channel) = (task / slices * each, task % slices * CHANNELS);
            let part = block.start + first..(block.start + first + each).min(block.end);
            self.transform::<N, M>(
                part,
                channel..(channel + CHANNELS).min(channels),
                inputs,
                first,
            );
        });
        pool.try_run(conv.weights.panels() * parts, &|task| {
            let (panel, own) = (task / parts, part(tiles, task % parts, parts));
            with_own(own.len() * conv.products(), |products| {
                let part = block.start + own.start..block.start + own.end;
                self.panel::<N, M>(panel, (part, own.start), inputs, products);
            })
        })
    }

    /// Transforms some channels of tiles to the places from `first` on.
    fn transform<const N: usize, const M: usize>(
        self,
        tiles: Range<usize>,
        channels: Range<usize>,
        inputs: Inputs<'a>,
        first: usize,
    ) {
        let instructions = self.conv.weights.instructions;
        instructions.run(Transform::<N, M> { run: self, tiles, channels, inputs, first });
    }

    /// Computes a panel of outputs of tiles that were transformed to the places from `first` on.
    fn panel<const N: usize, const M: usize>(
        self,
        panel: usize,
        (tiles, first): (Range<usize>, usize),
        inputs: Inputs<'a>,
        products: Target<'a>,
    ) {
        let weights = &*self.conv.weights;
        let stride = self.conv.products();
        let count = tiles.len();
        weights.instructions.run(Multiply {
            weights,
            panel,
            inputs,
            tiles: first..first + count,
            products,
            stride,
        });
        weights.instructions.run(Finish::<N, M> { run: self, panel, tiles, products, stride });
    }
}

impl Winograd {
    fn inputs<'a>(&self, numbers: Target<'a>, tiles: usize) -> Inputs<'a> {
        Inputs { numbers, row: self.row(), point: self.point(tiles) }
    }
}

/// A tile of M × M outputs: its image, and where it is in the grid of tiles.
struct Place<const M: usize> {
    image: usize,
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

impl<const M: usize> Place<M> {
    fn new(conv: &Winograd, tile: usize) -> Self {
        let (rows, columns) = conv.grid();
        let (image, tile) = (tile / (rows * columns), tile % (rows * columns));
        Self { image, row: tile / columns, column: tile % columns, rows, columns }
    }

    /// The next tile, as divisions for each would take long.
    #[inline(always)]
    fn advance(&mut self) {
        self.column += 1;
        if self.column == self.columns {
            (self.row, self.column) = (self.row + 1, 0);
        }
        if self.row == self.rows {
            (self.image, self.row) = (self.image + 1, 0);
        }
    }

    /// The first row and column of outputs.
    #[inline(always)]
    fn outputs(&self) -> (usize, usize) {
        (self.row * M, self.column * M)
    }
}

/// Transforms inputs.
struct Transform<'a, const N: usize, const M: usize> {
    run: Run<'a>,
    tiles: Range<usize>,
    channels: Range<usize>,
    inputs: Inputs<'a>,
    first: usize,
}

impl<const N: usize, const M: usize> Kernel for Transform<'_, N, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Range { start, end } = self.channels;
        let mut place = Place::<M>::new(self.run.conv, self.tiles.start);
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

impl<const N: usize, const M: usize> Transform<'_, N, M> {
    /// The addresses of a tile's pixels; those outside of the image are zeros.
    #[inline(always)]
    fn pixels(&self, place: &Place<M>) -> [[*const f32; N]; N] {
        let Run { conv, x, .. } = self.run;
        let (row, column) = place.outputs();
        let Layout { height, width, channels, .. } = conv.input;
        let zeros = conv.weights.zeros.as_slice().as_ptr();
        let mut pixels = [[zeros; N]; N];
        for (y, pixels) in pixels.iter_mut().enumerate() {
            // Below zero, the row is larger than any image.
            let y = (row + y).wrapping_sub(conv.window.top);
            if y >= height {
                continue;
            }
            for (x_, pixel) in pixels.iter_mut().enumerate() {
                let column = (column + x_).wrapping_sub(conv.window.left);
                if column < width {
                    *pixel = x.at(conv.input.at(place.image, y, column), channels);
                }
            }
        }
        pixels
    }

    #[inline(always)]
    fn vector<S: Simd, const WHOLE: bool>(
        &self,
        s: S,
        pixels: &[[*const f32; N]; N],
        place: usize,
        channel: usize,
        count: usize,
    ) {
        let mut columns = [[s.splat(0.0); N]; N];
        for column in 0..N {
            let mut numbers = [s.splat(0.0); N];
            for row in 0..N {
                let pixel = pixels[row][column].wrapping_add(channel);
                // SAFETY: pixels have `count` channels from this one on, and vectors that are whole have as many lanes.
                numbers[row] =
                    unsafe { if WHOLE { s.load(pixel) } else { s.load_part(pixel, count) } };
            }
            let numbers = Points::<N>::input(s, numbers);
            for row in 0..N {
                columns[row][column] = numbers[row];
            }
        }
        let point = self.inputs.point;
        let mut to = self.inputs.numbers.at(place, (N * N - 1) * point + S::LANES);
        for row in 0..N {
            let numbers = Points::<N>::input(s, columns[row]);
            for column in 0..N {
                // SAFETY: all places were checked; rows are padded to whole vectors. No other task writes there.
                unsafe { s.store(to, numbers[column]) };
                to = to.wrapping_add(point);
            }
        }
    }
}

/// Multiplies transformed tiles with a panel of weights, point by point.
struct Multiply<'a> {
    weights: &'a Transformed,
    panel: usize,
    inputs: Inputs<'a>,
    tiles: Range<usize>,
    /// For each tile the points, for each point the outputs.
    products: Target<'a>,
    /// Numbers from a tile to the next.
    stride: usize,
}

/// Some tiles at one point: their inputs, the weights, what to prefetch, and where the products go.
#[derive(Clone, Copy)]
struct Rows {
    inputs: *const f32,
    weights: *const f32,
    /// The place in the weights that come next, and bytes from a step to the next.
    ahead: *const u8,
    step: usize,
    products: *mut f32,
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (vectors, depth) = (self.weights.vectors(self.panel), self.weights.inputs);
        let width = vectors * S::LANES;
        let points = self.weights.tile.points();
        let start = self.panel * 2 * S::LANES * points * depth;
        let numbers = &self.weights.numbers.as_slice()[start..][..width * points * depth];
        let count = self.tiles.len();
        let groups = count.div_ceil(S::ROWS);
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
                    ahead: next.wrapping_add(bytes * depth / groups * group),
                    step: bytes / groups,
                    products: self.products.at(to, (rows - 1) * self.stride + width),
                };
                self.tile_of(s, (rows, vectors), place);
                row += rows;
            }
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn tile_of<S: Simd>(&self, s: S, size: (usize, usize), rows: Rows) {
        macro_rules! tile {
            ($($rows:literal)*) => {
                match size {
                    $(($rows, 1) if $rows <= S::ROWS => self.tile::<S, $rows, 1>(s, rows),
                    ($rows, _) if $rows <= S::ROWS => self.tile::<S, $rows, 2>(s, rows),)*
                    _ => unreachable!("a tile has at most {} rows", S::ROWS),
                }
            };
        }
        tile!(1 2 3 4 5 6 7 8 9 10 11 12);
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&self, s: S, rows: Rows) {
        let mut sums = [[s.splat(0.0); V]; R];
        let (mut weights, mut ahead) = (rows.weights, rows.ahead);
        let mut starts = [rows.inputs; R];
        for (at, start) in starts.iter_mut().enumerate() {
            *start = rows.inputs.wrapping_add(at * self.inputs.row);
        }
        // Else each address would be computed from the one before in every step.
        let starts = black_box(starts);
        for k in 0..self.weights.inputs {
            s.prefetch(ahead.cast());
            ahead = ahead.wrapping_add(rows.step);
            let mut columns = [s.splat(0.0); V];
            for (vector, columns) in columns.iter_mut().enumerate() {
                // SAFETY: a point of a panel has `V` vectors for each input.
                *columns = unsafe { s.load(weights.add(vector * S::LANES)) };
            }
            for (sums, start) in sums.iter_mut().zip(starts) {
                // SAFETY: `run` checked all rows.
                let number = s.splat(unsafe { *start.add(k) });
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = s.fma(number, columns, *sum);
                }
            }
            weights = weights.wrapping_add(V * S::LANES);
        }
        for (at, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                // SAFETY: `run` checked all rows of products, which are the thread's own.
                unsafe { s.store(rows.products.add(at * self.stride + vector * S::LANES), sum) };
            }
        }
    }
}

/// Transforms products back, and stores a panel of outputs.
struct Finish<'a, const N: usize, const M: usize> {
    run: Run<'a>,
    panel: usize,
    tiles: Range<usize>,
    products: Target<'a>,
    stride: usize,
}

impl<const N: usize, const M: usize> Kernel for Finish<'_, N, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let vectors = self.run.conv.weights.vectors(self.panel);
        let mut place = Place::<M>::new(self.run.conv, self.tiles.start);
        for at in 0..self.tiles.len() {
            for vector in 0..vectors {
                let products = self.products.at(at * self.stride, N * N * vectors * S::LANES);
                let products = products.wrapping_add(vector * S::LANES);
                let column = (self.panel * 2 + vector) * S::LANES;
                self.tile(s, &place, (products, vectors * S::LANES), column);
            }
            place.advance();
        }
    }
}

impl<const N: usize, const M: usize> Finish<'_, N, M> {
    /// One vector of a tile's outputs, from products that are `step` numbers apart.
    #[inline(always)]
    fn tile<S: Simd>(
        &self,
        s: S,
        place: &Place<M>,
        (products, step): (*const f32, usize),
        column: usize,
    ) {
        let mut lines = [[s.splat(0.0); N]; M];
        for at in 0..N {
            let mut numbers = [s.splat(0.0); N];
            for (row, number) in numbers.iter_mut().enumerate() {
                // SAFETY: `run` checked the products of the tile.
                *number = unsafe { s.load(products.add((row * N + at) * step)) };
            }
            let numbers = Points::<N>::output::<S, M>(s, numbers);
            for row in 0..M {
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
        let rows = M.min(conv.output.height - row);
        let columns = M.min(conv.output.width - first);
        for at in 0..M {
            if at >= rows {
                break;
            }
            let outputs = Points::<N>::output::<S, M>(s, lines[at]);
            let line = |layout: &Layout| {
                let begin = layout.at(image, row + at, first) + column;
                (begin, (columns - 1) * layout.pixel + count)
            };
            let (begin, len) = line(&conv.output);
            let to = y.at(begin, len);
            let other = residual.map(|Residual { source, layout }| {
                let (begin, len) = line(&layout);
                (source.at(begin, len), layout.pixel)
            });
            for x in 0..M {
                if x >= columns {
                    break;
                }
                let mut sum = s.add(outputs[x], bias);
                if let Some((other, pixel)) = other {
                    let from = other.wrapping_add(x * pixel);
                    // SAFETY: `count` numbers of each pixel were checked.
                    sum = s.add(sum, unsafe { s.load_up_to(from, count) });
                }
                let to = to.wrapping_add(x * conv.output.pixel);
                let sum = s.min(high, s.max(low, sum));
                // SAFETY: as above, and they are no other task's.
                unsafe { s.store_up_to(to, count, sum) };
            }
        }
        let Some(function) = conv.function.filter(|function| !is_clamp(*function)) else { return };
        for at in 0..rows * columns {
            let (row, x) = (row + at / columns, first + at % columns);
            apply(s, function, y.at(conv.output.at(image, row, x) + column, count), count);
        }
    }
}
