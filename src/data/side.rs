//! The weights by which the outputs of a resize sum its inputs, along one side.

use super::filter::Filter;
use crate::memory::{Shortage, room, zeros};

/// Fraction bits: 32, less 8 of a pixel, less 2 of headroom for weights that overshoot.
pub(super) const FRACTION: u32 = 32 - 8 - 2;

/// The inputs and weights of each output of one side.
pub(super) struct Side {
    /// For each output: its first input and the number of inputs.
    pub(super) spans: Vec<(usize, usize)>,
    /// `stride` weights for each output, of which as many count as the span has inputs.
    weights: Vec<i32>,
    stride: usize,
    /// Whether the outputs are the inputs, shifted.
    pub(super) unchanged: bool,
}

impl Side {
    pub(super) fn new(
        from: usize,
        to: usize,
        filter: Filter,
        first: usize,
        count: usize,
    ) -> Result<Self, Shortage> {
        if from == to {
            let spans = (first..first + count).map(|index| (index, 1)).collect();
            return Ok(Self { spans, weights: Vec::new(), stride: 0, unchanged: true });
        }
        let scale = from as f64 / to as f64;
        let widen = scale.max(1.0);
        let support = filter.support() * widen;
        let stride = support.ceil() as usize * 2 + 1;
        let mut spans = room(count)?;
        let mut weights = zeros(count * stride)?;
        let mut exact = zeros(stride)?;
        for (index, weights) in weights.chunks_exact_mut(stride).enumerate() {
            let centre = ((first + index) as f64 + 0.5) * scale;
            let start = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let exact = &mut exact[..end - start];
            let mut sum = 0.0;
            for (offset, weight) in exact.iter_mut().enumerate() {
                *weight = filter.weight(((offset + start) as f64 - centre + 0.5) * (1.0 / widen));
                sum += *weight;
            }
            for (weight, exact) in weights.iter_mut().zip(exact) {
                *weight = fixed(if sum == 0.0 { *exact } else { *exact / sum });
            }
            spans.push((start, end - start));
        }
        Ok(Self { spans, weights, stride, unchanged: false })
    }

    pub(super) fn taps(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.spans
            .iter()
            .zip(self.weights.chunks_exact(self.stride))
            .map(|(&(start, count), weights)| (start, &weights[..count]))
    }

    /// The range of inputs that any output needs: begin and end.
    pub(super) fn reach(&self) -> (usize, usize) {
        let start = self.spans.iter().map(|&(start, _)| start).min().unwrap_or(0);
        let end = self.spans.iter().map(|&(start, count)| start + count).max().unwrap_or(0);
        (start, end)
    }
}

/// Converts to fixed point, halves away from zero.
fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << FRACTION);
    (scaled + 0.5_f64.copysign(scaled)) as i32
}
