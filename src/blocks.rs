//! Phrases that two or more families use.

use crate::graph::op::{
    AdaptivePool, Add, BatchNorm, Conv, DropPath, Dropout, Flatten, Function, Linear, Padding,
    Scale,
};
use crate::graph::{Builder, NodeId};

/// The names of a convolution, of the norm after it and of the activation after that.
#[derive(Clone, Debug)]
pub struct Layer {
    pub conv: String,
    pub norm: String,
    pub activation: String,
}

impl Layer {
    /// `path.0`, `path.1` and `path.2`, as in torchvision's `Conv2dNormActivation`.
    pub fn sequential(path: &str) -> Self {
        let name = |part: usize| format!("{path}.{part}");
        Self { conv: name(0), norm: name(1), activation: name(2) }
    }

    pub fn new(conv: &str, norm: &str, activation: &str) -> Self {
        Self { conv: conv.into(), norm: norm.into(), activation: activation.into() }
    }
}

/// Convolution and norm.
pub fn conv_norm(g: &mut Builder, layer: &Layer, conv: Conv, norm: BatchNorm, x: NodeId) -> NodeId {
    let x = g.add(&layer.conv, conv, x);
    g.add(&layer.norm, norm, x)
}

/// Convolution, norm and activation.
pub fn conv_norm_act(
    g: &mut Builder,
    layer: &Layer,
    conv: Conv,
    norm: BatchNorm,
    function: Function,
    x: NodeId,
) -> NodeId {
    let x = conv_norm(g, layer, conv, norm, x);
    g.add(&layer.activation, function, x)
}

/// The two convolutions of a squeeze-and-excite gate, and what stands around them.
#[derive(Clone, Copy, Debug)]
pub struct SqueezeExcite {
    pub channels: usize,
    pub squeezed: usize,
    pub inner: Function,
    pub gate: Function,
}

/// The names of a squeeze-and-excite gate's nodes.
#[derive(Clone, Debug)]
pub struct Gate {
    pub pool: String,
    pub reduce: String,
    pub activation: String,
    pub expand: String,
    pub gate: String,
    pub multiply: String,
}

impl Gate {
    /// As torchvision names them below `path`.
    pub fn torchvision(path: &str) -> Self {
        let name = |part: &str| format!("{path}.{part}");
        Self {
            pool: name("avgpool"),
            reduce: name("fc1"),
            activation: name("activation"),
            expand: name("fc2"),
            gate: name("scale_activation"),
            multiply: name("mul"),
        }
    }

    /// As timm's mobile networks name them below `path`.
    pub fn timm(path: &str) -> Self {
        let name = |part: &str| format!("{path}.{part}");
        Self {
            pool: name("mean"),
            reduce: name("conv_reduce"),
            activation: name("act1"),
            expand: name("conv_expand"),
            gate: name("gate"),
            multiply: name("mul"),
        }
    }
}

/// Weighs the channels of `x` by a gate computed from their means (Hu et al., arXiv:1709.01507).
pub fn squeeze_excite(g: &mut Builder, path: &str, se: SqueezeExcite, x: NodeId) -> NodeId {
    gated(g, &Gate::torchvision(path), se, x)
}

/// The same by other names.
pub fn gated(g: &mut Builder, names: &Gate, se: SqueezeExcite, x: NodeId) -> NodeId {
    let dense = |out| Conv { out, bias: true, ..Conv::default() };
    let s = g.add(&names.pool, AdaptivePool::default(), x);
    let s = g.add(&names.reduce, dense(se.squeezed), s);
    let s = g.add(&names.activation, se.inner, s);
    let s = g.add(&names.expand, dense(se.channels), s);
    let s = g.add(&names.gate, se.gate, s);
    g.add(&names.multiply, Scale {}, [x, s])
}

/// 1×1 up, depthwise, perhaps a gate, 1×1 down without activation (Sandler et al., arXiv:1801.04381).
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
    /// Whether the 1×1 up is there; without it `wide` equals `channels`.
    pub expands: bool,
    pub squeeze: Option<SqueezeExcite>,
    pub drop_path: f64,
}

/// The names of its layers.
#[derive(Clone, Debug)]
pub struct InvertedNames {
    pub expand: Layer,
    pub depthwise: Layer,
    pub squeeze: Gate,
    pub project: Layer,
    pub drop_path: String,
    pub add: String,
}

impl InvertedNames {
    /// As timm names them below `path`: the convolutions by what they do, the norms by their number.
    pub fn timm(path: &str, expands: bool) -> Self {
        let layer = |conv: &str, number: usize| Layer {
            conv: format!("{path}.{conv}"),
            norm: format!("{path}.bn{number}"),
            activation: format!("{path}.act{number}"),
        };
        let before = usize::from(expands);
        Self {
            expand: layer("conv_pw", 1),
            depthwise: layer("conv_dw", before + 1),
            squeeze: Gate::timm(&format!("{path}.se")),
            project: layer(if expands { "conv_pwl" } else { "conv_pw" }, before + 2),
            drop_path: format!("{path}.drop_path"),
            add: format!("{path}.add"),
        }
    }

    /// As torchvision names them below `path`: numbered, one number a layer.
    pub fn torchvision(path: &str, expands: bool, squeezes: bool) -> Self {
        let depthwise = usize::from(expands);
        let project = depthwise + 1 + usize::from(squeezes);
        Self {
            expand: Layer::sequential(&format!("{path}.block.0")),
            depthwise: Layer::sequential(&format!("{path}.block.{depthwise}")),
            squeeze: Gate::torchvision(&format!("{path}.block.{}", depthwise + 1)),
            project: Layer::sequential(&format!("{path}.block.{project}")),
            drop_path: format!("{path}.drop_path"),
            add: format!("{path}.add"),
        }
    }
}

/// Adds its input again where stride and channels allow it.
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
    let mut x = input;
    if block.expands {
        x = conv_norm_act(g, &names.expand, point(wide), norm, function, x);
    }
    x = conv_norm_act(g, &names.depthwise, depthwise, norm, function, x);
    if let Some(squeeze) = block.squeeze {
        x = gated(g, &names.squeeze, squeeze, x);
    }
    x = conv_norm(g, &names.project, point(out), norm, x);
    if stride != 1 || channels != out {
        return x;
    }
    add_again(g, &names.drop_path, &names.add, block.drop_path, x, input)
}

/// The end of a residual block: stochastic depth, then the sum with what came in.
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

/// The names of a classifier's dropout and linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub dropout: &'static str,
    pub linear: &'static str,
}

/// Global average pooling, dropout and the classifier; without classes, the pooled features.
pub fn pooled_head(
    g: &mut Builder,
    head: Head,
    classes: usize,
    drop_rate: f64,
    x: NodeId,
) -> NodeId {
    let x = g.add("avgpool", AdaptivePool::default(), x);
    let x = g.add("flatten", Flatten {}, x);
    if classes == 0 {
        return x;
    }
    let x = if drop_rate > 0.0 { g.add(head.dropout, Dropout { rate: drop_rate }, x) } else { x };
    g.add(head.linear, Linear { out: classes, ..Linear::default() }, x)
}
