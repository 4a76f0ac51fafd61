//! The arithmetic of batch norm in training and of the activation after it. Values lie row by row: a row holds one
//! value of each channel, and all rows together are a batch of images in channels_last.
//!
//! Sums are taken over pieces whose size and order depend on the number of values alone, so no bit depends on threads.

use std::iter::zip;
use std::mem::MaybeUninit;

use super::activation::{Activation, Fused, HardSwish, Identity, Relu, Relu6};
use super::loops::{
    StatisticsTerm, Tiles, add_gradients, add_moments, input_gradients, input_gradients_in_place,
    normalise,
};
use crate::torch::threads::on_each;

/// Rows of a tile that are summed up in float32 before the sum is added in float64.
const BLOCK: usize = 64;

/// Channels are repeated until a tile has about this many, so that loops over few channels are long.
const TILE: usize = 128;

/// A thread's piece of work has at least this many values, and there are at most this many pieces.
const PIECE: usize = 1 << 14;
const PIECES: usize = 64;

/// The number of values, the mean, and the sum of squared distances from the mean, for each channel.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    count: f64,
    pub mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn none(channels: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; channels], squares: vec![0.0; channels] }
    }

    /// The moments of all rows of `x`.
    pub(super) fn of(x: &[f32], channels: usize) -> Self {
        let pieces: Vec<&[f32]> = x.chunks(piece(x.len(), channels)).collect();
        let found = on_each(pieces, |piece| Self::of_piece(piece, channels));
        let mut all = Self::none(channels);
        for piece in &found {
            all.join(piece.count, |channel| (piece.mean[channel], piece.squares[channel]));
        }
        all
    }

    fn of_piece(x: &[f32], channels: usize) -> Self {
        let mut all = Self::none(channels);
        let width = tile(channels).min(x.len());
        // A value near the mean is subtracted first, so that squares lose no digits.
        let mut near: Vec<f32> = repeated(&x[..channels], width);
        let (mut sums, mut squares) = (vec![0.0; width], vec![0.0; width]);
        for block in x.chunks(BLOCK * width) {
            sums.fill(0.0);
            squares.fill(0.0);
            add_moments(block, &near, &mut sums, &mut squares);
            let count = (block.len() / channels) as f64;
            all.join(count, |channel| {
                let (sum, square) =
                    (folded(&sums, channel, channels), folded(&squares, channel, channels));
                (f64::from(near[channel]) + sum / count, (square - sum * sum / count).max(0.0))
            });
            let mean: Vec<f32> = all.mean.iter().map(|&mean| mean as f32).collect();
            near = repeated(&mean, width);
        }
        all
    }

    /// Merges `count` further values of each channel, whose mean and sum of squares `of` gives.
    fn join(&mut self, count: f64, of: impl Fn(usize) -> (f64, f64)) {
        let total = self.count + count;
        let (share, weight) = (count / total, self.count * count / total);
        for (channel, (mean, squares)) in zip(&mut self.mean, &mut self.squares).enumerate() {
            let (other, more) = of(channel);
            let apart = other - *mean;
            *mean += apart * share;
            *squares += more + apart * apart * weight;
        }
        self.count = total;
    }

    pub(super) fn variance(&self) -> impl Iterator<Item = f64> {
        self.squares.iter().map(|squares| squares / self.count)
    }

    /// The variance with Bessel's correction.
    pub(super) fn unbiased_variance(&self) -> impl Iterator<Item = f64> {
        self.squares.iter().map(|squares| squares / (self.count - 1.0))
    }
}

/// The affine map of each channel, x · scale + shift, in which the norm's own arrays are included.
#[derive(Debug)]
pub(super) struct Norm {
    mean: Vec<f32>,
    /// The inverse standard deviation.
    inverse: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Norm {
    pub(super) fn new(moments: &Moments, eps: f64, scale: Option<&[f32]>, shift: &[f32]) -> Self {
        let mean: Vec<f32> = moments.mean.iter().map(|&mean| mean as f32).collect();
        let inverse: Vec<f32> =
            moments.variance().map(|variance| (1.0 / (variance + eps).sqrt()) as f32).collect();
        let scale: Vec<f32> = match scale {
            Some(scale) => zip(&inverse, scale).map(|(inverse, scale)| inverse * scale).collect(),
            None => inverse.clone(),
        };
        let shift = zip(zip(&mean, &scale), shift)
            .map(|((mean, scale), shift)| shift - mean * scale)
            .collect();
        Self { mean, inverse, scale, shift }
    }

    fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Writes the activation of the normalised `x` to all of `y`.
    pub(super) fn run(&self, fused: Fused, x: &[f32], y: &mut [MaybeUninit<f32>]) {
        match fused {
            Fused::Identity => self.run_with::<Identity>(x, y),
            Fused::Relu => self.run_with::<Relu>(x, y),
            Fused::Relu6 => self.run_with::<Relu6>(x, y),
            Fused::HardSwish => self.run_with::<HardSwish>(x, y),
        }
    }

    fn run_with<A: Activation>(&self, x: &[f32], y: &mut [MaybeUninit<f32>]) {
        let channels = self.channels();
        let width = tile(channels);
        let (scale, shift) = (repeated(&self.scale, width), repeated(&self.shift, width));
        let size = piece(x.len(), channels);
        let pieces: Vec<_> = zip(x.chunks(size), y.chunks_mut(size)).collect();
        on_each(pieces, |(x, y)| normalise::<A>(x, &scale, &shift, y));
    }

    /// The backward pass of `run`: from the gradient of its output to those of the norm's own arrays, and of `x`, where
    /// wanted.
    pub(super) fn pull_back(
        &self,
        fused: Fused,
        x: &[f32],
        cotangent: Cotangent<'_>,
    ) -> NormGradients {
        match fused {
            Fused::Identity => self.pull_back_with::<Identity>(x, cotangent),
            Fused::Relu => self.pull_back_with::<Relu>(x, cotangent),
            Fused::Relu6 => self.pull_back_with::<Relu6>(x, cotangent),
            Fused::HardSwish => self.pull_back_with::<HardSwish>(x, cotangent),
        }
    }

    fn pull_back_with<A: Activation>(&self, x: &[f32], cotangent: Cotangent<'_>) -> NormGradients {
        let channels = self.channels();
        let (width, size) = (tile(channels), piece(x.len(), channels));
        let tiles = Tiles {
            scale: &repeated(&self.scale, width),
            shift: &repeated(&self.shift, width),
            mean: &repeated(&self.mean, width),
        };
        let pieces: Vec<_> = zip(cotangent.values().chunks(size), x.chunks(size)).collect();
        let sums =
            on_each(pieces, |(cotangent, x)| sums_of_piece::<A>(cotangent, x, tiles, channels));
        let mut total = [vec![0.0; channels], vec![0.0; channels]];
        for part in &sums {
            for (total, part) in zip(total.iter_mut().flatten(), part.iter().flatten()) {
                *total += part;
            }
        }
        let [shift, products] = total;

        let rows = (x.len() / channels) as f64;
        let inverse = self.inverse.iter().map(|&inverse| f64::from(inverse));
        let along: Vec<f32> = zip(&products, inverse.clone())
            .map(|(product, inverse)| (product * inverse * inverse / rows) as f32)
            .collect();
        let level: Vec<f32> = shift.iter().map(|shift| (shift / rows) as f32).collect();
        let (along, level) = (repeated(&along, width), repeated(&level, width));
        let rest = StatisticsTerm { along: &along, level: &level };
        match cotangent {
            Cotangent::Alone(_) => {}
            Cotangent::Apart(cotangent, dx) => {
                let pieces: Vec<_> =
                    zip(zip(cotangent.chunks(size), x.chunks(size)), dx.chunks_mut(size)).collect();
                on_each(pieces, |((cotangent, x), dx)| {
                    input_gradients::<A>(cotangent, x, tiles, rest, dx);
                });
            }
            Cotangent::InPlace(cotangent) => {
                let pieces: Vec<_> = zip(cotangent.chunks_mut(size), x.chunks(size)).collect();
                on_each(pieces, |(cotangent, x)| {
                    input_gradients_in_place::<A>(cotangent, x, tiles, rest);
                });
            }
        }
        let scale = zip(products, inverse).map(|(product, inverse)| (product * inverse) as f32);
        NormGradients {
            scale: scale.collect(),
            shift: shift.into_iter().map(|shift| shift as f32).collect(),
        }
    }
}

/// The gradient of a norm's output, and where that of its input is written.
#[derive(Debug)]
pub(super) enum Cotangent<'a> {
    /// The input's gradient is not computed.
    Alone(&'a [f32]),
    /// The input's gradient is written to memory of its own.
    Apart(&'a [f32], &'a mut [MaybeUninit<f32>]),
    /// The input's gradient overwrites that of the output.
    InPlace(&'a mut [f32]),
}

impl Cotangent<'_> {
    fn values(&self) -> &[f32] {
        match self {
            Self::Alone(values) | Self::Apart(values, _) => values,
            Self::InPlace(values) => values,
        }
    }
}

/// The gradients of a norm's own arrays.
#[derive(Debug)]
pub(super) struct NormGradients {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

/// The number of values in a tile, which is one row or several.
fn tile(channels: usize) -> usize {
    channels * (TILE / channels).max(1)
}

/// The number of values that one thread takes at once: whole tiles.
fn piece(values: usize, channels: usize) -> usize {
    let tile = tile(channels);
    values.div_ceil(PIECES).max(PIECE).div_ceil(tile) * tile
}

fn repeated(values: &[f32], width: usize) -> Vec<f32> {
    values.iter().copied().cycle().take(width).collect()
}

/// The sum of a channel's values in a tile.
fn folded(tile: &[f32], channel: usize, channels: usize) -> f64 {
    tile[channel..].iter().step_by(channels).copied().map(f64::from).sum()
}

/// For each channel, the sum of the norm's gradients, and of these times the distance from the mean.
fn sums_of_piece<A: Activation>(
    cotangent: &[f32],
    x: &[f32],
    tiles: Tiles<'_>,
    channels: usize,
) -> [Vec<f64>; 2] {
    let width = tiles.mean.len();
    let mut total = [vec![0.0; channels], vec![0.0; channels]];
    let (mut sums, mut products) = (vec![0.0; width], vec![0.0; width]);
    for (cotangent, x) in zip(cotangent.chunks(BLOCK * width), x.chunks(BLOCK * width)) {
        sums.fill(0.0);
        products.fill(0.0);
        add_gradients::<A>(cotangent, x, tiles, &mut sums, &mut products);
        for (total, tile) in zip(&mut total, [&sums, &products]) {
            for (channel, total) in total.iter_mut().enumerate() {
                *total += folded(tile, channel, channels);
            }
        }
    }
    total
}
