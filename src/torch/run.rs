//! Eager runs: the steps of a schedule run in order, as in PyTorch, and each value is freed after its last use.

use std::collections::{HashMap, HashSet};

use tch::Tensor;

use super::store::{blob, copy_out};
use super::walk::{Mode, Pass, Walk};
use super::{Store, failed};
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Schedule};

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
    walk.run(&graph.schedule(wanted), &mut values, &wanted.iter().copied().collect(), Pass::First)?;
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

impl Walk<'_> {
    /// Runs a schedule. A value of its nodes that is not `kept` is freed after its last use.
    pub(super) fn run(
        &self,
        schedule: &Schedule,
        values: &mut Values,
        kept: &HashSet<NodeId>,
        pass: Pass,
    ) -> Result<()> {
        self.run_watched(schedule, values, kept, pass, |_, value, _| Ok(value))
    }

    /// The same, where `watch` is shown each value as soon as it is computed, and what is computed so far, and gives the
    /// value that is used from then on.
    pub(super) fn run_watched(
        &self,
        schedule: &Schedule,
        values: &mut Values,
        kept: &HashSet<NodeId>,
        pass: Pass,
        mut watch: impl FnMut(NodeId, Tensor, &Values) -> Result<Tensor>,
    ) -> Result<()> {
        for step in self.lower(schedule, kept, pass) {
            let input = |input: &NodeId| {
                values.get(input).ok_or_else(|| Error::Defect {
                    at: format!("{}, node `{}`", self.graph.name(), step.node.name),
                    message: format!("`{}` did not run before", self.graph.node(*input).name),
                })
            };
            let inputs = step.node.inputs.iter().map(input).collect::<Result<Vec<&Tensor>>>()?;
            let value = step.run(&inputs, self.batch as i64).map_err(failed(format_args!(
                "{}, node `{}` ({})",
                self.graph.name(),
                step.node.name,
                step.node.op.name()
            )))?;
            let value = watch(step.id, value, values)?;
            values.insert(step.id, value);
            for input in &step.freed {
                values.remove(input);
            }
        }
        Ok(())
    }
}
