//! Quantization: the ranges of a network's values, and which of its layers multiply integers of 8 bits.

use std::collections::{BTreeMap, BTreeSet};

use super::form::Scale;
use crate::engine::Array;
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Op};

/// The ranges of a network's values, and the layers that stay in float32, for int8 with the parameters that it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantization {
    /// The lowest and the highest value of nodes.
    ranges: BTreeMap<NodeId, (f32, f32)>,
    /// Those of dropout, which has the values of its input.
    dropout: BTreeMap<NodeId, (f32, f32)>,
    /// Layers that stay in float32.
    floats: BTreeSet<NodeId>,
}

impl Quantization {
    /// Fails with `Error::Argument` on ranges that are none, and on layers that are none.
    pub fn new(
        graph: &Graph,
        ranges: impl IntoIterator<Item = (NodeId, (f32, f32))>,
        floats: impl IntoIterator<Item = NodeId>,
    ) -> Result<Self> {
        let refused = |id: NodeId, expected: &str, got: String| Error::Argument {
            at: format!("quantization of {}, node `{}`", graph.name(), graph.node(id).name),
            expected: expected.into(),
            got,
        };
        let ranges: BTreeMap<NodeId, (f32, f32)> = ranges.into_iter().collect();
        for (&id, &(low, high)) in &ranges {
            if low > high || Scale::between(low, high).is_none() {
                let expected = "two finite float32 numbers, the lower first";
                return Err(refused(id, expected, format!("{low}, {high}")));
            }
        }
        let floats: BTreeSet<NodeId> = floats.into_iter().collect();
        if let Some(&id) = floats.iter().find(|&&id| !is_layer(graph, id)) {
            let got = graph.node(id).op.name().to_owned();
            return Err(refused(id, "a convolution or linear layer", got));
        }
        let mut dropout = BTreeMap::new();
        for id in graph.ids().filter(|&id| is_dropout(graph, id)) {
            let input = graph.node(id).inputs.first();
            if let Some(&range) = input.and_then(|of| ranges.get(of).or_else(|| dropout.get(of))) {
                dropout.insert(id, range);
            }
        }
        Ok(Self { ranges, dropout, floats })
    }

    pub fn ranges(&self) -> &BTreeMap<NodeId, (f32, f32)> {
        &self.ranges
    }

    /// The layers that stay in float32.
    pub fn floats(&self) -> &BTreeSet<NodeId> {
        &self.floats
    }

    /// The range of a node's values, which dropout has from its input.
    pub fn range(&self, id: NodeId) -> Option<(f32, f32)> {
        self.ranges.get(&id).or_else(|| self.dropout.get(&id)).copied()
    }

    /// Whether a layer multiplies integers, where its input has a range.
    pub(super) fn is_quantized(&self, id: NodeId) -> bool {
        !self.floats.contains(&id)
    }
}

fn is_layer(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Conv(_) | Op::Linear(_))
}

fn is_dropout(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Dropout(_) | Op::DropPath(_))
}

/// The convolutions and linear layers of a graph, in its order.
pub fn layers(graph: &Graph) -> Vec<NodeId> {
    let ids = graph.schedule(&[graph.output()]);
    ids.nodes().filter(|&id| is_layer(graph, id)).collect()
}

/// Watches the values of a network in float32 for their ranges.
#[derive(Debug)]
pub struct Calibrator<'a> {
    graph: &'a Graph,
    nodes: Vec<NodeId>,
    ranges: Vec<(f32, f32)>,
}

impl<'a> Calibrator<'a> {
    pub fn new(graph: &'a Graph) -> Self {
        let schedule = graph.schedule(&[graph.output()]);
        let mut nodes = BTreeSet::new();
        for id in schedule.nodes() {
            // What a layer's step computes after it is never stored before the last of it.
            let is_fused = matches!(
                graph.node(id).op,
                Op::BatchNorm(_)
                    | Op::LayerScale(_)
                    | Op::Multiply(_)
                    | Op::Affine(_)
                    | Op::Activation(_)
            );
            let inputs = graph.node(id).inputs.iter().copied();
            nodes.extend(inputs.filter(|&input| {
                let of = &graph.node(input).op;
                !is_fused || matches!(of, Op::Concat(_) | Op::Add(_) | Op::Pool(_))
            }));
        }
        let is_constant = |id: &NodeId| matches!(graph.node(*id).op, Op::Embedding(_));
        // A network with dropout has the same ranges as one without.
        let before_dropout = |mut id: NodeId| {
            while is_dropout(graph, id) {
                let Some(&input) = graph.node(id).inputs.first() else { break };
                id = input;
            }
            id
        };
        let nodes: BTreeSet<NodeId> = nodes.into_iter().map(before_dropout).collect();
        let nodes: Vec<NodeId> = nodes.into_iter().filter(|id| !is_constant(id)).collect();
        let ranges = vec![(f32::INFINITY, f32::NEG_INFINITY); nodes.len()];
        Self { graph, nodes, ranges }
    }

    /// The nodes whose values it wants to see.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Looks at the values of its nodes and of the output for some images. Fails with `Error::Argument` where one is not
    /// finite.
    pub fn see(&mut self, values: &[Array], output: &Array) -> Result<()> {
        for ((&id, (low, high)), array) in self.nodes.iter().zip(&mut self.ranges).zip(values) {
            finite(self.graph, id, array)?;
            for &value in &array.values {
                *low = low.min(value);
                *high = high.max(value);
            }
        }
        finite(self.graph, self.graph.output(), output)
    }

    /// The ranges that it saw, with every layer in integers. Fails with `Error::Argument` where it saw nothing, or images
    /// of one value alone, beyond which all others would be cut off.
    pub fn finish(self) -> Result<Quantization> {
        let input = self
            .nodes
            .iter()
            .zip(&self.ranges)
            .find(|(id, _)| matches!(self.graph.node(**id).op, Op::Input(_)));
        if let Some((_, (low, high))) = input.filter(|(_, (low, high))| low >= high) {
            return Err(Error::Argument {
                at: format!("images that quantize {}", self.graph.name()),
                expected: "ones like those that the network is for".into(),
                got: format!(
                    "images of the one value {low}, of which the range {low} to {high} follows"
                ),
            });
        }
        Quantization::new(self.graph, self.nodes.into_iter().zip(self.ranges), [])
    }
}

/// Fails with `Error::Argument` where a value of a node is not finite.
fn finite(graph: &Graph, id: NodeId, array: &Array) -> Result<()> {
    match array.values.iter().find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(value) => Err(Error::Argument {
            at: format!("quantization of {}, node `{}`", graph.name(), graph.node(id).name),
            expected: "finite values".into(),
            got: value.to_string(),
        }),
    }
}
