//! The hand that draws a graph.

use super::op::Input;
use super::{Auxiliary, Graph, Node, NodeId, Op};
use crate::error::Result;

/// Draws a graph node by node. Mistakes come out at `finish`, where the rules are checked.
#[derive(Debug)]
pub struct Builder {
    name: String,
    nodes: Vec<Node>,
    auxiliary: Vec<Auxiliary>,
}

impl Builder {
    /// A graph with its input node, which is called `input`.
    pub fn new(name: impl Into<String>, input: Input) -> Self {
        let node = Node { name: "input".into(), op: input.into(), inputs: Vec::new() };
        Self { name: name.into(), nodes: vec![node], auxiliary: Vec::new() }
    }

    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// Adds a node whose inputs are one node or a slice of them.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        op: impl Into<Op>,
        inputs: impl AsRef<[NodeId]>,
    ) -> NodeId {
        self.nodes.push(Node {
            name: name.into(),
            op: op.into(),
            inputs: inputs.as_ref().to_vec(),
        });
        NodeId(self.nodes.len() - 1)
    }

    /// Marks the logits of an auxiliary classifier, whose loss counts `weight` times that of the output.
    pub fn auxiliary(&mut self, logits: NodeId, weight: f64) {
        self.auxiliary.push(Auxiliary { logits, weight });
    }

    pub fn finish(self, output: NodeId) -> Result<Graph> {
        Graph::new(self.name, self.nodes, output, self.auxiliary)
    }
}
