//! Squeeze-and-excite: weighing the channels of an image by a gate computed from their means.

use crate::graph::op::{AdaptivePool, Conv, Function, Gate};
use crate::graph::{Builder, NodeId, PartKind};

/// A squeeze-and-excite gate's two convolutions, its activations and its squeezed width.
#[derive(Clone, Copy, Debug)]
pub struct SqueezeExcite {
    pub channels: usize,
    pub squeezed: usize,
    pub inner: Function,
    pub gate: Function,
}

/// The names of a squeeze-and-excite gate's nodes.
#[derive(Clone, Debug)]
pub struct GateNames {
    pub path: String,
    pub pool: String,
    pub reduce: String,
    pub activation: String,
    pub expand: String,
    pub gate: String,
    pub multiply: String,
}

impl GateNames {
    /// As torchvision names them below `path`.
    pub fn torchvision(path: &str) -> Self {
        let name = |part: &str| format!("{path}.{part}");
        Self {
            path: path.into(),
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
            path: path.into(),
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
    gated(g, &GateNames::torchvision(path), se, x)
}

/// The same with other names for the nodes.
pub fn gated(g: &mut Builder, names: &GateNames, se: SqueezeExcite, x: NodeId) -> NodeId {
    let dense = |out| Conv { out, bias: true, ..Conv::default() };
    let begin = g.mark();
    let s = g.add(&names.pool, AdaptivePool::default(), x);
    let s = g.add(&names.reduce, dense(se.squeezed), s);
    let s = g.add(&names.activation, se.inner, s);
    let s = g.add(&names.expand, dense(se.channels), s);
    let s = g.add(&names.gate, se.gate, s);
    let x = g.add(&names.multiply, Gate {}, [x, s]);
    g.part(PartKind::Gate, &names.path, begin);
    x
}
