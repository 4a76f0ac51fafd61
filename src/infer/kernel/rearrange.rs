//! Copies: between the layout of NumPy's images (N, C, H, W) and that of the kernels, and padding.

use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;

/// Pixels of a task.
const TOGETHER: usize = 1024;

/// Writes images (N, C, H, W) channels last.
pub(in crate::infer) fn from_channels_first(
    pool: &Pool,
    batch: usize,
    x: Source<'_>,
    y: Target<'_>,
    output: &Layout,
) {
    let (pixels, channels) = (output.pixels(), output.channels);
    let blocks = pixels.div_ceil(TOGETHER);
    pool.run(batch * blocks, &|task| {
        let (image, block) = (task / blocks, task % blocks);
        if channels == 3 && output.pixel == 3 {
            let begin = block * TOGETHER;
            let count = TOGETHER.min(pixels - begin);
            let plane = |channel: usize| {
                // SAFETY: the numbers lie outside of the target.
                unsafe { x.slice((image * 3 + channel) * pixels + begin, count) }
            };
            // SAFETY: the numbers are no other task's.
            let to = unsafe { y.slice(image * output.image + begin * 3, 3 * count) };
            let planes = plane(0).iter().zip(plane(1)).zip(plane(2));
            for (to, ((red, green), blue)) in to.chunks_exact_mut(3).zip(planes) {
                (to[0], to[1], to[2]) = (*red, *green, *blue);
            }
            return;
        }
        for channel in 0..channels {
            for at in block * TOGETHER..((block + 1) * TOGETHER).min(pixels) {
                let from = x.at((image * channels + channel) * pixels + at, 1);
                let to = y.at(image * output.image + at * output.pixel + channel, 1);
                // SAFETY: both were checked to be within; no two tasks have a pixel in common.
                unsafe { *to = *from };
            }
        }
    });
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
