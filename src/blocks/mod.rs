//! Blocks that two or more families use.

mod gate;
mod head;
mod inverted;

pub use gate::{GateNames, SqueezeExcite, gated, squeeze_excite};
pub use head::{
    Dense, HIDDEN, Head, HiddenHead, KERAS_HEAD, classifier, hidden_head, keras_head, pooled,
    pooled_head,
};
pub use inverted::{
    InvertedNames, InvertedResidual, add_again, divisible, inverted_residual, nearest_multiple,
};

use crate::graph::op::{BatchNorm, Conv, Function, Lrn};
use crate::graph::{Builder, NodeId};

/// The names of a convolution, its norm and its activation.
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

/// Convolution, then norm.
pub fn conv_norm(g: &mut Builder, layer: &Layer, conv: Conv, norm: BatchNorm, x: NodeId) -> NodeId {
    let x = g.add(&layer.conv, conv, x);
    g.add(&layer.norm, norm, x)
}

/// Convolution, norm, activation.
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

/// Norm, activation, convolution: the order of pre-activation networks.
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

/// The name of a stage, counted from 0, in every family: `stage1`.
pub fn stage_name(stage: usize) -> String {
    format!("stage{}", stage + 1)
}

/// Local response normalisation with the constants of Krizhevsky, Sutskever and Hinton (2012), section 3.3: k = 2,
/// n = 5, β = 0.75, and α = 1e-4 in their sum.
pub const KRIZHEVSKY: Lrn = Lrn { size: 5, alpha: 5e-4, beta: 0.75, k: 2.0 };
