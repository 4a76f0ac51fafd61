//! Random resized crops, of random area and aspect ratio: the augmentation of Inception and of nearly every network
//! since.

use serde::{Deserialize, Serialize};

use super::chance::{below, between};
use super::check::{check_pixels, check_range, check_ratio};
use super::operation::Operation;
use crate::Result;
use crate::data::photo::{Size, Window};
use crate::data::{Filter, Random};

/// The number of attempts to draw a crop that lies inside, before the centre is taken.
const TRIES: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    pub height: usize,
    pub width: usize,
    /// The range of the crop's area over the photograph's.
    pub scale: [f64; 2],
    /// The range of the crop's width over its height; the logarithm is uniform.
    pub ratio: [f64; 2],
    pub interpolation: Filter,
}

impl RandomResizedCrop {
    pub fn check(&self) -> Result<()> {
        check_pixels("RandomResizedCrop: size", self.height)?;
        check_pixels("RandomResizedCrop: size", self.width)?;
        check_range("RandomResizedCrop: scale", self.scale, [0.0, f64::INFINITY])?;
        check_ratio("RandomResizedCrop: ratio", self.ratio)
    }

    pub fn draw(&self, random: &mut Random, size: Size) -> [Operation; 2] {
        let Window { left, top, width, height } = self.window(random, size);
        let Self { height: to_height, width: to_width, interpolation, .. } = *self;
        [
            Operation::Crop { top, left, height, width },
            Operation::Resize { height: to_height, width: to_width, interpolation },
        ]
    }

    fn window(&self, random: &mut Random, size: Size) -> Window {
        let area = (size.width * size.height) as f64;
        let logarithms = self.ratio.map(f64::ln);
        for _ in 0..TRIES {
            let target = area * between(random, self.scale);
            let ratio = between(random, logarithms).exp();
            let width = (target * ratio).sqrt().round_ties_even() as usize;
            let height = (target / ratio).sqrt().round_ties_even() as usize;
            if (1..=size.width).contains(&width) && (1..=size.height).contains(&height) {
                let top = below(random, size.height - height + 1);
                let left = below(random, size.width - width + 1);
                return Window { left, top, width, height };
            }
        }
        self.middle(size)
    }

    /// The largest crop at the centre whose aspect ratio is allowed.
    fn middle(&self, size: Size) -> Window {
        let Size { height, width } = size;
        let ratio = width as f64 / height as f64;
        let [low, high] = self.ratio;
        let round = |side: f64, most: usize| (side.round_ties_even() as usize).clamp(1, most);
        let (width, height) = if ratio < low {
            (width, round(width as f64 / low, height))
        } else if ratio > high {
            (round(height as f64 * high, width), height)
        } else {
            (width, height)
        };
        Window { left: (size.width - width) / 2, top: (size.height - height) / 2, width, height }
    }
}
