//! The hand that draws a graph.

use super::op::Input;
use super::{Auxiliary, Graph, Node, NodeId, Op, Part, PartKind};
use crate::error::Result;

/// A place in a graph that is being drawn.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// Draws a graph node by node. Mistakes come out at `finish`, where the rules are checked.
#[derive(Debug)]
pub struct Builder {
    name: String,
    nodes: Vec<Node>,
    auxiliary: Vec<Auxiliary>,
    parts: Vec<Part>,
}

impl Builder {
    /// A graph with its input node, which is called `input`.
    pub fn new(name: impl Into<String>, input: Input) -> Self {
        let node =
            Node { name: "input".into(), op: input.into(), inputs: Vec::new(), arrays: None };
        Self { name: name.into(), nodes: vec![node], auxiliary: Vec::new(), parts: Vec::new() }
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
            arrays: None,
        });
        NodeId(self.nodes.len() - 1)
    }

    /// Begins the names of a node's arrays with this, not with the node's name and a dot.
    pub fn name_arrays(&mut self, id: NodeId, begin: impl Into<String>) {
        self.nodes[id.0].arrays = Some(begin.into());
    }

    /// Marks the logits of an auxiliary classifier, whose loss counts `weight` times that of the output.
    pub fn auxiliary(&mut self, logits: NodeId, weight: f64) {
        self.auxiliary.push(Auxiliary { logits, weight });
    }

    /// Where a part begins that is marked once it is drawn.
    pub fn mark(&self) -> Mark {
        Mark(self.nodes.len())
    }

    /// Says what the nodes are that were drawn since `begin`; nothing where there are none.
    pub fn part(&mut self, kind: PartKind, name: impl Into<String>, begin: Mark) {
        let nodes = begin.0..self.nodes.len();
        if !nodes.is_empty() {
            self.parts.push(Part { kind, name: name.into(), nodes });
        }
    }

    pub fn finish(self, output: NodeId) -> Result<Graph> {
        Graph::new(self.name, self.nodes, output, self.auxiliary, self.parts)
    }
}
