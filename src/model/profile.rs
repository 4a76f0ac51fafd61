//! Profiles: the time of each step of native inference, and the operations that it stands for.

use std::collections::HashMap;
use std::time::Duration;

use super::Model;
use crate::engine::{Precision, View};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, PartKind};
use crate::infer::{Described, Pool};

/// The times of a plan's steps.
#[derive(Clone, Debug)]
pub struct Profile {
    pub steps: Vec<TimedStep>,
    /// The median time of a run.
    pub run: Duration,
    /// Floating-point operations per second that the threads do at most.
    pub peak: f64,
    pub threads: usize,
}

/// A step, and its median time.
#[derive(Clone, Debug)]
pub struct TimedStep {
    pub step: Described,
    /// The stage and block, or the other parts of the network, that hold its first node, the outer one first.
    pub parts: Vec<String>,
    pub time: Duration,
    /// Floating-point operations of its nodes by their definition, two for a multiply-add, for all images.
    pub operations: u64,
}

impl Model {
    /// Runs native inference on `x` (N, C, H, W) `repeats` times, and once before.
    ///
    /// Fails with `Error::Device` where the parameters are on no CPU, or the processor has no instructions for the
    /// precision.
    pub fn profile(&self, x: View<'_>, repeats: usize, precision: Precision) -> Result<Profile> {
        let graph = &*self.graph;
        let engine = self.engine_on_cpu("whose steps a profile measures")?;
        self.offers(precision)?;
        let (pool, wanted) = (Pool::shared(), [graph.output()]);
        let prepared =
            self.native().prepared(graph, engine, x.shape, (&wanted, precision), &pool)?;
        let &[batch, _, height, width] = x.shape else { return Err(self.no_images()) };
        let cost = graph.cost(height, width)?;
        let macs: HashMap<NodeId, u64> =
            cost.nodes.iter().map(|row| (row.node, row.macs)).collect();
        let times = prepared.time(x, &pool, repeats)?;
        let timed = |(step, time): (Described, Duration)| {
            let of = |node| macs.get(node).copied().unwrap_or(0);
            let sum: u64 = step.nodes.iter().map(of).sum();
            let parts = step.nodes.first().map_or(Vec::new(), |&node| parts(graph, node));
            let operations = sum.saturating_mul(2).saturating_mul(batch as u64);
            TimedStep { step, parts, time, operations }
        };
        let steps = prepared.plan().described(graph).into_iter().zip(times.steps);
        Ok(Profile {
            steps: steps.map(timed).collect(),
            run: times.run,
            peak: times.peak,
            threads: pool.threads(),
        })
    }

    fn no_images(&self) -> Error {
        Error::Defect { at: self.name().to_owned(), message: "a plan for no images".into() }
    }
}

/// The names of the parts that hold a node, the outer one first; no gates, which are parts of blocks.
fn parts(graph: &Graph, node: NodeId) -> Vec<String> {
    let holds = graph.parts().iter().filter(|part| part.kind != PartKind::Gate);
    holds.filter(|part| part.nodes().any(|id| id == node)).map(|part| part.name.clone()).collect()
}
