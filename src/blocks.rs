//! Phrases that two or more families use.

use crate::graph::op::{
    AdaptivePool, BatchNorm, Conv, Dropout, Flatten, Function, Linear, Lrn, Scale,
};
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

/// Local response normalisation with the constants of Krizhevsky, Sutskever and Hinton (2012), section 3.3: k = 2,
/// n = 5, β = 0.75, and α = 1e-4 in their sum.
pub const KRIZHEVSKY: Lrn = Lrn { size: 5, alpha: 5e-4, beta: 0.75, k: 2.0 };

/// The names of a fully connected layer, and of the dropout before it if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    pub dropout: Option<&'static str>,
    pub linear: &'static str,
}

/// The names of the two hidden layers of 4096 that the networks before GoogLeNet end in, each with its activation,
/// and of the classifier.
#[derive(Clone, Copy, Debug)]
pub struct HiddenHead {
    pub hidden: [(Dense, &'static str); 2],
    pub classifier: Dense,
}

/// How many features a hidden layer of that head has.
pub const HIDDEN: usize = 4096;

/// Flattens the image, then two hidden layers and the classifier; without classes, the second hidden layer.
pub fn hidden_head(
    g: &mut Builder,
    head: &HiddenHead,
    classes: usize,
    drop_rate: f64,
    x: NodeId,
) -> NodeId {
    let mut x = g.add("flatten", Flatten {}, x);
    for (dense, activation) in &head.hidden {
        x = dense_layer(g, *dense, HIDDEN, drop_rate, x);
        x = g.add(*activation, Function::Relu, x);
    }
    if classes == 0 { x } else { dense_layer(g, head.classifier, classes, drop_rate, x) }
}

fn dense_layer(g: &mut Builder, dense: Dense, out: usize, drop_rate: f64, mut x: NodeId) -> NodeId {
    if let Some(name) = dense.dropout.filter(|_| drop_rate > 0.0) {
        x = g.add(name, Dropout { rate: drop_rate }, x);
    }
    g.add(dense.linear, Linear { out, ..Linear::default() }, x)
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
