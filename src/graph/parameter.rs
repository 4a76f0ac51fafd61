//! The parameters and buffers of a node: names, shapes and roles, in the order of the state dict.

use super::op::{Conv, Linear, Pair};
use super::{Graph, NodeId, Op, Shape};

/// The role of an array. Weights, biases, scales and shifts are trained; the rest are buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    ConvWeight,
    LinearWeight,
    /// The bias of a layer; `fan_in` of its weight goes with it, since PyTorch draws from it.
    Bias {
        fan_in: usize,
    },
    NormScale,
    NormShift,
    /// A learned token.
    Embedding,
    /// Position embeddings: those of some tokens that are no patches, and those of a grid of patches.
    Position {
        grid: Pair,
    },
    RunningMean,
    RunningVariance,
    /// The number of batches seen, an int64 scalar.
    BatchCount,
}

impl Role {
    pub fn is_trained(self) -> bool {
        match self {
            Self::ConvWeight
            | Self::LinearWeight
            | Self::Bias { .. }
            | Self::NormScale
            | Self::NormShift
            | Self::Embedding
            | Self::Position { .. } => true,
            Self::RunningMean | Self::RunningVariance | Self::BatchCount => false,
        }
    }
}

/// One array of a state dict: `layer1.0.conv1.weight`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub node: NodeId,
    pub role: Role,
    pub shape: Vec<usize>,
    /// Into how many groups the output channels of a convolution fall; 1 elsewhere.
    pub groups: usize,
}

impl Parameter {
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |product, &size| product.saturating_mul(size))
    }
}

impl Graph {
    /// Every array of the graph, in the order of the state dict.
    pub fn parameters(&self) -> Vec<Parameter> {
        let shapes = self.drawn_shapes();
        let mut parameters = Vec::new();
        for (id, node) in self.ids().zip(self.nodes()) {
            let input = node.inputs.first().map(|input| shapes[input.index()]);
            for (suffix, role, shape) in arrays(&node.op, input) {
                let groups = if let Op::Conv(conv) = &node.op { conv.groups } else { 1 };
                parameters.push(Parameter {
                    name: node.array(suffix),
                    node: id,
                    role,
                    shape,
                    groups,
                });
            }
        }
        parameters
    }
}

type Array = (&'static str, Role, Vec<usize>);

pub(super) fn arrays(op: &Op, input: Option<Shape>) -> Vec<Array> {
    let channels = input.map_or(0, Shape::channels);
    match op {
        Op::Conv(conv) => conv_arrays(conv, channels),
        Op::Linear(linear) => linear_arrays(linear, channels),
        Op::BatchNorm(norm) => {
            let scale = norm.scale.then(|| ("weight", Role::NormScale, vec![channels]));
            let rest = [
                ("bias", Role::NormShift, vec![channels]),
                ("running_mean", Role::RunningMean, vec![channels]),
                ("running_var", Role::RunningVariance, vec![channels]),
                ("num_batches_tracked", Role::BatchCount, vec![]),
            ];
            scale.into_iter().chain(rest).collect()
        }
        Op::GroupNorm(_) | Op::LayerNorm(_) => vec![
            ("weight", Role::NormScale, vec![channels]),
            ("bias", Role::NormShift, vec![channels]),
        ],
        Op::LayerScale(_) => vec![("gamma", Role::NormScale, vec![channels])],
        Op::Embedding(op) => {
            let role = op.grid.map_or(Role::Embedding, |grid| Role::Position { grid });
            vec![("", role, vec![1, op.tokens, op.width])]
        }
        Op::Input(_)
        | Op::Pad(_)
        | Op::Average(_)
        | Op::Multiply(_)
        | Op::Affine(_)
        | Op::Tokens(_)
        | Op::Attention(_)
        | Op::MultiQueryAttention(_)
        | Op::SelectToken(_)
        | Op::Activation(_)
        | Op::Pool(_)
        | Op::Blur(_)
        | Op::AdaptivePool(_)
        | Op::PoolUpTo(_)
        | Op::Lrn(_)
        | Op::Flatten(_)
        | Op::Add(_)
        | Op::Gate(_)
        | Op::Concat(_)
        | Op::Dropout(_)
        | Op::DropPath(_) => Vec::new(),
    }
}

pub(super) fn has_arrays(op: &Op) -> bool {
    !arrays(op, None).is_empty()
}

fn conv_arrays(conv: &Conv, channels: usize) -> Vec<Array> {
    let shape =
        vec![conv.out, channels / conv.groups.max(1), conv.kernel.height, conv.kernel.width];
    let fan_in = shape[1..].iter().fold(1, |product: usize, &size| product.saturating_mul(size));
    with_bias(("weight", Role::ConvWeight, shape), conv.bias, conv.out, fan_in)
}

fn linear_arrays(linear: &Linear, features: usize) -> Vec<Array> {
    let weight = ("weight", Role::LinearWeight, vec![linear.out, features]);
    with_bias(weight, linear.bias, linear.out, features)
}

fn with_bias(weight: Array, bias: bool, out: usize, fan_in: usize) -> Vec<Array> {
    let bias = bias.then(|| ("bias", Role::Bias { fan_in }, vec![out]));
    std::iter::once(weight).chain(bias).collect()
}
