//! The parts of a network, as its family names them while it draws: what is stem, stage, block, gate, head, classifier
//! and embedding. Layer-wise learning rates, options, pyramids, embeddings, new classifiers, summaries and diagrams read
//! parts instead of guessing from the names of nodes.
//!
//! A part is a run of nodes that stand one after the other. Parts nest: two of them are apart, or one holds the other. A
//! graph that a user wrote may have none.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use super::check::is_path;
use super::{Graph, Node, NodeId};
use crate::error::{Error, Result};

/// The role of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartKind {
    /// The first layers, which no block holds: they shrink the image, or cut it into patches.
    Stem,
    /// Blocks that work at one resolution or width.
    Stage,
    /// The unit that a network repeats: one layer of layer-wise learning rates.
    Block,
    /// Weighs the channels of an image: squeeze-and-excite.
    Gate,
    /// From the last image or tokens to the logits.
    Head,
    /// Pools the features that the classifier reads; its last node holds them.
    Embedding,
    /// Dropout and the layer whose weight is over classes, which is its last node.
    Classifier,
}

impl PartKind {
    pub const ALL: [Self; 7] = [
        Self::Stem,
        Self::Stage,
        Self::Block,
        Self::Gate,
        Self::Head,
        Self::Embedding,
        Self::Classifier,
    ];

    /// The word for it in a graph's text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stem => "stem",
            Self::Stage => "stage",
            Self::Block => "block",
            Self::Gate => "gate",
            Self::Head => "head",
            Self::Embedding => "embedding",
            Self::Classifier => "classifier",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == word)
    }
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartKind {
    /// The parts that may hold one of this kind, which may stand in none, too.
    fn holders(self) -> &'static [Self] {
        match self {
            Self::Stem | Self::Stage | Self::Head => &[],
            Self::Block => &[Self::Stem, Self::Stage],
            Self::Gate => &[Self::Block],
            Self::Embedding | Self::Classifier => &[Self::Head],
        }
    }

    /// The depth at which its parts may stand in others.
    fn depth(self) -> usize {
        self.holders().iter().map(|holder| holder.depth() + 1).max().unwrap_or(0)
    }

    /// Where its parts may stand, for messages.
    fn place(self) -> String {
        let holders: Vec<String> =
            self.holders().iter().map(|holder| format!("a {holder}")).collect();
        if holders.is_empty() {
            return "one that is in no other part".into();
        }
        format!("one in {}, or in no other part", holders.join(" or "))
    }
}

/// A run of nodes with a role and a name, which is a path like that of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub kind: PartKind,
    pub name: String,
    pub(super) nodes: Range<usize>,
}

impl Part {
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        self.nodes.clone().map(NodeId)
    }

    /// Its last node, which holds what it puts out.
    pub fn output(&self) -> NodeId {
        NodeId(self.nodes.end - 1)
    }
}

/// Sorts parts so that one that holds another comes before it.
///
/// Fails with `Error::Graph` on a part without nodes, two that overlap without nesting, one in a part that holds none of
/// its kind, a name that is no path, two stages or blocks of one name, or a classifier without a weight over classes.
pub(super) fn nested(mut parts: Vec<Part>, nodes: &[Node]) -> Result<Vec<Part>> {
    let fail = |part: &Part, expected: &str, got: String| Error::Graph {
        node: part.name.clone(),
        op: part.kind.name(),
        expected: expected.into(),
        got,
    };
    let range = |part: &Part| format!("nodes {} to {}", part.nodes.start, part.nodes.end);
    // Of two with the same nodes, such as a head that is an embedding alone, the one of the outer kind holds the other.
    parts.sort_by_key(|part| (part.nodes.start, usize::MAX - part.nodes.end, part.kind.depth()));
    let mut open: Vec<&Part> = Vec::new();
    let mut names = HashSet::new();
    for part in &parts {
        if !is_path(&part.name) {
            let expected = "a name of letters, digits and `_`, joined by dots";
            return Err(fail(part, expected, format!("`{}`", part.name)));
        }
        if part.nodes.is_empty() || part.nodes.end > nodes.len() {
            return Err(fail(part, "a part with nodes of the graph", "none".into()));
        }
        let last = &nodes[part.output().index()];
        if part.kind == PartKind::Classifier && last.op.classes().is_none() {
            let expected = "a linear layer or a convolution as its last node";
            return Err(fail(part, expected, format!("`{}` ({})", last.name, last.op.name())));
        }
        let repeats = matches!(part.kind, PartKind::Stage | PartKind::Block);
        if repeats && !names.insert((part.kind.name(), &part.name)) {
            let got = format!("`{}`, which an earlier {} has", part.name, part.kind);
            return Err(fail(part, "a name of its own", got));
        }
        while open.last().is_some_and(|holder| holder.nodes.end <= part.nodes.start) {
            open.pop();
        }
        if let Some(holder) = open.last() {
            if part.nodes.end > holder.nodes.end {
                let expected = "parts that are apart, or one within the other";
                return Err(fail(part, expected, range(part)));
            }
            if !part.kind.holders().contains(&holder.kind) {
                let got = format!("one in the {} `{}`", holder.kind, holder.name);
                return Err(fail(part, &part.kind.place(), got));
            }
        }
        open.push(part);
    }
    Ok(parts)
}

/// The same parts of a graph of which only the nodes that are `kept` are left.
pub(super) fn moved(parts: &[Part], kept: &[bool]) -> Vec<Part> {
    let mut before = Vec::with_capacity(kept.len() + 1);
    let mut count = 0;
    before.push(count);
    for &kept in kept {
        count += usize::from(kept);
        before.push(count);
    }
    let places = |nodes: &Range<usize>| before[nodes.start]..before[nodes.end];
    parts
        .iter()
        .map(|part| Part { nodes: places(&part.nodes), ..part.clone() })
        .filter(|part| !part.nodes.is_empty())
        .collect()
}

impl Graph {
    /// Every part, one that holds another before it.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub fn parts_of(&self, kind: PartKind) -> impl DoubleEndedIterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Op;
    use crate::graph::op::{Flatten, Linear};

    fn part(kind: PartKind, nodes: Range<usize>) -> Part {
        Part { kind, name: format!("part{}", nodes.start), nodes }
    }

    fn nodes() -> Vec<Node> {
        let node = |index| Node {
            name: format!("node{index}"),
            op: if index == 4 { Op::Linear(Linear::default()) } else { Op::Flatten(Flatten {}) },
            inputs: Vec::new(),
            arrays: None,
        };
        (0..5).map(node).collect()
    }

    #[test]
    fn of_two_with_the_same_nodes_the_outer_kind_holds_the_other() {
        let [head, embedding] = [PartKind::Head, PartKind::Embedding].map(|kind| part(kind, 1..3));
        for parts in [[head.clone(), embedding.clone()], [embedding.clone(), head.clone()]] {
            assert_eq!(
                nested(parts.to_vec(), &nodes()).unwrap(),
                [head.clone(), embedding.clone()]
            );
        }
    }

    #[test]
    fn parts_nest_or_are_apart() {
        let (stage, block) = (PartKind::Stage, PartKind::Block);
        let sorted =
            nested(vec![part(block, 3..5), part(block, 1..3), part(stage, 1..5)], &nodes());
        let starts: Vec<usize> = sorted.unwrap().iter().map(|part| part.nodes.start).collect();
        assert_eq!(starts, [1, 1, 3]);
        for wrong in [
            vec![part(stage, 1..3), part(stage, 2..4)],
            vec![part(stage, 2..2)],
            vec![part(stage, 2..6)],
            vec![part(PartKind::Classifier, 2..4)],
            vec![part(stage, 2..3), part(block, 1..4)],
            vec![part(PartKind::Stem, 2..3), part(PartKind::Stem, 1..4)],
            vec![part(PartKind::Classifier, 4..5), part(stage, 3..5)],
            vec![part(block, 1..2), Part { name: "part1".into(), ..part(block, 2..3) }],
            vec![Part { name: "a b".into(), ..part(stage, 1..2) }],
        ] {
            assert!(nested(wrong, &nodes()).is_err());
        }
    }
}
