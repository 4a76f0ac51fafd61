//! Features and classifiers: the layers whose weights are over classes, what they read, and another number of classes.
//! A family says which they are; in a graph without such parts the linear layer that puts out the logits is one.

use super::{Graph, Node, NodeId, Op, Part, PartKind, Shape};
use crate::error::{Error, Result};

impl Op {
    /// The number of outputs of a layer with a weight over them.
    pub(super) fn classes(&self) -> Option<usize> {
        match self {
            Self::Linear(linear) => Some(linear.out),
            Self::Conv(conv) if conv.groups == 1 => Some(conv.out),
            _ => None,
        }
    }

    fn set_classes(&mut self, classes: usize) {
        match self {
            Self::Linear(linear) => linear.out = classes,
            Self::Conv(conv) => conv.out = classes,
            _ => {}
        }
    }
}

impl Graph {
    /// The layers whose weights are over the classes of the output: one, or those whose logits are averaged, or none.
    pub fn classifiers(&self) -> Vec<NodeId> {
        let needed = self.needed_for(&[self.output()]);
        let mut found = self.found_classifiers(&needed);
        found.retain(|id| needed[id.index()]);
        found
    }

    /// The layers whose weights are over classes, those of the auxiliary classifiers among them.
    pub fn all_classifiers(&self) -> Vec<NodeId> {
        self.found_classifiers(&self.needed_for(&[self.output()]))
    }

    /// Those that parts mark, and where none of these is `needed` for the output, the linear layers that are outputs.
    fn found_classifiers(&self, needed: &[bool]) -> Vec<NodeId> {
        let mut found: Vec<NodeId> =
            self.parts_of(PartKind::Classifier).map(Part::output).collect();
        if !found.iter().any(|id| needed[id.index()]) {
            let mut unmarked = self.linear_outputs();
            unmarked.retain(|id| !found.contains(id));
            found.extend(unmarked);
        }
        found
    }

    /// The linear layers whose outputs, or the average of whose outputs, are those of the network.
    fn linear_outputs(&self) -> Vec<NodeId> {
        let linear = |id: &NodeId| matches!(self.node(*id).op, Op::Linear(_));
        let averaged = |id: NodeId| {
            let node = self.node(id);
            let average = matches!(node.op, Op::Average(_)) && node.inputs.iter().all(linear);
            if average { node.inputs.clone() } else { vec![id] }
        };
        self.heads().into_iter().flat_map(averaged).filter(linear).collect()
    }

    /// The node that holds the pooled features: what the classifier and its dropout read.
    pub fn embedding(&self) -> NodeId {
        if let Some(part) = self.parts_of(PartKind::Embedding).next_back() {
            return part.output();
        }
        let before = |mut id: NodeId| {
            while let Op::Linear(_) | Op::Dropout(_) = self.node(id).op {
                id = self.node(id).inputs[0];
            }
            id
        };
        let read: Vec<NodeId> = self.classifiers().into_iter().map(before).collect();
        // Several classifiers, whose logits are averaged, read vectors whose average is the embedding.
        let average = |id: &NodeId| {
            matches!(self.node(*id).op, Op::Average(_)) && self.node(*id).inputs == read
        };
        let first = read.first().copied().unwrap_or(before(self.output()));
        self.ids().find(average).unwrap_or(first)
    }

    /// The last node of each resolution on the way to the pooled features, the finest first; a single pixel is none.
    pub fn pyramid(&self) -> Vec<NodeId> {
        let needed = self.needed_for(&[self.embedding()]);
        let mut levels: Vec<(usize, usize, NodeId)> = Vec::new();
        for id in self.ids().skip(1).filter(|id| needed[id.index()]) {
            let Shape::Image { height, width, .. } = self.drawn_shapes()[id.index()] else {
                continue;
            };
            if height * width > 1 {
                levels.retain(|level| (level.0, level.1) != (height, width));
                levels.push((height, width, id));
            }
        }
        levels.into_iter().map(|(_, _, id)| id).collect()
    }

    /// The number of logits; 0 where the output is no classifier.
    pub fn classes(&self) -> usize {
        self.classifiers().first().and_then(|&id| self.node(id).op.classes()).unwrap_or(0)
    }

    /// The same network with another number of logits, or without its classifiers.
    ///
    /// Fails with `Error::Argument` where logits are asked for and the network has no classifier.
    pub fn with_classes(&self, classes: usize) -> Result<Self> {
        let classifiers = self.classifiers();
        if classes == 0 {
            return self.only(if classifiers.is_empty() {
                self.output()
            } else {
                self.embedding()
            });
        }
        if classifiers.is_empty() {
            return Err(Error::Argument {
                at: format!("the classifier of {}", self.name()),
                expected: "a linear layer as the output".into(),
                got: self.node(self.output()).op.name().into(),
            });
        }
        let mut nodes: Vec<Node> = self.nodes().to_vec();
        for id in self.all_classifiers() {
            nodes[id.index()].op.set_classes(classes);
        }
        let (name, parts) = (self.name().to_owned(), self.parts().to_vec());
        Self::new(name, nodes, self.output(), self.auxiliary().to_vec(), parts)
    }
}
