//! Width multipliers: the sources round alike, but multiply different numbers.

use super::names::Dialect;
use crate::blocks::divisible;

/// Channels of the first convolution at width 1.
pub(super) const STEM: usize = 16;

/// `channels` times `factor`, rounded.
fn scaled(channels: usize, factor: f64) -> usize {
    divisible(channels as f64 * factor)
}

impl Dialect {
    /// Channels of the first convolution.
    pub(super) fn stem_channels(self, width: f64) -> usize {
        match self {
            Self::Timm | Self::TimmTf if width < 0.75 => STEM,
            Self::Torchvision | Self::Timm | Self::TimmTf => scaled(STEM, width),
            Self::Keras => STEM,
        }
    }

    /// Expanded channels of a block that reads `channels`, and `whole` at width 1.
    pub(super) fn wide_channels(
        self,
        expand: f64,
        whole: usize,
        width: f64,
        channels: usize,
    ) -> usize {
        match self {
            Self::Torchvision => scaled(scaled(whole, expand), width),
            Self::Timm | Self::TimmTf | Self::Keras => scaled(channels, expand),
        }
    }

    /// Channels of the convolution after the blocks, whose output has `channels`, and `whole` at width 1.
    pub(super) fn last_channels(self, whole: usize, width: f64, channels: usize) -> usize {
        match self {
            Self::Torchvision | Self::Keras => 6 * channels,
            Self::Timm | Self::TimmTf => scaled(6 * whole, width),
        }
    }

    /// Channels of the layer after pooling, which has `whole` at width 1.
    pub(super) fn head_channels(self, whole: usize, width: f64) -> usize {
        match self {
            Self::Torchvision => scaled(whole, width),
            Self::Timm | Self::TimmTf => whole,
            Self::Keras => scaled(whole, width).max(whole),
        }
    }
}
