//! Gates: weights of a 1×1 convolution for an image whose channels are scaled.

use super::super::memory::{Source, Target};
use super::super::simd::{Kernel, Simd};
use super::gemm::Weights;

/// The factors of the channels, and the numbers from those of an image to those of the next.
#[derive(Clone, Copy)]
pub(super) struct Gate<'a> {
    numbers: Source<'a>,
    step: usize,
}

impl<'a> Gate<'a> {
    pub fn new(numbers: Source<'a>, step: usize) -> Self {
        Self { numbers, step }
    }

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
