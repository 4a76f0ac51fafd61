//! Pooling, and the anti-aliasing blur.

use super::super::form::Form;
use super::super::layout::{Layout, Window};
use super::super::memory::{Source, Target};
use super::super::pool::Pool;
use super::super::simd::{Instructions, Kernel, Simd};
use super::numbers::{read, write};
use crate::graph::op::{Border, PoolKind};

/// The maximum or mean of a rectangle of pixels, for each output.
#[derive(Debug)]
pub(in crate::infer) struct Reduce {
    pub input: Layout,
    pub output: Layout,
    pub kind: PoolKind,
    pub instructions: Instructions,
    /// For each output row and column, the pixels from the first to before the last, and how many an average counts.
    pub rows: Vec<Extent>,
    pub columns: Vec<Extent>,
    /// The forms of input and output.
    pub forms: (Form, Form),
}

#[derive(Clone, Copy, Debug)]
pub(in crate::infer) struct Extent {
    pub begin: usize,
    pub end: usize,
    pub counted: usize,
}

impl Reduce {
    /// The windows of a pool along an axis of `size` pixels.
    pub fn sliding(
        outputs: usize,
        size: usize,
        (kernel, stride): (usize, usize),
        (before, after): (usize, usize),
        counts_border: bool,
    ) -> Vec<Extent> {
        let window = |output: usize| {
            let begin = (output * stride) as isize - before as isize;
            let end = (begin + kernel as isize).min((size + after) as isize);
            let (first, last) = (begin.max(0) as usize, (end.max(0) as usize).min(size));
            let counted = if counts_border { (end - begin) as usize } else { last - first };
            Extent { begin: first, end: last, counted }
        };
        (0..outputs).map(window).collect()
    }

    /// The cells of an adaptive pool.
    pub fn adaptive(outputs: usize, size: usize) -> Vec<Extent> {
        let cell = |output: usize| {
            let (begin, end) = (output * size / outputs, ((output + 1) * size).div_ceil(outputs));
            Extent { begin, end, counted: end - begin }
        };
        (0..outputs).map(cell).collect()
    }

    /// The mean of an image in two steps, which add in the same order: the sums of its lines, and the mean of these.
    pub fn by_lines(self, lines: Layout) -> (Self, Self) {
        let alone = |at| Extent { begin: at, end: at + 1, counted: 1 };
        let sums = Self {
            output: lines,
            rows: (0..lines.height).map(alone).collect(),
            columns: self.columns.iter().map(|all| Extent { counted: 1, ..*all }).collect(),
            forms: (self.forms.0, Form::Float32),
            ..self
        };
        let columns = vec![Extent { counted: self.input.width, ..alone(0) }];
        let forms = (Form::Float32, self.forms.1);
        (sums, Self { input: lines, columns, forms, ..self })
    }

    pub fn run(&self, pool: &Pool, batch: usize, x: Source<'_>, y: Target<'_>) {
        let Layout { height, channels, .. } = self.output;
        let rows = batch * height;
        // A row is a task; where there are few, a task has a part of the channels.
        let parts = 16_usize.div_ceil(rows.max(1)).min(channels.div_ceil(64)).max(1);
        let wide = channels.div_ceil(parts).next_multiple_of(16);
        let parts = channels.div_ceil(wide);
        pool.run(rows * parts, &|task| {
            let (part, row) = (task % parts, task / parts);
            let channels = part * wide..((part + 1) * wide).min(channels);
            let (image, row) = (row / height, row % height);
            self.instructions.run(Strip { of: self, image, row, channels, x, y });
        });
    }
}

/// Some channels of one row of the output.
struct Strip<'a> {
    of: &'a Reduce,
    image: usize,
    row: usize,
    channels: std::ops::Range<usize>,
    x: Source<'a>,
    y: Target<'a>,
}

impl Kernel for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // A loop for the usual form: to ask for each vector would take longer than to read it.
        match (self.of.kind, self.of.forms.0) {
            (PoolKind::Max, Form::Float32) => self.pixels::<S, true, true>(s),
            (PoolKind::Max, _) => self.pixels::<S, true, false>(s),
            (PoolKind::Average, Form::Float32) => self.pixels::<S, false, true>(s),
            (PoolKind::Average, _) => self.pixels::<S, false, false>(s),
        }
    }
}

impl Strip<'_> {
    #[inline(always)]
    fn pixels<S: Simd, const MAX: bool, const FLOATS: bool>(&self, s: S) {
        for column in 0..self.of.columns.len() {
            let mut channel = self.channels.start;
            while channel + 4 * S::LANES <= self.channels.end {
                self.vectors::<S, MAX, FLOATS, 4, true>(s, column, channel, S::LANES);
                channel += 4 * S::LANES;
            }
            while channel + S::LANES <= self.channels.end {
                self.vectors::<S, MAX, FLOATS, 1, true>(s, column, channel, S::LANES);
                channel += S::LANES;
            }
            if channel < self.channels.end {
                let count = self.channels.end - channel;
                self.vectors::<S, MAX, FLOATS, 1, false>(s, column, channel, count);
            }
        }
    }

    /// `V` vectors of an output, or the first `count` lanes of one.
    #[inline(always)]
    fn vectors<S: Simd, const MAX: bool, const FLOATS: bool, const V: usize, const ALL: bool>(
        &self,
        s: S,
        at: usize,
        channel: usize,
        count: usize,
    ) {
        let Reduce { input, output, rows, columns, forms, .. } = self.of;
        let (row, column) = (rows[self.row], columns[at]);
        let form = if FLOATS { Form::Float32 } else { forms.0 };
        let all = if ALL { V * S::LANES } else { count };
        let mut values = [s.splat(if MAX { f32::NEG_INFINITY } else { 0.0 }); V];
        let width = column.end - column.begin;
        for line in row.begin..row.end {
            if width == 0 {
                break;
            }
            let place = input.at(self.image, line, column.begin) + channel;
            let first = self.x.of(form, place, (width - 1) * input.pixel + all);
            // Sums of lines first: so the errors of large windows do not add up.
            let mut sums = if MAX { values } else { [s.splat(0.0); V] };
            for pixel in 0..width {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the line of pixels was checked to be within; each has so many more channels.
                    let numbers = unsafe {
                        let at = pixel * input.pixel + vector * S::LANES;
                        read(s, form, first, at, if ALL { S::LANES } else { count })
                    };
                    *sum = if MAX { s.max_or_nan(*sum, numbers) } else { s.add(*sum, numbers) };
                }
            }
            for (value, sum) in values.iter_mut().zip(sums) {
                *value = if MAX { sum } else { s.add(*value, sum) };
            }
        }
        let share = s.splat(1.0 / (row.counted * column.counted) as f32);
        let to = self.y.of(forms.1, output.at(self.image, self.row, at) + channel, all);
        for (vector, value) in values.into_iter().enumerate() {
            let value = if MAX { value } else { s.mul(value, share) };
            // SAFETY: the output's pixel has so many more channels.
            unsafe {
                let count = if ALL { S::LANES } else { count };
                write(s, forms.1, to, (vector * S::LANES, count), value);
            }
        }
    }
}

/// A blur with the same weights for every channel.
#[derive(Debug)]
pub(in crate::infer) struct Blur {
    pub input: Layout,
    pub output: Layout,
    pub window: Window,
    pub border: Border,
    /// Along one axis.
    pub weights: Vec<f32>,
}

impl Blur {
    pub fn run(&self, pool: &Pool, batch: usize, x: Source<'_>, y: Target<'_>) {
        let Self { input, output, window, weights, .. } = self;
        pool.run(batch * output.height, &|task| {
            let (image, row) = (task / output.height, task % output.height);
            for column in 0..output.width {
                // SAFETY: the pixel is no other task's.
                let to = unsafe { y.slice(output.at(image, row, column), output.channels) };
                to.fill(0.0);
                for (tap_row, down) in weights.iter().enumerate() {
                    let line = row * window.stride.height + tap_row;
                    let Some(line) = self.inside(line, window.top, input.height) else { continue };
                    for (tap, across) in weights.iter().enumerate() {
                        let at = column * window.stride.width + tap;
                        let Some(at) = self.inside(at, window.left, input.width) else { continue };
                        // SAFETY: the pixel lies outside of the target.
                        let from = unsafe { x.slice(input.at(image, line, at), input.channels) };
                        let weight = down * across;
                        to.iter_mut().zip(from).for_each(|(sum, number)| *sum += weight * number);
                    }
                }
            }
        });
    }

    /// The pixel of a place that is counted from the border's first one on; none where the border is zero.
    fn inside(&self, place: usize, before: usize, size: usize) -> Option<usize> {
        let place = place as isize - before as isize;
        if (0..size as isize).contains(&place) {
            return Some(place as usize);
        }
        match self.border {
            Border::Zeros => None,
            Border::Mirror if place < 0 => Some(-place as usize),
            Border::Mirror => Some(2 * (size - 1) - place as usize),
        }
    }
}
