//! The loops over values, which take a tile at a time: one or several rows, with the numbers of each channel repeated.
//! Each is compiled for several instruction sets, and written so that compilers vectorise it.

#![allow(
    clippy::inline_always,
    reason = "what is not inlined is not compiled for the instructions of its caller"
)]

use std::iter::zip;
use std::mem::MaybeUninit;

use super::activation::Activation;

/// The numbers of each channel that a backward pass needs, repeated over a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles<'a> {
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub mean: &'a [f32],
}

/// The part of a gradient that is subtracted since the statistics depend on the input: a share of the distance from the
/// mean, and a constant.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatisticsTerm<'a> {
    pub along: &'a [f32],
    pub level: &'a [f32],
}

/// Compiles a loop once for each instruction set, and calls the best that the processor has.
macro_rules! compiled {
    ($name:ident $(<$activation:ident>)?, $body:ident, ($($argument:ident: $type:ty),*)) => {
        pub(super) fn $name$(<$activation: Activation>)?($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512$(<$activation: Activation>)?($($argument: $type),*) {
                    $body$(::<$activation>)?($($argument),*);
                }
                #[target_feature(enable = "avx2")]
                fn avx2$(<$activation: Activation>)?($($argument: $type),*) {
                    $body$(::<$activation>)?($($argument),*);
                }
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has the instructions.
                    return unsafe { avx512$(::<$activation>)?($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has the instructions.
                    return unsafe { avx2$(::<$activation>)?($($argument),*) };
                }
            }
            $body$(::<$activation>)?($($argument),*);
        }
    };
}

compiled!(add_moments, add_moments_body, (x: &[f32], near: &[f32], sums: &mut [f32], squares: &mut [f32]));

#[inline(always)]
fn add_moments_body(x: &[f32], near: &[f32], sums: &mut [f32], squares: &mut [f32]) {
    let width = near.len();
    let (sums, squares) = (&mut sums[..width], &mut squares[..width]);
    let mut fours = x.chunks_exact(4 * width);
    for four in fours.by_ref() {
        let four = rows(four, width);
        for i in 0..width {
            let apart = four.map(|row| row[i] - near[i]);
            sums[i] += sum(apart);
            squares[i] += sum(apart.map(|distance| distance * distance));
        }
    }
    for row in fours.remainder().chunks(width) {
        for (i, value) in row.iter().enumerate() {
            let distance = value - near[i];
            sums[i] += distance;
            squares[i] += distance * distance;
        }
    }
}

#[inline(always)]
fn rows(four: &[f32], width: usize) -> [&[f32]; 4] {
    let (front, back) = four.split_at(2 * width);
    let (first, second) = front.split_at(width);
    let (third, fourth) = back.split_at(width);
    [first, second, third, &fourth[..width]]
}

#[inline(always)]
fn sum(four: [f32; 4]) -> f32 {
    (four[0] + four[1]) + (four[2] + four[3])
}

compiled!(normalise<A>, normalise_body, (x: &[f32], scale: &[f32], shift: &[f32], y: &mut [MaybeUninit<f32>]));

#[inline(always)]
fn normalise_body<A: Activation>(
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    y: &mut [MaybeUninit<f32>],
) {
    let width = scale.len();
    for (x, y) in zip(x.chunks(width), y.chunks_mut(width)) {
        for (((x, y), scale), shift) in zip(zip(zip(x, y), scale), shift) {
            y.write(A::value(x * scale + shift));
        }
    }
}

compiled!(add_gradients<A>, add_gradients_body, (
    cotangent: &[f32], x: &[f32], tiles: Tiles<'_>, sums: &mut [f32], products: &mut [f32]
));

#[inline(always)]
fn add_gradients_body<A: Activation>(
    cotangent: &[f32],
    x: &[f32],
    tiles: Tiles<'_>,
    sums: &mut [f32],
    products: &mut [f32],
) {
    let width = tiles.mean.len();
    let (scale, shift, mean) = (&tiles.scale[..width], &tiles.shift[..width], tiles.mean);
    let (sums, products) = (&mut sums[..width], &mut products[..width]);
    let (mut gs, mut xs) = (cotangent.chunks_exact(4 * width), x.chunks_exact(4 * width));
    for (g, x) in zip(gs.by_ref(), xs.by_ref()) {
        let (g, x) = (rows(g, width), rows(x, width));
        for i in 0..width {
            let (mut gradient, mut product) = ([0.0; 4], [0.0; 4]);
            for row in 0..4 {
                gradient[row] = A::gradient(x[row][i] * scale[i] + shift[i], g[row][i]);
                product[row] = gradient[row] * (x[row][i] - mean[i]);
            }
            sums[i] += sum(gradient);
            products[i] += sum(product);
        }
    }
    for (g, x) in zip(gs.remainder().chunks(width), xs.remainder().chunks(width)) {
        for (i, (g, x)) in zip(g, x).enumerate() {
            let gradient = A::gradient(x * scale[i] + shift[i], *g);
            sums[i] += gradient;
            products[i] += gradient * (x - mean[i]);
        }
    }
}

compiled!(input_gradients<A>, input_gradients_body, (
    cotangent: &[f32], x: &[f32], tiles: Tiles<'_>, rest: StatisticsTerm<'_>, dx: &mut [MaybeUninit<f32>]
));

#[inline(always)]
fn input_gradients_body<A: Activation>(
    cotangent: &[f32],
    x: &[f32],
    tiles: Tiles<'_>,
    rest: StatisticsTerm<'_>,
    dx: &mut [MaybeUninit<f32>],
) {
    let width = tiles.mean.len();
    for ((g, x), dx) in zip(zip(cotangent.chunks(width), x.chunks(width)), dx.chunks_mut(width)) {
        for (((g, x), dx), channel) in zip(zip(zip(g, x), dx), channels(tiles, rest)) {
            dx.write(input_gradient::<A>(*g, *x, channel));
        }
    }
}

compiled!(input_gradients_in_place<A>, input_gradients_in_place_body, (
    cotangent: &mut [f32], x: &[f32], tiles: Tiles<'_>, rest: StatisticsTerm<'_>
));

#[inline(always)]
fn input_gradients_in_place_body<A: Activation>(
    cotangent: &mut [f32],
    x: &[f32],
    tiles: Tiles<'_>,
    rest: StatisticsTerm<'_>,
) {
    let width = tiles.mean.len();
    for (g, x) in zip(cotangent.chunks_mut(width), x.chunks(width)) {
        for ((g, x), channel) in zip(zip(g, x), channels(tiles, rest)) {
            *g = input_gradient::<A>(*g, *x, channel);
        }
    }
}

/// The numbers of a value's channel.
struct Channel {
    scale: f32,
    shift: f32,
    mean: f32,
    along: f32,
    level: f32,
}

#[inline(always)]
fn channels(tiles: Tiles<'_>, rest: StatisticsTerm<'_>) -> impl Iterator<Item = Channel> {
    zip(zip(tiles.scale, tiles.shift), zip(tiles.mean, zip(rest.along, rest.level))).map(
        |((&scale, &shift), (&mean, (&along, &level)))| Channel {
            scale,
            shift,
            mean,
            along,
            level,
        },
    )
}

#[inline(always)]
fn input_gradient<A: Activation>(cotangent: f32, x: f32, channel: Channel) -> f32 {
    let Channel { scale, shift, mean, along, level } = channel;
    let gradient = A::gradient(x * scale + shift, cotangent);
    (gradient - level - (x - mean) * along) * scale
}
