//! A 1×1 convolution of an image whose channels are scaled by a gate: the gate scales the rows of the weights instead,
//! where these have fewer numbers than an image, so the scaled image is never written.

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
        conv.is_pointwise() && conv.weights() < conv.input.pixels() * conv.input.channels
    }

    /// Numbers that `run` needs for the scaled weights of each image.
    pub fn scratch(&self, batch: usize) -> usize {
        batch * self.weights().numbers().len()
    }

    fn weights(&self) -> &Weights {
        &self.conv.groups[0]
    }

    pub fn run(
        &self,
        pool: &Pool,
        batch: usize,
        (x, gate): (Source<'_>, Source<'_>),
        y: Target<'_>,
        residual: Option<Residual<'_>>,
        scratch: Target<'_>,
    ) -> Result<()> {
        let weights = self.weights();
        let panels = weights.panels();
        pool.run(batch * panels, &|task| {
            let (image, panel) = (task / panels, task % panels);
            let gate = gate.at(image * self.gate.image, weights.depth);
            let to = scratch.skip(image * weights.numbers().len());
            weights.by_width(panel..panel + 1, |instructions, _| {
                instructions.run(Scale { weights, panel, gate, to });
            });
        });
        let x = (x, self.conv.input);
        self.conv.product(pool, batch, x, y, residual, Some(scratch.source()))
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
                // SAFETY: both were checked; a row has whole vectors. The panel is no other task's.
                unsafe {
                    let product = s.mul(s.load(from.at(place, S::LANES)), factor);
                    s.store(to.at(place, S::LANES), product);
                }
            }
        }
    }
}
