//! Convolutions around a depthwise one, so that the values between them, the largest of a network, never leave the cache:
//! MobileNet's block, whose 1×1 convolutions widen and narrow the image; the first convolution of a network with the block
//! after it; and a block without its last convolution, where a gate needs the whole image first. Large images are computed
//! strip by strip, and those of the last kind that are small some channels after the other.

use std::ops::Range;
use std::ptr::null;

use super::super::layout::Layout;
use super::super::memory::{Source, Target, with_own};
use super::super::pool::{Pool, part};
use super::super::simd::{Lent, Tiles};
use super::Residual;
use super::conv::{Conv, MOST_ROWS};
use super::depthwise::{Depthwise, Lines};
use super::gemm::{Next, Rows, Store, Weights, multiply};
use crate::error::Result;

#[derive(Debug)]
pub(in crate::infer) struct Block {
    /// The convolution before the depthwise one, if any.
    pub expand: Option<Conv>,
    pub depthwise: Depthwise,
    /// The 1×1 convolution after it, if any.
    pub project: Option<Conv>,
}

/// Vectors of columns of the first convolution that are computed together, where whole images are.
const VECTORS: usize = 4;

/// Weights beyond this many are read from memory again for every strip.
const MOST_WEIGHTS: usize = 96 * 1024;

/// Output rows of the depthwise convolution that are computed together.
const TOGETHER: usize = 2;

impl Block {
    pub fn new(expand: Option<Conv>, depthwise: Depthwise, project: Option<Conv>) -> Self {
        let dense = |of: Layout| Layout::dense(of.height, of.width, of.channels);
        let Depthwise { mut input, mut output, .. } = depthwise;
        if expand.is_some() {
            input = dense(input);
        }
        if project.is_some() {
            output = dense(output);
        }
        Self { expand, depthwise: Depthwise { input, output, ..depthwise }, project }
    }

    /// Whether these convolutions run faster as a block.
    pub fn is_worthwhile(
        expand: Option<&Conv>,
        depthwise: &Depthwise,
        project: Option<&Conv>,
    ) -> bool {
        let window = &depthwise.window;
        let fits = |conv: &Conv| conv.groups.len() == 1 && conv.weights() <= MOST_WEIGHTS;
        let slides = window.dilation.height == 1 && window.kernel.height >= window.stride.height;
        match (expand, project) {
            // All tasks read the whole input, so it must be the smaller part.
            (Some(expand), None) if Self::is_small(expand, depthwise) => {
                expand.output.channels >= 2 * expand.input.channels
            }
            _ => {
                project.is_none_or(|conv| fits(conv) && conv.is_pointwise())
                    && expand.is_none_or(fits)
                    && !depthwise.input.has_few_rows()
                    && slides
            }
        }
    }

    /// Whether threads divide the channels: some of a whole image then stay in the cache of each.
    fn is_small(expand: &Conv, depthwise: &Depthwise) -> bool {
        expand.is_pointwise()
            && depthwise.input.pixels() <= 16 * 16
            && (depthwise.input.has_few_rows() || expand.weights() > MOST_WEIGHTS)
    }

    /// `scratch` is that of the first convolution.
    pub fn run(
        &self,
        pool: &Pool,
        batch: usize,
        x: Source<'_>,
        y: Target<'_>,
        residual: Option<Residual<'_>>,
        scratch: Target<'_>,
    ) -> Result<()> {
        if let (Some(expand), None) = (&self.expand, &self.project)
            && Self::is_small(expand, &self.depthwise)
        {
            let (x, input) = expand.bordered(pool, batch, x, scratch);
            return self.by_channels(expand, pool, batch, (x, input), y);
        }
        let (x, input) = match &self.expand {
            Some(conv) => conv.bordered(pool, batch, x, scratch),
            None => (x, self.depthwise.input),
        };
        let (segments, length) =
            self.expand.as_ref().map(|conv| conv.segments(&input)).unwrap_or_default();
        let height = self.depthwise.output.height;
        let strips = self.strips(batch, pool.threads());
        pool.try_run(batch * strips, &|task| {
            let (image, strip) = (task / strips, task % strips);
            let rows = part(height, strip, strips);
            let segments = &segments;
            let strip = Strip { of: self, image, x, input, segments, length, y, residual };
            let _held = self.tiles().map(Lent::of);
            let (between, after) = (self.kept_lines().1, self.words_after());
            let converted = self.words_converted();
            with_own(between + after + converted, |own| {
                let converted = own.part(between + after, converted);
                strip.run(rows, own.part(0, between), own.part(between, after), converted);
            })
        })
    }

    /// Computes some channels of whole images after the other, where a 1×1 convolution comes first.
    fn by_channels(
        &self,
        expand: &Conv,
        pool: &Pool,
        batch: usize,
        (x, input): (Source<'_>, Layout),
        y: Target<'_>,
    ) -> Result<()> {
        let (weights, pixels) = (&expand.groups[0], expand.output.pixels());
        let channels = expand.output.channels;
        let each = weights.panels_of(VECTORS);
        let groups = weights.panels().div_ceil(each);
        pool.try_run(batch * groups, &|task| {
            let (image, group) = (task / groups, task % groups);
            let panels = group * each..((group + 1) * each).min(weights.panels());
            with_own(expand.forms.1.words(pixels * channels), |own| {
                let store = Store {
                    target: own,
                    offset: 0,
                    stride: channels,
                    residual: None,
                    forms: expand.stores(None),
                    function: expand.function,
                    rescale: expand.rescale(),
                };
                let windows = (&[0][..], weights.depth, Next::NOTHING);
                blocks(expand, panels.clone(), pixels, store, windows, |first, starts| {
                    expand.starts(x, &input, (image, first), 0, starts);
                });
                let channels = weights.columns_of(panels.clone());
                let place = self.depthwise.forms.1.words(image * self.depthwise.output.image);
                self.depthwise.channels(channels, own.source(), y.skip(place));
            })
        })
    }

    /// Strips of an image. Lines before the depthwise convolution are computed twice where strips meet, so there are no
    /// more than threads.
    fn strips(&self, batch: usize, threads: usize) -> usize {
        let most = self.depthwise.output.height.div_ceil(TOGETHER);
        threads.div_ceil(batch.max(1)).min(most).max(1)
    }

    /// The tiles that the products of a strip use, if any: so they are formed once for all of them.
    fn tiles(&self) -> Option<Tiles> {
        let convs = self.expand.iter().chain(&self.project);
        convs.flat_map(|conv| conv.groups.iter()).find_map(Weights::tiles)
    }

    /// The lines before the depthwise convolution that are kept, and their words; none if they are the input.
    fn kept_lines(&self) -> (usize, usize) {
        let window = &self.depthwise.window;
        let lines = (TOGETHER - 1) * window.stride.height + window.kernel.height;
        let Layout { width, channels, .. } = self.depthwise.input;
        let words = self.depthwise.forms.0.words(lines * width * channels);
        if self.expand.is_some() { (lines, words) } else { (usize::MAX, 0) }
    }

    /// The words of the lines after it; none if they are the output.
    fn words_after(&self) -> usize {
        let Layout { width, channels, .. } = self.depthwise.output;
        let numbers = if self.project.is_some() { TOGETHER * width * channels } else { 0 };
        self.depthwise.forms.1.words(numbers)
    }

    /// The words of these lines in the type of the convolution after them, if that is another one.
    fn words_converted(&self) -> usize {
        let Layout { width, channels, .. } = self.depthwise.output;
        let converts = |conv: &&Conv| conv.converts();
        self.project
            .as_ref()
            .filter(converts)
            .map_or(0, |conv| TOGETHER * width * channels.div_ceil(conv.element().per_word()))
    }
}

/// Some rows of an image.
struct Strip<'a> {
    of: &'a Block,
    image: usize,
    /// The input with its border, how it lies, and the windows of the first convolution in it.
    x: Source<'a>,
    input: Layout,
    segments: &'a [isize],
    length: usize,
    y: Target<'a>,
    residual: Option<Residual<'a>>,
}

impl Strip<'_> {
    fn run(
        &self,
        strip: Range<usize>,
        between: Target<'_>,
        after: Target<'_>,
        converted: Target<'_>,
    ) {
        let Block { expand, depthwise, project } = self.of;
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
                None => self.x.skip(depthwise.forms.0.words(self.image * input.image)),
            };
            let x = Lines { memory: source, first: 0, period };
            if let Some(project) = project {
                let y = Lines { memory: after, first, period: TOGETHER };
                depthwise.strip(rows.clone(), x, y);
                let next = self.read_next(rows.end..strip.end);
                self.project(project, rows, (after.source(), converted), next);
            } else {
                let place = depthwise.forms.1.words(self.image * depthwise.output.image);
                depthwise.strip(rows, x, Lines::all(self.y.skip(place)));
            }
        }
    }

    /// The input of the depthwise convolution for the next of these rows, if no convolution comes before it.
    fn read_next(&self, rows: Range<usize>) -> Next {
        let Block { depthwise, expand, .. } = self.of;
        if expand.is_some() || rows.is_empty() {
            return Next::NOTHING;
        }
        let (window, input) = (&depthwise.window, depthwise.input);
        let line = |row: usize| {
            (row * window.stride.height + window.kernel.height)
                .saturating_sub(window.top + window.stride.height)
                .min(input.height)
        };
        let (begin, end) = (line(rows.start), line(rows.end.min(rows.start + TOGETHER)));
        let words = |line| depthwise.forms.0.words(input.at(self.image, line, 0));
        let (from, to) = (words(begin), words(end));
        if to == from {
            return Next::NOTHING;
        }
        Next { start: self.x.at(from, 1).cast(), bytes: (to - from) * size_of::<f32>() }
    }

    /// Computes a line before the depthwise convolution.
    fn expand(&self, conv: &Conv, row: usize, to: Target<'_>, line: usize) {
        let Layout { width, channels, .. } = conv.output;
        let store = Store {
            target: to,
            offset: line * width * channels,
            stride: channels,
            residual: None,
            forms: conv.stores(None),
            function: conv.function,
            rescale: conv.rescale(),
        };
        blocks(
            conv,
            0..conv.groups[0].panels(),
            width,
            store,
            (self.segments, self.length, Next::NOTHING),
            |first, starts| {
                conv.starts(self.x, &self.input, (self.image, row * width + first), 0, starts);
            },
        );
    }

    /// Computes rows of the output. Their first pixels lie where the lines after the depthwise convolution begin.
    fn project(
        &self,
        conv: &Conv,
        rows: Range<usize>,
        (from, converted): (Source<'_>, Target<'_>),
        next: Next,
    ) {
        let place = |layout: &Layout| layout.at(self.image, rows.start, 0);
        let store = Store {
            target: self.y,
            offset: place(&conv.output),
            stride: conv.output.pixel,
            residual: self
                .residual
                .map(|Residual { source, layout, .. }| (source, place(&layout), layout.pixel)),
            forms: conv.stores(self.residual.as_ref()),
            function: conv.function,
            rescale: conv.rescale(),
        };
        let (count, channels) = (rows.len() * conv.output.width, self.of.depthwise.output.channels);
        let depth = channels.div_ceil(conv.element().per_word());
        let from = if conv.converts() {
            // SAFETY: the thread's own memory, in two parts.
            let (from, to) =
                unsafe { (from.slice(0, count * channels), converted.slice(0, count * depth)) };
            conv.to_words(conv.groups[0].instructions(), from, to);
            converted.source()
        } else {
            from
        };
        let segments = (&[0][..], depth, next);
        blocks(conv, 0..conv.groups[0].panels(), count, store, segments, |first, starts| {
            for (at, start) in starts.iter_mut().enumerate() {
                *start = from.at((first + at) * depth, depth);
            }
        });
    }
}

/// Some panels of a convolution of `count` pixels, block by block, which fetch what is read next. `find` writes the addresses
/// of their windows, from one pixel on.
fn blocks(
    conv: &Conv,
    panels: Range<usize>,
    count: usize,
    store: Store<'_>,
    (segments, length, next): (&[isize], usize, Next),
    find: impl Fn(usize, &mut [*const f32]),
) {
    let weights = &conv.groups[0];
    let mut starts = [null(); MOST_ROWS];
    for first in (0..count).step_by(MOST_ROWS) {
        let starts = &mut starts[..MOST_ROWS.min(count - first)];
        find(first, starts);
        let further = |(source, offset, stride)| (source, offset + first * stride, stride);
        let store = Store {
            offset: store.offset + first * store.stride,
            residual: store.residual.map(further),
            ..store
        };
        let next = next.part(first / MOST_ROWS, count.div_ceil(MOST_ROWS));
        multiply(weights, panels.clone(), Rows { starts, segments, length, next }, store);
    }
}
