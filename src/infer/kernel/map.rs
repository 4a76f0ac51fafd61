//! Functions of single numbers: sums and products of two values, a scale and shift of each channel, and an activation.

use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;
use super::super::simd::{Instructions, Kernel, Simd, activate};
use super::Residual;
use crate::graph::op::Function;

/// function((x ∘ other) · scale + shift), where each part may be missing.
#[derive(Debug)]
pub(in crate::infer) struct Map {
    pub input: Layout,
    pub output: Layout,
    pub combine: Option<Combine>,
    /// Scale and shift of each channel.
    pub affine: Option<(Vec<f32>, Vec<f32>)>,
    pub function: Option<Function>,
    pub instructions: Instructions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::infer) enum Combine {
    Add,
    Multiply,
}

impl Map {
    /// `other` is the second value where the values are combined; steps of 0 in its layout repeat it.
    pub fn run(
        &self,
        pool: &Pool,
        batch: usize,
        x: Source<'_>,
        other: Option<Residual<'_>>,
        y: Target<'_>,
    ) {
        let pixels = self.output.pixels();
        // Pixels of a task.
        let each = (16 * 1024 / self.output.channels.max(1)).max(1);
        let blocks = pixels.div_ceil(each);
        pool.run(batch * blocks, &|task| {
            let (image, block) = (task / blocks, task % blocks);
            let range = block * each..((block + 1) * each).min(pixels);
            self.instructions.run(Pixels { of: self, image, range, x, other, y });
        });
    }
}

struct Pixels<'a> {
    of: &'a Map,
    image: usize,
    range: std::ops::Range<usize>,
    x: Source<'a>,
    other: Option<Residual<'a>>,
    y: Target<'a>,
}

impl Kernel for Pixels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Map { input, output, combine, affine, function, .. } = self.of;
        for pixel in self.range {
            let mut channel = 0;
            while channel < output.channels {
                let count = S::LANES.min(output.channels - channel);
                let load = |source: Source<'_>, place: usize| {
                    let from = source.at(place + channel, count);
                    // SAFETY: `count` numbers were checked to be within.
                    unsafe { s.load_up_to(from, count) }
                };
                let place = |layout: &Layout| self.image * layout.image + pixel * layout.pixel;
                let mut value = load(self.x, place(input));
                if let (Some(combine), Some(other)) = (combine, self.other) {
                    let second = load(other.source, place(&other.layout));
                    value = match combine {
                        Combine::Add => s.add(value, second),
                        Combine::Multiply => s.mul(value, second),
                    };
                }
                if let Some((scale, shift)) = affine {
                    let [scale, shift] = [scale, shift].map(|of| load(Source::from(&of[..]), 0));
                    value = s.fma(value, scale, shift);
                }
                if let Some(function) = function {
                    value = activate(s, *function, value);
                }
                let to = self.y.at(place(output) + channel, count);
                // SAFETY: `count` numbers were checked to be within, and are no other task's.
                unsafe { s.store_up_to(to, count, value) };
                channel += S::LANES;
            }
        }
    }
}
