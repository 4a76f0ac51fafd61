//! A graph in float64, node by node, with plain loops over the definitions of its operations: what a plan is compared with.

use std::collections::HashMap;

use super::super::kernel::tests::{Dice, activated};
use super::loops::{
    attention, blurred, cells, concatenation, convolution, multi_query, normalise, padded, pooled,
    response, tokens,
};
use super::value::Value;
use crate::graph::{Graph, NodeId, Op, Role, Shape};
use crate::weights::{Parameters, Stored};

/// The arrays of every node.
pub(super) struct Arrays(HashMap<NodeId, Vec<(Role, Vec<f64>)>>);

impl Arrays {
    pub fn new(parameters: &dyn Parameters) -> Self {
        let mut arrays: HashMap<_, Vec<_>> = HashMap::new();
        for (index, parameter) in parameters.parameters().iter().enumerate() {
            if let Stored::Floats(numbers) = parameters.read(index).unwrap() {
                let numbers = numbers.into_iter().map(f64::from).collect();
                arrays.entry(parameter.node).or_default().push((parameter.role, numbers));
            }
        }
        Self(arrays)
    }

    fn find(&self, node: NodeId, is_wanted: impl Fn(Role) -> bool) -> Option<&[f64]> {
        let found = self.0.get(&node)?.iter().find(|(role, _)| is_wanted(*role));
        found.map(|(_, numbers)| &numbers[..])
    }

    fn weight(&self, node: NodeId) -> &[f64] {
        self.find(node, |role| matches!(role, Role::ConvWeight | Role::LinearWeight)).unwrap()
    }

    fn bias(&self, node: NodeId, output: usize) -> f64 {
        self.find(node, |role| matches!(role, Role::Bias { .. })).map_or(0.0, |bias| bias[output])
    }

    fn scale(&self, node: NodeId, channel: usize) -> f64 {
        self.find(node, |role| role == Role::NormScale).map_or(1.0, |scale| scale[channel])
    }

    fn shift(&self, node: NodeId, channel: usize) -> f64 {
        self.find(node, |role| role == Role::NormShift).map_or(0.0, |shift| shift[channel])
    }
}

/// The values of all nodes for an image. Every number is off by one of `noise` times the largest of its node: what becomes of
/// that says how much rounding may change.
pub(super) fn values(graph: &Graph, arrays: &Arrays, image: &Value, noise: &[f64]) -> Vec<Value> {
    let mut dice = Dice(7);
    let mut values: Vec<Value> = Vec::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let inputs: Vec<&Value> = node.inputs.iter().map(|input| &values[input.index()]).collect();
        let mut value = match &node.op {
            Op::Input(_) => image.clone(),
            op => computed(id, op, arrays, &inputs),
        };
        // Numbers near zero may be sums of others that are not.
        let size = value.largest().max(0.01);
        value.numbers.iter_mut().for_each(|number| *number += size * dice.pick(noise));
        values.push(value);
    }
    values
}

fn computed(id: NodeId, op: &Op, arrays: &Arrays, inputs: &[&Value]) -> Value {
    let sum = || {
        let mut sum = inputs[0].clone();
        for input in &inputs[1..] {
            sum.numbers.iter_mut().zip(&input.numbers).for_each(|(sum, number)| *sum += number);
        }
        sum
    };
    match op {
        Op::Input(_) => unreachable!("it is given"),
        Op::Embedding(op) => {
            let is_embedding = |role| matches!(role, Role::Embedding | Role::Position { .. });
            let numbers = arrays.find(id, is_embedding).unwrap().to_vec();
            Value { shape: Shape::Tokens { count: op.tokens, width: op.width }, numbers }
        }
        Op::Add(_) => sum(),
        Op::Average(_) => sum().map(|_, number| number / inputs.len() as f64),
        Op::Gate(_) => inputs[0].map(|channel, number| number * inputs[1].numbers[channel]),
        Op::Concat(_) => concatenation(inputs),
        Op::MultiQueryAttention(op) => multi_query(op.heads, inputs),
        Op::Conv(conv) => {
            convolution(inputs[0], conv, arrays.weight(id), |output| arrays.bias(id, output))
        }
        Op::Linear(linear) => {
            let weight = arrays.weight(id);
            rows(inputs[0], linear.out, |row, output| {
                let weight = &weight[output * row.len()..][..row.len()];
                let products = row.iter().zip(weight).map(|(number, weight)| number * weight);
                products.sum::<f64>() + arrays.bias(id, output)
            })
        }
        Op::BatchNorm(norm) => {
            let mean = arrays.find(id, |role| role == Role::RunningMean).unwrap();
            let variance = arrays.find(id, |role| role == Role::RunningVariance).unwrap();
            inputs[0].map(|channel, number| {
                let normal = (number - mean[channel]) / (variance[channel] + norm.eps).sqrt();
                normal * arrays.scale(id, channel) + arrays.shift(id, channel)
            })
        }
        Op::GroupNorm(norm) => {
            let mut value = inputs[0].clone();
            let each = value.numbers.len() / norm.groups;
            value.numbers.chunks_mut(each).for_each(|group| normalise(group, norm.eps));
            value.map(|channel, number| {
                number * arrays.scale(id, channel) + arrays.shift(id, channel)
            })
        }
        Op::LayerNorm(norm) => {
            let mut value = inputs[0].clone();
            let each = value.shape.channels();
            value.numbers.chunks_mut(each).for_each(|row| normalise(row, norm.eps));
            value.map(|channel, number| {
                number * arrays.scale(id, channel) + arrays.shift(id, channel)
            })
        }
        Op::LayerScale(_) => inputs[0].map(|channel, number| number * arrays.scale(id, channel)),
        Op::Multiply(op) => inputs[0].map(|_, number| number * op.by),
        Op::Affine(op) => {
            inputs[0].map(|channel, number| number * op.scale[channel] + op.shift[channel])
        }
        Op::Activation(op) => inputs[0].map(|_, number| activated(Some(op.function), number)),
        Op::Dropout(_) | Op::DropPath(_) => inputs[0].clone(),
        Op::Pad(pad) => padded(inputs[0], pad),
        Op::Pool(pool) => pooled(inputs[0], pool),
        Op::Blur(blur) => blurred(inputs[0], blur),
        Op::AdaptivePool(op) => cells(inputs[0], (op.size.height, op.size.width)),
        Op::PoolUpTo(op) => {
            let [_, height, width] = inputs[0].size();
            cells(inputs[0], (op.size.height.max(height), op.size.width.max(width)))
        }
        Op::Lrn(lrn) => response(inputs[0], lrn),
        Op::Flatten(_) => {
            let features = inputs[0].numbers.len();
            Value { shape: Shape::Vector { features }, ..inputs[0].clone() }
        }
        Op::Tokens(_) => tokens(inputs[0]),
        Op::SelectToken(op) => {
            let numbers = inputs[0].rows().nth(op.index).unwrap().to_vec();
            Value { shape: Shape::Vector { features: numbers.len() }, numbers }
        }
        Op::Attention(op) => attention(op.heads, inputs[0]),
    }
}

/// A function of every row and the number of an output.
fn rows(x: &Value, outputs: usize, number: impl Fn(&[f64], usize) -> f64) -> Value {
    let number = &number;
    let numbers = x.rows().flat_map(|row| (0..outputs).map(move |output| number(row, output)));
    let shape = match x.shape {
        Shape::Tokens { count, .. } => Shape::Tokens { count, width: outputs },
        _ => Shape::Vector { features: outputs },
    };
    Value { numbers: numbers.collect(), shape }
}
