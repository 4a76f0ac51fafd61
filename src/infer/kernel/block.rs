//! Convolutions around a depthwise one, so that the values between them, the largest of a network, never leave the cache:
//! MobileNet's block, whose 1×1 convolutions widen and narrow the image; the first convolution of a network with the block
//! after it; and a block without its last convolution, where a gate needs the whole image first. Large images are computed
//! some rows after the other, by threads that come from both ends of a strip, and those of the last kind that are small some
//! channels after the other.

use std::ops::Range;
use std::ptr::null;
use std::sync::atomic::{AtomicUsize, Ordering};

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
        let strips = self.strips(batch, pool.threads());
        let left = |at| AtomicUsize::new(self.strip(at % strips, strips).len());
        let left: Vec<_> = (0..batch * strips).map(left).collect();
        let ends = if pool.threads() > 1 { 2 } else { 1 };
        pool.try_run(batch * strips * ends, &|task| {
            let (at, end) = (task / ends, task % ends);
            let (image, rows) = (at / strips, self.strip(at % strips, strips));
            let rows = Rest { rows, left: &left[at], ends, is_last: end == 1 };
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

    /// Strips of an image, one for two threads. Lines before the depthwise convolution are computed twice where threads
    /// meet, so there are no more than that.
    fn strips(&self, batch: usize, threads: usize) -> usize {
        let most = self.depthwise.output.height.div_ceil(2 * TOGETHER);
        threads.div_ceil(2 * batch.max(1)).min(most).max(1)
    }

    /// The rows of a strip.
    fn strip(&self, index: usize, strips: usize) -> Range<usize> {
        part(self.depthwise.output.height, index, strips)
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

/// The rows of a strip that one thread has still to take. Another one comes from their other end, and they meet wherever they
/// do: a thread that runs slower, as where other programs use its core, takes fewer.
struct Rest<'a> {
    rows: Range<usize>,
    /// Rows that neither of them has taken.
    left: &'a AtomicUsize,
    /// Threads that take them, each from an end of its own.
    ends: usize,
    /// Whether this thread begins with the last row.
    is_last: bool,
}

impl Rest<'_> {
    /// Some rows, next to those before.
    fn take(&mut self) -> Option<Range<usize>> {
        // Two threads share the last rows.
        let count = |left: usize| left.div_ceil(self.ends).min(TOGETHER);
        let less = |left: usize| (left > 0).then(|| left - count(left));
        // Rows are one thread's alone, and all are there before the step begins and after it ends.
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        let taken = self.next(count(left));
        if self.is_last {
            self.rows.end = taken.start;
        } else {
            self.rows.start = taken.end;
        }
        Some(taken)
    }

    /// At most so many rows that are taken next, if the other thread does not come first.
    fn next(&self, count: usize) -> Range<usize> {
        let Range { start, end } = self.rows;
        let count = count.min(end - start);
        if self.is_last { end - count..end } else { start..start + count }
    }
}

impl Strip<'_> {
    fn run(
        &self,
        mut rest: Rest<'_>,
        between: Target<'_>,
        after: Target<'_>,
        converted: Target<'_>,
    ) {
        let Block { expand, depthwise, project } = self.of;
        let period = self.of.kept_lines().0;
        let mut known = 0..0;
        while let Some(rows) = rest.take() {
            let lines = self.lines(&rows);
            let source = match expand {
                Some(expand) => {
                    for line in lines.clone().filter(|line| !known.contains(line)) {
                        self.expand(expand, line, between, line % period);
                    }
                    known = lines;
                    between.source()
                }
                None => self.x.skip(depthwise.forms.0.words(self.image * depthwise.input.image)),
            };
            let x = Lines { memory: source, first: 0, period };
            if let Some(project) = project {
                let y = Lines { memory: after, first: rows.start, period: TOGETHER };
                depthwise.strip(rows.clone(), x, y);
                let next = self.read_next(&rows, &rest.next(TOGETHER));
                self.project(project, rows, (after.source(), converted), next);
            } else {
                let place = depthwise.forms.1.words(self.image * depthwise.output.image);
                depthwise.strip(rows, x, Lines::all(self.y.skip(place)));
            }
        }
    }

    /// The lines before the depthwise convolution that rows after it need.
    fn lines(&self, rows: &Range<usize>) -> Range<usize> {
        let Depthwise { window, input, .. } = &self.of.depthwise;
        let first = |row: usize| row * window.stride.height;
        let end = first(rows.end.saturating_sub(1)) + window.kernel.height;
        let line = |row: usize| row.saturating_sub(window.top).min(input.height);
        line(first(rows.start))..line(end)
    }

    /// The input of the depthwise convolution that the next rows need beyond what these did, if no convolution comes before
    /// it.
    fn read_next(&self, rows: &Range<usize>, next: &Range<usize>) -> Next {
        let Block { depthwise, expand, .. } = self.of;
        if expand.is_some() || next.is_empty() {
            return Next::NOTHING;
        }
        let (known, lines) = (self.lines(rows), self.lines(next));
        let lines = if next.start < rows.start {
            lines.start..known.start.min(lines.end)
        } else {
            known.end.max(lines.start)..lines.end
        };
        if lines.is_empty() {
            return Next::NOTHING;
        }
        let words = |line| depthwise.forms.0.words(depthwise.input.at(self.image, line, 0));
        let (from, to) = (words(lines.start), words(lines.end));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_from_both_ends_take_every_row_once() {
        let alone = AtomicUsize::new(5);
        let mut alone = Rest { rows: 0..5, left: &alone, ends: 1, is_last: false };
        assert_eq!([(); 4].map(|()| alone.take()), [Some(0..2), Some(2..4), Some(4..5), None]);
        // Which of them is the faster one, in every way for short strips.
        for (count, turns) in (0..12).flat_map(|count| (0..256).map(move |turns| (count, turns))) {
            let left = AtomicUsize::new(count);
            let of = |is_last| Rest { rows: 3..3 + count, left: &left, ends: 2, is_last };
            let mut ends = [of(false), of(true)];
            let (mut taken, mut turn) = (Vec::new(), 0);
            loop {
                let end = &mut ends[turns >> (turn % 8) & 1];
                let next = end.next(TOGETHER);
                let Some(rows) = end.take() else { break };
                assert!((1..=TOGETHER).contains(&rows.len()));
                assert!(next.start <= rows.start && rows.end <= next.end, "{rows:?} of {next:?}");
                taken.extend(rows);
                turn += 1;
            }
            assert!(ends.iter_mut().all(|end| end.take().is_none()));
            taken.sort_unstable();
            assert!(taken.into_iter().eq(3..3 + count), "{count} rows, turns {turns:08b}");
        }
    }
}
