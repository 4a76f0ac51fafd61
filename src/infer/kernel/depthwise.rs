//! Depthwise convolution: each channel has a window of its own.

use std::ops::Range;
use std::ptr::null;
use std::sync::Arc;

use super::super::form::Form;
use super::super::layout::{Layout, Window};
use super::super::memory::{Buffer, Source, Target, zeros};
use super::super::pool::Pool;
use super::super::simd::{Instructions, Kernel, Simd, activate};
use super::gemm::{apply, clamp, is_clamp};
use super::numbers::{read, write};
use crate::error::Result;
use crate::graph::op::Function;

#[derive(Debug)]
pub(in crate::infer) struct Depthwise {
    pub input: Layout,
    pub output: Layout,
    pub window: Window,
    pub function: Option<Function>,
    pub instructions: Instructions,
    /// Plans for other shapes have the same.
    pub taps: Arc<Taps>,
    /// The forms of input and output. Of bytes, the taps multiply what they are, not what they stand for.
    pub forms: (Form, Form),
}

/// For each tap of the window a row of weights, then the biases, and then zeros: what lies outside of the image.
#[derive(Debug)]
pub(in crate::infer) struct Taps {
    numbers: Buffer,
    /// Numbers from a row to the next.
    row: usize,
    /// The same rows for words of two bfloat16 numbers, a block of which has the first numbers of all words, then the second.
    woven: Option<Buffer>,
}

/// Channels of a block of words.
const BLOCK: usize = 32;

/// Neighbouring outputs that are computed together.
const TOGETHER: usize = 4;

impl Taps {
    /// `weight` is (channels, 1, height, width).
    pub fn pack(
        taps: usize,
        weight: &[f32],
        bias: &[f32],
        (input, output): (Form, Form),
    ) -> Result<Self> {
        let (per, zero) = output.steps();
        let (step, shift, border) = match input {
            Form::Float32 | Form::BFloat16 => (1.0, 0.0, 0.0),
            Form::Byte(scale) => {
                let border = f32::from_le_bytes([scale.zero; 4]);
                (f64::from(scale.step), f64::from(scale.shift()), border)
            }
        };
        // Whole blocks and vectors can be read.
        let row = bias.len().next_multiple_of(BLOCK);
        let mut buffer = zeros((taps + 2) * row)?;
        let numbers = buffer.as_mut_slice();
        for (channel, (weight, bias)) in weight.chunks_exact(taps).zip(bias).enumerate() {
            let sum: f64 = weight.iter().map(|&weight| f64::from(weight)).sum();
            for (tap, &weight) in weight.iter().enumerate() {
                numbers[tap * row + channel] = (f64::from(weight) * step * per) as f32;
            }
            numbers[taps * row + channel] = ((f64::from(*bias) + sum * shift) * per + zero) as f32;
        }
        numbers[(taps + 1) * row..].fill(border);
        let woven = if (input, output) == (Form::BFloat16, Form::BFloat16) {
            let mut woven = zeros(numbers.len())?;
            let blocks = woven.as_mut_slice().chunks_exact_mut(BLOCK);
            for (to, from) in blocks.zip(numbers.chunks_exact(BLOCK)) {
                let (first, second) = to.split_at_mut(BLOCK / 2);
                for ((first, second), word) in
                    first.iter_mut().zip(second).zip(from.chunks_exact(2))
                {
                    (*first, *second) = (word[0], word[1]);
                }
            }
            Some(woven)
        } else {
            None
        };
        Ok(Self { numbers: buffer, row, woven })
    }
}

impl Depthwise {
    pub fn run(&self, pool: &Pool, batch: usize, x: Source<'_>, y: Target<'_>) {
        let Layout { height, channels, .. } = self.output;
        let pairs = height.div_ceil(2);
        let units = batch * pairs;
        // Pairs of rows of a task; where there are few, a task has a part of the channels.
        let each = units.div_ceil(24).max(1);
        let parts = 16_usize.div_ceil(units.max(1)).min(channels.div_ceil(64)).max(1);
        let wide = channels.div_ceil(parts).next_multiple_of(BLOCK);
        let parts = channels.div_ceil(wide);
        pool.run(units.div_ceil(each) * parts, &|task| {
            let (part, block) = (task % parts, task / parts);
            let channels = part * wide..((part + 1) * wide).min(channels);
            for unit in block * each..((block + 1) * each).min(units) {
                let (image, row) = (unit / pairs, unit % pairs * 2);
                let (channels, rows) = (channels.clone(), row..(row + 2).min(height));
                let (x, y) = (Lines::all(x), Lines::all(y));
                self.compute(image, rows, channels, x, y);
            }
        });
    }

    /// Computes some channels of one image.
    pub fn channels(&self, channels: Range<usize>, x: Source<'_>, y: Target<'_>) {
        let (x, y) = (Lines::all(x), Lines::all(y));
        for first in (0..self.output.height).step_by(2) {
            let rows = first..(first + 2).min(self.output.height);
            let channels = channels.clone();
            self.compute(0, rows, channels, x, y);
        }
    }

    /// Computes one or two rows of the output, of one image whose lines repeat in memory.
    pub fn strip(&self, rows: Range<usize>, x: Lines<Source<'_>>, y: Lines<Target<'_>>) {
        let channels = 0..self.output.channels;
        self.compute(0, rows, channels, x, y);
    }

    /// Computes some channels of one or two rows of the output.
    fn compute(
        &self,
        image: usize,
        rows: Range<usize>,
        channels: Range<usize>,
        x: Lines<Source<'_>>,
        y: Lines<Target<'_>>,
    ) {
        let bounds = self.forms.1.bounds(clamp(self.function));
        let strip = Strip { of: self, image, rows, channels, bounds, x, y };
        self.instructions.run_with(self.forms.1.written_with(), strip);
    }
}

/// Memory of an image of which only the last lines are kept, from line `first` on: line `n` lies where line
/// `(n - first) % period` of an image does.
#[derive(Clone, Copy)]
pub(in crate::infer) struct Lines<T> {
    pub memory: T,
    pub first: usize,
    pub period: usize,
}

impl<T> Lines<T> {
    /// A whole image.
    pub fn all(memory: T) -> Self {
        Self { memory, first: 0, period: usize::MAX }
    }

    /// Where a line lies.
    #[inline(always)]
    fn line(&self, line: usize) -> usize {
        let line = line - self.first;
        // A division takes long.
        if line < self.period { line } else { line % self.period }
    }
}

/// Two rows of the output, or the last one, and some of their channels.
struct Strip<'a> {
    of: &'a Depthwise,
    image: usize,
    rows: Range<usize>,
    channels: Range<usize>,
    /// The least and the largest output, in the form that is written.
    bounds: (f32, f32),
    x: Lines<Source<'a>>,
    y: Lines<Target<'a>>,
}

/// The largest window of tiles, and their largest stride.
const LARGEST: usize = 7;
const STRIDES: usize = 2;

/// Outputs of a row whose pixels are looked up together.
const SPAN: usize = 7 * TOGETHER;

/// The pixels under the windows of a span; those outside of the image are zeros.
type Pixels = [[*const f32; (SPAN - 1) * STRIDES + LARGEST]; STRIDES + LARGEST];

impl Kernel for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Depthwise { output, window, .. } = self.of;
        let Window { kernel, stride, dilation, .. } = window;
        let is_square = kernel.height == kernel.width && stride.height == stride.width;
        let is_dense = dilation.height == 1 && dilation.width == 1;
        if is_square && is_dense && output.width >= TOGETHER {
            let size = (kernel.width, stride.width);
            let done = match self.of.forms.0 {
                Form::Float32 => self.windows::<S, 1>(s, size),
                Form::BFloat16 => self.windows::<S, 2>(s, size),
                Form::Byte(_) => self.windows::<S, 4>(s, size),
            };
            if done {
                return;
            }
        }
        let Self { of, image, channels, bounds, x, y, .. } = self;
        for row in self.rows {
            Line { of, image, row, channels: channels.clone(), bounds, x, y }.run(s);
        }
    }
}

impl Strip<'_> {
    /// Square windows of usual sizes and strides, of numbers of which a word has so many. Returns whether this is one.
    #[inline(always)]
    fn windows<S: Simd, const FACTORS: usize>(&self, s: S, size: (usize, usize)) -> bool {
        match size {
            (3, 1) => self.tiles::<S, 3, 1, FACTORS>(s),
            (3, 2) => self.tiles::<S, 3, 2, FACTORS>(s),
            (5, 1) => self.tiles::<S, 5, 1, FACTORS>(s),
            (5, 2) => self.tiles::<S, 5, 2, FACTORS>(s),
            (7, 1) if FACTORS == 1 => self.tiles::<S, 7, 1, FACTORS>(s),
            _ => return false,
        }
        true
    }

    /// Square windows of `K` pixels, `T` apart, some neighbouring outputs together.
    #[inline(always)]
    fn tiles<S: Simd, const K: usize, const T: usize, const FACTORS: usize>(&self, s: S) {
        let Depthwise { input, output, window, function, taps, .. } = self.of;
        let zeros = Source::from(taps.numbers.as_slice()).at((K * K + 1) * taps.row, taps.row);
        let mut pixels: Pixels = [[null(); _]; _];
        let height = (self.rows.len() - 1) * T + K;
        for begin in (0..output.width).step_by(SPAN) {
            let end = output.width.min(begin + SPAN);
            // The last tile overlaps the one before.
            let begin = begin.min(end - TOGETHER);
            let width = (end - begin - 1) * T + K;
            for (down, pixels) in pixels[..height].iter_mut().enumerate() {
                let line = (self.rows.start * T + down).wrapping_sub(window.top);
                let pixels = &mut pixels[..width];
                if line >= input.height {
                    pixels.fill(zeros);
                    continue;
                }
                let line = input.at(self.image, self.x.line(line), 0);
                for (across, pixel) in pixels.iter_mut().enumerate() {
                    let at = (begin * T + across).wrapping_sub(window.left);
                    *pixel = if at < input.width {
                        self.x.memory.of(self.of.forms.0, line + at * input.pixel, input.channels)
                    } else {
                        zeros
                    };
                }
            }
            let mut column = begin;
            while column < end {
                column = column.min(end - TOGETHER);
                let pixels = (&pixels, (column - begin) * T);
                if self.rows.len() == 2 {
                    self.tile::<S, K, T, 2, FACTORS>(s, pixels, column);
                } else {
                    self.tile::<S, K, T, 1, FACTORS>(s, pixels, column);
                }
                column += TOGETHER;
            }
            if let Some(function) = function.filter(|function| !is_clamp(*function)) {
                let form = self.of.forms.1;
                for row in self.rows.clone() {
                    for pixel in begin..end {
                        let row = self.y.line(row);
                        let place = output.at(self.image, row, pixel) + self.channels.start;
                        let count = self.channels.len();
                        let to = self.y.memory.of(form, place, count);
                        apply(s, function, form, to, count);
                    }
                }
            }
        }
    }

    /// All channels of `R` rows of neighbouring outputs.
    #[inline(always)]
    fn tile<S: Simd, const K: usize, const T: usize, const R: usize, const FACTORS: usize>(
        &self,
        s: S,
        pixels: (&Pixels, usize),
        column: usize,
    ) {
        let mut channel = self.channels.start;
        if FACTORS == 2 && 2 * S::LANES == BLOCK && channel.is_multiple_of(BLOCK) {
            while let Some(taps) = &self.of.taps.woven
                && channel + BLOCK <= self.channels.end
            {
                self.words::<S, K, T, R>(s, taps, pixels, column, channel);
                channel += BLOCK;
            }
        }
        while channel + S::LANES <= self.channels.end {
            self.vector::<S, K, T, R, true, FACTORS>(s, pixels, column, channel);
            channel += S::LANES;
        }
        if channel < self.channels.end {
            self.vector::<S, K, T, R, false, FACTORS>(s, pixels, column, channel);
        }
    }

    /// A vector of channels of `R` rows of neighbouring outputs; all lanes of it or those that there are.
    #[inline(always)]
    fn vector<
        S: Simd,
        const K: usize,
        const T: usize,
        const R: usize,
        const ALL: bool,
        const FACTORS: usize,
    >(
        &self,
        s: S,
        (pixels, at): (&Pixels, usize),
        column: usize,
        channel: usize,
    ) {
        let Depthwise { output, window, taps, .. } = self.of;
        let count = if ALL { S::LANES } else { self.channels.end - channel };
        let weights = Source::from(taps.numbers.as_slice());
        let (low, high) = self.bounds;
        let (low, high) = (s.splat(low), s.splat(high));
        // SAFETY: rows of weights hold whole vectors. Pixels have `count` more channels, as have those of the output.
        unsafe {
            let bias = s.load(weights.at(K * K * taps.row + channel, S::LANES));
            let mut sums = [[bias; TOGETHER]; R];
            // Where the compiler knows the number of rows, it mixes their sums: that is faster for large windows at stride 1
            // alone (measured), since it runs out of registers.
            let height = if K == 3 || T == 2 { window.kernel.height } else { K };
            for down in 0..height {
                let mut row = [bias; K];
                for (across, weight) in row.iter_mut().enumerate() {
                    let place = (down * K + across) * taps.row + channel;
                    *weight = s.load(weights.at(place, S::LANES));
                }
                for (line, sums) in sums.iter_mut().enumerate() {
                    let pixels = &pixels[line * T + down][at..at + (TOGETHER - 1) * T + K];
                    for (at, pixel) in pixels.iter().enumerate() {
                        let numbers = match FACTORS {
                            4 => s.load_bytes(pixel.cast::<u8>().add(channel), count),
                            2 => s.load_halves(pixel.cast::<u16>().add(channel), count),
                            _ if ALL => s.load(pixel.add(channel)),
                            _ => s.load_part(pixel.add(channel), count),
                        };
                        for (output, sum) in sums.iter_mut().enumerate() {
                            if at >= output * T && at < output * T + K {
                                *sum = s.fma(numbers, row[at - output * T], *sum);
                            }
                        }
                    }
                }
            }
            let form = self.of.forms.1;
            for (line, sums) in sums.into_iter().enumerate() {
                let row = self.y.line(self.rows.start + line);
                let first = output.at(self.image, row, column) + channel;
                for (at, sum) in sums.into_iter().enumerate() {
                    let place = first + at * output.pixel;
                    let to = self.y.memory.of(form, place, count);
                    match form {
                        Form::Byte(_) => {
                            s.store_bytes(to.cast(), count, s.min(s.max(sum, low), high));
                        }
                        form => write(s, form, to, (0, count), s.min(high, s.max(low, sum))),
                    }
                }
            }
        }
    }

    /// A block of channels of `R` rows of neighbouring outputs, where the forms of input and output are bfloat16: both numbers
    /// of each word are computed side by side, which takes fewer instructions than to put them into order.
    #[inline(always)]
    fn words<S: Simd, const K: usize, const T: usize, const R: usize>(
        &self,
        s: S,
        taps: &Buffer,
        (pixels, at): (&Pixels, usize),
        column: usize,
        channel: usize,
    ) {
        let (Depthwise { output, window, .. }, step) = (self.of, self.of.taps.row);
        let weights = Source::from(taps.as_slice());
        let (low, high) = self.bounds;
        let (low, high) = (s.splat(low), s.splat(high));
        // SAFETY: rows of weights hold whole blocks. Pixels have a block of channels more, as have those of the output.
        unsafe {
            let bias = weights.at(K * K * step + channel, BLOCK);
            let bias = [s.load(bias), s.load(bias.add(S::LANES))];
            let mut sums = [[bias; TOGETHER]; R];
            let height = if K == 3 || T == 2 { window.kernel.height } else { K };
            for down in 0..height {
                let mut row = [bias; K];
                for (across, weights_of) in row.iter_mut().enumerate() {
                    let from = weights.at((down * K + across) * step + channel, BLOCK);
                    weights_of[0] = s.load(from);
                    weights_of[1] = s.load(from.add(S::LANES));
                }
                for (line, sums) in sums.iter_mut().enumerate() {
                    let pixels = &pixels[line * T + down][at..at + (TOGETHER - 1) * T + K];
                    for (at, pixel) in pixels.iter().enumerate() {
                        let (first, second) = s.unwoven(s.load(pixel.add(channel / 2)));
                        for (output, sums) in sums.iter_mut().enumerate() {
                            if at >= output * T && at < output * T + K {
                                let weights = &row[at - output * T];
                                sums[0] = s.fma(first, weights[0], sums[0]);
                                sums[1] = s.fma(second, weights[1], sums[1]);
                            }
                        }
                    }
                }
            }
            for (line, sums) in sums.into_iter().enumerate() {
                let row = self.y.line(self.rows.start + line);
                let first = output.at(self.image, row, column) + channel;
                for (at, sums) in sums.into_iter().enumerate() {
                    let place = first + at * output.pixel;
                    let to = self.y.memory.of(Form::BFloat16, place, BLOCK);
                    let first = s.min(high, s.max(low, sums[0]));
                    let second = s.min(high, s.max(low, sums[1]));
                    s.store(to, s.woven(first, second));
                }
            }
        }
    }
}

/// One row of the output, for windows of any kind.
struct Line<'a> {
    of: &'a Depthwise,
    image: usize,
    row: usize,
    channels: Range<usize>,
    bounds: (f32, f32),
    x: Lines<Source<'a>>,
    y: Lines<Target<'a>>,
}

/// The taps from `begin` to `end` of an axis lie on the image; the first one on its `first` pixel.
#[derive(Clone, Copy)]
struct Along {
    begin: usize,
    end: usize,
    /// The pixel of tap 0, which may lie before the image.
    origin: isize,
}

impl Along {
    fn has(&self, tap: usize) -> bool {
        (self.begin..self.end).contains(&tap)
    }
}

/// The taps on an axis of `size` pixels for an output.
#[inline(always)]
fn along(
    output: usize,
    stride: usize,
    before: usize,
    dilation: usize,
    taps: usize,
    size: usize,
) -> Along {
    let origin = (output * stride) as isize - before as isize;
    let begin = usize::try_from(-origin).unwrap_or(0).div_ceil(dilation).min(taps);
    let left = usize::try_from(size as isize - origin).unwrap_or(0);
    Along { begin, end: left.div_ceil(dilation).clamp(begin, taps), origin }
}

impl Line<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, s: S) {
        let Depthwise { input, output, window, .. } = self.of;
        let rows = along(
            self.row,
            window.stride.height,
            window.top,
            window.dilation.height,
            window.kernel.height,
            input.height,
        );
        let mut column = 0;
        while column < output.width {
            let at = |column: usize| {
                along(
                    column,
                    window.stride.width,
                    window.left,
                    window.dilation.width,
                    window.kernel.width,
                    input.width,
                )
            };
            let first = at(column);
            let together = column + TOGETHER <= output.width && {
                let last = at(column + TOGETHER - 1);
                first.begin == 0 && last.end == window.kernel.width
            };
            if together {
                self.pixels::<S, TOGETHER>(s, column, rows, first);
                column += TOGETHER;
            } else {
                self.pixels::<S, 1>(s, column, rows, first);
                column += 1;
            }
        }
    }
}

impl Line<'_> {
    /// `N` neighbouring outputs, whose windows have the same taps on the image.
    #[inline(always)]
    fn pixels<S: Simd, const N: usize>(&self, s: S, column: usize, rows: Along, columns: Along) {
        let Depthwise { input, output, window, function, taps, .. } = self.of;
        let Taps { numbers, row, .. } = &**taps;
        let all = window.kernel.height * window.kernel.width;
        let weights = Source::from(numbers.as_slice());
        let step = window.stride.width * input.pixel;
        let (from, to) = self.of.forms;
        let (low, high) = self.bounds;
        // A byte that stands for zero adds to the sum; the number 0 does not.
        let (down, across, border) = match from {
            Form::Float32 | Form::BFloat16 => {
                (rows.begin..rows.end, columns.begin..columns.end, 0.0)
            }
            Form::Byte(scale) => {
                (0..window.kernel.height, 0..window.kernel.width, f32::from(scale.zero))
            }
        };
        let border = s.splat(border);
        let mut channel = self.channels.start;
        while channel < self.channels.end {
            let count = S::LANES.min(self.channels.end - channel);
            // SAFETY: rows of weights hold whole vectors. Pixels on the image have `count` more channels, as have those of
            // the output.
            unsafe {
                let bias = s.load(weights.at(all * row + channel, S::LANES));
                let mut sums = [bias; N];
                for tap_row in down.clone() {
                    for tap in across.clone() {
                        let place = tap_row * window.kernel.width + tap;
                        let weight = s.load(weights.at(place * row + channel, S::LANES));
                        if !rows.has(tap_row) || !columns.has(tap) {
                            sums = sums.map(|sum| s.fma(border, weight, sum));
                            continue;
                        }
                        let line = rows.origin + (tap_row * window.dilation.height) as isize;
                        let line = self.x.line(line as usize);
                        let at = columns.origin + (tap * window.dilation.width) as isize;
                        let place = input.at(self.image, line, at as usize) + channel;
                        for (pixel, sum) in sums.iter_mut().enumerate() {
                            let place = place + pixel * step;
                            let pixel = self.x.memory.of(from, place, count);
                            let numbers = match from {
                                Form::Byte(_) => s.load_bytes(pixel.cast(), count),
                                form => read(s, form, pixel, 0, count),
                            };
                            *sum = s.fma(numbers, weight, *sum);
                        }
                    }
                }
                for (pixel, sum) in sums.into_iter().enumerate() {
                    let row = self.y.line(self.row);
                    let place = output.at(self.image, row, column + pixel) + channel;
                    let pixel = self.y.memory.of(to, place, count);
                    if let Form::Byte(_) = to {
                        let sum = s.min(s.max(sum, s.splat(low)), s.splat(high));
                        s.store_bytes(pixel.cast(), count, sum);
                        continue;
                    }
                    let sum = function.map_or(sum, |function| activate(s, function, sum));
                    write(s, to, pixel, (0, count), sum);
                }
            }
            channel += S::LANES;
        }
    }
}
