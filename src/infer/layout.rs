//! The layout of a node's value in memory: images whose pixels follow one another row by row, each with its channels side
//! by side (NHWC). Tokens are pixels of one column, a vector is a single pixel.

use crate::graph::Shape;
use crate::graph::op::{Padding, Pair};
use crate::graph::shape::{same_padding, span};

/// Numbers of a cache line.
pub(super) const LINE: usize = 16;

/// Rows of the smallest image that is divided into strips.
const FEWEST_ROWS: usize = 14;

/// Numbers from a row of a matrix to the next: whole lines, and not so many that the rows fall on the same few lines of a
/// first-level cache.
pub(super) fn spaced(numbers: usize) -> usize {
    let row = numbers.next_multiple_of(LINE);
    if row.is_multiple_of(512) { row + LINE } else { row }
}

/// Images without gaps, or with pixels a cache line further apart where they would fall on the same few lines of a first-level
/// cache: a product reads one word of many pixels after the other, or lines of many as tiles. Channels are words.
pub(super) fn spread(dense: Layout, by_tiles: bool) -> Layout {
    /// Words of pixels that fall together: 4096 bytes, and 256 where they are read as tiles.
    const WORDS: usize = 1024;
    const WORDS_OF_TILES: usize = 64;
    let together = if by_tiles { WORDS_OF_TILES } else { WORDS };
    if dense.pixels() == 1 || !dense.channels.is_multiple_of(together) {
        return dense;
    }
    let pixel = dense.channels + LINE;
    Layout { pixel, image: dense.pixels() * pixel, ..dense }
}

/// One image of a batch, and the steps to the next pixel and the next image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Numbers from a pixel to the next: more than its channels in a part of a concatenation.
    pub pixel: usize,
    /// Numbers from an image to the next.
    pub image: usize,
}

impl Layout {
    /// Images without gaps.
    pub fn dense(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels, pixel: channels, image: height * width * channels }
    }

    pub fn of(shape: Shape) -> Self {
        match shape {
            Shape::Image { channels, height, width } => Self::dense(height, width, channels),
            Shape::Tokens { count, width } => Self::dense(count, 1, width),
            Shape::Vector { features } => Self::dense(1, 1, features),
        }
    }

    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Whether threads divide the channels of such images, and not their rows. A core finds in its cache what it wrote, and
    /// waits long to write again what another one has read; so steps divide alike.
    pub fn has_few_rows(&self) -> bool {
        self.height < FEWEST_ROWS
    }

    /// Whether the pixels of all images are the same number of numbers apart.
    pub fn is_even(&self) -> bool {
        self.image == self.pixels() * self.pixel
    }

    /// Numbers from the first to the last of a batch.
    pub fn extent(&self, batch: usize) -> usize {
        let Some(last) = batch.checked_sub(1) else { return 0 };
        last * self.image + self.pixels().saturating_sub(1) * self.pixel + self.channels
    }

    /// The place of a pixel.
    #[inline(always)]
    pub fn at(&self, image: usize, row: usize, column: usize) -> usize {
        image * self.image + (row * self.width + column) * self.pixel
    }
}

/// A window that slides over an image, and the border around that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub kernel: Pair,
    pub stride: Pair,
    pub dilation: Pair,
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Window {
    pub fn new(
        (kernel, stride, dilation): (Pair, Pair, Pair),
        padding: Padding,
        (height, width): (usize, usize),
    ) -> Self {
        let (rows, columns) = match padding {
            Padding::Both(border) => ((border.height, border.height), (border.width, border.width)),
            Padding::Same => (
                same_padding(height, span(kernel.height, dilation.height), stride.height),
                same_padding(width, span(kernel.width, dilation.width), stride.width),
            ),
        };
        let ((top, bottom), (left, right)) = (rows, columns);
        Self { kernel, stride, dilation, top, bottom, left, right }
    }

    pub fn has_border(&self) -> bool {
        self.top + self.bottom + self.left + self.right > 0
    }
}
