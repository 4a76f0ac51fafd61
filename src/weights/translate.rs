//! Another source's names for the parameters of the same network. There is no hand-written table: both sources are
//! graphs, and a layer corresponds to the layer at the same place of the other graph.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::graph::op::{Pair, PoolKind};
use crate::graph::{Graph, Node, NodeId, Op, Parameter, Shape};

/// A parameter as another source has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterpart {
    pub name: String,
    pub shape: Vec<usize>,
}

/// The counterparts in `foreign` of the parameters of `own`, by their names in `own`; none where a layer of one has no
/// counterpart in the other. An array that only one of them has, such as the bias before a norm, or those of an
/// auxiliary classifier, has no pair.
pub fn translate(own: &Graph, foreign: &Graph) -> Option<HashMap<String, Counterpart>> {
    let theirs = layers(foreign);
    let mut counterparts = HashMap::new();
    let ours = layers(own);
    if ours.len() != theirs.len() {
        return None;
    }
    for (place, nodes) in &ours {
        let other = theirs.get(place).filter(|other| other.len() == nodes.len())?;
        counterparts.extend(nodes.iter().copied().zip(other.iter().copied()));
    }
    let mut arrays: HashMap<(NodeId, String), Counterpart> = HashMap::new();
    for Parameter { name, node, shape, .. } in foreign.parameters() {
        let array = array_of(foreign, node, &name).to_owned();
        arrays.insert((node, array), Counterpart { name, shape });
    }
    let pairs = own.parameters().into_iter().filter_map(|parameter| {
        let array = array_of(own, parameter.node, &parameter.name).to_owned();
        let counterpart = arrays.remove(&(*counterparts.get(&parameter.node)?, array))?;
        Some((parameter.name, counterpart))
    });
    Some(pairs.collect())
}

/// `weight` of `layer1.0.conv1.weight`.
fn array_of<'a>(graph: &Graph, node: NodeId, parameter: &'a str) -> &'a str {
    parameter[graph.node(node).name.len()..].trim_start_matches(['.', '_'])
}

/// The layers with parameters on the way to the output, by a hash of their place: the kind of layer and its inputs.
/// Several layers at the same place (branches of one form) keep the order of the graph.
fn layers(graph: &Graph) -> HashMap<u64, Vec<NodeId>> {
    let shapes = graph.drawn_shapes();
    let with_arrays: HashSet<NodeId> =
        graph.parameters().into_iter().map(|parameter| parameter.node).collect();
    let needed = graph.needed_for(&[graph.output()]);
    let mut places: Vec<Origin> = Vec::with_capacity(graph.nodes().len());
    let mut layers: HashMap<u64, Vec<NodeId>> = HashMap::new();
    for (id, node) in graph.ids().zip(graph.nodes()) {
        let inputs: Vec<&Origin> = node.inputs.iter().map(|input| &places[input.index()]).collect();
        let input = node.inputs.first().map(|input| shapes[input.index()]);
        let place = place(node, &inputs, input);
        if needed[id.index()] && with_arrays.contains(&id) {
            layers.entry(place.hash()).or_default().push(id);
        }
        places.push(place);
    }
    layers
}

/// The origin of a value: the layer that wrote it, or several where they were concatenated or added.
#[derive(Clone, Debug)]
struct Origin {
    parts: Vec<u64>,
    /// The shape before flattening, if it was flattened: a linear layer then reads an image as a convolution would.
    image: Option<(usize, usize, usize)>,
}

impl Origin {
    fn one(value: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self { parts: vec![hasher.finish()], image: None }
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.parts.hash(&mut hasher);
        hasher.finish()
    }
}

/// Strides, padding, epsilons, activations, dropout and global average pools are left out, because sources differ in
/// them.
fn place(node: &Node, inputs: &[&Origin], input: Option<Shape>) -> Origin {
    let parts = |inputs: &[&Origin]| -> Vec<u64> {
        inputs.iter().flat_map(|place| place.parts.iter().copied()).collect()
    };
    let read = parts(inputs);
    let unchanged = || Origin { parts: read.clone(), image: inputs.first().and_then(|i| i.image) };
    match &node.op {
        Op::Conv(conv) => {
            let channels = input.map_or(0, Shape::channels) / conv.groups.max(1);
            Origin::one(("dense", conv.out, channels, window(conv.kernel), &read))
        }
        Op::Linear(linear) => {
            let features = input.map_or(0, Shape::channels);
            let (channels, height, width) =
                inputs.first().and_then(|place| place.image).unwrap_or((features, 1, 1));
            Origin::one(("dense", linear.out, channels, (height, width), &read))
        }
        Op::BatchNorm(_) | Op::GroupNorm(_) | Op::LayerNorm(_) => Origin::one(("norm", &read)),
        Op::Embedding(embedding) => Origin::one(("embedding", embedding.grid.is_some(), &read)),
        Op::Flatten(_) => Origin {
            image: match input {
                Some(Shape::Image { channels, height, width }) => Some((channels, height, width)),
                _ => None,
            },
            parts: read,
        },
        // A window of one pixel only skips pixels, as a stride does.
        Op::Pool(pool) if pool.kernel == Pair::ONE => unchanged(),
        Op::Pool(pool) => Origin::one(("pool", matches!(pool.kind, PoolKind::Average), &read)),
        Op::Blur(_) => Origin::one(("blur", &read)),
        Op::Concat(_) => Origin { parts: read, image: None },
        Op::Add(_) | Op::Average(_) => {
            let mut sorted: Vec<u64> = inputs.iter().map(|place| place.hash()).collect();
            sorted.sort_unstable();
            Origin::one(("sum", sorted))
        }
        Op::Gate(_) => Origin::one(("gate", &read)),
        Op::Tokens(_) => Origin::one(("tokens", &read)),
        Op::Attention(_) | Op::MultiQueryAttention(_) => Origin::one(("attention", &read)),
        Op::LayerScale(_) => Origin::one(("layer scale", &read)),
        Op::SelectToken(_) => Origin::one(("select_token", &read)),
        Op::Input(_) => Origin::one("input"),
        Op::Pad(_)
        | Op::AdaptivePool(_)
        | Op::Activation(_)
        | Op::PoolUpTo(_)
        | Op::Lrn(_)
        | Op::Multiply(_)
        | Op::Affine(_)
        | Op::Dropout(_)
        | Op::DropPath(_) => unchanged(),
    }
}

fn window(kernel: Pair) -> (usize, usize) {
    (kernel.height, kernel.width)
}
