//! Gradients, frozen parameters and averages, which need libtorch's tensors themselves.

use std::any::Any;
use std::cmp::Ordering;
use std::sync::Arc;

use super::{Model, Shared};
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result};
use crate::graph::{Graph, pattern};
use crate::torch::{
    ExplainOptions, Explanation, GradientOptions, Mode, Pullback, Score, Store, explain, pull_back,
};
use crate::weights::Parameters;

impl Model {
    /// The parameters as libtorch's tensors.
    pub fn store(&self) -> Result<&Store> {
        let engine: &dyn Any = self.engine()?;
        engine.downcast_ref().ok_or_else(other_engine)
    }

    /// The graph, and the parameters as libtorch's tensors, to be changed.
    pub fn parts(&mut self) -> Result<(&Arc<Graph>, &mut Store)> {
        self.engine_mut()?;
        let engine = self.engine.as_deref_mut().map(|engine| engine as &mut dyn Any);
        let store = engine.and_then(|engine| engine.downcast_mut()).ok_or_else(other_engine)?;
        Ok((&self.graph, store))
    }
}

impl Model {
    /// The output for `x`, and the gradient of sum(output · cotangent) with respect to every trained parameter, by
    /// name: in evaluation, or in training with this seed.
    pub fn pull_back(
        &mut self,
        x: View<'_>,
        cotangent: View<'_>,
        seed: Option<u64>,
        precision: Precision,
    ) -> Result<(Array, Vec<(String, Array)>)> {
        let checkpointing = self.options.checkpointing.unwrap_or(false);
        let mode = seed.map_or(Mode::Evaluation, |seed| Mode::Training { seed });
        let options = GradientOptions { mode, checkpointing, precision };
        let run = |model: &mut Self| {
            let (graph, store) = model.parts()?;
            let Pullback { output, gradients } = pull_back(graph, store, x, cotangent, options)?;
            let name = |index: usize| store.parameters()[index].name.clone();
            let gradients = gradients.into_iter().map(|(index, array)| (name(index), array));
            Ok((output, gradients.collect()))
        };
        // In training, norms track the statistics of the batch.
        if seed.is_some() { run(self) } else { self.keeping_values(run) }
    }

    /// The gradients of a score of the node `output`, or of the logits, by the images and by the values of the nodes `at`.
    pub fn explain(
        &self,
        x: View<'_>,
        score: Score<'_>,
        output: Option<&String>,
        at: &[String],
        (guided, precision): (bool, Precision),
    ) -> Result<Explanation> {
        let output = self.nodes(output.map(std::slice::from_ref))?[0];
        let at = self.nodes(Some(at))?;
        let options = ExplainOptions { output, at: &at, guided, precision };
        explain(&self.graph, self.store()?, x, score, options)
    }

    /// Freezes the parameters that these patterns match, or trains them again.
    pub fn set_trained(&mut self, patterns: &[String], trained: bool) -> Result<()> {
        self.keeping_values(|model| {
            let (graph, store) = model.parts()?;
            let chosen = patterns
                .iter()
                .map(|pattern| pattern::trained(store.parameters(), pattern, graph.name()));
            let chosen = chosen.collect::<Result<Vec<_>>>()?.concat();
            store.set_trained(&chosen, trained)
        })
    }
}

fn other_engine() -> Error {
    Error::Defect { at: "training".into(), message: "an engine that is not libtorch".into() }
}

impl Shared {
    /// Moves every parameter toward that of `other`, a model of the same graph (EMA): decay · own + (1 - decay) ·
    /// other. Running statistics are averaged alike, or copied; batch counts are copied.
    pub fn average_from(&self, other: &Self, decay: f64, average_statistics: bool) -> Result<()> {
        // Two models are locked in the order of their addresses, so there is no deadlock.
        let (mut own, others);
        match std::ptr::from_ref(self).cmp(&std::ptr::from_ref(other)) {
            Ordering::Less => (own, others) = (self.write()?, other.read()?),
            Ordering::Greater => {
                others = other.read()?;
                own = self.write()?;
            }
            // The average of a model with itself changes nothing.
            Ordering::Equal => return Ok(()),
        }
        own.parts()?.1.average(others.store()?, decay, average_statistics)
    }
}
