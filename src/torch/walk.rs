//! A graph with a batch of images that fits it, and how it is to be run.

use tch::Tensor;

use super::Store;
use super::among::Among;
use crate::engine::Precision;
use crate::error::{Error, Result, shape_text};
use crate::graph::{Graph, NodeId, Op, Shape};
use crate::weights::Parameters;

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
    /// The processes that train together.
    pub among: Option<Among<'a>>,
    /// For each node whether it is in training mode, where not all are.
    training: Option<Vec<bool>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        store: &'a Store,
        x: &Tensor,
        wanted: &[NodeId],
        mode: Mode,
    ) -> Result<Self> {
        let walk = Self::unchecked(graph, store, &x.size(), wanted, mode)?;
        walk.enough_for_statistics()?;
        Ok(walk)
    }

    /// The same for images of this size, where each node has a mode of its own, whatever is frozen.
    pub(super) fn by_node(
        graph: &'a Graph,
        store: &'a Store,
        size: &[i64],
        wanted: &[NodeId],
        (training, seed): (Vec<bool>, u64),
    ) -> Result<Self> {
        let mode =
            if training.contains(&true) { Mode::Training { seed } } else { Mode::Evaluation };
        let walk = Self::unchecked(graph, store, size, wanted, mode)?;
        let walk = Self { training: Some(training), ..walk };
        walk.enough_for_statistics()?;
        Ok(walk)
    }

    fn unchecked(
        graph: &'a Graph,
        store: &'a Store,
        size: &[i64],
        wanted: &[NodeId],
        mode: Mode,
    ) -> Result<Self> {
        let (batch, shapes) = input_shapes(graph, size, wanted)?;
        let precision = Precision::Float32;
        Ok(Self { graph, store, shapes, batch, mode, precision, among: None, training: None })
    }

    pub(super) fn trains(&self) -> bool {
        self.mode != Mode::Evaluation
    }

    /// Whether the node is in training mode.
    pub(super) fn trains_node(&self, id: NodeId) -> bool {
        self.trains() && self.training.as_ref().is_none_or(|training| training[id.index()])
    }

    /// Whether a norm uses the statistics of the batch: where nodes have no modes of their own, it does not if it is frozen.
    pub(super) fn learns(&self, id: NodeId) -> bool {
        self.trains_node(id) && (self.training.is_some() || !self.store.is_frozen(id))
    }

    /// Counts the changes of running statistics for autograd, which libtorch's batch norm and ours write to past it.
    pub(super) fn count_learned(&self) {
        let is_norm = |id: &NodeId| matches!(self.graph.node(*id).op, Op::BatchNorm(_));
        for id in self.graph.ids().filter(is_norm).filter(|id| self.learns(*id)) {
            let is_statistic = |&index: &usize| !self.store.parameters()[index].role.is_trained();
            self.store.count_changes(self.store.range(id.index()).filter(is_statistic));
        }
    }

    pub(super) fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    pub(super) fn among(self, among: Option<Among<'a>>) -> Self {
        Self { among, ..self }
    }

    /// Fails where batch norm would take the variance of a single value; PyTorch refuses that too.
    fn enough_for_statistics(&self) -> Result<()> {
        let Self { graph, batch, .. } = *self;
        let single = graph.ids().find(|id| {
            let shape = self.shapes[id.index()];
            let per_channel = shape.elements() / shape.channels().max(1);
            let single = batch * per_channel < 2 && matches!(graph.node(*id).op, Op::BatchNorm(_));
            single && self.learns(*id)
        });
        single.map_or(Ok(()), |id| {
            Err(Error::Shape {
                at: format!("{} in training mode, node `{}`", graph.name(), graph.node(id).name),
                expected: "more than one value per channel".into(),
                got: format!("one, from a batch of {batch}"),
            })
        })
    }
}

/// Checks the size of images against the graph; what fits has a shape at every node.
pub(super) fn input_shapes(
    graph: &Graph,
    size: &[i64],
    wanted: &[NodeId],
) -> Result<(usize, Vec<Shape>)> {
    let channels = graph.input().channels as i64;
    match *size {
        [batch, c, height, width] if c == channels && batch > 0 => {
            Ok((batch as usize, graph.shapes(height as usize, width as usize, wanted)?))
        }
        _ => Err(Error::Shape {
            at: format!("the input of {}", graph.name()),
            expected: format!("(N, {channels}, H, W) with N at least 1"),
            got: shape_text(size),
        }),
    }
}
