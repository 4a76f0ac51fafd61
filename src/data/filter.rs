//! The six resampling filters of Pillow, by its names.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Resampling filters.
///
/// All but `Nearest` widen with the scale factor when shrinking (antialiasing), as Pillow's always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The one source pixel under the centre.
    Nearest,
    /// The mean of the source pixels covered.
    Box,
    /// A triangle; torchvision's default.
    Bilinear,
    /// A Hamming-windowed sinc of one lobe: as sharp as bicubic, as local as bilinear.
    Hamming,
    /// Keys' cubic with a = -0.5; the choice of most `EfficientNet` weights.
    Bicubic,
    /// A sinc of three lobes windowed by a sinc.
    Lanczos,
}

impl Filter {
    pub const ALL: [Self; 6] =
        [Self::Nearest, Self::Box, Self::Bilinear, Self::Hamming, Self::Bicubic, Self::Lanczos];

    /// The name in lower case, which `FromStr` and serde read back.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Hamming => "hamming",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    /// The radius of the filter, in source pixels when enlarging.
    pub(crate) fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight at distance `x` from the centre, before the weights of a pixel are normalised to sum to one.
    pub(crate) fn weight(self, x: f64) -> f64 {
        match self {
            // Half open, so that a source pixel on the border belongs to one side only.
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming => hamming(x.abs()),
            Self::Bicubic => cubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Nearest | Self::Lanczos => 0.0,
        }
    }
}

fn hamming(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    if x >= 1.0 {
        return 0.0;
    }
    let angle = x * PI;
    // Pillow holds the two constants as 32-bit floats.
    angle.sin() / angle * (f64::from(0.54_f32) + f64::from(0.46_f32) * angle.cos())
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let angle = x * PI;
    angle.sin() / angle
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|filter| filter.name() == name).ok_or_else(|| Error::Argument {
            at: "interpolation".into(),
            expected: Self::ALL.map(Self::name).join(", "),
            got: format!("`{name}`"),
        })
    }
}
