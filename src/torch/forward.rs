//! Runs for PyTorch: libtorch's autograd records them on the tensors of the user and of the store, and the backward pass is
//! PyTorch's own.

use std::collections::HashSet;

use tch::{Kind, Tensor};

use super::bridge::{Handle, autocasts};
use super::run::Values;
use super::walk::{Pass, Walk};
use super::{Store, device_name};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId};

/// Options of a run for PyTorch.
#[derive(Debug)]
pub struct Forward {
    /// The nodes whose values are returned.
    pub wanted: Vec<NodeId>,
    /// For each node whether it is in training mode, which matters to batch norm and dropout.
    pub training: Vec<bool>,
    /// The seed of dropout.
    pub seed: u64,
    /// Values that are shown to the caller, in the order in which it wants to see those of one node.
    pub watched: Vec<Watched>,
}

/// A value that the caller is shown, with the values that it counts as inputs.
#[derive(Debug)]
pub struct Watched {
    pub node: NodeId,
    pub reads: Vec<NodeId>,
}

/// Runs `graph` on `x` (N, C, H, W), and returns the values of the wanted nodes. The caller's thread decides whether
/// gradients are recorded, and whether operators cast (`torch.autocast`).
///
/// `watch` is given the place of a watched value in the list, its inputs and the value itself, and returns another one where
/// it is to be used from then on.
pub fn forward(
    graph: &Graph,
    store: &Store,
    x: &Handle,
    options: Forward,
    mut watch: impl FnMut(usize, Vec<Handle>, Handle) -> Result<Option<Handle>>,
) -> Result<Vec<Handle>> {
    let Forward { wanted, training, seed, watched } = options;
    let x = &x.0;
    is_fitting(graph, store, x)?;
    let walk = Walk::by_node(graph, store, x, &wanted, (training, seed))?;
    let shown = watched.iter().flat_map(|of| of.reads.iter().copied().chain([of.node]));
    let kept: HashSet<NodeId> = wanted.iter().copied().chain(shown).collect();
    let mut values = Values::from([(graph.image(), x.shallow_clone())]);
    let schedule = graph.schedule(&wanted);
    walk.run_watched(&schedule, &mut values, &kept, Pass::First, |id, value, values| {
        let mut value = value;
        for (place, of) in watched.iter().enumerate().filter(|(_, of)| of.node == id) {
            let read = |id: &NodeId| values.get(id).map(|input| Handle(input.shallow_clone()));
            let inputs = of.reads.iter().filter_map(read).collect();
            if let Some(Handle(other)) = watch(place, inputs, Handle(value.shallow_clone()))? {
                value = other;
            }
        }
        Ok(value)
    })?;
    Ok(wanted.iter().map(|id| Handle(values[id].shallow_clone())).collect())
}

fn is_fitting(graph: &Graph, store: &Store, x: &Tensor) -> Result<()> {
    let at = || format!("the input of {}", graph.name());
    if x.device() != store.device() {
        return Err(Error::Device {
            device: device_name(x.device()),
            expected: format!(
                "{} on {}, where its parameters are",
                at(),
                device_name(store.device())
            ),
            got: "a tensor on another device".into(),
        });
    }
    match x.f_kind() {
        Ok(Kind::Float) => Ok(()),
        Ok(Kind::Half | Kind::BFloat16) if autocasts(x) => Ok(()),
        kind => Err(Error::ElementType {
            at: at(),
            expected: "a tensor of float32, or of half precision under torch.autocast".into(),
            got: kind
                .map_or_else(|_| "one of another type".into(), |kind| format!("one of {kind:?}")),
        }),
    }
}
