//! The cost of a graph: parameters, multiply-adds, memory of its activations, and receptive fields.

use super::op::{Conv, Op, Pair};
use super::parameter::arrays;
use super::shape::{Shape, span};
use super::{Graph, NodeId};
use crate::error::Result;

/// The receptive field: the window of the image that one value depends on, and the stride between the windows of
/// neighbours, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receptive {
    pub size: Pair,
    pub step: Pair,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeCost {
    pub node: NodeId,
    pub shape: Shape,
    /// The number of trained parameters.
    pub params: u64,
    /// The number of values in buffers, which are not trained.
    pub buffers: u64,
    /// Multiply-adds of convolutions, blurs, linear layers and attention for one image; no bias, norm, activation or
    /// pooling.
    pub macs: u64,
    /// `None` where a value depends on the whole image.
    pub receptive: Option<Receptive>,
}

impl NodeCost {
    /// Bytes of the value for one image in float32.
    pub fn bytes(&self) -> u64 {
        (self.shape.elements() as u64).saturating_mul(4)
    }
}

/// The cost of every node that the logits need.
#[derive(Clone, Debug)]
pub struct Cost {
    pub nodes: Vec<NodeCost>,
    pub params: u64,
    pub buffers: u64,
    pub macs: u64,
    /// The number of output values of convolutions and linear layers for one image: activations as in the RegNet paper.
    pub activations: u64,
    /// Bytes of all values of one image in float32, none reused: an upper bound of what training keeps.
    pub activation_bytes: u64,
}

impl Graph {
    /// The cost of one image of `height` × `width`, without auxiliary classifiers.
    pub fn cost(&self, height: usize, width: usize) -> Result<Cost> {
        let shapes = self.shapes(height, width, &[self.output()])?;
        let drawn = self.drawn_shapes();
        let needed = self.needed_for(&[self.output()]);
        let mut receptive: Vec<Option<Receptive>> = Vec::with_capacity(shapes.len());
        let mut nodes = Vec::new();
        let mut activations = 0_usize;
        for id in self.ids() {
            let node = self.node(id);
            let before: Vec<_> = node.inputs.iter().map(|input| receptive[input.index()]).collect();
            let sees = if id.index() == 0 { Some(PIXEL) } else { widen(&node.op, &before) };
            receptive.push(sees);
            if !needed[id.index()] {
                continue;
            }
            let input = node.inputs.first().map(|input| drawn[input.index()]);
            let (mut params, mut buffers) = (0_u64, 0_u64);
            for (_, role, shape) in arrays(&node.op, input) {
                let count =
                    shape.iter().fold(1_u64, |product, &size| product.saturating_mul(size as u64));
                let sum = if role.is_trained() { &mut params } else { &mut buffers };
                *sum = sum.saturating_add(count);
            }
            let shape = shapes[id.index()];
            if matches!(node.op, Op::Conv(_) | Op::Linear(_)) {
                activations = shape.elements().saturating_add(activations);
            }
            let keys = node.inputs.get(1).map(|keys| shapes[keys.index()]);
            let macs = macs(&node.op, input, keys, shape);
            nodes.push(NodeCost { node: id, shape, params, buffers, macs, receptive: sees });
        }
        let sum = |of: fn(&NodeCost) -> u64| nodes.iter().map(of).fold(0, u64::saturating_add);
        Ok(Cost {
            params: sum(|node| node.params),
            buffers: sum(|node| node.buffers),
            macs: sum(|node| node.macs),
            activation_bytes: sum(NodeCost::bytes),
            activations: activations as u64,
            nodes,
        })
    }
}

const PIXEL: Receptive = Receptive { size: Pair::ONE, step: Pair::ONE };

/// The costs that do not depend on the image.
const NOTHING: Receptive =
    Receptive { size: Pair { height: 0, width: 0 }, step: Pair { height: 0, width: 0 } };

fn macs(op: &Op, input: Option<Shape>, keys: Option<Shape>, output: Shape) -> u64 {
    let channels = input.map_or(0, Shape::channels);
    match op {
        Op::Conv(Conv { kernel, groups, .. }) => {
            let window = (kernel.height * kernel.width).saturating_mul(channels / groups);
            (output.elements() as u64).saturating_mul(window as u64)
        }
        Op::Linear(linear) => {
            let each = channels.saturating_mul(linear.out) as u64;
            each.saturating_mul((output.elements() / linear.out.max(1)) as u64)
        }
        Op::Blur(blur) => (output.elements() as u64).saturating_mul((blur.size * blur.size) as u64),
        // The attention scores of every pair of tokens, and as many multiply-adds for the weighted sums.
        Op::Attention(_) => {
            let tokens = output.elements() / output.channels().max(1);
            (output.elements() as u64).saturating_mul(2 * tokens as u64)
        }
        Op::MultiQueryAttention(attention) => {
            let Some(keys) = keys else { return 0 };
            let tokens = keys.elements() / keys.channels().max(1);
            let pixels = output.elements() / output.channels().max(1);
            let scores = attention.heads.saturating_mul(pixels).saturating_mul(keys.elements());
            let weighted = output.elements().saturating_mul(tokens);
            scores.saturating_add(weighted) as u64
        }
        Op::Input(_)
        | Op::LayerScale(_)
        | Op::Pad(_)
        | Op::GroupNorm(_)
        | Op::LayerNorm(_)
        | Op::Average(_)
        | Op::Multiply(_)
        | Op::Affine(_)
        | Op::Tokens(_)
        | Op::Embedding(_)
        | Op::SelectToken(_)
        | Op::BatchNorm(_)
        | Op::Activation(_)
        | Op::Pool(_)
        | Op::AdaptivePool(_)
        | Op::PoolUpTo(_)
        | Op::Lrn(_)
        | Op::Flatten(_)
        | Op::Add(_)
        | Op::Gate(_)
        | Op::Concat(_)
        | Op::Dropout(_)
        | Op::DropPath(_) => 0,
    }
}

fn widen(op: &Op, before: &[Option<Receptive>]) -> Option<Receptive> {
    let axis = |size: usize, step: usize, span: usize| {
        size.saturating_add((span - 1).saturating_mul(step))
    };
    let slide = |sees: Receptive, kernel: Pair, dilation: Pair, stride: Pair| Receptive {
        size: Pair {
            height: axis(sees.size.height, sees.step.height, span(kernel.height, dilation.height)),
            width: axis(sees.size.width, sees.step.width, span(kernel.width, dilation.width)),
        },
        step: Pair {
            height: sees.step.height.saturating_mul(stride.height),
            width: sees.step.width.saturating_mul(stride.width),
        },
    };
    match op {
        Op::Input(_) => Some(PIXEL),
        Op::Embedding(_) => Some(NOTHING),
        Op::Conv(conv) => {
            before[0].map(|sees| slide(sees, conv.kernel, conv.dilation, conv.stride))
        }
        Op::Pool(pool) => before[0].map(|sees| slide(sees, pool.kernel, Pair::ONE, pool.stride)),
        Op::Blur(blur) => before[0].map(|sees| slide(sees, blur.size.into(), Pair::ONE, blur.stride)),
        Op::AdaptivePool(_)
        | Op::GroupNorm(_)
        | Op::Flatten(_)
        | Op::Attention(_)
        | Op::MultiQueryAttention(_) => None,
        Op::Pad(_)
        | Op::BatchNorm(_)
        | Op::LayerNorm(_)
        | Op::LayerScale(_)
        | Op::Activation(_)
        // It has no effect at the default image size.
        | Op::PoolUpTo(_)
        | Op::Lrn(_)
        | Op::Linear(_)
        | Op::Multiply(_)
        | Op::Affine(_)
        | Op::Dropout(_)
        | Op::DropPath(_)
        | Op::Tokens(_)
        | Op::SelectToken(_)
        // A gate depends on the whole image, but only scales channels; the field is that of the scaled value.
        | Op::Gate(_) => before[0],
        Op::Add(_) | Op::Average(_) | Op::Concat(_) => widest(before),
    }
}

/// The largest receptive field of the inputs; the whole image if it is that of one of them.
fn widest(inputs: &[Option<Receptive>]) -> Option<Receptive> {
    let mut all = inputs.iter().copied();
    let first = all.next()??;
    all.try_fold(first, |a, b| {
        let b = b?;
        let max =
            |a: Pair, b: Pair| Pair { height: a.height.max(b.height), width: a.width.max(b.width) };
        Some(Receptive { size: max(a.size, b.size), step: max(a.step, b.step) })
    })
}
