//! A graph from another one, with some nodes changed or left out.

use super::{Auxiliary, Graph, Node, NodeId, Op, part};
use crate::error::Result;

/// Changes to a graph, which take place at `finish`, where the rules are checked.
#[derive(Debug)]
pub struct Revision<'a> {
    graph: &'a Graph,
    ops: Vec<Op>,
    removed: Vec<bool>,
}

impl Graph {
    pub fn revise(&self) -> Revision<'_> {
        Revision {
            graph: self,
            ops: self.nodes.iter().map(|node| node.op.clone()).collect(),
            removed: vec![false; self.nodes.len()],
        }
    }
}

impl Revision<'_> {
    /// Another operation under the same name.
    pub fn replace(&mut self, id: NodeId, op: impl Into<Op>) {
        self.ops[id.0] = op.into();
    }

    /// Leaves out a node: who read it reads its first input.
    pub fn remove(&mut self, id: NodeId) {
        self.removed[id.0] = true;
    }

    pub fn finish(self) -> Result<Graph> {
        let mut places: Vec<NodeId> = Vec::with_capacity(self.ops.len());
        let mut nodes = Vec::new();
        let leaves = |(node, &removed): (&Node, &bool)| !removed || node.inputs.is_empty();
        let kept: Vec<bool> = self.graph.nodes.iter().zip(&self.removed).map(leaves).collect();
        let parts = part::moved(&self.graph.parts, &kept);
        for ((node, op), kept) in self.graph.nodes.iter().zip(self.ops).zip(kept) {
            if let (false, [input, ..]) = (kept, &node.inputs[..]) {
                places.push(places[input.0]);
                continue;
            }
            let inputs = node.inputs.iter().map(|input| places[input.0]).collect();
            places.push(NodeId(nodes.len()));
            nodes.push(Node { op, inputs, ..node.clone() });
        }
        let moved = |old: &Auxiliary| Auxiliary { logits: places[old.logits.0], ..*old };
        let auxiliary = self.graph.auxiliary.iter().map(moved).collect();
        Graph::new(self.graph.name.clone(), nodes, places[self.graph.output.0], auxiliary, parts)
    }
}
