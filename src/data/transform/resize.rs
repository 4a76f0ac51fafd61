//! Resizing to a size, or to a short side.

use serde::{Deserialize, Serialize};

use super::check::check_pixels;
use super::operation::Operation;
use crate::data::Filter;
use crate::data::photo::Size;
use crate::data::preprocess::short_side;
use crate::{Error, Result};

/// Resizes to `height` and `width`, or, where `width` is none, so that the short side has `height` pixels and the long
/// one keeps the aspect ratio, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    pub height: usize,
    #[serde(default)]
    pub width: Option<usize>,
    /// The largest long side; the short side follows.
    #[serde(default)]
    pub max_size: Option<usize>,
    pub interpolation: Filter,
}

impl Resize {
    pub fn check(&self) -> Result<()> {
        check_pixels("Resize: size", self.height)?;
        check_pixels("Resize: size", self.width.unwrap_or(self.height))?;
        match (self.width, self.max_size) {
            (None, Some(largest)) if largest <= self.height => Err(Error::Argument {
                at: "Resize: max_size".into(),
                expected: format!("more than size, which is {}", self.height),
                got: largest.to_string(),
            }),
            (Some(_), Some(largest)) => Err(Error::Argument {
                at: "Resize: max_size".into(),
                expected: "none beside a size of two sides".into(),
                got: largest.to_string(),
            }),
            _ => Ok(()),
        }
    }

    pub fn size(&self, from: Size) -> Size {
        if let Some(width) = self.width {
            return Size { height: self.height, width };
        }
        let (width, height) = short_side(from.width, from.height, self.height);
        let long = width.max(height);
        match self.max_size {
            Some(largest) if long > largest => {
                let short = ((largest * self.height) as f64 / long as f64) as usize;
                if from.width <= from.height {
                    Size { height: largest, width: short }
                } else {
                    Size { height: short, width: largest }
                }
            }
            _ => Size { height, width },
        }
    }

    pub fn draw(&self, size: Size) -> Operation {
        let Size { height, width } = self.size(size);
        Operation::Resize { height, width, interpolation: self.interpolation }
    }
}
