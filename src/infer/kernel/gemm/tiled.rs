//! Products by tiles: sixteen rows at a time that are evenly apart, where the processor multiplies tiles.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::null;

use super::super::super::form::Form;
use super::super::super::simd::{
    Element, Factors, Kernel, LINES_AHEAD, Lent, SIDE, Shape, Simd, Sums, Tiles, activate,
};
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
    /// The address of the first place.
    start: *const f32,
    /// Places that are readable.
    height: usize,
    first: usize,
    rows: usize,
    places: [u8; SIDE],
}

impl Tile {
    const NONE: Self = Self { start: null(), height: 0, first: 0, rows: 0, places: [0; SIDE] };

    /// The places of rows without others between them.
    const DENSE: [u8; SIDE] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    /// As many rows as fit, from one on.
    fn of(starts: &[*const f32], first: usize, stride: usize) -> Self {
        let ahead = &starts[first..starts.len().min(first + SIDE)];
        let begin = ahead[0] as usize;
        let is_next = |at: usize| ahead[at] as usize == begin.wrapping_add(at.wrapping_mul(stride));
        // All are compared, which is fast, and nearly always they are.
        if (0..ahead.len()).fold(true, |dense, at| dense & is_next(at)) {
            return Self {
                start: ahead[0],
                first,
                rows: ahead.len(),
                places: Self::DENSE,
                ..Self::NONE
            };
        }
        let mut tile = Self { start: ahead[0], first, rows: 1, ..Self::NONE };
        let (mut place, mut before) = (0, begin);
        for start in &ahead[1..] {
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

    /// The same with all places readable, if that can be: between the first and the last of all addresses, all are. Where
    /// places reach beyond the last, they begin before the tile's own rows.
    fn readable(mut self, (low, high): (usize, usize), stride: usize) -> Self {
        let start = self.start as usize;
        self.height = SIDE;
        if start.saturating_add((SIDE - 1).saturating_mul(stride)) <= high {
            return self;
        }
        self.height = ((high - start) / stride + 1).min(SIDE);
        let back = SIDE - self.height;
        if stride.checked_mul(back).is_some_and(|bytes| bytes <= start - low) {
            self.start = self.start.wrapping_byte_sub(stride * back);
            self.places[..self.rows].iter_mut().for_each(|place| *place += back as u8);
            self.height = SIDE;
        }
        self
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
        let Multiply { weights, rows, .. } = product;
        let Rows { starts, .. } = rows;
        let stride = match starts {
            [first, second, ..] => (*second as usize).wrapping_sub(*first as usize),
            _ => 0,
        };
        // Each row is a tile where there is one, or the second one lies before the first.
        let stride = if stride == 0 || stride > isize::MAX as usize { usize::MAX } else { stride };
        let all = starts.iter().fold((usize::MAX, 0), |(low, high), &start| {
            (low.min(start as usize), high.max(start as usize))
        });
        let (mut lent, mut sums) = (Lent::of(tiles), MaybeUninit::uninit());
        let mut from = 0;
        while from < starts.len() {
            let (mut found, mut count) = ([Tile::NONE; TOGETHER], 0);
            while from < starts.len() && count < TOGETHER {
                found[count] = Tile::of(starts, from, stride).readable(all, stride);
                from = found[count].range().end;
                count += 1;
            }
            let found = &found[..count];
            for panel in &weights.panels[product.panels.clone()] {
                let block = product.block(rows, *panel);
                let mut at = 0;
                while at < count {
                    let two = found.get(at + 1).is_some_and(|next| next.height == found[at].height);
                    let tiles = &found[at..at + 1 + usize::from(two)];
                    let of =
                        Pair { tiles, stride, words, number: at / 2, pairs: count.div_ceil(2) };
                    if panel.width == S::LANES {
                        block.pair::<S, 1, FACTORS>(s, of, &mut lent, &mut sums);
                    } else {
                        block.pair::<S, 2, FACTORS>(s, of, &mut lent, &mut sums);
                    }
                    at += tiles.len();
                }
            }
        }
    }
}

/// One or two tiles of rows, the `number`-th of so many pairs.
#[derive(Clone, Copy)]
struct Pair<'a> {
    tiles: &'a [Tile],
    /// From a place to the next one, in bytes.
    stride: usize,
    words: usize,
    number: usize,
    pairs: usize,
}

impl Block<'_> {
    /// Multiplies the rows of tiles, and stores their sums.
    #[inline(always)]
    fn pair<S: Simd, const V: usize, const FACTORS: usize>(
        &self,
        s: S,
        of: Pair<'_>,
        lent: &mut Lent,
        sums: &mut MaybeUninit<Sums>,
    ) {
        let Pair { tiles, stride, words, .. } = of;
        let ends = self.rows.segments.as_ptr_range();
        let (ahead, ahead_step) = self.ahead(of);
        let factors = Factors {
            rows: [tiles[0].start, tiles[tiles.len() - 1].start],
            stride: stride as isize,
            segments: ends.start,
            segments_end: ends.end,
            chunks: self.rows.length / words,
            weights: self.weights,
            ahead,
            ahead_step,
            sums: sums.as_mut_ptr(),
        };
        let shape = Shape { rows: tiles[0].height, words };
        let element = if FACTORS == 4 { Element::Byte } else { Element::BFloat16 };
        // SAFETY: whoever gave the rows promises their segments, which count the panel's rows. What lies between the first and
        // the last row is readable, too.
        unsafe {
            match tiles {
                [_] => lent.multiply::<V, 1>(element, shape, &factors),
                _ => lent.multiply::<V, 2>(element, shape, &factors),
            }
        }
        for (at, tile) in tiles.iter().enumerate() {
            self.finish::<S, V, FACTORS>(s, tile, |place| Sums::row(sums, at, place));
        }
    }

    /// The weights to be fetched meanwhile, and the bytes from those of one product of tiles to those of the next.
    #[inline(always)]
    fn ahead(&self, Pair { words, number, pairs, .. }: Pair<'_>) -> (*const u8, usize) {
        /// Bytes that are fetched with each product.
        const BYTES: usize = LINES_AHEAD * 4 * SIDE;
        let step = self.panel.width * words * size_of::<f32>();
        if pairs * BYTES < step {
            // The processor fetches the rest of the next product's lines when it sees the first ones, but not before: tiles of
            // weights are often pages, at whose ends it stops to look ahead.
            return (self.weights.wrapping_byte_add(step).cast(), step);
        }
        // Each pair fetches a part of the next panel.
        let panel = self.rows.segments.len() * self.rows.length * self.panel.width;
        let part = step.div_ceil(pairs);
        let steps = panel * size_of::<f32>() / step;
        (self.weights.wrapping_add(panel).wrapping_byte_add(part * steps * number).cast(), part)
    }

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
