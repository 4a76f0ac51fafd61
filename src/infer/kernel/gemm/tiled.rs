//! Products by tiles: sixteen rows at a time that are evenly apart, where the processor multiplies tiles.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::super::super::form::Form;
use super::super::super::simd::{Factors, Kernel, Lent, SIDE, Shape, Simd, Sums, Tiles, activate};
use super::panel::{Block, Multiply, clamp, is_clamp};
use super::rows::Rows;

/// The fewest words of rows in a tile: fewer take as long as the other instructions for pairs and bytes.
const FEWEST: usize = 4;

/// Tiles of rows that are found before the panels are multiplied.
const TOGETHER: usize = 16;

/// The words of rows in a tile, for rows in parts of so many. None where tiles gain nothing.
pub(super) fn words(part: usize) -> Option<usize> {
    (FEWEST..=SIDE).rev().find(|&words| part > 0 && part.is_multiple_of(words))
}

/// Rows that lie in places of a tile, which are evenly apart. Other places have what is there, whose sums nobody reads.
#[derive(Clone, Copy)]
struct Tile {
    first: usize,
    rows: usize,
    places: [u8; SIDE],
}

impl Tile {
    const NONE: Self = Self { first: 0, rows: 0, places: [0; SIDE] };

    /// As many rows as fit, from one on.
    fn of(starts: &[*const f32], first: usize, stride: usize) -> Self {
        let (mut tile, mut place) = (Self { first, rows: 1, ..Self::NONE }, 0);
        let mut before = starts[first] as usize;
        for start in &starts[first + 1..] {
            let start = *start as usize;
            // Rows of another image may lie before.
            let Some(apart) = start.checked_sub(before) else { break };
            place += if apart == stride {
                1
            } else if apart.is_multiple_of(stride) {
                apart / stride
            } else {
                break;
            };
            if place >= SIDE {
                break;
            }
            tile.places[tile.rows] = place as u8;
            tile.rows += 1;
            before = start;
        }
        tile
    }

    /// From the first to after the last place.
    fn span(&self) -> usize {
        usize::from(self.places[self.rows.saturating_sub(1)]) + 1
    }

    fn range(&self) -> Range<usize> {
        self.first..self.first + self.rows
    }
}

/// A product by tiles.
pub(super) struct Tiled<'a, const FACTORS: usize> {
    pub product: Multiply<'a, FACTORS>,
    pub tiles: Tiles,
    /// Words of rows in a tile.
    pub words: usize,
}

impl<const FACTORS: usize> Kernel for Tiled<'_, FACTORS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { product, tiles, words } = self;
        let weights = product.weights;
        let Rows { starts, segments, length, .. } = product.rows;
        let stride = match starts {
            [first, second, ..] => (*second as usize).wrapping_sub(*first as usize),
            _ => 0,
        };
        // Each row is a tile where there is one, or the second one lies before the first.
        let stride = if stride == 0 || stride > isize::MAX as usize { usize::MAX } else { stride };
        let (mut lent, mut sums) = (Lent::of(tiles), MaybeUninit::uninit());
        let ends = segments.as_ptr_range();
        let mut from = 0;
        while from < starts.len() {
            let (mut found, mut count) = ([Tile::NONE; TOGETHER], 0);
            while from < starts.len() && count < TOGETHER {
                found[count] = Tile::of(starts, from, stride);
                from = found[count].range().end;
                count += 1;
            }
            for panel in &weights.panels[product.panels.clone()] {
                let block = product.block(product.rows, *panel);
                let is_narrow = panel.width == S::LANES;
                for tiles in found[..count].chunks(2) {
                    let (first, second) = (&tiles[0], tiles.get(1).unwrap_or(&tiles[0]));
                    let second_span = tiles.get(1).map_or(1, Tile::span);
                    let shape = Shape { rows: [first.span(), second_span], words };
                    let factors = Factors {
                        rows: [starts[first.first], starts[second.first]],
                        stride: stride as isize,
                        segments: ends.start,
                        segments_end: ends.end,
                        chunks: length / words,
                        weights: block.weights,
                    };
                    // SAFETY: whoever gave the rows promises their segments, which count the panel's rows. What lies between
                    // rows of a tile lies between the first and the last of them.
                    unsafe {
                        if is_narrow {
                            lent.multiply::<1>(weights.element, shape, &factors, &mut sums);
                        } else {
                            lent.multiply::<2>(weights.element, shape, &factors, &mut sums);
                        }
                    }
                    for (at, tile) in tiles.iter().enumerate() {
                        let row = |place| Sums::row(&sums, at, place);
                        if is_narrow {
                            block.finish::<S, 1, FACTORS>(s, tile, row);
                        } else {
                            block.finish::<S, 2, FACTORS>(s, tile, row);
                        }
                    }
                }
            }
        }
    }
}

impl Block<'_> {
    /// Stores the sums of a tile's rows, which lie at these addresses.
    #[inline(always)]
    fn finish<S: Simd, const V: usize, const FACTORS: usize>(
        &self,
        s: S,
        tile: &Tile,
        row_at: impl Fn(usize) -> *const f32,
    ) {
        let bias = self.first_sums::<S, V, FACTORS>(s);
        let sums = |place: u8| {
            let (from, mut sums) = (row_at(place.into()), bias);
            for (vector, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the sums of the tile's rows were written.
                let number = unsafe { s.load(from.add(vector * S::LANES)) };
                *sum = if FACTORS == 4 { number } else { s.add(*sum, number) };
            }
            sums
        };
        let rows = tile.range().zip(tile.places);
        match &self.store.rescale {
            Some(rescale) if FACTORS == 4 => {
                rows.for_each(|(row, place)| self.rescale(s, row, [sums(place)], rescale));
            }
            _ if FACTORS == 2 && V == 2 && self.stores_lines::<S>() => {
                rows.for_each(|(row, place)| self.store_line(s, row, sums(place)));
                return;
            }
            _ => rows.for_each(|(row, place)| {
                self.store::<S, 1, V, FACTORS>(s, row, [sums(place)]);
            }),
        }
        self.activate(s, tile.range());
    }

    /// Whether the results, and what is added to them, are whole vectors of pairs.
    #[inline(always)]
    fn stores_lines<S: Simd>(&self) -> bool {
        let (added, form) = self.store.forms;
        let is_paired =
            form == Form::BFloat16 && (self.store.residual.is_none() || added == Form::BFloat16);
        is_paired && self.columns >= 2 * S::LANES
    }

    /// `store` for one row of such results.
    #[inline(always)]
    fn store_line<S: Simd, const V: usize>(&self, s: S, row: usize, mut sums: [S::Vector; V]) {
        let (low, high) = clamp(self.store.function);
        let (low, high) = (s.splat(low), s.splat(high));
        let (column, count) = (self.panel.column, V * S::LANES);
        if let Some((source, offset, stride)) = self.store.residual {
            let from = source.of(Form::BFloat16, offset + row * stride + column, count);
            for (vector, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `count` numbers were checked.
                let added =
                    unsafe { s.load_halves(from.cast::<u16>().add(vector * S::LANES), S::LANES) };
                *sum = s.add(*sum, added);
            }
        }
        let place = self.store.offset + row * self.store.stride + column;
        let to = self.store.target.of(Form::BFloat16, place, count);
        let function = self.store.function.filter(|function| !is_clamp(*function));
        let [first, second] = [sums[0], sums[V - 1]].map(|sum| match function {
            Some(function) => activate(s, function, sum),
            None => s.min(high, s.max(low, sum)),
        });
        // SAFETY: as above.
        unsafe { s.store(to, s.pairs(first, second)) };
    }
}
