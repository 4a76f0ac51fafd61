//! Kernels: what a step computes, on images whose channels lie side by side. Each is compared with plain loops in float64.

mod attention;
mod block;
mod bytes;
mod conv;
mod depthwise;
mod fold;
mod gate;
mod gated;
mod gemm;
mod integers;
mod map;
mod norm;
mod numbers;
mod pairs;
mod rearrange;
mod strassen;
#[cfg(test)]
pub(super) mod tests;
mod window;
mod winograd;

pub(super) use attention::{Attention, Part};
pub(super) use block::Block;
pub(super) use bytes::Bytes;
pub(super) use conv::{Conv, Residual};
pub(super) use depthwise::{Depthwise, Taps};
pub(super) use fold::fold;
pub(super) use gated::Gated;
pub(super) use gemm::{Weights, is_clamp};
pub(super) use map::{Combine, Map};
pub(super) use norm::{GroupNorm, LayerNorm, Lrn};
pub(super) use rearrange::{Pad, Rearrange, to_channels_first};
pub(super) use strassen::{Halves, Strassen};
pub(super) use window::{Blur, Reduce};
pub(super) use winograd::{Tile, Transformed, Winograd};
