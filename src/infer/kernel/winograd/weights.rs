//! Transformed weights.

use super::super::super::layout::Window;
use super::super::super::memory::{Buffer, Target, zeros};
use super::super::super::pool::Pool;
use super::super::super::simd::{Element, Instructions, Kernel, Simd, pair};
use super::tile::Tile;
use super::transform::weights;
use crate::error::Result;

/// Transformed weights in the order in which they are read: panels of some vectors of outputs, in each the points, in each
/// the input channels, of which a word of bfloat16 has two.
#[derive(Debug)]
pub(in crate::infer) struct Transformed {
    pub(super) tile: Tile,
    /// Input channels, with a stride those of all phases.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// The type of the factors of products.
    pub(super) element: Element,
    pub(super) instructions: Instructions,
    /// Vectors of a panel; the last one may have fewer.
    vectors: usize,
    pub(super) numbers: Buffer,
    pub(super) bias: Buffer,
    /// A pixel outside of the image.
    pub(super) zeros: Buffer,
}

impl Transformed {
    /// Transforms weights (outputs, inputs, rows, columns) of a window in float64, and packs them with the biases for
    /// these instructions. Pairs of bfloat16 need evenly many inputs.
    pub fn pack(
        pool: &Pool,
        (instructions, element): (Instructions, Element),
        (tile, window): (Tile, &Window),
        (outputs, inputs): (usize, usize),
        (weight, bias): (&[f32], &[f32]),
    ) -> Result<Self> {
        let columns = outputs.next_multiple_of(instructions.lanes());
        let mut biases = zeros(columns)?;
        biases.as_mut_slice()[..outputs].copy_from_slice(bias);
        let phases = window.stride.height * window.stride.width;
        let depth = phases * inputs / element.per_word();
        let mut packed = Self {
            tile,
            inputs: phases * inputs,
            outputs,
            element,
            instructions,
            vectors: vectors(columns / instructions.lanes(), (instructions, element)),
            numbers: zeros(columns * depth * tile.points())?,
            bias: biases,
            zeros: zeros(phases * inputs)?,
        };
        let (panels, width) = (packed.panels(), packed.width());
        let each = width * depth * tile.points();
        let all = packed.numbers.as_mut_slice().len();
        let numbers = Target::from(packed.numbers.as_mut_slice());
        let (rows, columns) = (weights(tile.rows), weights(tile.columns));
        pool.run(panels, &|panel| {
            let place = panel * each;
            // SAFETY: the panel is no other task's.
            let packed = unsafe { numbers.slice(place, each.min(all - place)) };
            let factors = (&rows[..], &columns[..]);
            let first = panel * width;
            instructions.run(Pack {
                tile,
                window,
                weight,
                outputs,
                inputs,
                first,
                together: element.per_word(),
                factors,
                packed,
            });
        });
        Ok(packed)
    }

    pub fn tile(&self) -> Tile {
        self.tile
    }

    /// The type of the factors of products.
    pub fn element(&self) -> Element {
        self.element
    }

    /// The number of its weights and biases.
    pub fn numbers(&self) -> usize {
        self.outputs * (self.inputs * self.tile.points() + 1)
    }

    /// Words of the input channels.
    pub(super) fn depth(&self) -> usize {
        self.inputs / self.element.per_word()
    }

    /// Outputs of a panel.
    pub(super) fn width(&self) -> usize {
        self.vectors * self.instructions.lanes()
    }

    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(self.width())
    }

    pub(super) fn vectors(&self, panel: usize) -> usize {
        let left = self.outputs - panel * self.width();
        left.div_ceil(self.instructions.lanes()).min(self.vectors)
    }
}

/// Vectors of a panel, where there are so many in all. Wide tiles, of fewer rows, read less for each product.
fn vectors(all: usize, (instructions, element): (Instructions, Element)) -> usize {
    match instructions.vectors() {
        4 if element == Element::Float32 && all > 2 => {
            let threes = all.is_multiple_of(3) && !all.is_multiple_of(8);
            if threes { 3 } else { 4 }
        }
        _ => 2,
    }
}

/// Transforms and packs the weights of a panel.
struct Pack<'a> {
    tile: Tile,
    window: &'a Window,
    weight: &'a [f32],
    outputs: usize,
    inputs: usize,
    /// The panel's first output.
    first: usize,
    /// Inputs in a word, 1 or 2.
    together: usize,
    /// For each point of a column and of a row, the factors of the taps.
    factors: (&'a [f64], &'a [f64]),
    packed: &'a mut [f32],
}

/// Outputs whose weights are transformed together; vectors are multiples of it.
const TOGETHER: usize = 8;

const MOST_PER_WORD: usize = 2;

type Numbers = [f64; TOGETHER];

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        let Self { tile, window, inputs, together, .. } = self;
        let packed = std::mem::take(&mut self.packed);
        let stride = window.stride;
        let all = stride.height * stride.width * inputs;
        let depth = all / together;
        let width = packed.len() / (depth * tile.points()).max(1);
        let (rows, columns) = (tile.rows, tile.columns);
        // The taps, with the points in place of rows, and with the points in place of columns too, for each input of a word.
        let mut taps = vec![[0.0; TOGETHER]; rows.taps * columns.taps];
        let mut lines = vec![[0.0; TOGETHER]; rows.points() * columns.taps];
        let mut points = vec![[[0.0; TOGETHER]; MOST_PER_WORD]; tile.points()];
        for word in 0..depth {
            for lane in (0..width).step_by(TOGETHER) {
                for factor in 0..together {
                    let input = word * together + factor;
                    let (phase, channel) = (input / inputs, input % inputs);
                    let phase = (phase / stride.width, phase % stride.width);
                    self.taps(lane, channel, phase, &mut taps);
                    self.points(&taps, &mut lines, |point, numbers| {
                        points[point][factor] = numbers;
                    });
                }
                for (point, [first, second]) in points.iter().enumerate() {
                    let to = (point * depth + word) * width + lane;
                    let numbers = first.iter().zip(second);
                    for (to, (&first, &second)) in packed[to..to + TOGETHER].iter_mut().zip(numbers)
                    {
                        let first = first as f32;
                        *to = if together == 2 { pair(first, second as f32) } else { first };
                    }
                }
            }
        }
    }
}

impl Pack<'_> {
    /// The points of one input's taps; `lines` has room for those of its columns.
    #[inline(always)]
    fn points(&self, taps: &[Numbers], lines: &mut [Numbers], mut to: impl FnMut(usize, Numbers)) {
        let Tile { rows, columns } = self.tile;
        for column in 0..columns.taps {
            combine(self.factors.0, rows.taps, &taps[column..], columns.taps, |row, numbers| {
                lines[row * columns.taps + column] = numbers;
            });
        }
        for row in 0..rows.points() {
            let line = &lines[row * columns.taps..];
            combine(self.factors.1, columns.taps, line, 1, |column, numbers| {
                to(row * columns.points() + column, numbers);
            });
        }
    }

    /// The taps of outputs from `lane` on for one channel, of those that fall into one phase of the stride.
    #[inline(always)]
    fn taps(&self, lane: usize, channel: usize, phase: (usize, usize), taps: &mut [Numbers]) {
        let (kernel, stride) = (self.window.kernel, self.window.stride);
        let within = TOGETHER.min(self.outputs.saturating_sub(self.first + lane));
        for (at, tap) in taps.iter_mut().enumerate() {
            let columns = self.tile.columns.taps;
            let row = at / columns * stride.height + phase.0;
            let column = at % columns * stride.width + phase.1;
            *tap = [0.0; TOGETHER];
            if row >= kernel.height || column >= kernel.width {
                continue;
            }
            for (output, number) in tap[..within].iter_mut().enumerate() {
                let window = (self.first + lane + output) * self.inputs + channel;
                let place = (window * kernel.height + row) * kernel.width + column;
                *number = f64::from(self.weight[place]);
            }
        }
    }
}

/// The product of factors (points, taps) with numbers that lie `step` apart.
#[inline(always)]
fn combine(
    factors: &[f64],
    taps: usize,
    from: &[Numbers],
    step: usize,
    mut to: impl FnMut(usize, Numbers),
) {
    for (point, factors) in factors.chunks_exact(taps).enumerate() {
        let mut sums = [0.0; TOGETHER];
        for (tap, factor) in factors.iter().enumerate() {
            for (sum, number) in sums.iter_mut().zip(from[tap * step]) {
                *sum += factor * number;
            }
        }
        to(point, sums);
    }
}
