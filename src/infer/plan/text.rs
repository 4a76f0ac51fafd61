//! A plan as text: a line for each step. Nothing in it depends on the instructions of the machine.

use std::fmt;

use super::super::kernel::{Combine, Conv, Depthwise, Map};
use super::super::layout::{Layout, Window};
use super::super::simd::Element;
use super::step::{Home, Operation, Plan, Step};
use crate::graph::op::{Function, Pair, PoolKind};
use crate::graph::{Graph, NodeId, Op};

/// A step in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The kind of kernel.
    pub kernel: &'static str,
    /// Its algorithm and window; nothing where there is no choice.
    pub detail: String,
    /// The nodes that it computes.
    pub nodes: Vec<NodeId>,
    /// Biases, norms, sums and activations that it computes too, in their order.
    pub fused: Vec<String>,
    /// The part of a concatenation that it writes.
    pub into: Option<String>,
    /// (N, H, W, C) of the value that it writes.
    pub shape: [usize; 4],
    /// Bytes of that value, and of the weights that it reads: the numbers alone, since kernels pad them differently.
    pub value_bytes: usize,
    pub weight_bytes: usize,
}

impl Described {
    /// The kernel with its algorithm and window.
    pub fn title(&self) -> String {
        format!("{} {}", self.kernel, self.detail).trim_end().to_owned()
    }

    /// The names of its nodes; what they have in common stands before the others.
    pub fn names(&self, graph: &Graph) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|&id| graph.node(id).name.as_str()).collect();
        let [first, others @ ..] = &names[..] else { return String::new() };
        let is_common = |path: &str| others.iter().all(|name| name.starts_with(path));
        let ends = first.char_indices().filter(|(_, letter)| *letter == '.').map(|(at, _)| at + 1);
        let common = ends.rev().find(|&end| is_common(&first[..end])).unwrap_or(0);
        let rests: Vec<&str> = names.iter().map(|name| &name[common..]).collect();
        match &rests[..] {
            [_] => (*first).to_owned(),
            _ if common == 0 => rests.join(", "),
            _ => format!("{}{{{}}}", &first[..common], rests.join(", ")),
        }
    }
}

/// A product of sizes.
fn product(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

/// Bytes with a unit; nothing for none.
fn readable(bytes: usize) -> String {
    const KIB: f64 = 1024.0;
    let bytes = bytes as f64;
    if bytes == 0.0 {
        String::new()
    } else if bytes < KIB {
        format!("{bytes} B")
    } else if bytes < KIB * KIB {
        format!("{:.1} KiB", bytes / KIB)
    } else {
        format!("{:.1} MiB", bytes / (KIB * KIB))
    }
}

fn pair(pair: Pair) -> String {
    if pair.height == pair.width {
        return pair.height.to_string();
    }
    product(&[pair.height, pair.width])
}

/// The kernel, stride and dilation of a window, and the groups of channels.
fn window(of: &Window, groups: usize) -> String {
    let mut words = vec![product(&[of.kernel.height, of.kernel.width])];
    if of.stride != Pair::ONE {
        words.push(format!("/{}", pair(of.stride)));
    }
    if of.dilation != Pair::ONE {
        words.push(format!("dilation {}", pair(of.dilation)));
    }
    if groups > 1 {
        words.push(format!("groups {groups}"));
    }
    words.join(" ")
}

/// The type of the factors of products; nothing for float32.
fn named(element: Element) -> String {
    match element {
        Element::Float32 => String::new(),
        Element::BFloat16 => "bfloat16".into(),
        Element::Byte => "int8".into(),
    }
}

fn joined(first: String, second: String) -> String {
    if second.is_empty() { first } else { first + " " + &second }
}

fn function(function: Function) -> &'static str {
    match function {
        Function::Relu => "relu",
        Function::Relu6 => "relu6",
        Function::Silu => "silu",
        Function::Sigmoid => "sigmoid",
        Function::Tanh => "tanh",
        Function::Gelu => "gelu",
        Function::HardSigmoid => "hard_sigmoid",
        Function::HardSwish => "hard_swish",
    }
}

/// The word for a node that another one's step computes; none where it changes nothing.
fn word(op: &Op) -> Option<&'static str> {
    match op {
        Op::Dropout(_) | Op::DropPath(_) => None,
        Op::Activation(op) => Some(function(op.function)),
        op => Some(op.name()),
    }
}

impl Step {
    /// The kind of kernel, and its algorithm and window.
    fn kernel(&self, graph: &Graph) -> (&'static str, String) {
        let op = self.nodes.first().map(|&id| &graph.node(id).op);
        let nothing = String::new;
        match &self.operation {
            Operation::Rearrange(of) if of.output.pixels() == of.input.pixels() => {
                ("rearrange", nothing())
            }
            Operation::Rearrange(_) => ("rearrange", "with border".into()),
            Operation::Conv(of) if matches!(op, Some(Op::Linear(_))) => {
                ("linear", named(of.element()))
            }
            Operation::Conv(of) => {
                ("conv", joined(window(&of.window, of.groups.len()), named(of.element())))
            }
            Operation::Winograd(conv) => {
                let tile = conv.weights.tile().to_string();
                let strided = conv.window.stride != Pair::ONE;
                let words = if strided { window(&conv.window, 1) + " as " + &tile } else { tile };
                ("winograd", joined(words, named(conv.weights.element())))
            }
            Operation::Strassen(_) => ("strassen", nothing()),
            Operation::Gated(_) => ("gated", "1×1".into()),
            Operation::Depthwise(Depthwise { window: of, .. }) => ("depthwise", window(of, 1)),
            Operation::Block(block) => {
                let products = [&block.expand, &block.project].into_iter().flatten();
                let elements =
                    products.map(|of| named(of.element())).find(|element| !element.is_empty());
                let window = window(&block.depthwise.window, 1);
                ("block", joined(window, elements.unwrap_or_default()))
            }
            Operation::Reduce(reduce) => {
                let kind = match reduce.kind {
                    PoolKind::Max => "max",
                    PoolKind::Average => "average",
                };
                let (input, output) = (&reduce.input, &reduce.output);
                let detail = match op {
                    _ if output.width == 1 && output.height == input.height && input.width > 1 => {
                        return ("pool", "sums of lines".into());
                    }
                    Some(Op::Pool(pool)) => {
                        let kernel = product(&[pool.kernel.height, pool.kernel.width]);
                        let stride = pair(pool.stride);
                        if stride == "1" { kernel } else { format!("{kernel} /{stride}") }
                    }
                    _ => format!("to {}", product(&[output.height, output.width])),
                };
                ("pool", format!("{kind} {detail}"))
            }
            Operation::Blur(blur) => ("blur", window(&blur.window, 1)),
            Operation::Map(map) => ("map", mapped(map, op).to_owned()),
            Operation::LayerNorm(_) => ("layer_norm", nothing()),
            Operation::GroupNorm(norm) => ("group_norm", format!("groups {}", norm.groups)),
            Operation::Lrn(_) => ("lrn", nothing()),
            Operation::Pad(_) => ("pad", nothing()),
            Operation::Attention(attention) => ("attention", format!("heads {}", attention.heads)),
            Operation::Flatten => ("flatten", nothing()),
        }
    }

    /// Biases, norms, sums and activations, and the convolutions of a block.
    fn fused(&self, graph: &Graph) -> Vec<String> {
        let is_block = matches!(self.operation, Operation::Block(_));
        let mut fused = Vec::new();
        for (at, &id) in self.nodes.iter().enumerate() {
            let op = &graph.node(id).op;
            let part = match op {
                Op::Conv(conv) if is_block && conv.groups > 1 => Some("depthwise"),
                Op::Conv(_) if is_block && at == 0 => Some("expand"),
                Op::Conv(_) if is_block => Some("project"),
                _ if at == 0 => None,
                op => word(op),
            };
            fused.extend(part.map(str::to_owned));
            let has_bias = match op {
                Op::Conv(conv) => conv.bias,
                Op::Linear(linear) => linear.bias,
                _ => false,
            };
            fused.extend(has_bias.then(|| "bias".to_owned()));
        }
        fused
    }

    /// Numbers of weights that it reads.
    pub(super) fn weights(&self, constants: &[Vec<f32>]) -> usize {
        let conv = |conv: &Conv| conv.weights() + conv.output.channels;
        let depthwise = |conv: &Depthwise| {
            let Pair { height, width } = conv.window.kernel;
            conv.output.channels * (height * width + 1)
        };
        let constant = |home| match home {
            Home::Constant(index) => constants[index].len(),
            Home::Images | Home::Slot { .. } => 0,
        };
        let own = match &self.operation {
            Operation::Conv(of) => conv(of),
            Operation::Winograd(of) => of.weights.numbers(),
            Operation::Strassen(of) => of.weights.numbers(),
            Operation::Gated(of) => conv(&of.conv),
            Operation::Depthwise(of) => depthwise(of),
            Operation::Block(block) => {
                let convs = block.expand.iter().chain(&block.project);
                convs.map(conv).sum::<usize>() + depthwise(&block.depthwise)
            }
            Operation::Map(Map { affine: Some((scale, shift)), .. }) => scale.len() + shift.len(),
            Operation::LayerNorm(norm) => norm.scale.len() + norm.shift.len(),
            Operation::GroupNorm(norm) => norm.scale.len() + norm.shift.len(),
            Operation::Blur(blur) => blur.weights.len(),
            Operation::Rearrange(_)
            | Operation::Map(_)
            | Operation::Reduce(_)
            | Operation::Lrn(_)
            | Operation::Pad(_)
            | Operation::Attention(_)
            | Operation::Flatten => 0,
        };
        own + self.inputs.iter().map(|input| constant(input.home)).sum::<usize>()
    }
}

/// The word for a function of single numbers.
fn mapped(map: &Map, op: Option<&Op>) -> &'static str {
    match (op, map.combine) {
        (Some(Op::Concat(_) | Op::Flatten(_)) | None, _) => "copy",
        (_, Some(Combine::Multiply)) => "gate",
        (Some(op), _) => word(op).unwrap_or("copy"),
    }
}

impl Plan {
    /// The number of its steps.
    pub(in crate::infer) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Every step in words, in the order of a run.
    pub fn described(&self, graph: &Graph) -> Vec<Described> {
        let described = |step: &Step| {
            let (kernel, detail) = step.kernel(graph);
            let Layout { height, width, channels, .. } = step.output.layout;
            let shape = [self.batch, height, width, channels];
            Described {
                kernel,
                detail,
                nodes: step.nodes.clone(),
                fused: step.fused(graph),
                into: self.into(graph, step),
                shape,
                value_bytes: step.output.form.words(shape.iter().product()) * size_of::<f32>(),
                weight_bytes: step.weights(&self.constants) * size_of::<f32>(),
            }
        };
        self.steps.iter().map(described).collect()
    }

    /// The part of a concatenation that a step writes.
    fn into(&self, graph: &Graph, step: &Step) -> Option<String> {
        let Home::Slot { slot, offset } = step.output.home else { return None };
        let (whole, all) = self.wholes.get(&slot)?;
        let (own, offset) = (step.output.layout, offset * step.output.form.per_word());
        let name = &graph.node(*whole).name;
        if own.channels < all.channels {
            let first = offset % all.channels;
            return Some(format!("channels {first}..{} of {name}", first + own.channels));
        }
        let first = offset / all.channels;
        let is_part = own.pixels() < all.pixels();
        is_part.then(|| format!("tokens {first}..{} of {name}", first + own.pixels()))
    }

    /// A table with a line for each step: kernel, shape and bytes of its value, bytes of its weights, what is fused into
    /// it, and its nodes. The last line has the memory of a run, and of all weights.
    pub fn text(&self, graph: &Graph) -> String {
        let mut text = String::new();
        self.write(graph, &mut text).unwrap_or_default();
        text
    }

    fn write(&self, graph: &Graph, to: &mut impl fmt::Write) -> fmt::Result {
        let steps = self.described(graph);
        let head = ["kernel", "output", "bytes", "weights", "fused", "nodes"].map(str::to_owned);
        let mut lines = vec![head];
        lines.extend(steps.iter().map(|step| {
            let names = step.names(graph);
            let nodes = match &step.into {
                Some(into) => format!("{names} -> {into}"),
                None => names,
            };
            [
                step.title(),
                product(&step.shape),
                readable(step.value_bytes),
                readable(step.weight_bytes),
                step.fused.join(" + "),
                nodes,
            ]
        }));
        let widest =
            |column: usize| lines.iter().map(move |line| line[column].chars().count()).max();
        let widths: [usize; 5] = std::array::from_fn(|column| widest(column).unwrap_or(0));
        for line in &lines {
            for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
                // Numbers, in the middle, end below one another.
                if (1..4).contains(&column) {
                    write!(to, "{cell:>width$}  ")?;
                } else {
                    write!(to, "{cell:width$}  ")?;
                }
            }
            writeln!(to, "{}", line[5])?;
        }
        let sum = |of: fn(&Described) -> usize| steps.iter().map(of).sum();
        let size = |bytes| if bytes == 0 { "0 B".into() } else { readable(bytes) };
        let apart = match self.arrangement.apart {
            0 => String::new(),
            count => format!(", the first {count} image by image"),
        };
        write!(
            to,
            "{} steps{apart}; {} of memory for {} of values; {} of weights",
            steps.len(),
            size(self.memory() * size_of::<f32>()),
            size(sum(|step| step.value_bytes)),
            size(sum(|step| step.weight_bytes)),
        )
    }
}
