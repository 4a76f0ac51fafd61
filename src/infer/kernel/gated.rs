//! A 1×1 convolution of an image whose channels are scaled by a gate: each task scales the rows of the weights instead, which
//! have fewer numbers than its part of the image, so the scaled image is never written.

use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;
use super::super::simd::{Kernel, Simd};
use super::Residual;
use super::conv::Conv;
use super::gemm::Weights;
use crate::error::Result;

#[derive(Debug)]
pub(in crate::infer) struct Gated {
    pub conv: Conv,
    /// A vector for each image.
    pub gate: Layout,
}

impl Gated {
    /// Whether scaling the weights of a convolution takes less time than scaling its images.
    pub fn is_worthwhile(conv: &Conv) -> bool {
        conv.is_pointwise()
            && !conv.input.has_few_rows()
            && conv.weights() < conv.input.pixels() * conv.input.channels
    }

    pub fn run(
        &self,
        pool: &Pool,
        batch: usize,
        (x, gate): (Source<'_>, Source<'_>),
        y: Target<'_>,
        residual: Option<Residual<'_>>,
    ) -> Result<()> {
        let gate = Gate { numbers: gate, step: self.gate.image };
        self.conv.product(pool, batch, (x, self.conv.input), y, residual, Some(gate))
    }
}

/// The factors of the channels, and the numbers from those of an image to those of the next.
#[derive(Clone, Copy)]
pub(super) struct Gate<'a> {
    numbers: Source<'a>,
    step: usize,
}

impl Gate<'_> {
    /// Writes the weights for an image, packed as they are.
    pub fn scale(&self, image: usize, weights: &Weights, to: Target<'_>) {
        let gate = self.numbers.at(image * self.step, weights.depth);
        for panel in 0..weights.panels() {
            weights.by_width(panel..panel + 1, |instructions, _| {
                instructions.run(Scale { weights, panel, gate, to });
            });
        }
    }
}

/// Scales the rows of a panel.
struct Scale<'a> {
    weights: &'a Weights,
    panel: usize,
    gate: *const f32,
    to: Target<'a>,
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { weights, panel, gate, to } = self;
        let numbers = weights.of_panel(panel);
        let width = weights.width(panel);
        let from = Source::from(&weights.numbers()[numbers.clone()]);
        let to = to.part(numbers.start, numbers.len());
        for row in 0..weights.depth {
            // SAFETY: the gate has a number for each row.
            let factor = s.splat(unsafe { *gate.add(row) });
            for lane in (0..width).step_by(S::LANES) {
                let place = row * width + lane;
                // SAFETY: both were checked; a row has whole vectors. The memory is the task's own.
                unsafe {
                    let product = s.mul(s.load(from.at(place, S::LANES)), factor);
                    s.store(to.at(place, S::LANES), product);
                }
            }
        }
    }
}
