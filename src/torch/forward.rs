//! Runs for PyTorch: libtorch's autograd records them on the tensors of the user and of the store, and the backward pass is
//! PyTorch's own.

use std::collections::HashSet;

use tch::{Kind, Tensor};

use super::bridge::{Handle, autocasts, version};
use super::run::Values;
use super::walk::{Pass, Walk, input_shapes};
use super::{Store, device_name};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Schedule};
use crate::weights::Parameters;

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
    let walk = Walk::by_node(graph, store, &x.size(), &wanted, (training, seed))?;
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

/// The segments of a run for PyTorch whose activations are computed again in the backward pass, for images of one size.
#[derive(Debug)]
pub struct Segments {
    size: Vec<i64>,
    wanted: Vec<NodeId>,
    schedules: Vec<Schedule>,
    /// For each segment the nodes whose values are wanted, or read by later ones.
    gives: Vec<Vec<NodeId>>,
    /// The number of changes of the parameters before the run.
    changes: u64,
}

impl Segments {
    /// Those of a run on `x` (N, C, H, W) that returns the values of `wanted`.
    pub fn new(graph: &Graph, store: &Store, x: &Handle, wanted: Vec<NodeId>) -> Result<Self> {
        is_fitting(graph, store, &x.0)?;
        let size = x.0.size();
        let (_, shapes) = input_shapes(graph, &size, &wanted)?;
        let schedules = graph.segments(&shapes, &wanted);
        let mut later: HashSet<NodeId> = wanted.iter().copied().collect();
        let mut gives = Vec::with_capacity(schedules.len());
        for schedule in schedules.iter().rev() {
            gives.push(schedule.nodes().filter(|id| later.contains(id)).collect());
            later.extend(&schedule.reads);
        }
        gives.reverse();
        Ok(Self { size, wanted, schedules, gives, changes: changes(store) })
    }

    /// The nodes whose values a run returns.
    pub fn wanted(&self) -> &[NodeId] {
        &self.wanted
    }

    /// For each segment the nodes whose values it reads, and those whose values it gives.
    pub fn borders(&self) -> impl Iterator<Item = (&[NodeId], &[NodeId])> {
        self.schedules.iter().zip(&self.gives).map(|(of, gives)| (&of.reads[..], &gives[..]))
    }

    /// Runs a segment on the values that it reads, and returns those that it gives. `training` and `seed` are those of
    /// `Forward`. In its second run norms do not update their running statistics again.
    ///
    /// Fails with `Error::Argument` where a parameter has changed before the second run.
    pub fn run(
        &self,
        graph: &Graph,
        store: &Store,
        place: usize,
        inputs: Vec<Handle>,
        (training, seed, again): (Vec<bool>, u64, bool),
    ) -> Result<Vec<Handle>> {
        let pass = if again { Pass::Second } else { Pass::First };
        if again && changes(store) != self.changes {
            return Err(Error::Argument {
                at: format!("the backward pass of {}, built with checkpointing=True", graph.name()),
                expected: "the parameters of the forward pass, of which a part runs again".into(),
                got: "others: they were changed meanwhile".into(),
            });
        }
        let walk = Walk::by_node(graph, store, &self.size, &self.wanted, (training, seed))?;
        let (schedule, gives) = (&self.schedules[place], &self.gives[place]);
        let inputs = inputs.into_iter().map(|Handle(value)| value);
        let mut values: Values = schedule.reads.iter().copied().zip(inputs).collect();
        let kept = gives.iter().copied().collect();
        walk.run(schedule, &mut values, &kept, pass)?;
        Ok(gives.iter().map(|id| Handle(values[id].shallow_clone())).collect())
    }
}

/// The number of changes of the parameters, without those of running statistics.
fn changes(store: &Store) -> u64 {
    let trained = store.parameters().iter().zip(store.tensors());
    let trained = trained.filter(|(of, _)| of.role.is_trained());
    trained.map(|(_, tensor)| version(tensor)).fold(0, u64::wrapping_add)
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
