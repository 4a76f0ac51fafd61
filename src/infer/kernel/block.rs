//! MobileNet's block: a 1×1 convolution to more channels, a depthwise convolution, and a 1×1 convolution to fewer. It runs
//! strip by strip, so the values between them, the largest of the network, never leave the cache.

use std::ptr::null;

use super::super::layout::Layout;
use super::super::memory::{Source, Target, with_own};
use super::super::pool::Pool;
use super::Residual;
use super::conv::{Conv, MOST_ROWS};
use super::depthwise::{Depthwise, Lines};
use super::gemm::{Rows, Store, multiply};
use crate::error::Result;

#[derive(Debug)]
pub(in crate::infer) struct Block {
    /// None where a block begins with its depthwise convolution.
    expand: Option<Conv>,
    depthwise: Depthwise,
    project: Conv,
}

/// Output rows of the depthwise convolution that are computed together.
const TOGETHER: usize = 2;

impl Block {
    pub fn new(expand: Option<Conv>, depthwise: Depthwise, project: Conv) -> Self {
        let dense = |of: Layout| Layout::dense(of.height, of.width, of.channels);
        let (input, output) = (depthwise.input, dense(depthwise.output));
        let input = if expand.is_some() { dense(input) } else { input };
        Self { expand, depthwise: Depthwise { input, output, ..depthwise }, project }
    }

    /// Whether these convolutions run faster as a block: 1×1 with stride 1, around images so large that the weights do
    /// not outweigh them.
    pub fn is_worthwhile(expand: Option<&Conv>, depthwise: &Depthwise, project: &Conv) -> bool {
        /// Rows of the smallest image.
        const LEAST_ROWS: usize = 14;
        /// Weights beyond this many are read from memory again for every strip.
        const MOST_WEIGHTS: usize = 96 * 1024;
        let window = &depthwise.window;
        let fits = |conv: &Conv| conv.is_pointwise() && conv.weights() <= MOST_WEIGHTS;
        fits(project)
            && expand.is_none_or(fits)
            && depthwise.input.height >= LEAST_ROWS
            && window.dilation.height == 1
            && window.kernel.height >= window.stride.height
    }

    /// Its convolutions.
    pub fn parts(&self) -> (Option<&Conv>, &Depthwise, &Conv) {
        (self.expand.as_ref(), &self.depthwise, &self.project)
    }

    pub fn run(
        &self,
        pool: &Pool,
        batch: usize,
        x: Source<'_>,
        y: Target<'_>,
        residual: Option<Residual<'_>>,
    ) -> Result<()> {
        let height = self.depthwise.output.height;
        let strips = self.strips(batch, pool.threads());
        pool.try_run(batch * strips, &|task| {
            let (image, strip) = (task / strips, task % strips);
            let rows = strip * height / strips..(strip + 1) * height / strips;
            let strip = Strip { of: self, image, x, y, residual };
            let (between, after) = (self.kept_lines().1, self.lines_after().1);
            with_own(between + after, |own| {
                strip.run(rows, own.part(0, between), own.part(between, after));
            })
        })
    }

    /// Strips of an image. Lines before the depthwise convolution are computed twice where strips meet, so there are no
    /// more than threads.
    fn strips(&self, batch: usize, threads: usize) -> usize {
        let most = self.depthwise.output.height.div_ceil(TOGETHER);
        threads.div_ceil(batch.max(1)).min(most).max(1)
    }

    /// The lines before the depthwise convolution that are kept, and their length; none if they are the input.
    fn kept_lines(&self) -> (usize, usize) {
        let window = &self.depthwise.window;
        let lines = (TOGETHER - 1) * window.stride.height + window.kernel.height;
        let Layout { width, channels, .. } = self.depthwise.input;
        if self.expand.is_some() { (lines, lines * width * channels) } else { (usize::MAX, 0) }
    }

    /// The lines after it, and their length.
    fn lines_after(&self) -> (usize, usize) {
        let Layout { width, channels, .. } = self.depthwise.output;
        (TOGETHER, TOGETHER * width * channels)
    }
}

/// Some rows of an image.
struct Strip<'a> {
    of: &'a Block,
    image: usize,
    x: Source<'a>,
    y: Target<'a>,
    residual: Option<Residual<'a>>,
}

impl Strip<'_> {
    fn run(&self, strip: std::ops::Range<usize>, between: Target<'_>, after: Target<'_>) {
        let Block { expand, depthwise, .. } = self.of;
        let (window, input) = (&depthwise.window, depthwise.input);
        let line = |row: usize| (row * window.stride.height).saturating_sub(window.top);
        let period = self.of.kept_lines().0;
        let mut next = line(strip.start);
        for first in strip.clone().step_by(TOGETHER) {
            let rows = first..(first + TOGETHER).min(strip.end);
            let source = match expand {
                Some(expand) => {
                    let last = (rows.end - 1) * window.stride.height + window.kernel.height;
                    while next < last.saturating_sub(window.top).min(input.height) {
                        self.expand(expand, next, between, next % period);
                        next += 1;
                    }
                    between.source()
                }
                None => self.x.skip(self.image * input.image),
            };
            let x = Lines { memory: source, first: 0, period };
            let y = Lines { memory: after, first, period: TOGETHER };
            depthwise.strip(rows.clone(), x, y);
            self.project(rows, after.source());
        }
    }

    /// Computes a line before the depthwise convolution.
    fn expand(&self, conv: &Conv, row: usize, to: Target<'_>, line: usize) {
        let Layout { width, channels, .. } = conv.output;
        let store = Store {
            target: to,
            offset: line * width * channels,
            stride: channels,
            residual: None,
            function: conv.function,
        };
        let from = conv.input.at(self.image, row, 0);
        pixels(conv, self.x, (from, conv.input.pixel), width, store);
    }

    /// Computes rows of the output. Their first pixels lie where the lines after the depthwise convolution begin.
    fn project(&self, rows: std::ops::Range<usize>, from: Source<'_>) {
        let conv = &self.of.project;
        let place = |layout: &Layout| layout.at(self.image, rows.start, 0);
        let store = Store {
            target: self.y,
            offset: place(&conv.output),
            stride: conv.output.pixel,
            residual: self
                .residual
                .map(|Residual { source, layout }| (source, place(&layout), layout.pixel)),
            function: conv.function,
        };
        let count = rows.len() * conv.output.width;
        pixels(conv, from, (0, self.of.depthwise.output.channels), count, store);
    }
}

/// A 1×1 convolution of `count` pixels, the first of which lies at `from`, the others each `step` further.
fn pixels(
    conv: &Conv,
    x: Source<'_>,
    (from, step): (usize, usize),
    count: usize,
    store: Store<'_>,
) {
    let weights = &conv.groups[0];
    let mut starts = [null(); MOST_ROWS];
    for first in (0..count).step_by(MOST_ROWS) {
        let rows = MOST_ROWS.min(count - first);
        for (row, start) in starts[..rows].iter_mut().enumerate() {
            *start = x.at(from + (first + row) * step, weights.depth);
        }
        let starts = &starts[..rows];
        let rows = Rows { starts, segments: &[0], length: weights.depth };
        let further = |(source, offset, stride)| (source, offset + first * stride, stride);
        let store = Store {
            offset: store.offset + first * store.stride,
            residual: store.residual.map(further),
            ..store
        };
        multiply(weights, 0..weights.panels(), rows, store);
    }
}
