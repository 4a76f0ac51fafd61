//! Which nodes are computed together: a convolution or linear layer with the norm, the sum and the activation after it.

use std::collections::HashSet;

use crate::graph::op::Function;
use crate::graph::{Graph, NodeId, Op, Schedule};

/// Nodes of a schedule, and who reads them.
pub(super) struct Uses<'a> {
    pub graph: &'a Graph,
    /// For each node, those of the schedule that read it.
    users: Vec<Vec<NodeId>>,
    wanted: HashSet<NodeId>,
}

/// The nodes that follow a node and are computed with it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The nodes, in order.
    pub nodes: Vec<NodeId>,
    /// Norms and scales of channels, in order.
    pub scales: Vec<NodeId>,
    /// The other operand of a sum.
    pub residual: Option<NodeId>,
    pub function: Option<Function>,
}

impl<'a> Uses<'a> {
    pub fn new(graph: &'a Graph, schedule: &Schedule, wanted: &[NodeId]) -> Self {
        let mut users = vec![Vec::new(); graph.nodes().len()];
        for id in schedule.nodes() {
            for input in &graph.node(id).inputs {
                users[input.index()].push(id);
            }
        }
        Self { graph, users, wanted: wanted.iter().copied().collect() }
    }

    pub fn op(&self, id: NodeId) -> &'a Op {
        &self.graph.node(id).op
    }

    /// The only node that reads a value, which is not wanted itself.
    pub fn sole(&self, id: NodeId) -> Option<NodeId> {
        match self.users[id.index()][..] {
            [user] if !self.wanted.contains(&id) => Some(user),
            _ => None,
        }
    }

    /// The nodes that read a value.
    pub fn users(&self, id: NodeId) -> &[NodeId] {
        &self.users[id.index()]
    }

    /// Whether a value was asked for.
    pub fn is_wanted(&self, id: NodeId) -> bool {
        self.wanted.contains(&id)
    }

    /// Whether a node passes its input on in inference.
    pub fn is_identity(&self, id: NodeId) -> bool {
        matches!(self.op(id), Op::Dropout(_) | Op::DropPath(_))
    }

    /// The nodes that follow `id` and can be computed with it, where `is_ready` says whether a value is computed already.
    /// `scales` says whether norms and scales of channels may be among it, `sums` whether a sum may.
    pub fn tail(
        &self,
        id: NodeId,
        (scales, sums): (bool, bool),
        is_ready: impl Fn(NodeId) -> bool,
    ) -> Tail {
        let (mut tail, mut last) = (Tail::default(), id);
        while let Some(next) = self.sole(last) {
            match self.op(next) {
                Op::Dropout(_) | Op::DropPath(_) => {}
                Op::BatchNorm(_) | Op::LayerScale(_) | Op::Multiply(_)
                    if scales && tail.residual.is_none() =>
                {
                    tail.scales.push(next);
                }
                Op::Add(_) if sums && tail.residual.is_none() => {
                    let inputs = &self.graph.node(next).inputs;
                    let [a, b] = inputs[..] else { break };
                    let other = if a == last { b } else { a };
                    if other == last || !is_ready(other) {
                        break;
                    }
                    tail.residual = Some(other);
                }
                Op::Activation(op) => {
                    tail.function = Some(op.function);
                    tail.nodes.push(next);
                    break;
                }
                _ => break,
            }
            tail.nodes.push(next);
            last = next;
        }
        tail
    }
}
