//! Products of matrices by Strassen's algorithm: both matrices and the result are four parts each, and seven products of
//! sums of parts give what eight products of parts would. The rows are the pixels of an image, the even ones and the odd ones,
//! so a pixel has the same result in every batch, and a thread has pixels that lie side by side. The sums of weights are made as they are packed. What the seven
//! products add to the parts of the result goes there from registers, while these parts are in the cache.
//!
//! | product | of rows | of weights | added to | taken from |
//! | --- | --- | --- | --- | --- |
//! | 1 | A11 + A22 | B11 + B22 | C11, C22 | |
//! | 2 | A21 + A22 | B11 | C21 | C22 |
//! | 3 | A11 | B12 - B22 | C12, C22 | |
//! | 4 | A22 | B21 - B11 | C11, C21 | |
//! | 5 | A11 + A12 | B22 | C12 | C11 |
//! | 6 | A21 - A11 | B11 + B12 | C22 | |
//! | 7 | A12 - A22 | B21 + B22 | C11 | |

use std::ops::Range;
use std::ptr::null;
use std::sync::Arc;

use super::super::form::Form;
use super::super::layout::{Layout, spaced};
use super::super::memory::{Buffer, Source, Target, zeros};
use super::super::pool::{Pool, part};
use super::super::simd::Element;
use super::super::simd::{Instructions, Kernel, Simd};
use super::conv::Residual;
use super::gemm::{Ahead, Weights, accumulate, apply, clamp, every_tile, is_clamp};
use crate::error::Result;
use crate::graph::op::Function;

/// A part of a matrix: 0 is 11, 1 is 12, 2 is 21, 3 is 22.
type Part = usize;

/// A part, and one that is added to it or taken from it.
#[derive(Clone, Copy)]
enum Sum {
    Alone(Part),
    Plus(Part, Part),
    Minus(Part, Part),
}

/// The change that a product makes to a part of the result.
#[derive(Clone, Copy)]
struct Update {
    part: Part,
    is_minus: bool,
    /// Whether it is the first or the last that does something to the part.
    is_first: bool,
    is_last: bool,
}

struct Product {
    rows: Sum,
    weights: Sum,
    updates: &'static [Update],
}

const COUNT: usize = 7;

const PRODUCTS: [Product; COUNT] = {
    use Sum::{Alone, Minus, Plus};
    const fn first(part: Part) -> Update {
        Update { part, is_minus: false, is_first: true, is_last: false }
    }
    const fn plus(part: Part) -> Update {
        Update { part, is_minus: false, is_first: false, is_last: false }
    }
    const fn minus(part: Part) -> Update {
        Update { is_minus: true, ..plus(part) }
    }
    const fn last(part: Part) -> Update {
        Update { is_last: true, ..plus(part) }
    }
    [
        Product { rows: Plus(0, 3), weights: Plus(0, 3), updates: &[first(0), first(3)] },
        Product { rows: Plus(2, 3), weights: Alone(0), updates: &[first(2), minus(3)] },
        Product { rows: Alone(0), weights: Minus(1, 3), updates: &[first(1), plus(3)] },
        Product { rows: Alone(3), weights: Minus(2, 0), updates: &[plus(0), last(2)] },
        Product { rows: Plus(0, 1), weights: Alone(3), updates: &[minus(0), last(1)] },
        Product { rows: Minus(2, 0), weights: Plus(0, 1), updates: &[last(3)] },
        Product { rows: Minus(1, 3), weights: Plus(2, 3), updates: &[last(0)] },
    ]
};

/// Products whose rows are sums.
const SUMS: usize = 5;

/// Vectors of columns that are multiplied with the rows of a product before those of the next, which stay in the cache
/// meanwhile.
const TOGETHER: usize = 8;

/// The most rows of a task.
const MOST_ROWS: usize = 112;

/// The fewest rows for which a thread reads all weights.
const FEWEST_ROWS: usize = 42;

/// Sums of the parts of weights, packed for the seven products.
#[derive(Debug)]
pub(in crate::infer) struct Halves {
    inputs: usize,
    outputs: usize,
    instructions: Instructions,
    products: Vec<Weights>,
    bias: Buffer,
    /// A row that an image with an odd number of them lacks.
    zeros: Buffer,
}

impl Halves {
    /// Packs weights (outputs, inputs), both even, with their biases.
    pub fn pack(
        pool: &Pool,
        instructions: Instructions,
        (outputs, inputs): (usize, usize),
        (weight, bias): (&[f32], &[f32]),
    ) -> Result<Self> {
        /// Numbers of a column that are packed together, so that they stay in the cache.
        const TOGETHER: usize = 64;
        debug_assert!(outputs.is_multiple_of(2) && inputs.is_multiple_of(2));
        let (wide, deep) = (outputs / 2, inputs / 2);
        let packed = |product: &Product| {
            // The inputs of one output that a part has.
            let of = |part: Part, column: usize, rows: &Range<usize>| {
                let begin = (part % 2 * wide + column) * inputs + part / 2 * deep;
                &weight[begin + rows.start..begin + rows.end]
            };
            let fill = |columns: Range<usize>, width: usize, packed: &mut [f32]| {
                for first in (0..deep).step_by(TOGETHER) {
                    let rows = first..(first + TOGETHER).min(deep);
                    for (lane, column) in columns.clone().enumerate() {
                        let to = packed[first * width..].iter_mut().skip(lane).step_by(width);
                        let of = |part| of(part, column, &rows).iter();
                        match product.weights {
                            Sum::Alone(a) => to.zip(of(a)).for_each(|(to, a)| *to = *a),
                            Sum::Plus(a, b) => {
                                to.zip(of(a).zip(of(b))).for_each(|(to, (a, b))| *to = a + b);
                            }
                            Sum::Minus(a, b) => {
                                to.zip(of(a).zip(of(b))).for_each(|(to, (a, b))| *to = a - b);
                            }
                        }
                    }
                }
            };
            Weights::pack(pool, (instructions, Element::Float32), (wide, deep), &[], fill)
        };
        let products = PRODUCTS.iter().map(packed).collect::<Result<Vec<_>>>()?;
        // Vectors of the second half begin anywhere.
        let mut biases = zeros(outputs + instructions.vectors() * instructions.lanes())?;
        biases.as_mut_slice()[..outputs].copy_from_slice(bias);
        let zeros = zeros(deep)?;
        Ok(Self { inputs, outputs, instructions, products, bias: biases, zeros })
    }

    /// The number of its weights and biases.
    pub fn numbers(&self) -> usize {
        self.outputs * (self.inputs * COUNT / 4 + 1)
    }
}

/// A convolution of 1×1 pixel.
#[derive(Debug)]
pub(in crate::infer) struct Strassen {
    pub input: Layout,
    pub output: Layout,
    /// Plans for other shapes have the same.
    pub weights: Arc<Halves>,
    pub function: Option<Function>,
}

impl Strassen {
    /// Numbers that `run` needs for the sums of parts of rows.
    pub fn scratch(&self, batch: usize) -> usize {
        SUMS * batch * self.half() * self.row()
    }

    /// The even pixels of an image.
    fn half(&self) -> usize {
        self.input.pixels().div_ceil(2)
    }

    /// Numbers from a sum to the next.
    fn row(&self) -> usize {
        spaced(self.weights.inputs / 2)
    }

    pub fn run(
        &self,
        pool: &Pool,
        batch: usize,
        x: Source<'_>,
        y: Target<'_>,
        residual: Option<Residual<'_>>,
        scratch: Target<'_>,
    ) {
        /// Rows whose sums are made together.
        const ADDED: usize = 8;
        let run = Run { of: self, x, y, residual, sums: scratch, rows: batch * self.half() };
        let instructions = self.weights.instructions;
        // Threads divide the rows, of which each then has the sums in its cache, unless these are few for all weights.
        let shares = if run.rows >= pool.threads() * FEWEST_ROWS { pool.threads() } else { 1 };
        let share = run.rows.div_ceil(shares);
        let block = |number: usize, size: usize| {
            let blocks = share.div_ceil(size);
            let rows = part(run.rows, number / blocks, shares);
            let within = part(rows.len(), number % blocks, blocks);
            rows.start + within.start..rows.start + within.end
        };
        pool.run(shares * share.div_ceil(ADDED), &|task| {
            instructions.run(Add { run, rows: block(task, ADDED) });
        });
        let (panels, blocks) =
            (self.weights.products[0].panels(), shares * share.div_ceil(MOST_ROWS));
        let parts = if blocks >= 8 { 1 } else { 16_usize.div_ceil(blocks.max(1)).min(panels) };
        pool.run(blocks * parts, &|task| {
            let rows = block(task / parts, MOST_ROWS);
            let panels = part(panels, task % parts, parts);
            let first = &self.weights.products[0];
            first.by_width(panels, |instructions, panels| {
                instructions.run(Multiply { run, rows: rows.clone(), panels });
            });
        });
    }
}

/// The memory that a run reads and writes.
#[derive(Clone, Copy)]
struct Run<'a> {
    of: &'a Strassen,
    x: Source<'a>,
    y: Target<'a>,
    residual: Option<Residual<'a>>,
    /// For each product whose rows are sums, the sums.
    sums: Target<'a>,
    /// The even pixels of all images, each with the odd one after it.
    rows: usize,
}

impl Run<'_> {
    /// The address of a part of a row, zeros for one that an image lacks.
    #[inline(always)]
    fn part(&self, row: usize, part: Part) -> *const f32 {
        let Strassen { input, weights, .. } = self.of;
        let deep = weights.inputs / 2;
        match self.pixel(row, part / 2) {
            Some((image, pixel)) => {
                let place = image * input.image + pixel * input.pixel + part % 2 * deep;
                self.x.at(place, deep)
            }
            None => weights.zeros.as_slice().as_ptr(),
        }
    }

    /// The image and pixel of a row: the even one, or the odd one after it.
    #[inline(always)]
    fn pixel(&self, row: usize, odd: usize) -> Option<(usize, usize)> {
        let half = self.of.half();
        let (image, pixel) = (row / half, 2 * (row % half) + odd);
        (pixel < self.of.input.pixels()).then_some((image, pixel))
    }

    /// The place of a sum.
    #[inline(always)]
    fn sum(&self, number: usize, row: usize) -> usize {
        (number * self.rows + row) * self.of.row()
    }
}

/// Adds parts of rows.
struct Add<'a> {
    run: Run<'a>,
    rows: Range<usize>,
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { run, rows } = self;
        let deep = run.of.weights.inputs / 2;
        for row in rows {
            let parts: [*const f32; 4] = [0, 1, 2, 3].map(|part| run.part(row, part));
            let mut place = 0;
            while place < deep {
                let count = S::LANES.min(deep - place);
                let mut numbers = [s.splat(0.0); 4];
                for (numbers, part) in numbers.iter_mut().zip(parts) {
                    // SAFETY: parts have `deep` numbers.
                    *numbers = unsafe { s.load_up_to(part.add(place), count) };
                }
                let mut number = 0;
                for product in &PRODUCTS {
                    let sum = match product.rows {
                        Sum::Alone(_) => continue,
                        Sum::Plus(a, b) => s.add(numbers[a], numbers[b]),
                        Sum::Minus(a, b) => s.sub(numbers[a], numbers[b]),
                    };
                    let to = run.sums.at(run.sum(number, row) + place, count);
                    // SAFETY: the place was checked, and is no other task's.
                    unsafe { s.store_up_to(to, count, sum) };
                    number += 1;
                }
                place += S::LANES;
            }
        }
    }
}

/// Multiplies some rows with some panels.
struct Multiply<'a> {
    run: Run<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
}

/// The rows of a task: where each begins for each product, and where its results go; none for those that an image lacks.
struct Rows {
    count: usize,
    starts: [[*const f32; MOST_ROWS]; COUNT],
    results: [[Option<usize>; MOST_ROWS]; 2],
    residuals: [[usize; MOST_ROWS]; 2],
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.rows();
        let Halves { products, inputs, .. } = &*self.run.of.weights;
        let deep = inputs / 2;
        let together = products[0].panels_of(TOGETHER);
        for first in self.panels.clone().step_by(together) {
            let panels = first..(first + together).min(self.panels.end);
            for product in 0..COUNT {
                for panel in panels.clone() {
                    // What comes next is fetched meanwhile.
                    let next = if panel + 1 < panels.end {
                        products[product].start(panel + 1)
                    } else if product + 1 < COUNT {
                        products[product + 1].start(first)
                    } else {
                        products[0].start(panels.end)
                    };
                    let width = products[0].width(panel);
                    let tiles = rows.count.div_ceil(S::ROWS[width / S::LANES - 1]).max(1);
                    let bytes = width * size_of::<f32>();
                    for tile in 0..tiles {
                        let place = part(rows.count, tile, tiles);
                        let ahead = Ahead {
                            next: next.cast::<u8>().wrapping_add(bytes * deep / tiles * tile),
                            step: bytes / tiles,
                        };
                        self.tile_of(s, (panel, product), &rows, place, ahead);
                    }
                }
            }
            for panel in panels {
                self.activate(s, panel, &rows);
            }
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn rows(&self) -> Rows {
        let run = &self.run;
        let (starts, count) = ([[null(); MOST_ROWS]; COUNT], self.rows.len());
        let (results, residuals) = ([[None; MOST_ROWS]; 2], [[0; MOST_ROWS]; 2]);
        let mut rows = Rows { count, starts, results, residuals };
        for (at, row) in self.rows.clone().enumerate() {
            let mut sums = 0;
            for (product, starts) in PRODUCTS.iter().zip(&mut rows.starts) {
                starts[at] = if let Sum::Alone(part) = product.rows {
                    run.part(row, part)
                } else {
                    sums += 1;
                    run.sums.source().at(run.sum(sums - 1, row), run.of.weights.inputs / 2)
                };
            }
            for half in 0..2 {
                let Some((image, pixel)) = run.pixel(row, half) else { continue };
                let place = |layout: &Layout| image * layout.image + pixel * layout.pixel;
                rows.results[half][at] = Some(place(&run.of.output));
                rows.residuals[half][at] = run.residual.map_or(0, |other| place(&other.layout));
            }
        }
        rows
    }

    #[inline(always)]
    fn tile_of<S: Simd>(
        &self,
        s: S,
        (panel, product): (usize, usize),
        rows: &Rows,
        place: Range<usize>,
        ahead: Ahead,
    ) {
        let vectors = self.run.of.weights.products[0].width(panel) / S::LANES;
        macro_rules! tile {
            ($($vectors:literal: $($rows:literal)*;)*) => {
                match (vectors, place.len()) {
                    $($(($vectors, $rows) if $rows <= S::ROWS[$vectors - 1] => {
                        self.tile::<S, $rows, $vectors>(
                            s, (panel, product), rows, place.start, ahead,
                        );
                    })*)*
                    _ => unreachable!("a tile has at most {:?} rows", S::ROWS),
                }
            };
        }
        every_tile!(tile);
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        s: S,
        (panel, product): (usize, usize),
        rows: &Rows,
        first: usize,
        mut ahead: Ahead,
    ) {
        let weights = &*self.run.of.weights;
        let mut starts = [null(); R];
        starts.copy_from_slice(&rows.starts[product][first..first + R]);
        let packed = &weights.products[product];
        let zeros = [[s.splat(0.0); V]; R];
        // SAFETY: rows of sums and of parts have half of the inputs, as have the weights.
        let sums = unsafe {
            accumulate::<S, R, V, 1>(
                s,
                zeros,
                &starts,
                weights.inputs / 2,
                packed.start(panel),
                &mut ahead,
            )
        };
        let (low, high) = clamp(self.run.of.function);
        let (low, high) = (s.splat(low), s.splat(high));
        let column = packed.column(panel);
        let within = (weights.outputs / 2 - column).min(V * S::LANES);
        for update in PRODUCTS[product].updates {
            let (half, column) = (update.part / 2, update.part % 2 * weights.outputs / 2 + column);
            let mut bias = [s.splat(0.0); V];
            for (vector, bias) in bias.iter_mut().enumerate() {
                // SAFETY: after the biases there are as many zeros as a panel has columns.
                *bias = unsafe {
                    s.load(weights.bias.as_slice().as_ptr().add(column + vector * S::LANES))
                };
            }
            for (at, sums) in sums.iter().enumerate() {
                let Some(place) = rows.results[half][first + at] else { continue };
                let to = self.run.y.at(place + column, within);
                let residual = self.run.residual.filter(|_| update.is_last).map(|other| {
                    other.source.at(rows.residuals[half][first + at] + column, within)
                });
                for (vector, sum) in sums.iter().enumerate() {
                    let lane = vector * S::LANES;
                    let count = S::LANES.min(within - lane);
                    // SAFETY: `within` numbers of the result and of the residual were checked above.
                    unsafe {
                        let to = to.add(lane);
                        let mut result = if update.is_first {
                            s.add(*sum, bias[vector])
                        } else if update.is_minus {
                            s.sub(s.load_up_to(to, count), *sum)
                        } else {
                            s.add(s.load_up_to(to, count), *sum)
                        };
                        if let Some(residual) = residual {
                            result = s.add(result, s.load_up_to(residual.add(lane), count));
                        }
                        if update.is_last {
                            result = s.min(high, s.max(low, result));
                        }
                        s.store_up_to(to, count, result);
                    }
                }
            }
        }
    }

    /// Applies a function that is no clamp to the results of a panel, while they are in the cache.
    #[inline(always)]
    fn activate<S: Simd>(&self, s: S, panel: usize, rows: &Rows) {
        let Strassen { weights, function, .. } = self.run.of;
        let Some(function) = function.filter(|function| !is_clamp(*function)) else { return };
        let (packed, wide) = (&weights.products[0], weights.outputs / 2);
        let column = packed.column(panel);
        let within = (wide - column).min(packed.width(panel));
        for results in &rows.results {
            for place in results[..rows.count].iter().flatten() {
                for column in [column, wide + column] {
                    apply(
                        s,
                        function,
                        Form::Float32,
                        self.run.y.at(place + column, within),
                        within,
                    );
                }
            }
        }
    }
}
