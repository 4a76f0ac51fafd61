//! Brightness, contrast, saturation and hue, each by a random factor, in random order.

use serde::{Deserialize, Serialize};

use super::chance::{below, between};
use super::check::check_range;
use super::operation::Operation;
use crate::Result;
use crate::data::Random;

/// Each option is a range of factors; none leaves it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    pub brightness: Option<[f64; 2]>,
    pub contrast: Option<[f64; 2]>,
    pub saturation: Option<[f64; 2]>,
    /// In fractions of the colour circle.
    pub hue: Option<[f64; 2]>,
}

impl ColorJitter {
    pub fn check(&self) -> Result<()> {
        let factors = [0.0, f64::INFINITY];
        for (name, range, allowed) in [
            ("brightness", self.brightness, factors),
            ("contrast", self.contrast, factors),
            ("saturation", self.saturation, factors),
            ("hue", self.hue, [-0.5, 0.5]),
        ] {
            if let Some(range) = range {
                check_range(&format!("ColorJitter: {name}"), range, allowed)?;
            }
        }
        Ok(())
    }

    pub fn draw(&self, random: &mut Random, operations: &mut Vec<Operation>) {
        let mut order = [0, 1, 2, 3];
        for last in (1..order.len()).rev() {
            order.swap(last, below(random, last + 1));
        }
        let mut factor = |range: Option<[f64; 2]>| range.map(|range| between(random, range));
        let drawn = [
            factor(self.brightness).map(|factor| Operation::AdjustBrightness { factor }),
            factor(self.contrast).map(|factor| Operation::AdjustContrast { factor }),
            factor(self.saturation).map(|factor| Operation::AdjustSaturation { factor }),
            factor(self.hue).map(|factor| Operation::AdjustHue { factor }),
        ];
        operations.extend(order.into_iter().filter_map(|index| drawn[index].clone()));
    }
}
