//! Distributions from 64 random bits. The number of bits that a draw takes, and its result, are part of the format of a
//! seed.

use std::f64::consts::TAU;

use rand::Rng;

use crate::data::Random;

/// Uniform from 0 to below 1, in steps of 2^-53.
pub fn fraction(random: &mut Random) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Uniform from `low` to `high`.
pub fn between(random: &mut Random, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * fraction(random)
}

/// A uniform integer of 0 to `count` - 1; `count` is not zero.
pub fn below(random: &mut Random, count: usize) -> usize {
    ((u128::from(random.next_u64()) * count as u128) >> 64) as usize
}

pub fn happens(random: &mut Random, probability: f64) -> bool {
    fraction(random) < probability
}

/// Standard normal: mean 0, standard deviation 1.
pub fn normal(random: &mut Random) -> f64 {
    // From 0 excluded to 1 included, whose logarithm is finite.
    let radius = (-2.0 * (1.0 - fraction(random)).ln()).sqrt();
    radius * (TAU * fraction(random)).cos()
}
