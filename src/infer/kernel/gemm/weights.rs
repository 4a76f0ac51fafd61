//! Packed weights.

use std::ops::Range;

use super::super::super::memory::{Buffer, Target, zeros};
use super::super::super::pool::Pool;
use super::super::super::simd::{Element, Instructions, SIDE, Tiles};
use super::super::integers::Integers;
use crate::error::Result;

/// Weights in the order in which tiles read them: panels of some vectors of columns, in each the rows one after another.
#[derive(Debug)]
pub(in crate::infer) struct Weights {
    pub columns: usize,
    /// Words of a column.
    pub depth: usize,
    pub element: Element,
    instructions: Instructions,
    pub(super) panels: Vec<Panel>,
    numbers: Buffer,
    bias: Buffer,
    /// For each column, if they are bytes.
    integers: Vec<Integers>,
}

/// Consecutive columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    pub column: usize,
    /// Columns with those of zeros that complete its vectors; the last panel may be half a vector wide.
    pub width: usize,
    pub start: usize,
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
        /// The depth of a wide panel at most: it stays in a second-level cache while all rows are multiplied.
        const DEPTH: usize = 1024;
        let lanes = instructions.lanes();
        let narrow = match element {
            Element::Float32 => instructions.narrower().lanes(),
            Element::BFloat16 | Element::Byte => lanes,
        };
        // Half a vector comes last.
        let rest = columns % lanes;
        let half = rest > 0 && rest <= narrow && narrow < lanes;
        let vectors = if half { columns / lanes } else { columns.div_ceil(lanes) };
        let is_wide = element == Element::Float32 && depth <= DEPTH;
        let most = if is_wide { instructions.vectors() } else { 2 };
        let in_pairs = is_heavy(columns, depth) && vectors.is_multiple_of(2);
        let widths = widths(vectors, most, in_pairs).map(|vectors| vectors * lanes);
        let (mut panels, mut start, mut column) = (Vec::new(), 0, 0);
        for width in widths.chain(half.then_some(narrow)) {
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

    /// Whether they are so many that threads divide the columns.
    pub fn is_heavy(&self) -> bool {
        is_heavy(self.columns, self.depth)
    }

    /// Panels that have about so many vectors together, at least one.
    pub fn panels_of(&self, vectors: usize) -> usize {
        let widest = self.panels.first().map_or(1, |panel| panel.width);
        (vectors * self.instructions.lanes() / widest).max(1)
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
        if self.tiles().is_some() { SIDE } else { self.instructions.rows() }
    }

    /// The tiles that they are multiplied by, if the processor has any and they gain something.
    pub fn tiles(&self) -> Option<Tiles> {
        /// The fewest words of bytes, four of which the other instructions multiply at once too.
        const FEWEST_OF_BYTES: usize = 16;
        let gain = match self.element {
            Element::Float32 => false,
            Element::BFloat16 => true,
            Element::Byte => self.depth >= FEWEST_OF_BYTES,
        };
        self.instructions.tiles().filter(|_| gain)
    }

    /// The biases from a column on.
    pub fn bias(&self, column: usize) -> *const f32 {
        self.bias.as_slice()[column..].as_ptr()
    }
}

/// Whether weights are so many that threads divide the columns.
fn is_heavy(columns: usize, depth: usize) -> bool {
    depth * columns > 128 * 1024
}

/// The widths of panels in vectors, of which the widest has `most`. The wider a tile is, the fewer rows it needs, and the
/// less it reads for each product; so there are as many of four and three vectors as can be.
fn widths(vectors: usize, most: usize, in_pairs: bool) -> impl Iterator<Item = usize> {
    let mut left = if in_pairs { vectors / 2 } else { vectors };
    let each = if in_pairs { 2 } else { 1 };
    let first = std::iter::from_fn(move || {
        let width = match left {
            0 => return None,
            _ if most == 4 && left.is_multiple_of(4) => 4,
            _ => left.min(most).min(3),
        };
        left -= width;
        Some(width)
    });
    first.flat_map(move |width| std::iter::repeat_n(width, each))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(vectors: usize, most: usize, in_pairs: bool) -> Vec<usize> {
        widths(vectors, most, in_pairs).collect()
    }

    #[test]
    fn panels_are_as_wide_as_can_be() {
        assert_eq!(all(8, 4, false), [4, 4]);
        assert_eq!(all(5, 4, false), [3, 2]);
        assert_eq!(all(6, 4, false), [3, 3]);
        assert_eq!(all(9, 4, false), [3, 3, 3]);
        assert_eq!(all(11, 4, false), [3, 4, 4]);
        assert_eq!(all(5, 2, false), [2, 2, 1]);
        assert_eq!(all(0, 4, false), [0; 0]);
    }

    #[test]
    fn two_threads_have_the_same_columns_where_they_divide_them() {
        assert_eq!(all(10, 4, true), [3, 3, 2, 2]);
        assert_eq!(all(20, 4, true), [3, 3, 3, 3, 4, 4]);
        assert_eq!(all(8, 4, true), [4, 4]);
    }

    #[test]
    fn no_column_is_lost() {
        for (vectors, most) in (0..100).flat_map(|vectors| [(vectors, 2), (vectors, 4)]) {
            assert_eq!(all(vectors, most, false).iter().sum::<usize>(), vectors);
            assert_eq!(all(2 * vectors, most, true).iter().sum::<usize>(), 2 * vectors);
        }
    }
}
