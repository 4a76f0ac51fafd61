//! Every kernel, compared with plain loops in float64, for many shapes and all instructions that the machine has.

#![allow(clippy::float_cmp, reason = "some results are exact")]

mod attention;
mod block;
mod bytes;
mod function;
mod gated;
mod pixels;
mod product;
mod strassen;
mod window;

use std::sync::LazyLock;

use super::super::form::{Form, Scale};
use super::super::layout::Layout;
use super::super::memory::{Source, Target};
use super::super::pool::Pool;
use super::super::simd::Element;
use super::Residual;
use crate::graph::op::Function;

pub(super) static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(2));

const FUNCTIONS: [Function; 8] = [
    Function::Relu,
    Function::Relu6,
    Function::Silu,
    Function::Sigmoid,
    Function::Tanh,
    Function::Gelu,
    Function::HardSigmoid,
    Function::HardSwish,
];

/// A number that no kernel may write, nor read into a result.
const GAP: f32 = f32::NAN;
const UNTOUCHED: f32 = -12345.678;

/// The same numbers in every run.
pub(in crate::infer) struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// A number from `least` to `most`.
    pub fn within(&mut self, least: usize, most: usize) -> usize {
        least + self.next() as usize % (most - least + 1)
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.within(0, of.len() - 1)]
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.within(1, times) == 1
    }

    /// A number from -1 to 1.
    pub fn float(&mut self) -> f32 {
        (self.next() as f64 / f64::from(1_u32 << 30)) as f32 - 1.0
    }

    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    pub fn function(&mut self) -> Option<Function> {
        let function = self.pick(&FUNCTIONS);
        (!self.once_in(3)).then_some(function)
    }

    /// Often few, sometimes more than two vectors of any instructions.
    pub fn channels(&mut self) -> usize {
        if self.once_in(4) { self.within(1, 60) } else { self.within(1, 9) }
    }

    /// The same, but every other time so many that bytes fill words.
    pub fn quads(&mut self) -> usize {
        let channels = self.channels();
        if self.once_in(2) { channels.next_multiple_of(4) } else { channels }
    }

    /// Mostly without gaps between pixels and images.
    fn layout(&mut self, height: usize, width: usize, channels: usize) -> Layout {
        let mut layout = Layout::dense(height, width, channels);
        if self.once_in(2) {
            layout.pixel += self.within(0, 5);
            layout.image = layout.pixels() * layout.pixel + self.within(0, 7) * self.within(0, 1);
        }
        layout
    }

    fn value(&mut self, batch: usize, size: (usize, usize, usize)) -> Value {
        self.value_of(Form::Float32, batch, size)
    }

    /// Numbers in a form: of bytes, any of those that they stand for.
    fn value_of(
        &mut self,
        form: Form,
        batch: usize,
        (height, width, channels): (usize, usize, usize),
    ) -> Value {
        let layout = self.layout_of(form, height, width, channels);
        let mut value = Value::untouched_of(form, layout, batch);
        value.numbers.fill(GAP);
        for place in value.places() {
            match form {
                Form::Float32 => value.numbers[place] = self.float(),
                Form::BFloat16 => value.set_half(place, self.float()),
                Form::Byte(_) => value.set_byte(place, self.within(0, 255) as u8),
            }
        }
        value
    }

    /// A form of so many channels, any that there is.
    fn form(&mut self, channels: usize) -> Form {
        let element = self.pick(&[Element::BFloat16, Element::Byte]);
        self.form_of(element, channels)
    }

    /// Float32, or the form of this type, often, where channels fill words. Steps of bytes are powers of two, so that
    /// numbers are exact.
    fn form_of(&mut self, element: Element, channels: usize) -> Form {
        if !channels.is_multiple_of(element.per_word()) || self.once_in(3) {
            return Form::Float32;
        }
        match element {
            Element::Float32 => Form::Float32,
            Element::BFloat16 => Form::BFloat16,
            Element::Byte => {
                let (step, zero) =
                    (self.pick(&[0.125, 0.015_625, 0.007_812_5]), self.within(0, 255));
                Form::Byte(Scale { step, zero: zero as u8 })
            }
        }
    }

    /// Mostly without gaps, which are whole words.
    fn layout_of(&mut self, form: Form, height: usize, width: usize, channels: usize) -> Layout {
        let Layout { pixel, image, .. } = self.layout(height, width, channels);
        let whole = |numbers: usize| numbers.next_multiple_of(form.per_word());
        let (pixel, image) = (whole(pixel), whole(image));
        let image = image.max(height * width * pixel);
        Layout { height, width, channels, pixel, image }
    }

    /// A function that a step which writes this form may have.
    fn function_for(&mut self, form: Form) -> Option<Function> {
        let of_bytes = self.pick(&[None, Some(Function::Relu), Some(Function::Relu6)]);
        if form.is_narrow() { of_bytes } else { self.function() }
    }
}

/// Images in memory.
#[derive(Clone)]
struct Value {
    layout: Layout,
    batch: usize,
    form: Form,
    /// Words.
    numbers: Vec<f32>,
}

/// An image, a row, a column and a channel.
type At = [usize; 4];

impl Value {
    /// A value to be written.
    fn untouched(layout: Layout, batch: usize) -> Self {
        Self::untouched_of(Form::Float32, layout, batch)
    }

    fn untouched_of(form: Form, layout: Layout, batch: usize) -> Self {
        let numbers = vec![UNTOUCHED; form.words(layout.extent(batch))];
        Self { layout, batch, form, numbers }
    }

    fn residual(&self) -> Residual<'_> {
        Residual { source: self.source(), layout: self.layout, form: self.form }
    }

    fn half(&self, place: usize) -> u16 {
        u16::from_le_bytes([self.byte(2 * place), self.byte(2 * place + 1)])
    }

    /// Writes a number that is rounded towards zero.
    fn set_half(&mut self, place: usize, number: f32) {
        let [_, _, low, high] = number.to_le_bytes();
        self.set_byte(2 * place, low);
        self.set_byte(2 * place + 1, high);
    }

    fn byte(&self, place: usize) -> u8 {
        self.numbers[place / 4].to_le_bytes()[place % 4]
    }

    fn set_byte(&mut self, place: usize, byte: u8) {
        let word = &mut self.numbers[place / 4];
        let mut bytes = word.to_le_bytes();
        bytes[place % 4] = byte;
        *word = f32::from_le_bytes(bytes);
    }

    fn source(&self) -> Source<'_> {
        Source::from(&self.numbers[..])
    }

    fn target(&mut self) -> Target<'_> {
        Target::from(&mut self.numbers[..])
    }

    fn place(&self, [image, row, column, channel]: At) -> usize {
        self.layout.at(image, row, column) + channel
    }

    fn get(&self, at: At) -> f64 {
        let place = self.place(at);
        match self.form {
            Form::Float32 => f64::from(self.numbers[place]),
            Form::BFloat16 => f64::from(f32::from_bits(u32::from(self.half(place)) << 16)),
            Form::Byte(Scale { step, zero }) => {
                f64::from(i16::from(self.byte(place)) - i16::from(zero)) * f64::from(step)
            }
        }
    }

    /// Zero outside of the image.
    fn get_or_zero(&self, image: usize, row: isize, column: isize, channel: usize) -> f64 {
        let Layout { height, width, .. } = self.layout;
        if (0..height as isize).contains(&row) && (0..width as isize).contains(&column) {
            return self.get([image, row as usize, column as usize, channel]);
        }
        0.0
    }

    fn all(&self) -> impl Iterator<Item = At> + use<> {
        let (batch, Layout { height, width, channels, .. }) = (self.batch, self.layout);
        (0..batch * height * width * channels).map(move |at| {
            let (at, channel) = (at / channels, at % channels);
            let (at, column) = (at / width, at % width);
            [at / height, at % height, column, channel]
        })
    }

    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let layout = self.layout;
        self.all().map(move |[image, row, column, channel]| layout.at(image, row, column) + channel)
    }

    /// Compares every number with the expected one, which comes with the size that the tolerance is relative to, and
    /// checks that nothing was written besides. Bytes are the nearest to the expected number.
    fn check(&self, what: &str, tolerance: f64, expected: impl Fn(At) -> (f64, f64)) {
        let bytes = self.form.per_word();
        let mut inside = vec![false; self.numbers.len() * bytes];
        for at in self.all() {
            let (expected, size) = expected(at);
            let got = self.get(at);
            inside[self.place(at)] = true;
            let tolerance = tolerance * size.max(1.0);
            let is_near = match self.form {
                Form::Float32 => {
                    (got - expected).abs() <= tolerance
                        || got == expected
                        || got.is_nan() && expected.is_nan()
                }
                // Half of the last of 8 bits.
                Form::BFloat16 => {
                    (got - expected).abs() <= expected.abs() / 256.0 + tolerance
                        || got == expected
                        || got.is_nan() && expected.is_nan()
                }
                Form::Byte(Scale { step, zero }) => {
                    let (step, zero) = (f64::from(step), f64::from(zero));
                    let nearest = expected.clamp(-zero * step, (255.0 - zero) * step);
                    (got - nearest).abs() <= 0.5 * step + tolerance
                }
            };
            assert!(is_near, "{what}: {got} instead of {expected} at {at:?}");
        }
        for (place, inside) in inside.into_iter().enumerate() {
            let is_untouched = match self.form {
                Form::Float32 => self.numbers[place].to_bits() == UNTOUCHED.to_bits(),
                Form::BFloat16 => {
                    let bytes = UNTOUCHED.to_le_bytes();
                    let at = 2 * (place % 2);
                    self.half(place) == u16::from_le_bytes([bytes[at], bytes[at + 1]])
                }
                Form::Byte(_) => self.byte(place) == UNTOUCHED.to_le_bytes()[place % 4],
            };
            assert!(inside || is_untouched, "{what}: a gap was written");
        }
    }
}

fn erf(x: f64) -> f64 {
    // Its series, or beyond that the continued fraction of its complement.
    if x.abs() < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    if x.abs() > 30.0 {
        return x.signum();
    }
    let size = x.abs();
    let fraction = (1..200).rev().fold(size, |below, k| size + f64::from(k) / 2.0 / below);
    x.signum() * (1.0 - (-x * x).exp() / std::f64::consts::PI.sqrt() / fraction)
}

/// An activation as PyTorch defines it.
pub(in crate::infer) fn activated(function: Option<Function>, x: f64) -> f64 {
    // NaN stays.
    let clamp = |x: f64, low: f64, high: f64| {
        if x < low {
            low
        } else if x > high {
            high
        } else {
            x
        }
    };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match function {
        None => x,
        Some(Function::Relu) => clamp(x, 0.0, f64::INFINITY),
        Some(Function::Relu6) => clamp(x, 0.0, 6.0),
        Some(Function::Silu) => x / (1.0 + (-x).exp()),
        Some(Function::Sigmoid) => sigmoid(x),
        Some(Function::Tanh) => x.tanh(),
        Some(Function::Gelu) => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Some(Function::HardSigmoid) => clamp(x + 3.0, 0.0, 6.0) / 6.0,
        Some(Function::HardSwish) => x * clamp(x + 3.0, 0.0, 6.0) / 6.0,
    }
}
