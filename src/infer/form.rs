//! The forms in which the numbers of a value lie in memory, which is counted in words of the size of a float32 number.

use std::hash::{Hash, Hasher};

use super::layout::{Layout, spread};
use super::simd::Element;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    Float32,
    /// Two channels in a word, rounded to bfloat16. Pixels and images are whole words apart, as they are of bytes.
    BFloat16,
    /// Four channels in a word.
    Byte(Scale),
}

/// The numbers that bytes stand for: byte b is (b - `zero`) · `step`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub step: f32,
    pub zero: u8,
}

impl Scale {
    /// The one whose 256 numbers reach from `low` to `high`, and include 0. None where either is not finite.
    pub fn between(low: f32, high: f32) -> Option<Self> {
        /// The least step, whose inverse is finite.
        const LEAST: f32 = 1e-30;
        if !(low.is_finite() && high.is_finite()) {
            return None;
        }
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let step = ((high - low) / 255.0).max(f64::from(LEAST));
        Some(Self { step: step as f32, zero: (-low / step).round_ties_even() as u8 })
    }

    /// The number that is added to a byte times the step.
    pub fn shift(self) -> f32 {
        -f32::from(self.zero) * self.step
    }
}

impl PartialEq for Scale {
    fn eq(&self, other: &Self) -> bool {
        (self.step.to_bits(), self.zero) == (other.step.to_bits(), other.zero)
    }
}

impl Eq for Scale {}

impl Hash for Scale {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.step.to_bits(), self.zero).hash(state);
    }
}

impl Form {
    /// Those of two values.
    pub const FLOATS: (Self, Self) = (Self::Float32, Self::Float32);

    /// Numbers in a word.
    pub fn per_word(self) -> usize {
        match self {
            Self::Float32 => 1,
            Self::BFloat16 => 2,
            Self::Byte(_) => 4,
        }
    }

    /// Words that so many numbers take.
    pub fn words(self, numbers: usize) -> usize {
        numbers.div_ceil(self.per_word())
    }

    /// A layout whose channels are words.
    pub fn words_of(self, layout: Layout) -> Layout {
        let Layout { height, width, .. } = layout;
        let [channels, pixel, image] =
            [layout.channels, layout.pixel, layout.image].map(|numbers| self.words(numbers));
        Layout { height, width, channels, pixel, image }
    }

    /// Images of this form, spread where that is faster to read; only tiles of several numbers in a word are read.
    pub fn spread(self, dense: Layout, has_tiles: bool) -> Layout {
        let per = self.per_word();
        let by_tiles = has_tiles && self.is_narrow();
        let Layout { pixel, image, .. } = spread(self.words_of(dense), by_tiles);
        Layout { pixel: pixel * per, image: image * per, ..dense }
    }

    /// A number x is written as x times the first of these, plus the second.
    pub fn steps(self) -> (f64, f64) {
        match self {
            Self::Float32 | Self::BFloat16 => (1.0, 0.0),
            Self::Byte(scale) => (1.0 / f64::from(scale.step), f64::from(scale.zero)),
        }
    }

    /// Bounds of numbers, as they are written; those of bytes are within theirs.
    pub fn bounds(self, (low, high): (f32, f32)) -> (f32, f32) {
        let (per, zero) = self.steps();
        let bound = |number: f32| (f64::from(number) * per + zero) as f32;
        match self {
            Self::Float32 | Self::BFloat16 => (low, high),
            Self::Byte(_) => (bound(low).clamp(0.0, 255.0), bound(high).clamp(0.0, 255.0)),
        }
    }

    /// The type of factors whose instructions write it: those for bfloat16 round to it.
    pub fn written_with(self) -> Element {
        match self {
            Self::BFloat16 => Element::BFloat16,
            Self::Float32 | Self::Byte(_) => Element::Float32,
        }
    }

    /// Whether a word has several numbers.
    pub fn is_narrow(self) -> bool {
        self != Self::Float32
    }

    /// Whether products of this type read it as it lies.
    pub fn suits(self, element: Element) -> bool {
        matches!(
            (self, element),
            (Self::Float32, Element::Float32)
                | (Self::BFloat16, Element::BFloat16)
                | (Self::Byte(_), Element::Byte)
        )
    }
}
