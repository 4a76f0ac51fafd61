//! Gradients, frozen parameters and averages, which need libtorch's tensors themselves.

use std::any::Any;
use std::cmp::Ordering;
use std::sync::Arc;

use super::{Model, Shared};
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Op, pattern};
use crate::torch::{
    ExplainOptions, Explanation, Forward, GradientOptions, Handle, Mode, Pullback, Score, Segments,
    Store, Watched, explain, forward, pull_back,
};
use crate::weights::Parameters;

impl Model {
    /// The parameters as libtorch's tensors.
    pub fn store(&self) -> Result<&Store> {
        let engine: &dyn Any = self.engine()?;
        engine.downcast_ref().ok_or_else(other_engine)
    }

    /// Does work that may change libtorch's tensors, as `changing`.
    pub fn changing_store<T>(
        &mut self,
        work: impl FnOnce(&Arc<Graph>, &mut Store) -> Result<T>,
    ) -> Result<T> {
        self.changing(|graph, engine| {
            let engine: &mut dyn Any = engine;
            work(graph, engine.downcast_mut().ok_or_else(other_engine)?)
        })
    }

    /// The tensors of all parameters for PyTorch, which may change them: by name, with whether each is trained unless frozen.
    pub fn share(&mut self) -> Result<Vec<(String, bool, Handle)>> {
        self.changing_store(|_, store| {
            let shared = store.share().into_iter();
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
        let wanted = self.wanted(model)?;
        let training = self.modes(model);
        let watched = self.watched.into_iter().map(|(node, reads)| {
            let node = model.graph().named(&node)?;
            Ok(Watched { node, reads: model.nodes(Some(&reads))? })
        });
        let watched = watched.collect::<Result<_>>()?;
        Ok(Forward { wanted, training, seed: self.seed, watched })
    }

    /// The nodes whose values are returned. Fails with `Error::Argument` where the parameters are others by now.
    fn wanted(&self, model: &Model) -> Result<Vec<NodeId>> {
        let graph = model.graph();
        if self.generation != model.generation() {
            return Err(Error::Argument {
                at: format!("a torch.Module of {}", graph.name()),
                expected: "the parameters that it was made of".into(),
                got: "others, as of a new classifier: make another Module of the model".into(),
            });
        }
        match &self.wanted {
            Some(names) => model.nodes(Some(names)),
            None if self.auxiliary => Ok(graph.heads()),
            None => Ok(vec![graph.output()]),
        }
    }

    /// For each node whether it is in training mode.
    fn modes(&self, model: &Model) -> Vec<bool> {
        let mut training = vec![false; model.graph().nodes().len()];
        for &place in &self.training {
            if let Some(node) = training.get_mut(place) {
                *node = true;
            }
        }
        training
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
        self.changing_store(|graph, store| {
            let Pullback { output, gradients } = pull_back(graph, store, x, cotangent, options)?;
            let name = |index: usize| store.parameters()[index].name.clone();
            let gradients = gradients.into_iter().map(|(index, array)| (name(index), array));
            Ok((output, gradients.collect()))
        })
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
        self.changing_store(|graph, store| {
            let chosen = patterns
                .iter()
                .map(|pattern| pattern::trained(store.parameters(), pattern, graph.name()));
            let chosen = chosen.collect::<Result<Vec<_>>>()?.concat();
            store.set_trained(&chosen, trained)
        })
    }
}

/// Segments with the names of nodes.
#[derive(Debug)]
pub struct NamedSegments {
    pub inner: Segments,
    /// The name of the images.
    pub image: String,
    pub wanted: Vec<String>,
    /// For each segment the nodes whose values it reads, and those whose values it gives.
    pub borders: Vec<(Vec<String>, Vec<String>)>,
}

/// Whether a norm updates its running statistics in a run with these modes.
fn learns(graph: &Graph, training: &[bool]) -> bool {
    let is_norm = |id: NodeId| matches!(graph.node(id).op, Op::BatchNorm(_));
    graph.ids().any(|id| training[id.index()] && is_norm(id))
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
        if !learns(model.graph(), &options.training) {
            return forward(model.graph(), model.store()?, x, options, watch);
        }
        // Norms update their running statistics.
        drop(model);
        let mut model = self.write()?;
        let options = names.of(&model)?;
        model.changing_store(|graph, store| forward(graph, store, x, options, watch))
    }

    /// The segments of such a run, with the names of the nodes that each reads and gives.
    pub fn segments(&self, x: &Handle, names: &ForwardNames) -> Result<NamedSegments> {
        let model = self.read()?;
        let inner = Segments::new(model.graph(), model.store()?, x, names.wanted(&model)?)?;
        let name = |ids: &[NodeId]| -> Vec<String> {
            ids.iter().map(|id| model.graph().node(*id).name.clone()).collect()
        };
        let borders = inner.borders().map(|(reads, gives)| (name(reads), name(gives))).collect();
        let (image, wanted) = (name(&[model.graph().image()]).concat(), name(inner.wanted()));
        Ok(NamedSegments { inner, image, wanted, borders })
    }

    /// Runs a segment, for the second time if `again`, as `Segments::run` does.
    pub fn run_segment(
        &self,
        segments: &Segments,
        place: usize,
        inputs: Vec<Handle>,
        names: &ForwardNames,
        again: bool,
    ) -> Result<Vec<Handle>> {
        let model = self.read()?;
        names.wanted(&model)?;
        let modes = (names.modes(&model), names.seed, again);
        if again || !learns(model.graph(), &modes.0) {
            return segments.run(model.graph(), model.store()?, place, inputs, modes);
        }
        drop(model);
        let mut model = self.write()?;
        names.wanted(&model)?;
        model.changing_store(|graph, store| segments.run(graph, store, place, inputs, modes))
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
        let others = others.store()?;
        own.changing_store(|_, store| store.average(others, decay, average_statistics))
    }
}
