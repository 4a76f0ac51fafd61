//! Copies: between the layout of NumPy's images (N, C, H, W) and that of the kernels, and padding.

use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;

/// Pixels of a task.
const TOGETHER: usize = 1024;

/// From images (N, C, H, W) to channels last, in the middle of a border of zeros where a convolution wants one.
#[derive(Clone, Copy, Debug)]
pub(in crate::infer) struct Rearrange {
    /// The size of an image; its numbers lie channel by channel.
    pub input: Layout,
    pub output: Layout,
    pub top: usize,
    pub left: usize,
}

impl Rearrange {
    pub fn run(&self, pool: &Pool, batch: usize, x: Source<'_>, y: Target<'_>) {
        let rows = batch * self.output.height;
        let each = TOGETHER.div_ceil(self.output.width.max(1));
        pool.run(rows.div_ceil(each), &|task| {
            for row in task * each..((task + 1) * each).min(rows) {
                self.row(row / self.output.height, row % self.output.height, x, y);
            }
        });
    }

    fn row(&self, image: usize, row: usize, x: Source<'_>, y: Target<'_>) {
        let Self { input, output, top, left } = self;
        let Layout { width, channels, .. } = *input;
        let count = Layout { height: 1, ..*output }.extent(1);
        // SAFETY: the row is no other task's.
        let line = unsafe { y.slice(output.at(image, row, 0), count) };
        let Some(row) = row.checked_sub(*top).filter(|row| *row < input.height) else {
            return line.fill(0.0);
        };
        let (before, line) = line.split_at_mut(left * output.pixel);
        before.fill(0.0);
        let end = Layout { height: 1, width, ..*output }.extent(1);
        line[end..].fill(0.0);
        let plane = |channel: usize| {
            let begin = image * input.image + (channel * input.height + row) * width;
            // SAFETY: the numbers lie outside of the target.
            unsafe { x.slice(begin, width) }
        };
        if channels == 3 && output.pixel == 3 {
            let planes = plane(0).iter().zip(plane(1)).zip(plane(2));
            for (to, ((red, green), blue)) in line.chunks_exact_mut(3).zip(planes) {
                (to[0], to[1], to[2]) = (*red, *green, *blue);
            }
            return;
        }
        for channel in 0..channels {
            for (at, number) in plane(channel).iter().enumerate() {
                line[at * output.pixel + channel] = *number;
            }
        }
    }
}

/// Writes a value as an array (N, C, H, W), or (N, T, D) for tokens, which are the same in both layouts.
pub(in crate::infer) fn to_channels_first(
    batch: usize,
    x: Source<'_>,
    input: &Layout,
    tokens: bool,
    to: &mut [f32],
) {
    let (pixels, channels) = (input.pixels(), input.channels);
    for image in 0..batch {
        for at in 0..pixels {
            // SAFETY: nothing is written meanwhile.
            let from = unsafe { x.slice(image * input.image + at * input.pixel, channels) };
            let to = &mut to[image * pixels * channels..][..pixels * channels];
            if tokens {
                to[at * channels..][..channels].copy_from_slice(from);
            } else {
                for (channel, number) in from.iter().enumerate() {
                    to[channel * pixels + at] = *number;
                }
            }
        }
    }
}

/// A border of zeros, and channels of zeros after its own.
#[derive(Debug)]
pub(in crate::infer) struct Pad {
    pub input: Layout,
    pub output: Layout,
    pub top: usize,
    pub left: usize,
}

impl Pad {
    pub fn run(&self, pool: &Pool, batch: usize, x: Source<'_>, y: Target<'_>) {
        let Self { input, output, .. } = self;
        pool.run(batch * output.height, &|task| {
            let (image, row) = (task / output.height, task % output.height);
            for column in 0..output.width {
                // SAFETY: the pixel is no other task's.
                let to = unsafe { y.slice(output.at(image, row, column), output.channels) };
                to.fill(0.0);
                let inside = |at: usize, before: usize, size: usize| {
                    at.checked_sub(before).filter(|at| *at < size)
                };
                let row = inside(row, self.top, input.height);
                if let Some((row, column)) = row.zip(inside(column, self.left, input.width)) {
                    // SAFETY: the pixel lies outside of the target.
                    let from = unsafe { x.slice(input.at(image, row, column), input.channels) };
                    to[..input.channels].copy_from_slice(from);
                }
            }
        });
    }
}
