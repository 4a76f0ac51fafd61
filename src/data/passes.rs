//! The two passes of a resize, horizontal and vertical: weighted sums of bytes in fixed point.

// The passes are compiled once for each instruction set, so their parts must be inlined.
#![allow(clippy::inline_always)]

use std::ops::Range;

use super::photo::{CHANNELS, View};
use super::side::{FRACTION, Side};
use crate::memory::{Shortage, room, zeros};

/// Half of one, added before the fraction bits are dropped.
const HALF: i32 = 1 << (FRACTION - 1);

/// Bytes of a row that the vertical pass sums at once, in registers.
const LANES: usize = 32;

/// Rows that the horizontal pass sums at once.
const BLOCK: usize = 4;

/// The order of the passes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    ColumnsFirst,
    RowsFirst,
}

impl Order {
    /// Pillow 13 begins with the rows where that saves much: where the height shrinks, by more than twice the pixels
    /// that the width loses. (Earlier versions never did; their pictures differ.)
    pub(super) fn new(view: View<'_>, width: usize, height: usize) -> Self {
        let lost_rows = view.height as i64 - height as i64;
        let lost_columns = view.width as i64 - width as i64;
        if lost_rows > 0 && lost_rows > 2 * lost_columns {
            Self::RowsFirst
        } else {
            Self::ColumnsFirst
        }
    }
}

/// Makes the columns and rows from the bytes of a view, with the widest instructions of this processor.
pub(super) fn resample<const C: usize>(
    view: View<'_>,
    columns: &Side,
    rows: &Side,
    order: Order,
) -> Result<Vec<u8>, Shortage> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { filtered_avx2::<C>(view, columns, rows, order) };
    }
    filtered::<C, false>(view, columns, rows, order)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn filtered_avx2<const C: usize>(
    view: View<'_>,
    columns: &Side,
    rows: &Side,
    order: Order,
) -> Result<Vec<u8>, Shortage> {
    filtered::<C, true>(view, columns, rows, order)
}

#[inline(always)]
fn filtered<const C: usize, const AVX2: bool>(
    view: View<'_>,
    columns: &Side,
    rows: &Side,
    order: Order,
) -> Result<Vec<u8>, Shortage> {
    let View { pixels, stride, .. } = view;
    let (left, right) = columns.reach();
    let (top, bottom) = rows.reach();
    let width = columns.spans.len();
    let pixels = &pixels[top * stride..];
    let height = bottom - top;
    let across = left * C..right * C;
    match (columns.unchanged, rows.unchanged) {
        (true, true) => {
            let mut out = room(height * across.len())?;
            for row in pixels.chunks(stride).take(height) {
                out.extend_from_slice(&row[across.clone()]);
            }
            Ok(out)
        }
        (false, true) => horizontal::<C, AVX2>(pixels, stride, height, columns, 0),
        (true, false) => vertical(pixels, stride, rows, top, across),
        (false, false) if order == Order::RowsFirst => {
            let between = vertical(pixels, stride, rows, top, across.clone())?;
            horizontal::<C, AVX2>(&between, across.len(), rows.spans.len(), columns, left)
        }
        (false, false) => {
            let between = horizontal::<C, AVX2>(pixels, stride, height, columns, 0)?;
            let stride = width * C;
            vertical(&between, stride, rows, top, 0..stride)
        }
    }
}

/// `AVX2` may only be true where the processor has it. `source` has `height` rows, `stride` bytes apart, that begin at
/// column `first` of the photograph.
#[inline(always)]
fn horizontal<const C: usize, const AVX2: bool>(
    source: &[u8],
    stride: usize,
    height: usize,
    columns: &Side,
    first: usize,
) -> Result<Vec<u8>, Shortage> {
    let width = columns.spans.len() * C;
    let mut out = zeros(height * width)?;
    for (block, out) in out.chunks_mut(BLOCK * width).enumerate() {
        let row = block * BLOCK;
        for (column, (start, weights)) in columns.taps().enumerate() {
            let begin = row * stride + (start - first) * C;
            #[cfg(target_arch = "x86_64")]
            if AVX2
                && C == CHANNELS
                && out.len() == BLOCK * width
                // The last pixel of all has no fourth byte.
                && begin + (BLOCK - 1) * stride + weights.len() * C < source.len()
            {
                // SAFETY: `AVX2` is only said where the processor has it.
                let sums = unsafe { sum_block(&source[begin..], stride, weights) };
                for (out, sums) in out.chunks_exact_mut(width).zip(sums) {
                    out[column * CHANNELS..][..CHANNELS].copy_from_slice(&sums.map(clip));
                }
                continue;
            }
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let mut sums = [HALF; C];
                let (pixels, _) = source[begin + row * stride..].as_chunks::<C>();
                for (pixel, &weight) in pixels.iter().zip(weights) {
                    for (sum, &byte) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(byte) * weight;
                    }
                }
                out[column * C..][..C].copy_from_slice(&sums.map(clip));
            }
        }
    }
    Ok(out)
}

/// Sums pixels of three bytes along `BLOCK` rows. A fourth byte, which is discarded, makes a pixel fit a register.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn sum_block(source: &[u8], stride: usize, weights: &[i32]) -> [[i32; CHANNELS]; BLOCK] {
    use std::arch::x86_64::{
        _mm_add_epi32, _mm_cvtepu8_epi32, _mm_cvtsi32_si128, _mm_extract_epi32, _mm_mullo_epi32,
        _mm_set1_epi32,
    };
    let length = weights.len() * CHANNELS + 1;
    let rows: [&[u8]; BLOCK] = std::array::from_fn(|row| &source[row * stride..][..length]);
    let mut sums = [_mm_set1_epi32(HALF); BLOCK];
    for (index, &weight) in weights.iter().enumerate() {
        let weight = _mm_set1_epi32(weight);
        for (sum, row) in sums.iter_mut().zip(rows) {
            let Some(&bytes) = row[index * CHANNELS..].first_chunk() else { continue };
            let pixel = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(i32::from_le_bytes(bytes)));
            *sum = _mm_add_epi32(*sum, _mm_mullo_epi32(pixel, weight));
        }
    }
    sums.map(|sum| {
        [_mm_extract_epi32::<0>(sum), _mm_extract_epi32::<1>(sum), _mm_extract_epi32::<2>(sum)]
    })
}

/// `source` begins at row `first` of the photograph; of its rows the bytes `across` are wanted.
#[inline(always)]
fn vertical(
    source: &[u8],
    stride: usize,
    rows: &Side,
    first: usize,
    across: Range<usize>,
) -> Result<Vec<u8>, Shortage> {
    let width = across.len();
    let mut out = zeros(rows.spans.len() * width)?;
    for (out, (start, weights)) in out.chunks_exact_mut(width).zip(rows.taps()) {
        let source = &source[(start - first) * stride..];
        for (index, out) in out.chunks_mut(LANES).enumerate() {
            let begin = across.start + index * LANES;
            match out.as_chunks_mut::<LANES>() {
                ([out], _) => sum_lanes(source, stride, begin, weights, out),
                (_, out) => {
                    for (offset, out) in out.iter_mut().enumerate() {
                        sum_lanes(
                            source,
                            stride,
                            begin + offset,
                            weights,
                            std::array::from_mut(out),
                        );
                    }
                }
            }
        }
    }
    Ok(out)
}

/// Sums `N` bytes side by side, down the rows.
#[inline(always)]
fn sum_lanes<const N: usize>(
    source: &[u8],
    stride: usize,
    begin: usize,
    weights: &[i32],
    out: &mut [u8; N],
) {
    let mut sums = [HALF; N];
    for (row, &weight) in source.chunks(stride).zip(weights) {
        for (sum, &byte) in sums.iter_mut().zip(&row[begin..begin + N]) {
            *sum += i32::from(byte) * weight;
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = clip(sum);
    }
}

#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> FRACTION).clamp(0, 255) as u8
}
