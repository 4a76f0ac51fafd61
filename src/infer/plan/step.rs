//! Steps, the values that they read and write, and plans of them.

use std::collections::HashMap;
use std::sync::Mutex;

use super::super::form::Form;
use super::super::kernel::{
    Attention, Block, Blur, Conv, Depthwise, Gated, GroupNorm, LayerNorm, Lrn, Map, Pad, Rearrange,
    Reduce, Strassen, Winograd,
};
use super::super::layout::Layout;
use super::super::memory::Buffer;
use super::choose::{Algorithm, Layer};
use crate::graph::{Graph, NodeId, Op, Shape};

/// A graph made ready for a batch of images of one size.
#[derive(Debug)]
pub struct Plan {
    pub(super) batch: usize,
    pub(super) steps: Vec<Step>,
    pub(super) arrangement: Arrangement,
    pub(super) constants: Vec<Vec<f32>>,
    /// Concatenations whose parts are written in place, and how they lie, by their slot.
    pub(super) wholes: HashMap<usize, (NodeId, Layout)>,
    /// The node with the largest value, for messages.
    pub(super) largest: String,
    pub(super) outputs: Vec<Output>,
}

/// The steps that run for each image by itself, and the places of all slots.
#[derive(Debug)]
pub(super) struct Arrangement {
    /// So many steps at the beginning run for each image by itself.
    pub apart: usize,
    pub slots: Vec<Slot>,
    /// Words of the memory that all images share.
    pub shared: usize,
    /// Words of the memory of an image by itself.
    pub own: usize,
}

/// A place in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// In the memory of an image by itself, else in the shared one.
    pub is_own: bool,
    pub place: usize,
    pub len: usize,
}

/// A value that was asked for.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) value: Value,
    pub(super) shape: Shape,
}

/// Where the numbers of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// The caller's images, (N, C, H, W).
    Images,
    /// A slot of the memory of a run, from a word on.
    Slot { slot: usize, offset: usize },
    /// Numbers that every run has.
    Constant(usize),
}

/// A value, and how it lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) home: Home,
    /// In numbers, whatever their form is.
    pub(super) layout: Layout,
    pub(super) form: Form,
}

impl Value {
    /// Words from the first to the last of a batch.
    pub(super) fn words(&self, batch: usize) -> usize {
        self.form.words(self.layout.extent(batch))
    }

    pub(super) fn slot(&self) -> Option<usize> {
        match self.home {
            Home::Slot { slot, .. } => Some(slot),
            Home::Images | Home::Constant(_) => None,
        }
    }
}

/// Something to compute.
#[derive(Debug)]
pub(super) struct Step {
    /// The nodes that it computes.
    pub(super) nodes: Vec<NodeId>,
    pub(super) operation: Operation,
    pub(super) inputs: Vec<Value>,
    pub(super) output: Value,
    /// A slot for what it computes on the way.
    pub(super) scratch: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Operation {
    Rearrange(Rearrange),
    Conv(Conv),
    Winograd(Winograd),
    Strassen(Strassen),
    Gated(Box<Gated>),
    Depthwise(Depthwise),
    Block(Box<Block>),
    Reduce(Reduce),
    Blur(Blur),
    Map(Map),
    LayerNorm(LayerNorm),
    GroupNorm(GroupNorm),
    Lrn(Lrn),
    Pad(Pad),
    Attention(Attention),
    /// Images as vectors, channel by channel.
    Flatten,
}

impl Plan {
    /// The convolution or linear layer of each step that may have another algorithm, and its node: no part of a block.
    pub(in crate::infer) fn layers(
        &self,
        graph: &Graph,
    ) -> Vec<Option<(NodeId, Layer, Algorithm)>> {
        let layer = |step: &Step| {
            let &id = step.nodes.first()?;
            match (&step.operation, &graph.node(id).op) {
                (Operation::Conv(of), Op::Conv(_) | Op::Linear(_)) => {
                    let layer =
                        Layer::new(&of.window, of.groups.len(), &of.input, of.output.channels);
                    Some((id, layer, Algorithm::Direct))
                }
                (Operation::Strassen(of), _) => {
                    Some((id, Layer::pointwise(&of.input, of.output.channels), Algorithm::Strassen))
                }
                (Operation::Winograd(of), _) => {
                    let layer = Layer::new(&of.window, 1, &of.input, of.output.channels);
                    Some((id, layer, Algorithm::Winograd(of.weights.tile())))
                }
                _ => None,
            }
        };
        self.steps.iter().map(layer).collect()
    }
}

/// Memory of a run, which the next one may use again.
#[derive(Debug)]
pub(in crate::infer) struct Workspace {
    pub(super) shared: Buffer,
    /// For images by themselves: as many as were at it at once.
    pub(super) own: Mutex<Vec<Buffer>>,
}
