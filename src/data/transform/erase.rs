//! Random erasing: a random rectangle of the normalised values is overwritten.

use ndarray::ArrayViewMut3;
use rand::SeedableRng;
use serde::{Deserialize, Serialize};

use super::chance::{below, between, happens, normal};
use super::check::{check_probability, check_range, check_ratio};
use crate::data::Random;
use crate::data::photo::{Size, Window};
use crate::{Error, Result};

/// The number of attempts to draw a rectangle that lies inside, before nothing is erased.
const TRIES: usize = 10;

/// The fill of a rectangle, after normalising.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// One value everywhere, or one for each channel.
    Numbers(Vec<f32>),
    /// Standard normal noise.
    Noise,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomErasing {
    /// The probability of erasing.
    pub p: f64,
    /// The range of the rectangle's area over the picture's.
    pub scale: [f64; 2],
    /// The range of the rectangle's height over its width; the logarithm is uniform.
    pub ratio: [f64; 2],
    pub value: Value,
}

/// A rectangle to be erased.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Erasure {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
    pub value: Value,
    /// Seed of the noise.
    pub seed: u64,
}

impl RandomErasing {
    pub fn check(&self, channels: usize) -> Result<()> {
        check_probability("RandomErasing: p", self.p)?;
        check_range("RandomErasing: scale", self.scale, [0.0, 1.0])?;
        check_ratio("RandomErasing: ratio", self.ratio)?;
        match &self.value {
            Value::Numbers(numbers) if numbers.len() != 1 && numbers.len() != channels => {
                Err(Error::Argument {
                    at: "RandomErasing: value".into(),
                    expected: format!("a number, or one for each of {channels} channels"),
                    got: format!("{} numbers", numbers.len()),
                })
            }
            Value::Numbers(_) | Value::Noise => Ok(()),
        }
    }

    pub fn draw(&self, random: &mut Random, size: Size) -> Option<Erasure> {
        if !happens(random, self.p) {
            return None;
        }
        let area = (size.width * size.height) as f64;
        let logarithms = self.ratio.map(f64::ln);
        for _ in 0..TRIES {
            let target = area * between(random, self.scale);
            let ratio = between(random, logarithms).exp();
            let height = (target * ratio).sqrt().round_ties_even() as usize;
            let width = (target / ratio).sqrt().round_ties_even() as usize;
            if height < size.height && width < size.width {
                let top = below(random, size.height - height + 1);
                let left = below(random, size.width - width + 1);
                let seed = match self.value {
                    Value::Noise => below(random, 1 << 32) as u64,
                    Value::Numbers(_) => 0,
                };
                return Some(Erasure { top, left, height, width, value: self.value.clone(), seed });
            }
        }
        None
    }
}

impl Erasure {
    /// Erases in values of shape (channels, height, width).
    pub fn apply(&self, mut numbers: ArrayViewMut3<'_, f32>) {
        let mut random = Random::seed_from_u64(self.seed);
        let Self { top, left, height, width, .. } = *self;
        for (channel, plane) in numbers.outer_iter_mut().enumerate() {
            let mut plane = Window { left, top, width, height }.of(plane);
            match &self.value {
                Value::Numbers(values) => plane.fill(values[channel.min(values.len() - 1)]),
                // Row by row: the order is part of the format of a seed.
                Value::Noise => {
                    plane.iter_mut().for_each(|number| *number = normal(&mut random) as f32);
                }
            }
        }
    }
}
