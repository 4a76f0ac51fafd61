//! Which layer of a network a node belongs to, as layer-wise learning rates count them: the stem, every block, and what
//! follows the pooling. Blocks are read off the paths of nodes, so this holds for any network whose paths have numbers,
//! and says of timm's what timm says, but for VGG, the Inceptions and its old Xception.

use std::collections::{HashMap, HashSet};

use super::parameter::has_arrays;
use super::{Graph, NodeId, Op};

/// The layer of every node that has arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    of: HashMap<NodeId, usize>,
    /// How many there are.
    pub count: usize,
}

impl Layers {
    /// The layer of a node, counted from the stem; the last one for a node without arrays.
    pub fn of(&self, id: NodeId) -> usize {
        self.of.get(&id).copied().unwrap_or(self.count.saturating_sub(1))
    }
}

impl Graph {
    /// The layers in the order in which they run. What stands before the first block is the stem; between and after
    /// them, it joins the block before it. What reads the pooled image is the last layer, and so are auxiliary
    /// classifiers. In a network without blocks every convolution or linear layer is a layer, with its norm.
    pub fn layers(&self) -> Layers {
        let every: Vec<NodeId> = self.ids().filter(|id| has_arrays(&self.node(*id).op)).collect();
        let flat = every.iter().all(|id| !self.node(*id).name.contains('.'));
        let mut head = self.head();
        let trunk: Vec<NodeId> = every.iter().copied().filter(|id| !head.contains(id)).collect();
        let blocks = self.blocks(&trunk, flat);

        let in_block = |id: &NodeId| block(&self.node(*id).name, flat).is_some();
        if let Some(last) = trunk.iter().rposition(|id| blocks.contains_key(id) && in_block(id)) {
            // timm's last block has the norm after it, but for DenseNet's, which stands where the blocks stand: that
            // belongs to the classifier.
            let home = before_number(&self.node(trunk[last]).name, flat);
            let beside =
                |id: &&NodeId| !in_block(id) && before_number(&self.node(**id).name, flat) == home;
            head.extend(trunk[last + 1..].iter().filter(beside));
        }
        let (mut of, mut seen) = (HashMap::new(), HashMap::new());
        let mut count: usize = 0;
        for id in trunk.iter().filter(|id| !head.contains(id)) {
            let layer = match blocks.get(id) {
                Some(block) => *seen.entry(*block).or_insert(count),
                None => count.saturating_sub(1),
            };
            of.insert(*id, layer);
            count = count.max(layer + 1);
        }
        let last: Vec<(NodeId, usize)> =
            every.into_iter().filter(|id| head.contains(id)).map(|id| (id, count)).collect();
        count += usize::from(!last.is_empty());
        of.extend(last);
        Layers { of, count }
    }

    /// What reads the pooled image, and auxiliary classifiers.
    fn head(&self) -> HashSet<NodeId> {
        let mut head = HashSet::new();
        let mut behind = vec![self.output()];
        while let Some(id) = behind.pop() {
            let node = self.node(id);
            match node.op {
                Op::AdaptivePool(_) | Op::Pool(_) | Op::SelectToken(_) => {}
                _ if head.insert(id) => behind.extend(&node.inputs),
                _ => {}
            }
        }
        if head.contains(&self.image()) {
            // Nothing is pooled.
            head = self.classifiers().into_iter().collect();
        }
        let needed = self.needed_for(&[self.output()]);
        head.extend(self.ids().filter(|id| !needed[id.index()]));
        head
    }

    /// The path of the block of every node that is in one: those with the most numbers, if they hold more than norms.
    /// Where no path has numbers before its end, each layer but norms is a block.
    fn blocks(&self, trunk: &[NodeId], flat: bool) -> HashMap<NodeId, &str> {
        let is_norm = |id: NodeId| {
            matches!(self.node(id).op, Op::BatchNorm(_) | Op::GroupNorm(_) | Op::LayerNorm(_))
        };
        let found: Vec<(NodeId, &str, usize)> = trunk
            .iter()
            .filter_map(|&id| block(&self.node(id).name, flat).map(|(path, n)| (id, path, n)))
            .collect();
        let Some(most) = found.iter().map(|(_, _, numbers)| *numbers).max() else {
            let layers = trunk.iter().filter(|id| !is_norm(**id));
            return layers.map(|&id| (id, &self.node(id).name[..])).collect();
        };
        let more_than_norms: HashSet<&str> =
            found.iter().filter(|(id, ..)| !is_norm(*id)).map(|(_, path, _)| *path).collect();
        let blocks = found
            .iter()
            .filter(|(_, path, numbers)| *numbers == most && more_than_norms.contains(path));
        blocks.map(|&(id, path, _)| (id, path)).collect()
    }
}

/// The path of the block that a node of this name is in, and how many numbers it has: `layer1.0` of `layer1.0.conv1`, and
/// two. Where paths are `flat`, as Keras's are, underscores stand for dots.
fn block(name: &str, flat: bool) -> Option<(&str, usize)> {
    let (mut path, mut numbers) = ("", 0);
    for (end, component, last) in components(name, flat) {
        let inside = component.starts_with("stem") || component.starts_with("branch");
        // What Keras names by itself says nothing of blocks.
        let automatic = flat && (component.starts_with("conv2d") || component == "batch");
        if inside || automatic || last && !flat {
            break;
        }
        if is_numbered(component) {
            (path, numbers) = (&name[..end], numbers + 1);
            if component.starts_with("block") {
                break;
            }
        } else if numbers > 0 && component != "blocks" {
            break;
        }
    }
    (numbers > 0).then_some((path, numbers))
}

/// The path before the first number, or before the node's own name.
fn before_number(name: &str, flat: bool) -> Vec<&str> {
    let components = components(name, flat);
    components
        .take_while(|(_, component, last)| !last && !is_numbered(component))
        .map(|(_, component, _)| component)
        .collect()
}

/// Where each component of a path ends, the component, and whether it is the last.
fn components(name: &str, flat: bool) -> impl Iterator<Item = (usize, &str, bool)> {
    let separator = move |c: char| c == '.' || flat && c == '_';
    let mut begin = 0;
    name.split(separator).map(move |component| {
        let end = begin + component.len();
        begin = end + 1;
        (end, component, end == name.len())
    })
}

/// Whether a component ends in a number, perhaps with a letter: `0`, `layer1`, `inception3a`. `repeat_1` is one of several
/// lists.
fn is_numbered(component: &str) -> bool {
    let ends = |component: &str| component.ends_with(|c: char| c.is_ascii_digit());
    let shorter = component.strip_suffix(|c: char| c.is_ascii_lowercase());
    !component.starts_with("repeat") && (ends(component) || shorter.is_some_and(ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_off_paths() {
        for (name, expected) in [
            ("layer1.0.conv1", Some(("layer1.0", 2))),
            ("layer1.0.downsample.0", Some(("layer1.0", 2))),
            ("stages.0.blocks.1.conv1", Some(("stages.0.blocks.1", 2))),
            (
                "features.denseblock1.denselayer12.conv2",
                Some(("features.denseblock1.denselayer12", 2)),
            ),
            ("features.transition1.conv", Some(("features.transition1", 1))),
            ("blocks.3.attn.qkv", Some(("blocks.3", 1))),
            ("encoder.layers.encoder_layer_3.mlp.0", Some(("encoder.layers.encoder_layer_3", 1))),
            ("inception3a.branch2.0.conv", Some(("inception3a", 1))),
            ("repeat_1.3.branch0.conv", Some(("repeat_1.3", 1))),
            ("stem.0.conv", None),
            ("features.norm5", None),
            ("conv1", None),
        ] {
            assert_eq!(block(name, false), expected, "{name}");
        }
        for (name, expected) in [
            ("conv2_block1_1_conv", Some(("conv2_block1", 2))),
            ("block2a_expand_conv", Some(("block2a", 1))),
            ("expanded_conv_3_squeeze_excite_conv_1", Some(("expanded_conv_3", 1))),
            ("batch_normalization_5", None),
            ("top_conv", None),
        ] {
            assert_eq!(block(name, true), expected, "{name}");
        }
    }
}
