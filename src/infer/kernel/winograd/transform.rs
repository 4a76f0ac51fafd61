//! The transforms of Winograd's convolution as products of polynomials that are evaluated at the points 0, ±p, … and ∞.
//! Points that differ in their sign alone share the sums of even and of odd terms. All factors that are no sum of few
//! powers of two are in the transform of the weights, which is computed in float64.

use super::super::super::simd::Simd;
use super::tile::Axis;

/// The transforms of N inputs in a row.
pub(super) struct Points<const N: usize>;

/// For each point of a row, the factors of the taps.
pub(super) fn weights(axis: Axis) -> Vec<f64> {
    match axis.points() {
        1 => vec![1.0],
        4 => Points::<4>::weights(axis.taps),
        6 => Points::<6>::weights(axis.taps),
        8 => Points::<8>::weights(axis.taps),
        _ => Points::<10>::weights(axis.taps),
    }
}

/// The most points of which the negative is one too, and the most outputs in a row of a tile.
const MOST_PAIRS: usize = 4;
const MOST_OUTPUTS: usize = 6;

impl<const N: usize> Points<N> {
    const PAIRS: usize = (N / 2).saturating_sub(1);

    /// The positive ones, searched among multiples of 1/8 for the least error.
    const POSITIVE: [f64; MOST_PAIRS] = match N {
        1 => [0.0; MOST_PAIRS],
        4 => [1.0, 0.0, 0.0, 0.0],
        6 => [0.625, 1.5, 0.0, 0.0],
        8 => [0.5, 1.0, 2.0, 0.0],
        10 => [0.375, 0.875, 1.25, 2.25],
        _ => panic!("a tile has 1, 4, 6, 8 or 10 inputs in a row"),
    };

    /// The coefficients of Π (x² - p²), by powers of x²: over all p, and for each p over the others.
    const ALL: [f32; MOST_PAIRS + 1] = Self::product(MOST_PAIRS);
    const OTHERS: [[f32; MOST_PAIRS + 1]; MOST_PAIRS] =
        [Self::product(0), Self::product(1), Self::product(2), Self::product(3)];

    /// Powers of each p.
    const POWERS: [[f32; MOST_OUTPUTS]; MOST_PAIRS] = Self::powers();

    /// Π (x² - p²) over all p but one.
    const fn product(except: usize) -> [f32; MOST_PAIRS + 1] {
        let mut product = [0.0; MOST_PAIRS + 1];
        product[0] = 1.0;
        let (mut pair, mut degree) = (0, 0);
        while pair < Self::PAIRS {
            if pair != except {
                let square = Self::POSITIVE[pair] * Self::POSITIVE[pair];
                degree += 1;
                let mut power = degree;
                while power > 0 {
                    product[power] = product[power - 1] - square * product[power];
                    power -= 1;
                }
                product[0] *= -square;
            }
            pair += 1;
        }
        let mut rounded = [0.0; MOST_PAIRS + 1];
        let mut power = 0;
        while power <= MOST_PAIRS {
            rounded[power] = product[power] as f32;
            power += 1;
        }
        rounded
    }

    const fn powers() -> [[f32; MOST_OUTPUTS]; MOST_PAIRS] {
        let mut powers = [[0.0; MOST_OUTPUTS]; MOST_PAIRS];
        let mut pair = 0;
        while pair < MOST_PAIRS {
            let (mut power, mut number) = (0, 1.0);
            while power < MOST_OUTPUTS {
                powers[pair][power] = number as f32;
                number *= Self::POSITIVE[pair];
                power += 1;
            }
            pair += 1;
        }
        powers
    }

    /// The finite points: 0, p, -p, ….
    fn finite() -> impl Iterator<Item = f64> {
        let pairs = Self::POSITIVE.into_iter().take(Self::PAIRS);
        [0.0].into_iter().chain(pairs.flat_map(|point| [point, -point]))
    }

    /// The factors of so many taps for each point.
    fn weights(taps: usize) -> Vec<f64> {
        let mut factors = Vec::new();
        for (row, point) in Self::finite().enumerate() {
            let others = Self::finite().enumerate().filter(|(other, _)| *other != row);
            let scale: f64 = others.map(|(_, other)| point - other).product();
            factors.extend((0..taps as i32).map(|power| point.powi(power) / scale));
        }
        factors.extend((1..=taps).map(|tap| if tap == taps { 1.0 } else { 0.0 }));
        factors
    }

    /// The sum of every second input from `first` on with its coefficient. The last of them is 1.
    #[inline(always)]
    fn sum<S: Simd>(
        s: S,
        d: &[S::Vector; N],
        (first, terms): (usize, usize),
        coefficients: &[f32; MOST_PAIRS + 1],
    ) -> S::Vector {
        let mut sum = d[first + 2 * (terms - 1)];
        for term in (0..terms - 1).rev() {
            sum = s.fma(d[first + 2 * term], s.splat(coefficients[term]), sum);
        }
        sum
    }

    /// Inputs in a row, transformed.
    #[inline(always)]
    pub fn input<S: Simd>(s: S, d: [S::Vector; N]) -> [S::Vector; N] {
        if N == 1 {
            return d;
        }
        let mut transformed = d;
        transformed[0] = Self::sum(s, &d, (0, Self::PAIRS + 1), &Self::ALL);
        transformed[N - 1] = Self::sum(s, &d, (1, Self::PAIRS + 1), &Self::ALL);
        for pair in 0..Self::PAIRS {
            let even = Self::sum(s, &d, (2, Self::PAIRS), &Self::OTHERS[pair]);
            let odd = Self::sum(s, &d, (1, Self::PAIRS), &Self::OTHERS[pair]);
            let point = Self::POWERS[pair][1];
            transformed[2 * pair + 1] = s.fma(odd, s.splat(point), even);
            transformed[2 * pair + 2] = s.fma(odd, s.splat(-point), even);
        }
        transformed
    }

    /// Products in a row, as the M outputs in that row.
    #[inline(always)]
    pub fn output<S: Simd, const M: usize>(s: S, products: [S::Vector; N]) -> [S::Vector; M] {
        if N == 1 {
            return [products[0]; M];
        }
        let mut sums = [s.splat(0.0); MOST_PAIRS];
        let mut differences = sums;
        for pair in 0..Self::PAIRS {
            let (plus, minus) = (products[2 * pair + 1], products[2 * pair + 2]);
            sums[pair] = s.add(plus, minus);
            differences[pair] = s.sub(plus, minus);
        }
        let mut outputs = [s.splat(0.0); M];
        for (power, output) in outputs.iter_mut().enumerate() {
            let terms = if power % 2 == 0 { sums } else { differences };
            let mut sum = if power == 0 {
                s.add(products[0], terms[0])
            } else if power == M - 1 {
                s.fma(terms[0], s.splat(Self::POWERS[0][power]), products[N - 1])
            } else {
                s.mul(terms[0], s.splat(Self::POWERS[0][power]))
            };
            for pair in 1..Self::PAIRS {
                sum = s.fma(terms[pair], s.splat(Self::POWERS[pair][power]), sum);
            }
            *output = sum;
        }
        outputs
    }
}
