//! The layers of a network as layer-wise learning-rate decay counts them: the stem, every block, and the head. They are
//! timm's, but for VGG, Inception v3 and its old Xception.

use std::collections::HashMap;

use super::parameter::has_arrays;
use super::{Graph, NodeId, Op, Part, PartKind};

/// The layer of every node that has arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    of: HashMap<NodeId, usize>,
    /// The number of layers.
    pub count: usize,
}

impl Layers {
    /// The layer of a node, counted from the stem; the last one for a node without arrays.
    pub fn of(&self, id: NodeId) -> usize {
        self.of.get(&id).copied().unwrap_or(self.count.saturating_sub(1))
    }
}

impl Graph {
    /// The layers in the order in which they run. What stands between blocks or after them joins the block before it.
    /// The head is the last layer, and so are auxiliary classifiers. In a graph without blocks every layer that is no
    /// norm is one of its own, and joins the norm after it.
    pub fn layers(&self) -> Layers {
        let needed = self.needed_for(&[self.output()]);
        let mut head: Vec<bool> = needed.iter().map(|needed| !needed).collect();
        let mut block: Vec<Option<usize>> = vec![None; head.len()];
        let heads = self.parts_of(PartKind::Head).flat_map(Part::nodes);
        for id in heads.chain(self.classifiers()) {
            head[id.index()] = true;
        }
        for (number, part) in self.parts_of(PartKind::Block).enumerate() {
            part.nodes().for_each(|id| block[id.index()] = Some(number));
        }
        let has_blocks = block.iter().any(Option::is_some);
        let is_norm = |id: NodeId| {
            matches!(self.node(id).op, Op::BatchNorm(_) | Op::GroupNorm(_) | Op::LayerNorm(_))
        };

        let (mut of, mut count, mut last, mut latest) = (HashMap::new(), 0, Vec::new(), None);
        for id in self.ids().filter(|id| has_arrays(&self.node(*id).op)) {
            if head[id.index()] {
                last.push(id);
                continue;
            }
            let begins = match block[id.index()] {
                Some(number) => latest.replace(number) != Some(number),
                None => !has_blocks && !is_norm(id),
            };
            count = (count + usize::from(begins)).max(1);
            of.insert(id, count - 1);
        }
        of.extend(last.iter().map(|&id| (id, count)));
        count += usize::from(!last.is_empty());
        Layers { of, count }
    }
}
