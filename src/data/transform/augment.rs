//! The operations of augmentation policies, and RandAugment and TrivialAugment, which draw them at random.

use serde::{Deserialize, Serialize};

use super::chance::below;
use super::operation::Operation;
use crate::data::Random;
use crate::data::photo::{CHANNELS, Size};
use crate::{Error, Result};

/// An operation without its magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Augmentation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
    Invert,
}

use Augmentation::{
    AutoContrast, Brightness, Color, Contrast, Equalize, Identity, Invert, Posterize, Rotate,
    Sharpness, ShearX, ShearY, Solarize, TranslateX, TranslateY,
};

/// The operations from which RandAugment and TrivialAugment draw uniformly.
const CHOICE: [Augmentation; 14] = [
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
];

/// The largest magnitude of each operation.
#[derive(Clone, Copy, Debug)]
pub struct Strength {
    pub shear: f32,
    /// In pixels across and down.
    pub translate: [f32; 2],
    pub degrees: f32,
    pub colour: f32,
    /// Bits that posterising drops.
    pub bits: f32,
}

impl Strength {
    /// The magnitudes of AutoAugment and RandAugment: translations are fractions of the photograph.
    pub fn usual(size: Size) -> Self {
        let part = |side: usize| (150.0 / 331.0 * side as f64) as f32;
        let translate = [part(size.width), part(size.height)];
        Self { shear: 0.3, translate, degrees: 30.0, colour: 0.9, bits: 4.0 }
    }

    /// The magnitudes of TrivialAugment in its wide form.
    pub const WIDE: Self =
        Self { shear: 0.99, translate: [32.0; 2], degrees: 135.0, colour: 0.99, bits: 6.0 };
}

impl Augmentation {
    /// Whether the magnitude may be negative.
    pub fn is_signed(self) -> bool {
        match self {
            ShearX | ShearY | TranslateX | TranslateY | Rotate | Brightness | Color | Contrast
            | Sharpness => true,
            Identity | Posterize | Solarize | AutoContrast | Equalize | Invert => false,
        }
    }

    /// The operation at `level` of 0 to `levels` - 1, the strongest; none where nothing is done.
    pub fn operation(
        self,
        strength: Strength,
        level: usize,
        levels: usize,
        negative: bool,
        fill: [u8; CHANNELS],
    ) -> Option<Operation> {
        let sign = if negative { -1.0 } else { 1.0 };
        let signed = |most: f32| sign * f64::from(spaced([0.0, most], level, levels));
        let factor = || 1.0 + signed(strength.colour);
        let [across, down] = strength.translate;
        Some(match self {
            Identity => return None,
            ShearX => Operation::ShearX { factor: signed(strength.shear), fill },
            ShearY => Operation::ShearY { factor: signed(strength.shear), fill },
            TranslateX => Operation::Translate { x: signed(across) as i64, y: 0, fill },
            TranslateY => Operation::Translate { x: 0, y: signed(down) as i64, fill },
            Rotate => Operation::Rotate { degrees: signed(strength.degrees), fill },
            Brightness => Operation::AdjustBrightness { factor: factor() },
            Color => Operation::AdjustSaturation { factor: factor() },
            Contrast => Operation::AdjustContrast { factor: factor() },
            Sharpness => Operation::AdjustSharpness { factor: factor() },
            Posterize => {
                let step = (levels - 1) as f32 / strength.bits;
                Operation::Posterize { bits: 8 - (level as f32 / step).round_ties_even() as u32 }
            }
            Solarize => {
                Operation::Solarize { threshold: f64::from(spaced([255.0, 0.0], level, levels)) }
            }
            AutoContrast => Operation::AutoContrast,
            Equalize => Operation::Equalize,
            Invert => Operation::Invert,
        })
    }
}

/// One of `count` numbers evenly spaced from `start` to `end`, rounded once. `torch.linspace` rounds several times,
/// depending on the processor's vector length.
fn spaced([start, end]: [f32; 2], index: usize, count: usize) -> f32 {
    let (start, end) = (f64::from(start), f64::from(end));
    (start + (end - start) * index as f64 / (count - 1) as f64) as f32
}

/// With more operations nothing is left of a photograph.
const MOST_OPERATIONS: usize = 1000;

/// RandAugment: random operations, all at one magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// The number of operations, one after another.
    pub num_ops: usize,
    /// The magnitude, 0 to `num_magnitude_bins` - 1.
    pub magnitude: usize,
    pub num_magnitude_bins: usize,
    pub fill: [u8; CHANNELS],
}

impl RandAugment {
    pub fn check(&self) -> Result<()> {
        check_bins("RandAugment", self.num_magnitude_bins)?;
        if self.num_ops > MOST_OPERATIONS {
            return Err(Error::Argument {
                at: "RandAugment: num_ops".into(),
                expected: format!("0 to {MOST_OPERATIONS}"),
                got: self.num_ops.to_string(),
            });
        }
        if self.magnitude < self.num_magnitude_bins {
            return Ok(());
        }
        Err(Error::Argument {
            at: "RandAugment: magnitude".into(),
            expected: format!("0 to {}", self.num_magnitude_bins - 1),
            got: self.magnitude.to_string(),
        })
    }

    pub fn draw(&self, random: &mut Random, size: Size, operations: &mut Vec<Operation>) {
        let Self { num_ops, magnitude, num_magnitude_bins, fill } = *self;
        for _ in 0..num_ops {
            let chosen = CHOICE[below(random, CHOICE.len())];
            let negative = chosen.is_signed() && below(random, 2) == 1;
            let strength = Strength::usual(size);
            operations.extend(chosen.operation(
                strength,
                magnitude,
                num_magnitude_bins,
                negative,
                fill,
            ));
        }
    }
}

/// TrivialAugment: one random operation at a random magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrivialAugmentWide {
    pub num_magnitude_bins: usize,
    pub fill: [u8; CHANNELS],
}

impl TrivialAugmentWide {
    pub fn check(&self) -> Result<()> {
        check_bins("TrivialAugmentWide", self.num_magnitude_bins)
    }

    pub fn draw(&self, random: &mut Random, operations: &mut Vec<Operation>) {
        let Self { num_magnitude_bins: bins, fill } = *self;
        let chosen = CHOICE[below(random, CHOICE.len())];
        let level = below(random, bins);
        let negative = chosen.is_signed() && below(random, 2) == 1;
        operations.extend(chosen.operation(Strength::WIDE, level, bins, negative, fill));
    }
}

fn check_bins(step: &str, bins: usize) -> Result<()> {
    if (2..=1 << 16).contains(&bins) {
        return Ok(());
    }
    Err(Error::Argument {
        at: format!("{step}: num_magnitude_bins"),
        expected: format!("2 to {}", 1 << 16),
        got: bins.to_string(),
    })
}
