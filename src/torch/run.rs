//! Eager runs: the nodes of a graph run in order, as in PyTorch, and each value is freed after its last use.

use std::collections::{HashMap, HashSet};

use tch::Tensor;

use super::batch_norm::Fused;
use super::node::Call;
use super::store::{blob, copy_out};
use super::{Store, failed};
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result, shape_text};
use crate::graph::op::Function;
use crate::graph::{Graph, NodeId, Op, Shape};

/// Runs `graph` on `x` (N, C, H, W) and returns the values of `wanted`, without recording gradients. Batch norm uses
/// its running statistics.
pub fn infer(
    graph: &Graph,
    store: &Store,
    x: View<'_>,
    wanted: &[NodeId],
    precision: Precision,
) -> Result<Vec<Array>> {
    let _no_grad = tch::no_grad_guard();
    let x = on_device(x, store)?;
    let walk = Walk::new(graph, store, &x, wanted, Mode::Evaluation)?.in_precision(precision);
    let mut values = Values::from([(graph.image(), x)]);
    let nodes = graph.whole(wanted).nodes;
    walk.run(&nodes, &mut values, &wanted.iter().copied().collect(), Pass::First)?;
    wanted.iter().map(|id| array(&values[id], &graph.node(*id).name)).collect()
}

pub(super) fn on_device(view: View<'_>, store: &Store) -> Result<Tensor> {
    blob(view.values, view.shape)?.f_to_device(store.device()).map_err(failed("the input"))
}

pub(super) fn array(tensor: &Tensor, at: &str) -> Result<Array> {
    let shape = tensor.size().iter().map(|&size| size as usize).collect();
    Ok(Array { shape, values: copy_out(tensor, at)? })
}

/// The values computed so far, by node.
pub(super) type Values = HashMap<NodeId, Tensor>;

/// Training or evaluation, for the operations that differ between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch norm uses its running statistics, and dropout does nothing.
    Evaluation,
    /// Batch norm uses the batch's statistics and updates its running ones, unless it is frozen. Dropout follows from
    /// the seed.
    Training { seed: u64 },
}

/// Whether this is a node's first run, or its second, which records gradients (activation checkpointing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    First,
    /// Batch norm does not update its running statistics again.
    Second,
}

/// A graph, and a batch of images that fits it.
pub(super) struct Walk<'a> {
    pub graph: &'a Graph,
    pub store: &'a Store,
    precision: Precision,
    pub shapes: Vec<Shape>,
    pub batch: usize,
    mode: Mode,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        store: &'a Store,
        x: &Tensor,
        wanted: &[NodeId],
        mode: Mode,
    ) -> Result<Self> {
        let (batch, shapes) = input_shapes(graph, x, wanted)?;
        if mode != Mode::Evaluation {
            enough_for_statistics(graph, store, batch, &shapes)?;
        }
        Ok(Self { graph, store, shapes, batch, mode, precision: Precision::Float32 })
    }

    pub(super) fn trains(&self) -> bool {
        self.mode != Mode::Evaluation
    }

    pub(super) fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Runs `nodes` in order. A value of theirs that is not `kept` is freed after its last use.
    pub(super) fn run(
        &self,
        nodes: &[NodeId],
        values: &mut Values,
        kept: &HashSet<NodeId>,
        pass: Pass,
    ) -> Result<()> {
        let mut uses: HashMap<NodeId, usize> = HashMap::new();
        for &id in nodes {
            self.graph
                .node(id)
                .inputs
                .iter()
                .for_each(|&input| *uses.entry(input).or_default() += 1);
        }
        let passing: HashSet<NodeId> = nodes
            .iter()
            .copied()
            .filter(|id| uses.get(id) == Some(&1) && !kept.contains(id))
            .collect();
        let fused = self.fused(nodes, &passing);
        for &id in nodes {
            let node = self.graph.node(id);
            let input = |input: &NodeId| {
                values.get(input).ok_or_else(|| Error::Defect {
                    at: format!("{}, node `{}`", self.graph.name(), node.name),
                    message: format!("`{}` did not run before", self.graph.node(*input).name),
                })
            };
            let inputs = node.inputs.iter().map(input).collect::<Result<Vec<&Tensor>>>()?;
            // No gradient needs these inputs' values, so the only node that reads one may overwrite it. Linear layers
            // on tokens return a view, whose gradient would be copied then.
            let spare = node.inputs.first().is_some_and(|input| {
                let fresh = match self.graph.node(*input).op {
                    Op::Conv(_) | Op::BatchNorm(_) | Op::Add(_) => true,
                    Op::Linear(_) => !matches!(self.shapes[input.index()], Shape::Tokens { .. }),
                    _ => false,
                };
                fresh && passing.contains(input)
            });
            let mut call = self.call(id, pass, spare);
            call.fused = fused.get(&id).copied();
            call.done = node.inputs.first().is_some_and(|input| fused.contains_key(input));
            let value = call.run(&inputs).map_err(failed(format_args!(
                "{}, node `{}` ({})",
                self.graph.name(),
                node.name,
                node.op.name()
            )))?;
            values.insert(id, value);
            for input in &node.inputs {
                let Some(left) = uses.get_mut(input) else { continue };
                *left -= 1;
                if *left == 0 && !kept.contains(input) {
                    values.remove(input);
                }
            }
        }
        Ok(())
    }

    /// Whether the node is run for its training, and nothing keeps it as it is.
    fn learns(&self, id: NodeId) -> bool {
        self.trains() && !self.store.is_frozen(id)
    }

    /// Activations to fuse, by their batch norm: nothing else reads the norm, and it uses the batch's statistics.
    fn fused(&self, nodes: &[NodeId], passing: &HashSet<NodeId>) -> HashMap<NodeId, Function> {
        let fused = |&id: &NodeId| {
            let node = self.graph.node(id);
            let (Op::Activation(op), [norm]) = (&node.op, &node.inputs[..]) else { return None };
            let with = matches!(self.graph.node(*norm).op, Op::BatchNorm(_))
                && self.learns(*norm)
                && passing.contains(norm)
                && Fused::of(op.function).is_some();
            with.then_some((*norm, op.function))
        };
        nodes.iter().filter_map(fused).collect()
    }

    fn call(&self, id: NodeId, pass: Pass, spare: bool) -> Call<'_> {
        let learns = self.learns(id);
        Call {
            node: self.graph.node(id),
            arrays: self.store.of_node(id.index()),
            batch: self.batch as i64,
            layout: self.store.layout(),
            mode: self.mode,
            precision: self.precision,
            own_statistics: !learns,
            tracking: learns && pass == Pass::First,
            spare,
            fused: None,
            done: false,
        }
    }
}

/// Checks `x` against the graph; what fits has a shape at every node.
fn input_shapes(graph: &Graph, x: &Tensor, wanted: &[NodeId]) -> Result<(usize, Vec<Shape>)> {
    let size = x.size();
    let channels = graph.input().channels as i64;
    match size[..] {
        [batch, c, height, width] if c == channels && batch > 0 => {
            Ok((batch as usize, graph.shapes(height as usize, width as usize, wanted)?))
        }
        _ => Err(Error::Shape {
            at: format!("the input of {}", graph.name()),
            expected: format!("(N, {channels}, H, W) with N at least 1"),
            got: shape_text(&size),
        }),
    }
}

/// Fails where batch norm would take the variance of a single value; PyTorch refuses that too.
fn enough_for_statistics(
    graph: &Graph,
    store: &Store,
    batch: usize,
    shapes: &[Shape],
) -> Result<()> {
    let single = graph.ids().find(|id| {
        let per_channel = shapes[id.index()].elements() / shapes[id.index()].channels().max(1);
        let single = batch * per_channel < 2 && matches!(graph.node(*id).op, Op::BatchNorm(_));
        single && !store.is_frozen(*id)
    });
    single.map_or(Ok(()), |id| {
        Err(Error::Shape {
            at: format!("{} in training mode, node `{}`", graph.name(), graph.node(id).name),
            expected: "more than one value per channel".into(),
            got: format!("one, from a batch of {batch}"),
        })
    })
}
