//! Numbers as bytes, four in a word of the size of a float32 number, for products of such words.

use super::super::form::{Form, Scale};
use super::super::memory::{Buffer, zeros};
use super::super::simd::{Instructions, Kernel, Simd};
use super::gemm::{Rescale, Weights, clamp};
use crate::error::Result;
use crate::graph::op::Function;

/// The scales and shifts with which a convolution reads bytes, and writes its values. Other numbers become bytes as they
/// are read.
#[derive(Debug)]
pub(in crate::infer) struct Bytes {
    /// The numbers that the bytes of its input stand for.
    pub scale: Scale,
    /// The factor of a value that is added.
    residual: f32,
    bounds: (f32, f32),
    /// For each group, scales and shifts of its columns, as `Rescale` has them.
    columns: Vec<(Buffer, Buffer)>,
}

impl Bytes {
    /// `bias` is that of all groups, one after the other.
    pub fn new(
        groups: &[Weights],
        bias: &[f32],
        scale: Scale,
        residual: Form,
        (function, output): (Option<Function>, Form),
    ) -> Result<Self> {
        let wide = f64::from;
        let (per, zero) = output.steps();
        let (factor, shift) = match residual {
            Form::Float32 | Form::BFloat16 => (1.0, 0.0),
            Form::Byte(scale) => (wide(scale.step), wide(scale.shift())),
        };
        let mut first = 0;
        let columns = groups.iter().map(|weights| {
            let (mut scales, mut shifts) = (zeros(weights.padded())?, zeros(weights.padded())?);
            let places = scales.as_mut_slice().iter_mut().zip(shifts.as_mut_slice());
            let bias = &bias[first..first + weights.columns];
            first += weights.columns;
            for ((to_scale, to_shift), (of, bias)) in
                places.zip(weights.integers().iter().zip(bias))
            {
                let each = wide(scale.step) * wide(of.step);
                let of_zero = f64::from(scale.zero) * each * f64::from(of.sum);
                *to_scale = (each * per) as f32;
                *to_shift = ((wide(*bias) - of_zero + shift) * per + zero) as f32;
            }
            Ok((scales, shifts))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let bounds = output.bounds(clamp(function));
        Ok(Self { scale, residual: (factor * per) as f32, bounds, columns })
    }

    pub fn rescale(&self, group: usize) -> Rescale<'_> {
        let (scale, shift) = &self.columns[group];
        Rescale {
            scale: scale.as_slice(),
            shift: shift.as_slice(),
            residual: self.residual,
            bounds: self.bounds,
        }
    }

    /// A word of bytes that stand for zeros.
    pub fn zeros(&self) -> f32 {
        f32::from_le_bytes([self.scale.zero; 4])
    }

    /// Writes pixels as words of bytes, whose last byte may be of no channel.
    pub fn convert(
        &self,
        instructions: Instructions,
        channels: usize,
        from: &[f32],
        to: &mut [f32],
    ) {
        /// Pixels that are converted together, of at most so many channels.
        const TOGETHER: usize = 64;
        const MOST: usize = 3;
        if channels.is_multiple_of(4) {
            return self.flat(instructions, from, bytes_of(to));
        }
        let words = channels.div_ceil(4);
        if channels > MOST {
            for (pixel, to) in from.chunks_exact(channels).zip(to.chunks_exact_mut(words)) {
                let to = bytes_of(to);
                to[channels..].fill(0);
                self.flat(instructions, pixel, &mut to[..channels]);
            }
            return;
        }
        let mut flat = [0; TOGETHER * MOST];
        for (from, to) in from.chunks(TOGETHER * channels).zip(to.chunks_mut(TOGETHER)) {
            let flat = &mut flat[..from.len()];
            self.flat(instructions, from, flat);
            if channels == 3 {
                for (pixel, to) in flat.chunks_exact(3).zip(to) {
                    *to = f32::from_le_bytes([pixel[0], pixel[1], pixel[2], 0]);
                }
                continue;
            }
            for (pixel, to) in flat.chunks_exact(channels).zip(to) {
                let mut bytes = [0; 4];
                bytes[..channels].copy_from_slice(pixel);
                *to = f32::from_le_bytes(bytes);
            }
        }
    }

    /// Writes numbers as bytes.
    fn flat(&self, instructions: Instructions, from: &[f32], to: &mut [u8]) {
        let Scale { step, zero } = self.scale;
        let (per, zero) = (1.0 / step, f32::from(zero));
        debug_assert!(from.len() == to.len());
        let count = from.len().min(to.len());
        let whole = count - count % 4;
        let (from_start, to_start) = (from.as_ptr(), to.as_mut_ptr());
        instructions.run(ToBytes { from: from_start, to: to_start, count: whole, per, zero });
        for (number, byte) in from[whole..].iter().zip(&mut to[whole..]) {
            *byte = (number * per + zero).round_ties_even() as u8;
        }
    }
}

fn bytes_of(words: &mut [f32]) -> &mut [u8] {
    // SAFETY: each word is four bytes of any value.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 4 * words.len()) }
}

struct ToBytes {
    from: *const f32,
    to: *mut u8,
    count: usize,
    per: f32,
    zero: f32,
}

impl Kernel for ToBytes {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, to, count, per, zero } = self;
        let (per, zero) = (s.splat(per), s.splat(zero));
        let (low, high) = (s.splat(0.0), s.splat(255.0));
        let mut at = 0;
        while at < count {
            let left = S::LANES.min(count - at);
            // SAFETY: of both slices, no more than `count` numbers are read, and as many bytes written.
            unsafe {
                let value = s.add(s.mul(s.load_up_to(from.add(at), left), per), zero);
                // The low bound where it is NaN.
                s.store_bytes(to.add(at), left, s.min(s.max(value, low), high));
            }
            at += left;
        }
    }
}
