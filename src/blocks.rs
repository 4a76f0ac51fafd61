//! Phrases that two or more families use.

use crate::graph::op::{AdaptivePool, BatchNorm, Conv, Dropout, Flatten, Function, Linear, Scale};
use crate::graph::{Builder, NodeId};

/// The names of a convolution, of the norm after it and of the activation after that.
#[derive(Clone, Debug)]
pub struct Layer {
    pub conv: String,
    pub norm: String,
    pub activation: String,
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

/// The same three in the order of a network whose activations come first.
pub fn norm_act_conv(
    g: &mut Builder,
    layer: &Layer,
    norm: BatchNorm,
    function: Function,
    conv: Conv,
    x: NodeId,
) -> NodeId {
    let x = g.add(&layer.norm, norm, x);
    let x = g.add(&layer.activation, function, x);
    g.add(&layer.conv, conv, x)
}

/// The two convolutions of a squeeze-and-excite gate, and what stands around them.
#[derive(Clone, Copy, Debug)]
pub struct SqueezeExcite {
    pub channels: usize,
    pub squeezed: usize,
    pub inner: Function,
    pub gate: Function,
}

/// Weighs the channels of `x` by a gate computed from their means (Hu et al., arXiv:1709.01507).
pub fn squeeze_excite(g: &mut Builder, path: &str, se: SqueezeExcite, x: NodeId) -> NodeId {
    let dense = |out| Conv { out, bias: true, ..Conv::default() };
    let s = g.add(format!("{path}.avgpool"), AdaptivePool::default(), x);
    let s = g.add(format!("{path}.fc1"), dense(se.squeezed), s);
    let s = g.add(format!("{path}.activation"), se.inner, s);
    let s = g.add(format!("{path}.fc2"), dense(se.channels), s);
    let s = g.add(format!("{path}.scale_activation"), se.gate, s);
    g.add(format!("{path}.mul"), Scale {}, [x, s])
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

/// The same head by the names that Keras gives it.
pub fn keras_head(g: &mut Builder, classes: usize, drop_rate: f64, x: NodeId) -> NodeId {
    let x = g.add("avg_pool", AdaptivePool::default(), x);
    let x = g.add("flatten", Flatten {}, x);
    if classes == 0 {
        return x;
    }
    let x = if drop_rate > 0.0 { g.add("top_dropout", Dropout { rate: drop_rate }, x) } else { x };
    g.add("predictions", Linear { out: classes, ..Linear::default() }, x)
}
