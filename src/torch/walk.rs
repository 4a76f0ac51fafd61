//! A graph with a batch of images that fits it, and how it is to be run.

use tch::Tensor;

use super::Store;
use crate::engine::Precision;
use crate::error::{Error, Result, shape_text};
use crate::graph::{Graph, NodeId, Op, Shape};

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

/// A graph, its parameters, and a batch of images that fits it.
pub(super) struct Walk<'a> {
    pub graph: &'a Graph,
    pub store: &'a Store,
    pub precision: Precision,
    pub shapes: Vec<Shape>,
    pub batch: usize,
    pub mode: Mode,
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
