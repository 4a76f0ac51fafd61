//! The inverted residual block of the mobile networks, and the rounding of their channels.

use super::{GateNames, Layer, SqueezeExcite, conv_norm, conv_norm_act, gated};
use crate::graph::op::{Add, BatchNorm, Conv, DropPath, Function, Padding};
use crate::graph::{Builder, NodeId, PartKind};

/// 1×1 expansion, depthwise convolution, optional gate, linear 1×1 projection (Sandler et al., arXiv:1801.04381).
#[derive(Clone, Debug)]
pub struct InvertedResidual {
    pub channels: usize,
    /// Channels of the depthwise convolution.
    pub wide: usize,
    pub out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: Padding,
    pub norm: BatchNorm,
    pub function: Function,
    /// Whether there is a 1×1 expansion; without it `wide` equals `channels`.
    pub expands: bool,
    pub squeeze: Option<SqueezeExcite>,
    pub drop_path: f64,
}

/// The names of its layers.
#[derive(Clone, Debug)]
pub struct InvertedNames {
    pub path: String,
    pub expand: Layer,
    pub depthwise: Layer,
    pub squeeze: GateNames,
    pub project: Layer,
    pub drop_path: String,
    pub add: String,
}

impl InvertedNames {
    /// timm's names below `path`: the convolutions by their function, the norms by number.
    pub fn timm(path: &str, expands: bool) -> Self {
        let layer = |conv: &str, number: usize| Layer {
            conv: format!("{path}.{conv}"),
            norm: format!("{path}.bn{number}"),
            activation: format!("{path}.act{number}"),
        };
        let before = usize::from(expands);
        Self {
            path: path.into(),
            expand: layer("conv_pw", 1),
            depthwise: layer("conv_dw", before + 1),
            squeeze: GateNames::timm(&format!("{path}.se")),
            project: layer(if expands { "conv_pwl" } else { "conv_pw" }, before + 2),
            drop_path: format!("{path}.drop_path"),
            add: format!("{path}.add"),
        }
    }

    /// torchvision's names below `path`: one number per layer.
    pub fn torchvision(path: &str, expands: bool, squeezes: bool) -> Self {
        let depthwise = usize::from(expands);
        let project = depthwise + 1 + usize::from(squeezes);
        Self {
            path: path.into(),
            expand: Layer::sequential(&format!("{path}.block.0")),
            depthwise: Layer::sequential(&format!("{path}.block.{depthwise}")),
            squeeze: GateNames::torchvision(&format!("{path}.block.{}", depthwise + 1)),
            project: Layer::sequential(&format!("{path}.block.{project}")),
            drop_path: format!("{path}.drop_path"),
            add: format!("{path}.add"),
        }
    }
}

/// An inverted residual block. It has a shortcut where stride and channels allow it.
pub fn inverted_residual(
    g: &mut Builder,
    names: &InvertedNames,
    block: &InvertedResidual,
    input: NodeId,
) -> NodeId {
    let InvertedResidual { channels, wide, out, stride, norm, function, .. } = *block;
    let point = |out: usize| Conv { out, ..Conv::default() };
    let depthwise = Conv {
        out: wide,
        kernel: block.kernel.into(),
        stride: stride.into(),
        padding: block.padding,
        groups: wide,
        ..Conv::default()
    };
    let begin = g.mark();
    let mut x = input;
    if block.expands {
        x = conv_norm_act(g, &names.expand, point(wide), norm, function, x);
    }
    x = conv_norm_act(g, &names.depthwise, depthwise, norm, function, x);
    if let Some(squeeze) = block.squeeze {
        x = gated(g, &names.squeeze, squeeze, x);
    }
    x = conv_norm(g, &names.project, point(out), norm, x);
    if stride == 1 && channels == out {
        x = add_again(g, &names.drop_path, &names.add, block.drop_path, x, input);
    }
    g.part(PartKind::Block, &names.path, begin);
    x
}

/// The end of a residual block: stochastic depth, then the sum with the block's input.
pub fn add_again(
    g: &mut Builder,
    drop_path: &str,
    add: &str,
    rate: f64,
    x: NodeId,
    input: NodeId,
) -> NodeId {
    let x = if rate > 0.0 { g.add(drop_path, DropPath { rate }, x) } else { x };
    g.add(add, Add {}, [x, input])
}

/// The multiple of 8 nearest to `channels`, but never less than nine tenths of it.
pub fn divisible(channels: f64) -> usize {
    let nearest = nearest_multiple(channels);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}

/// The multiple of 8 nearest to `channels`.
pub fn nearest_multiple(channels: f64) -> usize {
    ((channels + 4.0) as usize / 8 * 8).max(8)
}
