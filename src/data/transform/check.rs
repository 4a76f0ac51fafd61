//! Checks of the options of steps.

use crate::{Error, Result};

/// The longest side of the output: its values still fit the limit for one photograph.
const MOST_PIXELS: usize = 1 << 13;

pub fn check_pixels(at: &str, side: usize) -> Result<()> {
    if (1..=MOST_PIXELS).contains(&side) {
        return Ok(());
    }
    Err(flaw(at, &format!("1 to {MOST_PIXELS} pixels"), side))
}

pub fn check_probability(at: &str, probability: f64) -> Result<()> {
    if (0.0..=1.0).contains(&probability) {
        return Ok(());
    }
    Err(flaw(at, "a probability, 0 to 1", probability))
}

/// Checks that a range is in order and within `allowed`.
pub fn check_range(at: &str, [low, high]: [f64; 2], [least, most]: [f64; 2]) -> Result<()> {
    if least <= low && low <= high && high <= most && high.is_finite() {
        return Ok(());
    }
    let bounds = if most.is_infinite() {
        format!("not below {least}")
    } else {
        format!("between {least} and {most}")
    };
    let expected = format!("two numbers in order, {bounds}");
    Err(flaw(at, &expected, format!("({low}, {high})")))
}

/// Checks that a range of ratios is in order and above zero.
pub fn check_ratio(at: &str, [low, high]: [f64; 2]) -> Result<()> {
    if 0.0 < low && low <= high && high.is_finite() {
        return Ok(());
    }
    Err(flaw(at, "two numbers in order, above 0", format!("({low}, {high})")))
}

/// The error for an option out of range.
pub fn flaw(at: &str, expected: &str, got: impl ToString) -> Error {
    Error::Argument { at: at.into(), expected: expected.into(), got: got.to_string() }
}
