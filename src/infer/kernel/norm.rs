//! Normalisations that look at more than one number: layer norm, group norm, local response normalisation.

use super::super::form::Form;
use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;
use super::super::simd::{Instructions, Kernel, Simd};
use super::numbers::{fold, write};

/// The mean, and the reciprocal of the standard deviation.
fn statistics<'a>(
    rows: impl Iterator<Item = &'a [f32]> + Clone,
    count: usize,
    eps: f64,
) -> (f32, f32) {
    let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
        rows.clone().map(|row| row.iter().map(|&number| of(f64::from(number))).sum::<f64>()).sum()
    };
    let mean = sum(&|number| number) / count as f64;
    let variance = sum(&|number| (number - mean) * (number - mean)) / count as f64;
    (mean as f32, (1.0 / (variance + eps).sqrt()) as f32)
}

/// Layer norm over the channels of each pixel.
#[derive(Debug)]
pub(in crate::infer) struct LayerNorm {
    pub input: Layout,
    pub output: Layout,
    /// That of the output.
    pub form: Form,
    pub eps: f64,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub instructions: Instructions,
}

impl LayerNorm {
    pub fn run(&self, pool: &Pool, batch: usize, x: Source<'_>, y: Target<'_>) {
        let Self { input, output, form, .. } = self;
        let pixels = batch * input.pixels();
        // Pixels of a task.
        let each = 16;
        pool.run(pixels.div_ceil(each), &|task| {
            for at in task * each..((task + 1) * each).min(pixels) {
                let (image, at) = (at / input.pixels(), at % input.pixels());
                let place = |layout: &Layout| image * layout.image + at * layout.pixel;
                // SAFETY: nobody writes to the input meanwhile.
                let from = unsafe { x.slice(place(input), input.channels) };
                // No two tasks have a pixel in common.
                let to = y.of(*form, place(output), input.channels);
                self.instructions.run_with(form.written_with(), Normal { of: self, from, to });
            }
        });
    }
}

/// A pixel and its layer norm.
struct Normal<'a> {
    of: &'a LayerNorm,
    from: &'a [f32],
    /// As many numbers of the output's form.
    to: *mut f32,
}

/// The sum of vectors.
#[inline(always)]
fn total<S: Simd>(s: S, vectors: [S::Vector; 4]) -> f64 {
    let numbers = vectors.map(|vector| s.numbers(vector, 0.0).map(f64::from));
    let sums: [f64; 16] = std::array::from_fn(|at| numbers.iter().map(|of| of[at]).sum());
    fold(sums, |a, b| a + b)
}

impl Kernel for Normal<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { of: LayerNorm { form, eps, scale, shift, .. }, from, to } = self;
        let count = from.len() as f64;
        // Four sums, so that none waits for the one before.
        let blocks = from.chunks_exact(4 * S::LANES);
        let rest = blocks.remainder();
        let mut sums = [s.splat(0.0); 4];
        for block in blocks.clone() {
            for (vector, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a block has four vectors.
                *sum = s.add(*sum, unsafe { s.load(block.as_ptr().add(vector * S::LANES)) });
            }
        }
        let sum: f64 = rest.iter().copied().map(f64::from).sum();
        let sum = sum + total(s, sums);
        // Near the mean; sums of differences from it give the rest of it, and the variance.
        let near = (sum / count) as f32;
        let (mut sums, mut squares) = ([s.splat(0.0); 4], [s.splat(0.0); 4]);
        for block in blocks {
            for vector in 0..4 {
                // SAFETY: as above.
                let numbers = unsafe { s.load(block.as_ptr().add(vector * S::LANES)) };
                let difference = s.sub(numbers, s.splat(near));
                sums[vector] = s.add(sums[vector], difference);
                squares[vector] = s.fma(difference, difference, squares[vector]);
            }
        }
        let rest = || rest.iter().map(|number| f64::from(number - near));
        let sum = rest().sum::<f64>() + total(s, sums);
        let square = rest().map(|difference| difference * difference).sum::<f64>();
        let square = square + total(s, squares);
        let beyond = sum / count;
        let factor = 1.0 / ((square / count - beyond * beyond).max(0.0) + eps).sqrt();
        // (x - near - beyond) · factor
        let offset = (-beyond * factor) as f32;
        let factor = factor as f32;
        for first in (0..from.len()).step_by(S::LANES) {
            let count = S::LANES.min(from.len() - first);
            let part = |of: &[f32]| of[first..first + count].as_ptr();
            // SAFETY: all have `count` numbers there.
            unsafe {
                let difference = s.sub(s.load_up_to(part(from), count), s.splat(near));
                let normal = s.fma(difference, s.splat(factor), s.splat(offset));
                let scale = s.load_up_to(part(scale), count);
                let shift = s.load_up_to(part(shift), count);
                write(s, *form, to, (first, count), s.fma(normal, scale, shift));
            }
        }
    }
}

/// Group norm over the pixels and channels of each group.
#[derive(Debug)]
pub(in crate::infer) struct GroupNorm {
    pub input: Layout,
    pub output: Layout,
    pub groups: usize,
    pub eps: f64,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

impl GroupNorm {
    pub fn run(&self, pool: &Pool, batch: usize, x: Source<'_>, y: Target<'_>) {
        let Self { input, output, groups, eps, scale, shift } = self;
        let within = input.channels / groups;
        pool.run(batch * groups, &|task| {
            let (image, first) = (task / groups, task % groups * within);
            let place =
                |layout: &Layout, at: usize| image * layout.image + at * layout.pixel + first;
            let pixels = 0..input.pixels();
            // SAFETY: no two tasks have a group in common, and the values are different ones.
            let rows = pixels.clone().map(|at| unsafe { x.slice(place(input, at), within) });
            let (mean, factor) = statistics(rows.clone(), input.pixels() * within, *eps);
            for (at, from) in pixels.zip(rows) {
                // SAFETY: as above.
                let to = unsafe { y.slice(place(output, at), within) };
                for (channel, to) in to.iter_mut().enumerate() {
                    let scaled = (from[channel] - mean) * factor * scale[first + channel];
                    *to = scaled + shift[first + channel];
                }
            }
        });
    }
}

/// Local response normalisation over neighbouring channels.
#[derive(Debug)]
pub(in crate::infer) struct Lrn {
    pub input: Layout,
    pub output: Layout,
    pub size: usize,
    pub alpha: f32,
    pub beta: f32,
    pub k: f32,
    pub instructions: Instructions,
}

impl Lrn {
    pub fn run(&self, pool: &Pool, batch: usize, x: Source<'_>, y: Target<'_>) {
        let Self { input, output, size, .. } = self;
        let pixels = batch * input.pixels();
        // Pixels of a task.
        let each = 32;
        pool.run(pixels.div_ceil(each), &|task| {
            let before = size / 2;
            // Zeros on both sides, and as many more as a vector reads.
            let mut squares = vec![0.0; input.channels + size + 16];
            for at in task * each..((task + 1) * each).min(pixels) {
                let (image, at) = (at / input.pixels(), at % input.pixels());
                let place = |layout: &Layout| image * layout.image + at * layout.pixel;
                // SAFETY: no two tasks have a pixel in common, and the values are different ones.
                let (from, to) = unsafe {
                    (x.slice(place(input), input.channels), y.slice(place(output), input.channels))
                };
                for (square, number) in squares[before..].iter_mut().zip(from) {
                    *square = number * number;
                }
                self.instructions.run(Response { of: self, squares: &squares, from, to });
            }
        });
    }
}

/// A pixel, the squares of its channels from those before the first on, and its response.
struct Response<'a> {
    of: &'a Lrn,
    squares: &'a [f32],
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Response<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { of, squares, from, to } = self;
        let (k, share) = (s.splat(of.k), s.splat(of.alpha / of.size as f32));
        let is_simple = of.beta.to_bits() == 0.75_f32.to_bits();
        let mut channel = 0;
        while channel < from.len() {
            let count = S::LANES.min(from.len() - channel);
            let mut sum = s.splat(0.0);
            for next in 0..of.size {
                // SAFETY: the slice has a vector.
                sum = s.add(sum, unsafe { s.load(squares[channel + next..][..S::LANES].as_ptr()) });
            }
            let base = s.fma(share, sum, k);
            if is_simple {
                let root = s.sqrt(base);
                let power = s.mul(root, s.sqrt(root));
                // SAFETY: both have `count` more channels.
                unsafe {
                    let numbers = s.load_part(from[channel..].as_ptr(), count);
                    let response = s.div(numbers, power);
                    s.store_part(to[channel..].as_mut_ptr(), count, response);
                }
            } else {
                for (lane, base) in s.numbers(base, 0.0)[..count].iter().enumerate() {
                    to[channel + lane] = from[channel + lane] / base.powf(of.beta);
                }
            }
            channel += S::LANES;
        }
    }
}
