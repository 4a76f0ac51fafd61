//! Convolution by Winograd's algorithm: tiles of the image are transformed, multiplied with transformed weights for each
//! point of the transform, and transformed back. A tile of 4×4 outputs of a window of 3×3 takes 36 multiplications for
//! each pair of channels instead of 144. Windows that are one row or one column have tiles of that form; a stride becomes
//! channels (`phases.rs`). Every output is computed in the same way wherever its tile falls, so it depends neither on the
//! batch nor on the threads.

#![allow(
    clippy::needless_range_loop,
    reason = "iterators over arrays of vectors would copy the arrays"
)]

mod input;
mod output;
mod phases;
mod place;
mod product;
#[cfg(test)]
mod tests;
mod tile;
mod transform;
mod weights;

use std::ops::Range;

use super::super::form::Form;
use super::super::layout::LINE;
use super::super::memory::{Source, Target, with_own};
use super::super::pool::{PARTS, Pool, part, rows_of};
use super::super::simd::Element;
use super::conv::Residual;
use crate::error::Result;
use input::{Rounded, Transform};
use output::{Finish, Narrow};
use place::{Inputs, Run};
use product::{Multiply, Pairs};

pub(in crate::infer) use place::Winograd;
pub(in crate::infer) use tile::Tile;
pub(in crate::infer) use weights::Transformed;

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

impl Winograd {
    /// Numbers that `run` needs for what the threads share: images whose stride became channels, and transformed inputs.
    pub fn scratch(&self, batch: usize) -> usize {
        self.scratch_divided(self.division(batch), batch)
    }

    fn scratch_divided(&self, division: Division, batch: usize) -> usize {
        let Division { blocks, shared, .. } = division;
        let transformed = self.transformed(self.tiles(batch).div_ceil(blocks));
        self.gathered(batch) + if shared { transformed } else { 0 }
    }

    /// Numbers of the images whose stride became channels.
    fn gathered(&self, batch: usize) -> usize {
        if self.is_dense() { 0 } else { self.blocks().0.extent(batch).next_multiple_of(LINE) }
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
        let (input, before) = self.blocks();
        let (images, scratch) =
            (scratch.part(0, self.gathered(batch)), scratch.skip(self.gathered(batch)));
        let x = if self.is_dense() {
            x
        } else {
            self.gather(pool, batch, x, images);
            images.source()
        };
        let run = Run { conv: self, x, input, before, y, residual };
        macro_rules! tiles {
            ($(($($axis:literal),*))*) => {
                match run.kind() {
                    $([$($axis),*] => run.all::<$($axis),*>(pool, batch, division, scratch),)*
                    _ => unreachable!("`Tile::ALL` has no other"),
                }
            };
        }
        // Points and outputs of columns and of rows.
        tiles! {
            (4, 2, 4, 2) (6, 4, 6, 4) (8, 6, 8, 6) (8, 5, 8, 5) (8, 4, 8, 4)
            (1, 1, 6, 4) (6, 4, 1, 1) (1, 1, 10, 4) (10, 4, 1, 1)
        }
    }

    fn division(&self, batch: usize) -> Division {
        /// The most numbers of transformed tiles that stay in a second-level cache, and of weights that do in the last.
        const TRANSFORMED: usize = 80 * 1024;
        const WEIGHTS: usize = 1200 * 1024;
        let Transformed { tile, outputs, .. } = *self.weights;
        let (tiles, points, depth) = (self.tiles(batch), tile.points(), self.weights.depth());
        let rows = self.weights.instructions.rows();
        let most = (TRANSFORMED / (points * depth.max(1)) / rows * rows).clamp(12, 30);
        // Two or four threads have the same number of blocks.
        let blocks = (tiles + 2 * most) / (4 * most) * 4;
        if depth * outputs * points > WEIGHTS || tiles < 36 || blocks == 0 {
            return self.divided(tiles, tiles.div_ceil(64), true);
        }
        self.divided(tiles, blocks, false)
    }

    /// The tiles that are multiplied together, and how many parts a task of so many tiles has.
    fn pieces(&self, tiles: usize) -> (usize, usize) {
        /// Numbers of a panel that stay in a second-level cache, where the next part finds them.
        const PANEL: usize = 256 * 1024;
        let rows = self.weights.instructions.rows();
        let panel = self.weights.tile.points() * self.weights.depth() * self.weights.width();
        (rows, if panel > PANEL { 1 } else { tiles.div_ceil(rows).clamp(1, PARTS) })
    }

    /// A division into so many blocks.
    fn divided(&self, tiles: usize, blocks: usize, shared: bool) -> Division {
        let blocks = blocks.clamp(1, tiles.max(1));
        // At least 16 tasks, of at least 24 tiles, or of 12 where the panels would not be even among threads.
        let panels = self.weights.panels().max(1);
        let least = if panels < 8 && panels % 2 == 1 { 12 } else { 24 };
        let parts = 16_usize.div_ceil(panels).min(tiles / blocks / least).max(1);
        Division { blocks, shared, parts }
    }
}

impl<'a> Run<'a> {
    /// Points and outputs of a column and of a row of a tile.
    fn kind(&self) -> [usize; 4] {
        let Tile { rows, columns } = self.conv.weights.tile;
        [rows.points(), rows.outputs, columns.points(), columns.outputs]
    }

    fn all<const NR: usize, const MR: usize, const NC: usize, const MC: usize>(
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
                self.shared::<NR, MR, NC, MC>(pool, block, parts, inputs)?;
            }
            Ok(())
        } else {
            let (len, products) = (conv.transformed(most), most * conv.products());
            let (rows, pieces) = conv.pieces(most);
            pool.try_divide((blocks, pieces), &|task, some| {
                let block = rows_of(&part(tiles, task, blocks), rows, pieces, &some);
                with_own(len + products, |own| {
                    let inputs = conv.inputs(own.part(0, len), most);
                    let products = own.part(len, products);
                    self.transform::<NR, NC>(block.clone(), 0..conv.weights.inputs, inputs, 0);
                    for panel in 0..conv.weights.panels() {
                        self.panel::<NR, MR, NC, MC>(panel, (block.clone(), 0), inputs, products);
                    }
                })
            })
        }
    }

    /// A block of tiles whose transformed inputs all threads share.
    fn shared<const NR: usize, const MR: usize, const NC: usize, const MC: usize>(
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
            self.transform::<NR, NC>(
                part,
                channel..(channel + CHANNELS).min(channels),
                inputs,
                first,
            );
        });
        let (rows, pieces) = conv.pieces(tiles.div_ceil(parts));
        pool.try_divide((conv.weights.panels() * parts, pieces), &|task, some| {
            let own = rows_of(&part(tiles, task % parts, parts), rows, pieces, &some);
            let panel = task / parts;
            with_own(own.len() * conv.products(), |products| {
                let part = block.start + own.start..block.start + own.end;
                self.panel::<NR, MR, NC, MC>(panel, (part, own.start), inputs, products);
            })
        })
    }

    /// Transforms some channels of tiles to the places from `first` on.
    fn transform<const NR: usize, const NC: usize>(
        self,
        tiles: Range<usize>,
        channels: Range<usize>,
        inputs: Inputs<'a>,
        first: usize,
    ) {
        let Transformed { element, instructions, .. } = *self.conv.weights;
        let work = Transform::<NR, NC> { run: self, tiles, channels, inputs, first };
        match element {
            Element::BFloat16 => instructions.run_with(element, Rounded(work)),
            Element::Float32 | Element::Byte => instructions.run(work),
        }
    }

    /// Computes a panel of outputs of tiles that were transformed to the places from `first` on.
    fn panel<const NR: usize, const MR: usize, const NC: usize, const MC: usize>(
        self,
        panel: usize,
        (tiles, first): (Range<usize>, usize),
        inputs: Inputs<'a>,
        products: Target<'a>,
    ) {
        let weights = &*self.conv.weights;
        let stride = self.conv.products();
        let count = tiles.len();
        let product =
            Multiply { weights, panel, inputs, tiles: first..first + count, products, stride };
        let instructions = weights.instructions;
        match weights.element {
            Element::BFloat16 => instructions.run_with(weights.element, Pairs(product)),
            Element::Float32 | Element::Byte => instructions.run(product),
        }
        let finish = Finish::<NR, MR, NC, MC> { run: self, panel, tiles, products, stride };
        if self.conv.forms.1 == Form::BFloat16 {
            instructions.run_with(Element::BFloat16, Narrow(finish));
        } else {
            instructions.run(finish);
        }
    }
}
