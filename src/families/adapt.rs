//! Options that every network understands, because they rewrite its graph: the stem for small images, another
//! activation, another norm.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::op::{BatchNorm, Conv, Function, GroupNorm, Pad, Padding, Pair, PoolKind};
use crate::graph::{Graph, NodeId, Op, Part, PartKind};

/// The size of images that a network's stem is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// For 32×32 or 28×28 pixels: the first convolution is 3×3 with stride 1, and there is no pool after it.
    Small,
}

/// The norm after convolutions, in place of batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    Batch,
    /// Group norm with 32 groups, or the largest number that divides the channels.
    Group,
    /// No norm: the convolutions have biases instead.
    None,
}

/// Wu and He, arXiv:1803.08494, section 4.
const MOST_GROUPS: usize = 32;

/// The requested rewritings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Adaptation {
    pub stem: Option<Stem>,
    pub activation: Option<Function>,
    pub norm: Option<Norm>,
    /// This rewrites nothing, but the option needs blocks whose last norm can start at zero.
    pub zero_init_residual: Option<bool>,
}

/// Names of the options that can change `graph`.
pub fn adaptable(graph: &Graph) -> Vec<&'static str> {
    [
        ("stem", stem(graph).is_some()),
        ("activation", !activations(graph).is_empty()),
        ("norm", !norms(graph).is_empty()),
        ("zero_init_residual", !residual_ends(graph).is_empty()),
    ]
    .into_iter()
    .filter_map(|(name, holds)| holds.then_some(name))
    .collect()
}

impl Adaptation {
    /// Fails with `Error::Argument` where the network has nothing to rewrite.
    pub(super) fn apply(self, mut graph: Graph) -> Result<Graph> {
        if self.stem == Some(Stem::Small) {
            let stem = stem(&graph).ok_or_else(|| {
                lacks(&graph, "stem", "a first convolution that shrinks the image")
            })?;
            graph = small_stem(&graph, &stem)?;
        }
        if let Some(function) = self.activation {
            let nodes = activations(&graph);
            if nodes.is_empty() {
                return Err(lacks(&graph, "activation", "activations"));
            }
            let mut revision = graph.revise();
            for id in nodes {
                revision.replace(id, function);
            }
            graph = revision.finish()?;
        }
        if let Some(norm) = self.norm {
            let nodes = norms(&graph);
            if nodes.is_empty() {
                return Err(lacks(&graph, "norm", "batch norms"));
            }
            if norm != Norm::Batch {
                graph = renormalised(&graph, nodes, norm)?;
            }
        }
        if self.zero_init_residual.is_some() && residual_ends(&graph).is_empty() {
            let what = "residual blocks that end in a norm";
            return Err(lacks(&graph, "zero_init_residual", what));
        }
        Ok(graph)
    }
}

fn lacks(graph: &Graph, option: &str, what: &str) -> Error {
    Error::Argument {
        at: format!("`{option}` of {}", graph.name()),
        expected: format!("a network with {what}"),
        got: "one without".into(),
    }
}

/// The nodes of a stem.
struct StemNodes {
    conv: NodeId,
    /// The padding before the convolution, if it is a node.
    pad: Option<NodeId>,
    /// The pool after it, and its padding.
    pooling: Vec<NodeId>,
}

/// The stem of a network that begins by downsampling; a patch embedding without overlap is no stem.
fn stem(graph: &Graph) -> Option<StemNodes> {
    let mut found: Option<StemNodes> = None;
    let mut pads = Vec::new();
    for id in graph.parts_of(PartKind::Stem).next()?.nodes() {
        match (&graph.node(id).op, &mut found) {
            (Op::Pad(_), _) => pads.push(id),
            (Op::Conv(conv), None) => {
                if conv.stride == Pair::ONE || conv.kernel == conv.stride {
                    return None;
                }
                found = Some(StemNodes { conv: id, pad: pads.pop(), pooling: Vec::new() });
            }
            // A pool after a further stride belongs to the next part.
            (Op::Conv(conv), Some(_)) if conv.stride != Pair::ONE => break,
            (Op::Pool(pool), Some(stem)) if pool.kind == PoolKind::Max => {
                stem.pooling = pads;
                stem.pooling.push(id);
                break;
            }
            _ => pads.clear(),
        }
    }
    found
}

fn small_stem(graph: &Graph, stem: &StemNodes) -> Result<Graph> {
    let mut revision = graph.revise();
    if let Op::Conv(conv) = &graph.node(stem.conv).op {
        let padding = match (stem.pad, conv.padding) {
            (Some(_), padding) => padding,
            (None, Padding::Same) => Padding::Same,
            (None, Padding::Both(_)) => 1.into(),
        };
        let (kernel, stride) = (3.into(), Pair::ONE);
        revision.replace(stem.conv, Conv { kernel, stride, padding, ..conv.clone() });
    }
    if let Some(pad) = stem.pad {
        revision.replace(pad, Pad::around(1));
    }
    for &id in &stem.pooling {
        revision.remove(id);
    }
    revision.finish()
}

/// Activations, without those in which squeeze-and-excite gates end.
fn activations(graph: &Graph) -> Vec<NodeId> {
    let is_activation = |id: &NodeId| matches!(graph.node(*id).op, Op::Activation(_));
    let gates = graph.parts_of(PartKind::Gate);
    let gates: HashSet<NodeId> =
        gates.filter_map(|gate| gate.nodes().rev().find(is_activation)).collect();
    graph.ids().filter(is_activation).filter(|id| !gates.contains(id)).collect()
}

fn norms(graph: &Graph) -> Vec<NodeId> {
    graph.ids().filter(|&id| matches!(graph.node(id).op, Op::BatchNorm(_))).collect()
}

fn renormalised(graph: &Graph, norms: Vec<NodeId>, norm: Norm) -> Result<Graph> {
    let mut revision = graph.revise();
    for id in norms {
        let Op::BatchNorm(BatchNorm { eps, .. }) = graph.node(id).op else { continue };
        let input = graph.node(id).inputs[0];
        match (norm, &graph.node(input).op) {
            (Norm::Batch, _) => {}
            (Norm::Group, _) => {
                let channels = graph.drawn_shapes()[input.index()].channels();
                let groups =
                    (1..=MOST_GROUPS).rev().find(|&groups| channels.is_multiple_of(groups));
                revision.replace(id, GroupNorm { groups: groups.unwrap_or(1), eps });
            }
            (Norm::None, op) => {
                if let Op::Conv(conv) = op {
                    revision.replace(input, Conv { bias: true, ..conv.clone() });
                }
                revision.remove(id);
            }
        }
    }
    revision.finish()
}

/// The last norm of each residual block: that of the branch of its sum with the most nodes of its own. A block whose
/// last norm has scale zero starts as the identity (Goyal et al., arXiv:1706.02677).
pub fn residual_ends(graph: &Graph) -> Vec<NodeId> {
    let users = graph.users();
    let blocks = graph.parts_of(PartKind::Block).flat_map(Part::nodes);
    let sums = blocks.filter(|&id| matches!(graph.node(id).op, Op::Add(_)));
    let longest = |id: NodeId| {
        let branches = graph.node(id).inputs.iter().map(|&input| branch(graph, &users, input));
        branches.max_by_key(|branch| branch.length)
    };
    sums.filter_map(|id| longest(id)?.norm).collect()
}

/// A chain of nodes that leads to a sum and nowhere else.
struct Branch {
    /// The norm at its end, if it ends in one.
    norm: Option<NodeId>,
    length: usize,
}

fn branch(graph: &Graph, users: &[Vec<NodeId>], end: NodeId) -> Branch {
    let mut last = end;
    while let Op::DropPath(_) | Op::Dropout(_) = graph.node(last).op {
        last = graph.node(last).inputs[0];
    }
    let norm = matches!(graph.node(last).op, Op::BatchNorm(_) | Op::GroupNorm(_)).then_some(last);
    let (mut length, mut id) = (0, end);
    while let ([input, ..], [_]) = (&graph.node(id).inputs[..], &users[id.index()][..]) {
        length += 1;
        id = *input;
    }
    Branch { norm, length }
}
