//! A convolution with a stride as one without: the pixels of each block that the window moves over become channels of
//! one pixel, so the taps that meet the same place of the blocks do too.

use super::super::super::layout::{Layout, Window};
use super::super::super::memory::{Source, Target};
use super::super::super::pool::Pool;
use super::place::Winograd;

impl Winograd {
    /// The images that the tiles are taken from, and the rows and columns of zeros before them.
    pub(super) fn blocks(&self) -> (Layout, (usize, usize)) {
        let Window { stride, top, left, .. } = self.window;
        if self.is_dense() {
            return (self.input, (top, left));
        }
        let tile = self.weights.tile;
        let height = self.output.height + tile.rows.taps - 1;
        let width = self.output.width + tile.columns.taps - 1;
        (Layout::dense(height, width, stride.height * stride.width * self.input.channels), (0, 0))
    }

    pub(super) fn is_dense(&self) -> bool {
        (self.window.stride.height, self.window.stride.width) == (1, 1)
    }

    /// Copies images with their border so that the pixels of a block are one pixel.
    pub(super) fn gather(&self, pool: &Pool, batch: usize, x: Source<'_>, to: Target<'_>) {
        let (blocks, input, window) = (self.blocks().0, self.input, self.window);
        let (stride, channels) = (window.stride, input.channels);
        pool.run(batch * blocks.height, &|task| {
            let (image, row) = (task / blocks.height, task % blocks.height);
            let place = blocks.at(image, row, 0);
            // SAFETY: the line is no other task's.
            let line = unsafe { to.slice(place, blocks.width * blocks.pixel) };
            for phase in 0..stride.height {
                // Below zero, the row is larger than any image.
                let y = (row * stride.height + phase).wrapping_sub(window.top);
                let numbers = stride.width * channels;
                for (column, block) in line.chunks_exact_mut(blocks.pixel).enumerate() {
                    let to = &mut block[phase * numbers..][..numbers];
                    let first = (column * stride.width).wrapping_sub(window.left);
                    if y < input.height
                        && first < input.width
                        && first + stride.width <= input.width
                        && input.pixel == channels
                    {
                        let from = input.at(image, y, first);
                        // SAFETY: the numbers lie outside of the target.
                        to.copy_from_slice(unsafe { x.slice(from, numbers) });
                        continue;
                    }
                    for (at, to) in to.chunks_exact_mut(channels).enumerate() {
                        let column = first.wrapping_add(at);
                        if y < input.height && column < input.width {
                            let from = input.at(image, y, column);
                            // SAFETY: as above.
                            to.copy_from_slice(unsafe { x.slice(from, channels) });
                        } else {
                            to.fill(0.0);
                        }
                    }
                }
            }
        });
    }
}
