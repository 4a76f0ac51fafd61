//! The table of rules for graphs. An error names the node, the op, the expected and the actual value.

use std::collections::HashSet;

use super::op::{Blur, Op, Padding};
use super::parameter::has_arrays;
use super::shape::{Mismatch, Shape, output_shape};
use super::{Auxiliary, Node, NodeId};
use crate::error::{Error, Result};

/// The input of a rule: the node and the nodes before it.
struct Site<'a> {
    position: usize,
    node: &'a Node,
    names: &'a HashSet<&'a str>,
    inputs: &'a [Shape],
}

type Rule = fn(&Site<'_>) -> Result<(), Mismatch>;

const RULES: &[Rule] = &[
    one_input_node_first,
    name_is_a_path,
    name_is_new,
    arrays_have_a_name,
    sizes_are_positive,
    rates_and_constants,
];

/// The shape of every node's value, once every rule holds.
pub(super) fn check(nodes: &[Node], output: NodeId, auxiliary: &[Auxiliary]) -> Result<Vec<Shape>> {
    let mut names = HashSet::new();
    let mut shapes: Vec<Shape> = Vec::new();
    for (position, node) in nodes.iter().enumerate() {
        let fail = |mismatch: Mismatch| Error::Graph {
            node: node.name.clone(),
            op: node.op.name(),
            expected: mismatch.expected,
            got: mismatch.got,
        };
        inputs_come_before(position, node).map_err(fail)?;
        let inputs: Vec<Shape> = node.inputs.iter().map(|input| shapes[input.0]).collect();
        let site = Site { position, node, names: &names, inputs: &inputs };
        RULES.iter().try_for_each(|rule| rule(&site)).map_err(fail)?;
        shapes.push(output_shape(&node.op, &inputs).map_err(fail)?);
        names.insert(&node.name);
    }
    exists(nodes, output)?;
    for Auxiliary { logits, weight } in auxiliary {
        exists(nodes, *logits)?;
        if !(weight.is_finite() && *weight >= 0.0) {
            let Node { name, op, .. } = &nodes[logits.0];
            return Err(Error::Graph {
                node: name.clone(),
                op: op.name(),
                expected: "a finite weight of at least 0 as an auxiliary classifier".into(),
                got: weight.to_string(),
            });
        }
    }
    Ok(shapes)
}

fn exists(nodes: &[Node], output: NodeId) -> Result<()> {
    if output.0 < nodes.len() {
        return Ok(());
    }
    Err(Error::Graph {
        node: format!("#{}", output.0),
        op: "output",
        expected: format!("one of {} nodes", nodes.len()),
        got: format!("number {}", output.0),
    })
}

fn inputs_come_before(position: usize, node: &Node) -> Result<(), Mismatch> {
    match node.inputs.iter().find(|input| input.0 >= position) {
        None => Ok(()),
        Some(input) => {
            Err(Mismatch::new("inputs that come before", format!("node number {}", input.0)))
        }
    }
}

fn one_input_node_first(site: &Site<'_>) -> Result<(), Mismatch> {
    match (site.position, &site.node.op) {
        (0, Op::Input(_)) => Ok(()),
        (0, op) => Err(Mismatch::new("`input` as the first node", op.name())),
        (_, Op::Input(_)) => Err(Mismatch::new("one input node, the first", "another")),
        _ => Ok(()),
    }
}

/// Whether these are words of letters, digits and `_`, joined by dots.
pub(super) fn is_path(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    name.split('.').all(word)
}

fn name_is_a_path(site: &Site<'_>) -> Result<(), Mismatch> {
    if is_path(&site.node.name) {
        Ok(())
    } else {
        Err(Mismatch::new(
            "a name of letters, digits and `_`, joined by dots",
            format!("`{}`", site.node.name),
        ))
    }
}

fn arrays_have_a_name(site: &Site<'_>) -> Result<(), Mismatch> {
    let Some(begin) = &site.node.arrays else { return Ok(()) };
    if !has_arrays(&site.node.op) {
        return Err(Mismatch::new("a node that has arrays for `arrays`", "one without"));
    }
    // Something follows the beginning.
    if is_path(&format!("{begin}x")) {
        Ok(())
    } else {
        let expected = "`arrays` of letters, digits and `_`, joined by dots";
        Err(Mismatch::new(expected, format!("`{begin}`")))
    }
}

fn name_is_new(site: &Site<'_>) -> Result<(), Mismatch> {
    if site.names.contains(site.node.name.as_str()) {
        Err(Mismatch::new("a name of its own", "a name that an earlier node has"))
    } else {
        Ok(())
    }
}

fn sizes_are_positive(site: &Site<'_>) -> Result<(), Mismatch> {
    let sizes: Vec<(&str, usize)> = match &site.node.op {
        Op::Input(input) => {
            vec![("channels", input.channels), ("height", input.height), ("width", input.width)]
        }
        Op::Conv(conv) => vec![
            ("out", conv.out),
            ("kernel", conv.kernel.height.min(conv.kernel.width)),
            ("stride", conv.stride.height.min(conv.stride.width)),
            ("dilation", conv.dilation.height.min(conv.dilation.width)),
            ("groups", conv.groups),
        ],
        Op::Pool(pool) => vec![
            ("kernel", pool.kernel.height.min(pool.kernel.width)),
            ("stride", pool.stride.height.min(pool.stride.width)),
        ],
        Op::Blur(blur) => {
            vec![("size", blur.size), ("stride", blur.stride.height.min(blur.stride.width))]
        }
        Op::AdaptivePool(pool) => vec![("size", pool.size.height.min(pool.size.width))],
        Op::PoolUpTo(pool) => vec![("size", pool.size.height.min(pool.size.width))],
        Op::Lrn(lrn) => vec![("size", lrn.size)],
        Op::Linear(linear) => vec![("out", linear.out)],
        Op::GroupNorm(norm) => vec![("groups", norm.groups)],
        Op::Embedding(embedding) => {
            let grid = embedding.grid.map_or(1, |grid| grid.height.min(grid.width));
            vec![("tokens", embedding.tokens), ("width", embedding.width), ("grid", grid)]
        }
        Op::Attention(attention) => vec![("heads", attention.heads)],
        Op::MultiQueryAttention(attention) => vec![("heads", attention.heads)],
        Op::Pad(_)
        | Op::LayerNorm(_)
        | Op::LayerScale(_)
        | Op::Average(_)
        | Op::Multiply(_)
        | Op::Affine(_)
        | Op::Tokens(_)
        | Op::SelectToken(_)
        | Op::BatchNorm(_)
        | Op::Activation(_)
        | Op::Flatten(_)
        | Op::Add(_)
        | Op::Gate(_)
        | Op::Concat(_)
        | Op::Dropout(_)
        | Op::DropPath(_) => Vec::new(),
    };
    match sizes.iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
        None => Ok(()),
        Some((field, size)) => Err(Mismatch::new(format!("{field} from 1 to {MAX_SIZE}"), size)),
    }
}

/// No axis, window or step of a real network comes near it, and products of a few cannot overflow.
const MAX_SIZE: usize = 1 << 20;

fn rates_and_constants(site: &Site<'_>) -> Result<(), Mismatch> {
    match &site.node.op {
        Op::Dropout(super::op::Dropout { rate }) | Op::DropPath(super::op::DropPath { rate }) => {
            within("rate", *rate, (0.0..1.0).contains(rate), "from 0 to below 1")
        }
        Op::BatchNorm(norm) => {
            within("eps", norm.eps, norm.eps > 0.0 && norm.eps.is_finite(), "above 0")?;
            within("momentum", norm.momentum, (0.0..=1.0).contains(&norm.momentum), "from 0 to 1")
        }
        Op::Conv(conv) => {
            let divides = conv.out % conv.groups == 0;
            within("out", conv.out, divides, &format!("divisible by groups={}", conv.groups))?;
            match conv.padding {
                Padding::Same => Ok(()),
                Padding::Both(border) => {
                    let size = border.height.max(border.width);
                    within("padding", size, size <= MAX_SIZE, &format!("at most {MAX_SIZE}"))
                }
            }
        }
        Op::Pool(pool) => match pool.padding {
            Padding::Same => Ok(()),
            Padding::Both(border) => {
                let fits = 2 * border.height <= pool.kernel.height
                    && 2 * border.width <= pool.kernel.width;
                within("padding", border.height.max(border.width), fits, "at most half the kernel")
            }
        },
        Op::Blur(blur) => {
            let largest = Blur::LARGEST;
            let border = blur.padding.height.max(blur.padding.width);
            within("size", blur.size, blur.size <= largest, &format!("at most {largest}"))?;
            within("padding", border, border <= MAX_SIZE, &format!("at most {MAX_SIZE}"))
        }
        Op::Pad(pad) => {
            let size = pad.top.max(pad.bottom).max(pad.left).max(pad.right).max(pad.channels);
            within("every side", size, size <= MAX_SIZE, &format!("at most {MAX_SIZE}"))
        }
        Op::GroupNorm(super::op::GroupNorm { eps, .. })
        | Op::LayerNorm(super::op::LayerNorm { eps }) => {
            within("eps", eps, *eps > 0.0 && eps.is_finite(), "above 0")
        }
        Op::Multiply(multiply) => within("by", multiply.by, multiply.by.is_finite(), "finite"),
        Op::Affine(affine) => {
            let finite =
                affine.scale.iter().chain(&affine.shift).all(|constant| constant.is_finite());
            within("scale, shift", "not finite", finite, "finite")
        }
        Op::Lrn(lrn) => {
            let finite = [lrn.alpha, lrn.beta, lrn.k].iter().all(|constant| constant.is_finite());
            within("alpha, beta, k", "not finite", finite, "finite")
        }
        Op::Input(_)
        | Op::Average(_)
        | Op::Tokens(_)
        | Op::Embedding(_)
        | Op::Attention(_)
        | Op::MultiQueryAttention(_)
        | Op::LayerScale(_)
        | Op::SelectToken(_)
        | Op::Activation(_)
        | Op::AdaptivePool(_)
        | Op::PoolUpTo(_)
        | Op::Linear(_)
        | Op::Flatten(_)
        | Op::Add(_)
        | Op::Gate(_)
        | Op::Concat(_) => {
            let shapes = site.inputs.len();
            within("inputs", shapes, shapes <= MAX_SIZE, &format!("at most {MAX_SIZE}"))
        }
    }
}

fn within(
    field: &str,
    got: impl std::fmt::Display,
    holds: bool,
    range: &str,
) -> Result<(), Mismatch> {
    if holds { Ok(()) } else { Err(Mismatch::new(format!("{field} {range}"), got)) }
}
