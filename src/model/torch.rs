//! Gradients, frozen parameters and averages, which need libtorch's tensors themselves.

use std::any::Any;
use std::cmp::Ordering;
use std::sync::Arc;

use super::{Model, Shared};
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Op, pattern};
use crate::torch::{
    ExplainOptions, Explanation, Forward, GradientOptions, Handle, Mode, Pullback, Score, Store,
    Watched, explain, forward, pull_back,
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

    /// The tensors of all parameters for PyTorch, which may change them: by name, with whether each is trained unless frozen.
    pub fn share(&mut self) -> Result<Vec<(String, bool, Handle)>> {
        self.keeping_values(|model| {
            let shared = model.parts()?.1.share().into_iter();
            Ok(shared.map(|(of, tensor)| (of.name.clone(), of.role.is_trained(), tensor)).collect())
        })
    }

    /// Takes over device and memory layout of the tensors, which PyTorch has moved.
    pub fn adopt(&mut self) -> Result<()> {
        let engine = self.engine.as_deref_mut().map(|engine| engine as &mut dyn Any);
        let store: Option<&mut Store> = engine.and_then(|engine| engine.downcast_mut());
        store.map_or(Ok(()), Store::adopt)
    }
}

/// Nodes by their places in the graph, and by name.
#[derive(Clone, Debug)]
pub struct ForwardNames {
    /// As `Model::generation` said when the names were taken.
    pub generation: u64,
    /// None for the output, and in training mode also the logits of the auxiliary classifiers.
    pub wanted: Option<Vec<String>>,
    pub auxiliary: bool,
    /// The places of the nodes in training mode.
    pub training: Vec<usize>,
    pub seed: u64,
    /// Values that are shown to the caller, each with its inputs.
    pub watched: Vec<(String, Vec<String>)>,
}

impl ForwardNames {
    fn of(self, model: &Model) -> Result<Forward> {
        let graph = model.graph();
        if self.generation != model.generation() {
            return Err(Error::Argument {
                at: format!("a torch.Module of {}", graph.name()),
                expected: "the parameters that it was made of".into(),
                got: "others, as of a new classifier: make another Module of the model".into(),
            });
        }
        let wanted = match &self.wanted {
            Some(names) => model.nodes(Some(names))?,
            None if self.auxiliary => graph.heads(),
            None => vec![graph.output()],
        };
        let mut training = vec![false; graph.nodes().len()];
        for place in self.training {
            if let Some(node) = training.get_mut(place) {
                *node = true;
            }
        }
        let watched = self.watched.into_iter().map(|(node, reads)| {
            let node = model.graph().named(&node)?;
            Ok(Watched { node, reads: model.nodes(Some(&reads))? })
        });
        let watched = watched.collect::<Result<_>>()?;
        Ok(Forward { wanted, training, seed: self.seed, watched })
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
    /// Runs the graph for PyTorch, as `torch::forward` does.
    pub fn forward(
        &self,
        x: &Handle,
        names: ForwardNames,
        watch: impl FnMut(usize, Vec<Handle>, Handle) -> Result<Option<Handle>>,
    ) -> Result<Vec<Handle>> {
        let model = self.read()?;
        let options = names.clone().of(&model)?;
        let graph = model.graph();
        let is_norm = |id: NodeId| matches!(graph.node(id).op, Op::BatchNorm(_));
        if !graph.ids().any(|id| options.training[id.index()] && is_norm(id)) {
            return forward(graph, model.store()?, x, options, watch);
        }
        // Norms update their running statistics.
        drop(model);
        let mut model = self.write()?;
        let options = names.of(&model)?;
        let (graph, store) = model.parts()?;
        forward(graph, store, x, options, watch)
    }

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
