//! Weights as integers of 8 bits, four in a word of the size of a float32 number.

/// The largest integer that stands for a weight; the least one is its negative.
const LARGEST: f32 = 127.0;

/// Integers that stand for the weights of a column: a weight is one of them times the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::infer) struct Integers {
    pub step: f32,
    /// Their sum.
    pub sum: i32,
}

impl Integers {
    /// Those nearest to the weights of a column.
    pub fn of(weights: &[f32]) -> Self {
        let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        let step = if largest > 0.0 { largest / LARGEST } else { 1.0 };
        let sum = weights.iter().map(|weight| i32::from(integer(*weight, step))).sum();
        Self { step, sum }
    }

    /// Four of them, as a word.
    pub fn word(self, weights: [f32; 4]) -> f32 {
        f32::from_le_bytes(weights.map(|weight| integer(weight, self.step).cast_unsigned()))
    }
}

fn integer(weight: f32, step: f32) -> i8 {
    (weight / step).round_ties_even() as i8
}
