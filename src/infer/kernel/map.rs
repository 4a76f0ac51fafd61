//! Functions of single numbers: sums and products of two values, a scale and shift of each channel, and an activation.

use std::ops::Range;

use super::super::form::Form;
use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;
use super::super::simd::{Instructions, Kernel, Simd, activate};
use super::Residual;
use super::numbers::{read, write};
use crate::graph::op::Function;

/// function((x ∘ other) · scale + shift), where each part may be missing.
#[derive(Debug)]
pub(in crate::infer) struct Map {
    pub input: Layout,
    pub output: Layout,
    pub combine: Option<Combine>,
    /// Scale and shift of each channel.
    pub affine: Option<(Vec<f32>, Vec<f32>)>,
    pub function: Option<Function>,
    pub instructions: Instructions,
    /// The forms of input and output.
    pub forms: (Form, Form),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::infer) enum Combine {
    Add,
    Multiply,
}

impl Map {
    /// `other` is the second value where the values are combined; steps of 0 in its layout repeat it.
    pub fn run(
        &self,
        pool: &Pool,
        batch: usize,
        x: Source<'_>,
        other: Option<Residual<'_>>,
        y: Target<'_>,
    ) {
        let (pixels, channels) = (self.output.pixels(), self.output.channels);
        // Pixels and channels of a task.
        let (each, wide) = if self.output.has_few_rows() && channels >= 2 * WIDE {
            (pixels.max(1), WIDE)
        } else {
            ((16 * 1024 / channels.max(1)).max(1), channels)
        };
        let (blocks, parts) = (pixels.div_ceil(each), channels.div_ceil(wide.max(1)));
        pool.run(batch * blocks * parts, &|task| {
            let (image, block, part) = (task / parts / blocks, task / parts % blocks, task % parts);
            let range = block * each..((block + 1) * each).min(pixels);
            let channels = part * wide..((part + 1) * wide).min(channels);
            self.instructions.run(Pixels { of: self, image, range, channels, x, other, y });
        });
    }
}

/// Channels of a task where threads divide these: whole cache lines.
const WIDE: usize = 64;

struct Pixels<'a> {
    of: &'a Map,
    image: usize,
    range: Range<usize>,
    channels: Range<usize>,
    x: Source<'a>,
    other: Option<Residual<'a>>,
    y: Target<'a>,
}

/// Kinds of loops: of one value, of the sum of two, and of their product.
const ALONE: u8 = 0;
const SUM: u8 = 1;
const PRODUCT: u8 = 2;

impl Kernel for Pixels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // A loop for each kind: to ask for each vector would take longer than to compute it.
        let combine = self.of.combine.filter(|_| self.other.is_some());
        match (combine, &self.of.affine) {
            (None, None) => self.loop_over::<S, ALONE, false>(s),
            (None, Some(_)) => self.loop_over::<S, ALONE, true>(s),
            (Some(Combine::Add), None) => self.loop_over::<S, SUM, false>(s),
            (Some(Combine::Add), Some(_)) => self.loop_over::<S, SUM, true>(s),
            (Some(Combine::Multiply), None) => self.loop_over::<S, PRODUCT, false>(s),
            (Some(Combine::Multiply), Some(_)) => self.loop_over::<S, PRODUCT, true>(s),
        }
    }
}

/// The places of a pixel in the values; equal to each other where there is no second one.
#[derive(Clone, Copy)]
struct Pixel {
    x: *const f32,
    other: *const f32,
    y: *mut f32,
}

impl Pixels<'_> {
    #[inline(always)]
    fn loop_over<S: Simd, const COMBINE: u8, const AFFINE: bool>(&self, s: S) {
        let Map { input, output, affine, forms, .. } = self.of;
        let (scale, shift) = match affine {
            Some((scale, shift)) => (&scale[..], &shift[..]),
            None => (&[][..], &[][..]),
        };
        let affine = (Source::from(scale), Source::from(shift));
        let channels = output.channels;
        let Range { start, end } = self.channels;
        for number in self.range.clone() {
            let place = |layout: &Layout| self.image * layout.image + number * layout.pixel;
            let x = self.x.of(forms.0, place(input), channels);
            let other = |of: Residual<'_>| of.source.of(of.form, place(&of.layout), channels);
            let y = self.y.of(forms.1, place(output), channels);
            let pixel = Pixel { x, other: self.other.map_or(x, other), y };
            let mut channel = start;
            while channel + S::LANES <= end {
                self.vector::<S, COMBINE, AFFINE, true>(s, pixel, affine, channel);
                channel += S::LANES;
            }
            if channel < end {
                self.vector::<S, COMBINE, AFFINE, false>(s, pixel, affine, channel);
            }
        }
    }

    /// A vector of channels; all lanes of it or those that there are.
    #[inline(always)]
    fn vector<S: Simd, const COMBINE: u8, const AFFINE: bool, const ALL: bool>(
        &self,
        s: S,
        pixel: Pixel,
        (scale, shift): (Source<'_>, Source<'_>),
        channel: usize,
    ) {
        let count = if ALL { S::LANES } else { self.channels.end - channel };
        let (from, to) = self.of.forms;
        let other_form = self.other.map_or(Form::Float32, |of| of.form);
        // SAFETY: `count` channels from this one on are within the pixels, which were checked, and within scales and
        // shifts, which are checked here. No other task writes these channels of the pixel.
        unsafe {
            let mut value = read(s, from, pixel.x, channel, count);
            if COMBINE != ALONE {
                let other = read(s, other_form, pixel.other, channel, count);
                value = if COMBINE == SUM { s.add(value, other) } else { s.mul(value, other) };
            }
            if AFFINE {
                let scale = s.load_up_to(scale.at(channel, count), count);
                value = s.fma(value, scale, s.load_up_to(shift.at(channel, count), count));
            }
            if let Some(function) = self.of.function {
                value = activate(s, function, value);
            }
            write(s, to, pixel.y, (channel, count), value);
        }
    }
}
