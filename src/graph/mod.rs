//! An architecture as data: named nodes in the order in which they run. A node's name is its path in the state dict.
//! Everything else reads this value; nobody writes a forward function.

mod build;
mod check;
mod classifier;
mod cost;
mod grid;
mod layer;
pub mod op;
mod parameter;
pub mod part;
pub mod pattern;
mod revise;
mod schedule;
mod segment;
pub mod shape;
mod similar;
mod text;

pub use build::{Builder, Mark};
pub use cost::{Cost, NodeCost, Receptive};
pub use grid::{AttentionLayer, Field, Grid};
pub use layer::Layers;
pub use op::Op;
pub use parameter::{Parameter, Role};
pub use part::{Part, PartKind};
pub use revise::Revision;
pub use schedule::{Schedule, Step};
pub use shape::Shape;
pub use similar::closest;

use std::collections::HashSet;

use crate::error::{Error, Result};
use op::Input;

/// The position of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl NodeId {
    pub fn index(self) -> usize {
        self.0
    }
}

impl AsRef<[NodeId]> for NodeId {
    fn as_ref(&self) -> &[NodeId] {
        std::slice::from_ref(self)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: String,
    pub op: Op,
    pub inputs: Vec<NodeId>,
    /// The beginning of its arrays' names, if not its own name and a dot: `attn.in_proj_` for `attn.in_proj_weight`.
    pub arrays: Option<String>,
}

impl Node {
    /// Every field of its op as a JSON object, those at their defaults too.
    pub fn fields(&self) -> String {
        // Fields are numbers, words and lists of them, which always serialise.
        text::fields(&self.op)
            .map(|fields| serde_json::Value::Object(fields).to_string())
            .unwrap_or_default()
    }

    /// The name of one of its arrays; an embedding's has that of the node.
    fn array(&self, suffix: &str) -> String {
        match &self.arrays {
            Some(begin) => format!("{begin}{suffix}"),
            None if suffix.is_empty() => self.name.clone(),
            None => format!("{}.{suffix}", self.name),
        }
    }
}

/// A classifier beside the output, which runs in training only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Auxiliary {
    /// The node that holds its logits.
    pub logits: NodeId,
    /// The weight of its loss relative to that of the output.
    pub weight: f64,
}

impl Auxiliary {
    /// GoogLeNet's (Szegedy et al., arXiv:1409.4842, section 5).
    pub const USUAL_WEIGHT: f64 = 0.3;
}

/// A checked architecture. Its nodes stand in an order in which every input comes before its user, which is also
/// the order of the state dict.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    name: String,
    nodes: Vec<Node>,
    output: NodeId,
    auxiliary: Vec<Auxiliary>,
    /// One that holds another comes before it.
    parts: Vec<Part>,
    /// The shape of every node's value, for images of the default size.
    drawn: Vec<Shape>,
}

impl Graph {
    /// Fails with `Error::Graph` on the first rule that a node breaks.
    pub fn new(
        name: String,
        nodes: Vec<Node>,
        output: NodeId,
        auxiliary: Vec<Auxiliary>,
        parts: Vec<Part>,
    ) -> Result<Self> {
        let drawn = check::check(&nodes, output, &auxiliary)?;
        let parts = part::nested(parts, &nodes)?;
        let graph = Self { name, nodes, output, auxiliary, parts, drawn };
        graph.arrays_have_names_of_their_own()?;
        graph.classifiers_come_last()?;
        Ok(graph)
    }

    /// No layer reads the logits of a classifier.
    fn classifiers_come_last(&self) -> Result<()> {
        let users = self.users();
        for part in self.parts_of(PartKind::Classifier) {
            let (mut ahead, mut met) = (vec![part.output()], HashSet::new());
            while let Some(id) = ahead.pop() {
                if !met.insert(id) {
                    continue;
                }
                let is_layer = |user: &&NodeId| parameter::has_arrays(&self.node(**user).op);
                if let Some(user) = users[id.0].iter().find(is_layer) {
                    return Err(Error::Graph {
                        node: part.name.clone(),
                        op: part.kind.name(),
                        expected: "the last layer before an output".into(),
                        got: format!("`{}` after it", self.node(*user).name),
                    });
                }
                ahead.extend(&users[id.0]);
            }
        }
        Ok(())
    }

    fn arrays_have_names_of_their_own(&self) -> Result<()> {
        let mut names = HashSet::new();
        match self.parameters().into_iter().find(|array| !names.insert(array.name.clone())) {
            None => Ok(()),
            Some(array) => Err(Error::Graph {
                node: self.node(array.node).name.clone(),
                op: self.node(array.node).op.name(),
                expected: "arrays with names of their own".into(),
                got: format!("`{}`, which an earlier node has", array.name),
            }),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The node called `name`, or else the last node below that path: `layer2` is what `layer2` puts out.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        let below = |node: &str| node.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let exact = self.nodes.iter().position(|node| node.name == name);
        exact.or_else(|| self.nodes.iter().rposition(|node| below(&node.name))).map(NodeId)
    }

    /// The same. Fails with `Error::Argument`, which names the closest nodes and paths, where there is no such node.
    pub fn named(&self, name: &str) -> Result<NodeId> {
        self.find(name).ok_or_else(|| {
            let names = self.nodes.iter().flat_map(|node| similar::paths(&node.name));
            let similar = closest(name, names).join("`, `");
            let hint =
                if similar.is_empty() { similar } else { format!("; similar are `{similar}`") };
            Error::Argument {
                at: format!("a node of {}", self.name),
                expected: "a name of `nodes()`, or the path before some of them".into(),
                got: format!("`{name}`{hint}"),
            }
        })
    }

    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// The node that holds the images.
    pub fn image(&self) -> NodeId {
        NodeId(0)
    }

    /// The node that holds the logits.
    pub fn output(&self) -> NodeId {
        self.output
    }

    pub fn auxiliary(&self) -> &[Auxiliary] {
        &self.auxiliary
    }

    /// The nodes whose values have a loss in training: the output, then the logits of the auxiliary classifiers.
    pub fn heads(&self) -> Vec<NodeId> {
        let beside = self.auxiliary.iter().map(|auxiliary| auxiliary.logits);
        std::iter::once(self.output).chain(beside).collect()
    }

    /// Names of the arrays that only auxiliary classifiers need.
    pub fn auxiliary_arrays(&self) -> Vec<String> {
        let needed = self.needed_for(&[self.output]);
        let arrays = self.parameters().into_iter().filter(|array| !needed[array.node.0]);
        arrays.map(|array| array.name).collect()
    }

    /// The convolutions that read the image itself, or what nodes without parameters make of it.
    pub fn first_convolutions(&self) -> Vec<NodeId> {
        let mut is_image = vec![true; 1];
        for node in &self.nodes[1..] {
            let reads =
                !node.inputs.is_empty() && node.inputs.iter().all(|input| is_image[input.0]);
            is_image.push(reads && !parameter::has_arrays(&node.op));
        }
        let is_first = |id: &NodeId| {
            let node = self.node(*id);
            matches!(node.op, Op::Conv(_)) && node.inputs.iter().all(|input| is_image[input.0])
        };
        self.ids().filter(is_first).collect()
    }

    /// The graph of the nodes that `output` needs.
    fn only(&self, output: NodeId) -> Result<Self> {
        let mut kept = self.needed_for(&[output]);
        kept[0] = true;
        let mut places = Vec::with_capacity(kept.len());
        let mut nodes: Vec<Node> = Vec::new();
        for (node, &kept) in self.nodes.iter().zip(&kept) {
            places.push(NodeId(nodes.len()));
            if kept {
                let inputs = node.inputs.iter().map(|input| places[input.0]).collect();
                nodes.push(Node { inputs, ..node.clone() });
            }
        }
        let parts = part::moved(&self.parts, &kept);
        Self::new(self.name.clone(), nodes, places[output.0], Vec::new(), parts)
    }

    /// The default input of the graph.
    pub fn input(&self) -> &Input {
        match &self.nodes[0].op {
            Op::Input(input) => input,
            _ => unreachable!("`check` refuses a graph that does not begin with its input"),
        }
    }

    /// The shape of every node's value for images of `height` × `width`, as far as `wanted` depends on it; other nodes
    /// keep the shape that they are drawn with.
    pub fn shapes(&self, height: usize, width: usize, wanted: &[NodeId]) -> Result<Vec<Shape>> {
        let image = Shape::Image { channels: self.input().channels, height, width };
        if height.max(width) > shape::MAX_SIDE {
            return Err(Error::Shape {
                at: format!("the input of {}", self.name),
                expected: format!("at most {} pixels a side", shape::MAX_SIDE),
                got: format!("{height}×{width}"),
            });
        }
        let needed = self.needed_for(wanted);
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for (position, node) in self.nodes.iter().enumerate() {
            let shape = match &node.op {
                Op::Input(_) => image,
                op if needed[position] => self.infer(node, op, &shapes, height, width)?,
                _ => self.drawn[position],
            };
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// The shape of every node's value for images of the size that the graph is drawn for.
    pub fn drawn_shapes(&self) -> &[Shape] {
        &self.drawn
    }

    fn infer(
        &self,
        node: &Node,
        op: &Op,
        before: &[Shape],
        height: usize,
        width: usize,
    ) -> Result<Shape> {
        let inputs: Vec<Shape> = node.inputs.iter().map(|input| before[input.0]).collect();
        let drawn = self.input();
        let fits = || match node.inputs.first() {
            None if matches!(op, Op::Embedding(op::Embedding { grid: Some(_), .. }))
                && (height, width) != (drawn.height, drawn.width) =>
            {
                let expected = format!(
                    "an image of {}×{}, which its positions are for (`image_size` draws another)",
                    drawn.height, drawn.width
                );
                Err(shape::Mismatch::new(expected, format!("{height}×{width}")))
            }
            Some(input) if parameter::has_arrays(op) => {
                let (drawn, got) = (self.drawn[input.0].channels(), inputs[0].channels());
                let expected =
                    format!("{drawn} channels or features, which its parameters are for");
                if drawn == got { Ok(()) } else { Err(shape::Mismatch::new(expected, got)) }
            }
            _ => Ok(()),
        };
        fits().and_then(|()| shape::output_shape(op, &inputs)).map_err(|mismatch| Error::Shape {
            at: format!(
                "{}, image {height}×{width}, node `{}` ({})",
                self.name,
                node.name,
                op.name()
            ),
            expected: mismatch.expected,
            got: mismatch.got,
        })
    }

    /// For every node, those that read it.
    pub fn users(&self) -> Vec<Vec<NodeId>> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for id in self.ids() {
            for input in &self.nodes[id.0].inputs {
                users[input.0].push(id);
            }
        }
        users
    }

    /// For every node, whether one of `wanted` depends on it.
    pub fn needed_for(&self, wanted: &[NodeId]) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        for id in wanted {
            needed[id.0] = true;
        }
        for id in self.ids().rev() {
            if needed[id.0] {
                for input in &self.nodes[id.0].inputs {
                    needed[input.0] = true;
                }
            }
        }
        needed
    }
}
