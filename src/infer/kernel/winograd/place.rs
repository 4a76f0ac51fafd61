//! A convolution by tiles, and where its numbers lie.

use std::sync::Arc;

use super::super::super::form::Form;
use super::super::super::layout::{LINE, Layout, Window, spaced};
use super::super::super::memory::{Source, Target};
use super::super::conv::Residual;
use super::tile::Tile;
use super::weights::Transformed;
use crate::graph::op::Function;

/// A convolution of images of one layout, without dilation.
#[derive(Debug)]
pub(in crate::infer) struct Winograd {
    pub input: Layout,
    pub output: Layout,
    pub window: Window,
    /// Plans for other shapes have the same.
    pub weights: Arc<Transformed>,
    pub function: Option<Function>,
    /// The forms of input and output: float32, or without a stride bfloat16.
    pub forms: (Form, Form),
}

/// The memory that a run reads and writes.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub conv: &'a Winograd,
    /// The images that tiles are taken from, and the rows and columns of zeros before it.
    pub x: Source<'a>,
    pub input: Layout,
    pub before: (usize, usize),
    pub y: Target<'a>,
    pub residual: Option<Residual<'a>>,
}

/// Transformed inputs: for each point the tiles, for each tile the words of its channels.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub numbers: Target<'a>,
    /// Words from a tile to the next, and from a point to the next.
    pub row: usize,
    pub point: usize,
}

impl Winograd {
    /// Rows and columns of tiles in an image.
    pub(super) fn grid(&self) -> (usize, usize) {
        let Tile { rows, columns } = self.weights.tile;
        (self.output.height.div_ceil(rows.outputs), self.output.width.div_ceil(columns.outputs))
    }

    pub(super) fn tiles(&self, batch: usize) -> usize {
        let (rows, columns) = self.grid();
        batch * rows * columns
    }

    /// Words from a transformed tile to the next.
    pub(super) fn row(&self) -> usize {
        spaced(self.weights.depth())
    }

    /// Words of one point of so many tiles. Points must not all fall on the same lines of a cache.
    pub(super) fn point(&self, tiles: usize) -> usize {
        (tiles * self.row()).next_multiple_of(512) + LINE
    }

    pub(super) fn transformed(&self, tiles: usize) -> usize {
        self.point(tiles) * self.weights.tile.points()
    }

    /// Numbers of the products of a tile with a panel.
    pub(super) fn products(&self) -> usize {
        self.weights.tile.points() * self.weights.width() + LINE
    }

    pub(super) fn inputs<'a>(&self, numbers: Target<'a>, tiles: usize) -> Inputs<'a> {
        Inputs { numbers, row: self.row(), point: self.point(tiles) }
    }
}

/// A tile: its image, and where it is in the grid of tiles.
pub(super) struct Place {
    pub image: usize,
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
    tile: Tile,
}

impl Place {
    pub fn new(conv: &Winograd, tile: usize) -> Self {
        let (rows, columns) = conv.grid();
        let (image, tile) = (tile / (rows * columns), tile % (rows * columns));
        let (row, column) = (tile / columns, tile % columns);
        Self { image, row, column, rows, columns, tile: conv.weights.tile }
    }

    /// The next tile, as divisions for each would take long.
    #[inline(always)]
    pub fn advance(&mut self) {
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
    pub fn outputs(&self) -> (usize, usize) {
        (self.row * self.tile.rows.outputs, self.column * self.tile.columns.outputs)
    }
}
