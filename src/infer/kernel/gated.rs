//! A 1×1 convolution of an image whose channels are scaled by a gate: each task scales the rows of the weights instead, which
//! have fewer numbers than its part of the image, so the scaled image is never written.

use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;
use super::Residual;
use super::conv::Conv;
use super::gate::Gate;
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
        let gate = Gate::new(gate, self.gate.image);
        self.conv.product(pool, batch, (x, self.conv.input), y, residual, Some(gate))
    }
}
