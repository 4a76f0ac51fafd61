//! The operators of each node.

use std::collections::{HashMap, HashSet};

use super::activation::activation;
use super::attention::{attention, multi_query_attention};
use super::content::Content;
use super::draft::{Draft, Value};
use super::network::{Attribute, Network};
use super::norm::{batch_norm, group_norm, layer_norm, lrn};
use super::options::{Image, Options};
use super::site::Site;
use super::window::{adaptive_pool, blur, conv, pad, pool};
use crate::error::Result;
use crate::graph::op::{Embedding, Linear, Pair};
use crate::graph::{Graph, NodeId, Op, Role, Shape};
use crate::weights::Parameters;

/// The network that the output of a graph needs.
///
/// Fails with `Error::Shape` where the graph does not fit the size of the images, and `Error::Argument` where any size is
/// asked for and a layer needs one.
pub(super) fn lower(
    graph: &Graph,
    parameters: &dyn Parameters,
    options: &Options,
) -> Result<Network> {
    let mut draft = Draft::new(graph, parameters, options)?;
    let (height, width) = match options.image {
        Image::Fixed { height, width } => (height, width),
        Image::Any => (graph.input().height, graph.input().width),
    };
    let schedule = graph.schedule(&[graph.output()]);
    let shapes = graph.shapes(height, width, &[graph.output()])?;
    // The norm of each convolution that it is folded into.
    let norms = if options.fold { folded(graph) } else { HashMap::new() };
    let done: HashSet<NodeId> = norms.values().copied().collect();
    let mut values: HashMap<NodeId, Value> = HashMap::new();
    let image = input(&mut draft, shapes[graph.image().index()]);
    values.insert(graph.image(), image);
    for id in schedule.nodes() {
        let node = graph.node(id);
        let inputs: Vec<Value> = node.inputs.iter().map(|input| values[input].clone()).collect();
        let norm = norms.get(&id).copied();
        // A concatenation makes one for each image.
        let shared = !matches!(node.op, Op::Concat(_)) && inputs.iter().all(|input| input.shared);
        let output = draft.name_of(norm.unwrap_or(id), shared);
        let shape = shapes[id.index()];
        let mut site = Site { draft: &mut draft, id, inputs: &inputs, shape, output };
        let free = is_free(&site, &node.op)?;
        let name = match (norm, &node.op) {
            (Some(norm), Op::Conv(op)) => conv(&mut site, op, Some(norm))?,
            _ if done.contains(&id) => inputs[0].name.clone(),
            (_, op) => operators(&mut site, op)?,
        };
        let value = Value { name, shape, free, shared };
        draft.note(&value);
        values.insert(id, value);
    }
    let output = output(&mut draft, &values[&graph.output()]);
    Ok(draft.finish(&output))
}

/// The images, normalised if they are bytes.
fn input(draft: &mut Draft<'_>, shape: Shape) -> Value {
    let free = draft.options.image == Image::Any;
    let images = draft.options.names[0].clone();
    let Some(normalize) = draft.options.normalize.clone() else {
        return Value { name: images, shape, free, shared: false };
    };
    let id = draft.graph.image();
    let output = draft.name_of(id, false);
    let mut site = Site { draft, id, inputs: &[], shape, output };
    let float = site.step("float", "Cast", [images], vec![("to", Attribute::Integer(1))]);
    let planes = site.transpose("planes", float, &[0, 3, 1, 2]);
    let most = site.float("most", 255.0);
    let share = site.step("share", "Div", [planes, most], Vec::new());
    let sizes = vec![normalize.mean.len(), 1, 1];
    let mean = site.floats("mean", sizes.clone(), normalize.mean);
    let std = site.floats("std", sizes, normalize.std);
    let centred = site.step("centred", "Sub", [share, mean], Vec::new());
    let name = site.last("Div", [centred, std], Vec::new());
    let value = Value { name, shape, free, shared: false };
    draft.note(&value);
    value
}

/// The output under its own name, with a value for each image.
fn output(draft: &mut Draft<'_>, found: &Value) -> Value {
    let name = draft.options.names[1].clone();
    let outputs = std::slice::from_ref(&name);
    if found.shared {
        let sizes = expanded(draft, &name, found);
        let node = format!("{name}/each");
        draft.node(node, "Expand", [found.name.clone(), sizes], outputs, Vec::new());
    } else if found.name != name {
        let node = format!("{name}/same");
        draft.node(node, "Identity", [found.name.clone()], outputs, Vec::new());
    }
    Value { name, shared: false, ..found.clone() }
}

/// The sizes of a value that all images share, for as many as there are.
fn expanded(draft: &mut Draft<'_>, name: &str, value: &Value) -> String {
    let (batch, rest) = (draft.batch(), value.shape.sizes().len());
    let ones = Content::Integers(vec![1; rest]);
    let ones = draft.initialiser(format!("{name}/ones"), vec![rest], ones);
    let sizes = format!("{name}/sizes");
    let axis = vec![("axis", Attribute::Integer(0))];
    draft.node(sizes.clone(), "Concat", [batch, ones], std::slice::from_ref(&sizes), axis);
    sizes
}

/// The batch norm that is folded into each convolution: its only reader.
fn folded(graph: &Graph) -> HashMap<NodeId, NodeId> {
    let schedule = graph.schedule(&[graph.output()]);
    let norms = schedule.nodes().filter_map(|id| {
        let node = graph.node(id);
        let &input = node.inputs.first().filter(|_| matches!(node.op, Op::BatchNorm(_)))?;
        let only = schedule.uses(input) == 1 && input != graph.output();
        (only && matches!(graph.node(input).op, Op::Conv(_))).then_some((input, id))
    });
    norms.collect()
}

/// Whether the height and width of a node's value, or its number of tokens, depend on those of the images.
fn is_free(site: &Site<'_, '_>, op: &Op) -> Result<bool> {
    let any = site.inputs.iter().any(|input| input.free);
    let all = site.inputs.iter().all(|input| input.free);
    let is_image = matches!(site.shape, Shape::Image { .. });
    let fixed = |got| if any { Err(site.needs_a_size(got)) } else { Ok(false) };
    match op {
        Op::Add(_) | Op::Average(_) if any && !all => fixed("values of which one has its own"),
        Op::Concat(_) if any && !all && is_image => fixed("images of which one has its own"),
        Op::Gate(_) if site.inputs.last().is_some_and(|gate| gate.free) => {
            fixed("a gate of more than one pixel")
        }
        Op::Flatten(_) => fixed("as many features as pixels"),
        Op::AdaptivePool(pool) if pool.size == Pair::ONE => Ok(false),
        Op::AdaptivePool(_) | Op::PoolUpTo(_) => fixed("windows that depend on the image"),
        Op::Embedding(Embedding { grid, .. }) => match grid {
            Some(Pair { height, width }) if site.draft.options.image == Image::Any => {
                let got = format!("position embeddings of {height}×{width} patches");
                Err(site.needs_a_size(&got))
            }
            Some(_) | None => Ok(false),
        },
        Op::SelectToken(_) => Ok(false),
        Op::Input(_)
        | Op::Conv(_)
        | Op::Pad(_)
        | Op::BatchNorm(_)
        | Op::GroupNorm(_)
        | Op::LayerNorm(_)
        | Op::Activation(_)
        | Op::Pool(_)
        | Op::Blur(_)
        | Op::Lrn(_)
        | Op::Linear(_)
        | Op::Add(_)
        | Op::Average(_)
        | Op::Multiply(_)
        | Op::Affine(_)
        | Op::Gate(_)
        | Op::Concat(_)
        | Op::Dropout(_)
        | Op::DropPath(_)
        | Op::Tokens(_)
        | Op::Attention(_)
        | Op::MultiQueryAttention(_)
        | Op::LayerScale(_) => Ok(any),
    }
}

/// The operators of a node; the name of its value.
fn operators(site: &mut Site<'_, '_>, op: &Op) -> Result<String> {
    Ok(match op {
        Op::Conv(op) => conv(site, op, None)?,
        Op::Pad(op) => pad(site, op),
        Op::BatchNorm(op) => batch_norm(site, op)?,
        Op::GroupNorm(op) => group_norm(site, op)?,
        Op::LayerNorm(op) => layer_norm(site, *op)?,
        Op::Activation(op) => activation(site, op.function),
        Op::Pool(op) => pool(site, op)?,
        Op::Blur(op) => blur(site, op),
        Op::AdaptivePool(op) => adaptive_pool(site, op.size),
        Op::PoolUpTo(_) => {
            let Shape::Image { height, width, .. } = site.shape else { return Ok(site.x()) };
            adaptive_pool(site, (height, width).into())
        }
        Op::Lrn(op) => lrn(site, op),
        Op::Linear(op) => linear(site, op)?,
        Op::Flatten(_) => {
            let axis = vec![("axis", Attribute::Integer(1))];
            let x = site.x();
            site.last("Flatten", [x], axis)
        }
        Op::Add(_) => sum(site),
        Op::Average(_) => several(site, "Mean"),
        Op::Multiply(op) => {
            let (x, by) = (site.x(), site.float("by", op.by));
            site.last("Mul", [x, by], Vec::new())
        }
        Op::Affine(op) => {
            let mut constants = |step, values: &[f64]| {
                let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                site.floats(step, vec![values.len(), 1, 1], values)
            };
            let (scale, shift) = (constants("scale", &op.scale), constants("shift", &op.shift));
            let x = site.x();
            let scaled = site.step("scaled", "Mul", [x, scale], Vec::new());
            site.last("Add", [scaled, shift], Vec::new())
        }
        Op::Gate(_) => {
            let inputs = names(site);
            site.last("Mul", inputs, Vec::new())
        }
        Op::Concat(_) => concat(site),
        // The input is written before all others; the rest changes nothing in inference.
        Op::Input(_) | Op::Dropout(_) | Op::DropPath(_) => site.x(),
        Op::Tokens(_) => {
            let channels = site.shape.channels() as i64;
            let x = site.x();
            let rows = site.reshape("pixels", x, vec![0, channels, -1]);
            site.last("Transpose", [rows], vec![("perm", Attribute::Integers(vec![0, 2, 1]))])
        }
        Op::Embedding(_) => {
            site.own(|role| matches!(role, Role::Embedding | Role::Position { .. }))?
        }
        Op::Attention(op) => attention(site, op),
        Op::MultiQueryAttention(op) => multi_query_attention(site, op),
        Op::LayerScale(_) => {
            let gamma = site.own(|role| role == Role::NormScale)?;
            let axes = site.integers("axes", vec![1, 2]);
            let column = site.step("column", "Unsqueeze", [gamma, axes], Vec::new());
            let x = site.x();
            site.last("Mul", [x, column], Vec::new())
        }
        Op::SelectToken(op) => {
            let name = format!("{}/index", site.name());
            let index = Content::Integers(vec![op.index as i64]);
            let index = site.draft.initialiser(name, Vec::new(), index);
            let x = site.x();
            site.last("Gather", [x, index], vec![("axis", Attribute::Integer(1))])
        }
    })
}

fn names(site: &Site<'_, '_>) -> Vec<String> {
    site.inputs.iter().map(|input| input.name.clone()).collect()
}

fn sum(site: &mut Site<'_, '_>) -> String {
    match names(site) {
        inputs if inputs.len() == 2 => site.last("Add", inputs, Vec::new()),
        _ => several(site, "Sum"),
    }
}

/// An operator of any number of values; one alone stays as it is.
fn several(site: &mut Site<'_, '_>, operator: &'static str) -> String {
    match names(site) {
        inputs if inputs.len() == 1 => site.x(),
        inputs => site.last(operator, inputs, Vec::new()),
    }
}

/// Unlike sums, it needs as many images of all values.
fn concat(site: &mut Site<'_, '_>) -> String {
    let mut inputs = names(site);
    for (at, input) in inputs.iter_mut().enumerate() {
        let value = &site.inputs[at];
        if value.shared {
            let step = format!("{}/{at}", site.name());
            let sizes = expanded(site.draft, &step, value);
            *input = site.step(&at.to_string(), "Expand", [input.clone(), sizes], Vec::new());
        }
    }
    site.last("Concat", inputs, vec![("axis", Attribute::Integer(1))])
}

/// The weight of a vector is read as it lies; that of tokens is transposed, which whoever runs it does once.
fn linear(site: &mut Site<'_, '_>, op: &Linear) -> Result<String> {
    let (x, weight) = (site.x(), site.own(|role| role == Role::LinearWeight)?);
    let bias = site.array(|role| matches!(role, Role::Bias { .. }));
    if let Shape::Vector { .. } = site.shape {
        let inputs = [x, weight].into_iter().chain(bias);
        return Ok(site.last("Gemm", inputs, vec![("transB", Attribute::Integer(1))]));
    }
    debug_assert_eq!(op.bias, bias.is_some());
    let weight = site.transpose("weight", weight, &[1, 0]);
    let Some(bias) = bias else { return Ok(site.last("MatMul", [x, weight], Vec::new())) };
    let product = site.step("product", "MatMul", [x, weight], Vec::new());
    Ok(site.last("Add", [product, bias], Vec::new()))
}
