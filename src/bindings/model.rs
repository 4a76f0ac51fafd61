//! The implementation of Python's `cnnzoo.Model`: a graph and its parameters.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, ThreadId};

use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{count, floats, from_values};
use super::checkpoint::Checkpoint;
use super::errors::detached;
use super::graph::Graph;
use super::load::{PinnedArrays, into_python};
use super::registry::parse_options;
use crate::error::{Error, Result};
use crate::families::{self, Edition, Options, Variant};
use crate::graph::{self, NodeId, Parameter};
use crate::torch::{self, GradientOptions, Layout, Mode, Precision, Pullback, Store, View};
use crate::train::groups;
use crate::weights::fill::{LoadOutcome, fill};
use crate::weights::init::Recipe;
use crate::weights::keras;
use crate::weights::load::{Entries, Policy, match_entries};
use crate::weights::names::{Naming, Translation};
use crate::weights::prefix::{Below, Names};
use crate::weights::translate::translate;
use crate::weights::{Ignored, Parameters, Stored, write_safetensors};

#[pyclass(frozen, module = "cnnzoo._native")]
pub(super) struct Model {
    pub(super) name: String,
    /// The registered variant and edition; none if a user wrote the graph.
    row: Option<(&'static Variant, &'static Edition)>,
    /// Many threads may read at once; writers wait for them. Locked only without the GIL, so that nobody waits for a
    /// lock while holding the GIL.
    state: RwLock<State>,
    /// The thread that holds the state while it calls a Python function.
    asking: Mutex<Option<ThreadId>>,
}

/// The mutable state of a model.
pub(super) struct State {
    pub(super) options: Options,
    pub(super) graph: graph::Graph,
    /// None on the device `meta`.
    store: Option<Store>,
    /// The class names, if given. They are here so that a run sees those of its classifier.
    labels: Option<Vec<String>>,
}

/// The device of models without parameters.
const META: &str = "meta";

impl State {
    fn new(
        options: Options,
        graph: graph::Graph,
        recipe: Recipe,
        seed: u64,
        device: &str,
    ) -> Result<Self> {
        let mut store = match device {
            META => None,
            device => Some(Store::new(&graph, recipe, seed, torch::device(device)?)?),
        };
        if let (Some(store), Some(zero)) = (&mut store, options.zero_init_residual) {
            store.set_scales(&families::residual_ends(&graph), if zero { 0.0 } else { 1.0 })?;
        }
        Ok(Self { options, graph, store, labels: None })
    }

    pub(super) fn store(&self) -> Result<&Store> {
        self.store.as_ref().ok_or_else(|| read_only(&self.graph))
    }

    pub(super) fn parts(&mut self) -> Result<(&graph::Graph, &mut Store)> {
        let store = self.store.as_mut().ok_or_else(|| read_only(&self.graph))?;
        Ok((&self.graph, store))
    }

    /// The options under which another edition has the same sizes, even if it is built for other images by default.
    fn options_of_others(&self) -> Options {
        Options { image_size: Some(self.graph.input().height), ..self.options.common() }
    }

    fn nodes(&self, names: Option<&[String]>) -> Result<Vec<NodeId>> {
        let Some(names) = names else { return Ok(vec![self.graph.output()]) };
        let find = |name: &String| {
            self.graph.find(name).ok_or_else(|| Error::Argument {
                at: format!("a node of {}", self.graph.name()),
                expected: "a name of `nodes()`, or the path before some of them".into(),
                got: format!("`{name}`"),
            })
        };
        names.iter().map(find).collect()
    }
}

fn read_only(graph: &graph::Graph) -> Error {
    Error::Device {
        device: META.into(),
        expected: format!("{} with parameters", graph.name()),
        got: "one that was built with meta=True, to be read only".into(),
    }
}

impl Model {
    /// Marks that this thread calls a Python function while it holds the state, until the result is dropped.
    pub(super) fn asking(&self) -> Asking<'_> {
        *self.asking.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
        Asking(self)
    }

    /// Fails with `Error::Argument` on a thread that would deadlock on itself.
    fn not_asking(&self) -> Result<()> {
        let asking = *self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if asking != Some(thread::current().id()) {
            return Ok(());
        }
        let at = format!("{} in a training step", self.name);
        let expected = "a loss that is a function of logits and targets".into();
        Err(Error::Argument { at, expected, got: "one that uses the model itself".into() })
    }

    pub(super) fn read(&self) -> Result<RwLockReadGuard<'_, State>> {
        self.not_asking()?;
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The state for inference: weights in the channels-first layout, which training steps change.
    pub(super) fn settled(&self) -> Result<RwLockReadGuard<'_, State>> {
        loop {
            let state = self.read()?;
            if state.store()?.layout() == Layout::ChannelsFirst {
                return Ok(state);
            }
            drop(state);
            self.write()?.parts()?.1.lay_out(Layout::ChannelsFirst)?;
        }
    }

    pub(super) fn write(&self) -> Result<RwLockWriteGuard<'_, State>> {
        self.not_asking()?;
        Ok(self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn look<T: Send>(&self, py: Python<'_>, at: impl FnOnce(&State) -> T + Send) -> PyResult<T> {
        detached(py, || {
            let state = self.read()?;
            Ok(at(&state))
        })
    }

    /// The batch `x` as a contiguous array.
    pub(super) fn images<'py>(
        &self,
        x: &Bound<'py, PyAny>,
    ) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
        let channels = self.look(x.py(), |state| state.graph.input().channels)?;
        floats(x, &format!("the input of {}", self.name), |shape| match shape {
            [batch, c, _, _] if *batch > 0 && *c == channels => Ok(()),
            _ => Err(format!("(N, {channels}, H, W) with N at least 1")),
        })
    }
}

/// Marks, while it lives, that a thread calls a Python function.
pub(super) struct Asking<'a>(&'a Model);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        *self.0.asking.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[pymethods]
impl Model {
    #[new]
    fn new(
        py: Python<'_>,
        name: &str,
        source: Option<&str>,
        options: &str,
        device: &str,
        seed: u64,
    ) -> PyResult<Self> {
        let (variant, edition) = families::find(name, source)?;
        let options = parse_options(name, options)?;
        detached(py, || {
            let graph = variant.graph(edition, &options)?;
            let state = State::new(options, graph, edition.recipe, seed, device)?;
            Ok(Self {
                name: variant.name.into(),
                row: Some((variant, edition)),
                state: RwLock::new(state),
                asking: Mutex::default(),
            })
        })
    }

    /// A model of any graph, with newly initialised parameters.
    #[staticmethod]
    fn from_graph(py: Python<'_>, graph: &Graph, device: &str, seed: u64) -> PyResult<Self> {
        detached(py, || {
            let graph = graph.0.clone();
            let name = graph.name().to_owned();
            let state = State::new(Options::default(), graph, Recipe::RESNET, seed, device)?;
            Ok(Self { name, row: None, state: RwLock::new(state), asking: Mutex::default() })
        })
    }

    /// Fails where `load_weights` would, from the shapes in the file alone.
    fn expect(&self, py: Python<'_>, checkpoint: &Checkpoint, policy: &str) -> PyResult<()> {
        detached(py, || {
            let file = &checkpoint.inner;
            let (names, policy) = (self.names("auto", None, file)?, self.policy(policy)?);
            let graph = self.read()?.graph.clone();
            let parameters = graph.parameters();
            let below = Below::new(file, &names.prefix, &order(&parameters));
            let found = match_entries(&parameters, &below.shapes(), &names.naming, &policy);
            let origin = file.path().display().to_string();
            found.accept(&policy, &names.naming, graph.name(), &origin, &below)
        })
    }

    /// Allocates and initialises the parameters of a network that was built without them.
    fn allocate(&self, py: Python<'_>, device: &str, seed: u64) -> PyResult<()> {
        detached(py, || {
            let recipe = self.row.map_or(Recipe::RESNET, |(_, edition)| edition.recipe);
            let mut state = self.write()?;
            let (options, graph) = (state.options.clone(), state.graph.clone());
            let labels = state.labels.clone();
            *state = State { labels, ..State::new(options, graph, recipe, seed, device)? };
            Ok(())
        })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    #[getter]
    fn source(&self) -> Option<String> {
        self.row.map(|(_, edition)| edition.source.to_string())
    }

    /// The source's name of the network.
    #[getter]
    fn source_name(&self) -> Option<&'static str> {
        self.row.map(|(_, edition)| edition.source_name)
    }

    #[getter]
    fn num_classes(&self, py: Python<'_>) -> PyResult<usize> {
        self.look(py, |state| state.graph.classes())
    }

    /// The options given, as a JSON object.
    #[getter]
    fn options(&self, py: Python<'_>) -> PyResult<String> {
        self.look(py, |state| serde_json::to_string(&state.options))?
            .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
    }

    #[getter]
    fn device(&self, py: Python<'_>) -> PyResult<String> {
        self.look(py, |state| {
            state.store.as_ref().map_or(META.into(), |store| torch::device_name(store.device()))
        })
    }

    fn graph(&self, py: Python<'_>) -> PyResult<Graph> {
        self.look(py, |state| Graph(state.graph.clone()))
    }

    /// The class names, if given.
    #[getter]
    fn labels(&self, py: Python<'_>) -> PyResult<Option<Vec<String>>> {
        self.look(py, |state| state.labels.clone())
    }

    /// Sets the class names. Fails unless there is one for each class.
    fn set_labels(&self, py: Python<'_>, labels: Option<Vec<String>>) -> PyResult<()> {
        detached(py, || {
            let mut state = self.write()?;
            let (classes, names) = (state.graph.classes(), labels.as_ref().map(Vec::len));
            if names.is_some_and(|names| names != classes) {
                return Err(Error::Argument {
                    at: format!("labels of {}", self.name),
                    expected: format!("{classes} names"),
                    got: names.unwrap_or_default().to_string(),
                });
            }
            state.labels = labels;
            Ok(())
        })
    }

    /// The output for `x`, and the class names of the classifier that ran, if given.
    fn classify<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Labels)> {
        let py = x.py();
        let x = self.images(x)?;
        let view = View { shape: x.shape(), values: x.as_slice()? };
        let (array, labels) = detached(py, || {
            let state = self.settled()?;
            let (graph, store) = (&state.graph, state.store()?);
            let outputs = torch::infer(graph, store, view, &[graph.output()], Precision::Float32)?;
            Ok((outputs.into_iter().next(), state.labels.clone()))
        })?;
        let array = array.ok_or_else(|| Error::Defect {
            at: self.name.clone(),
            message: "a run without an output".into(),
        })?;
        Ok((from_values(py, &array.shape, array.values)?, labels))
    }

    /// The values of `nodes` for images `x` (N, C, H, W), or of the output where none are named.
    #[pyo3(signature = (x, nodes=None, precision="float32"))]
    fn run<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        nodes: Option<Vec<String>>,
        precision: &str,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = x.py();
        let precision = Precision::parse(precision)?;
        let x = self.images(x)?;
        let view = View { shape: x.shape(), values: x.as_slice()? };
        let arrays = detached(py, || {
            let state = self.settled()?;
            let wanted = state.nodes(nodes.as_deref())?;
            torch::infer(&state.graph, state.store()?, view, &wanted, precision)
        })?;
        arrays.into_iter().map(|array| from_values(py, &array.shape, array.values)).collect()
    }

    /// The output for `x`, and the gradient of sum(output · cotangent) with respect to every trained parameter, by
    /// name.
    fn pull_back<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        cotangent: &Bound<'py, PyAny>,
        training: bool,
        precision: &str,
        seed: u64,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyDict>)> {
        let py = x.py();
        let precision = Precision::parse(precision)?;
        let x = self.images(x)?;
        let cotangent = floats(cotangent, &format!("the cotangent of {}", self.name), |_| Ok(()))?;
        let x = View { shape: x.shape(), values: x.as_slice()? };
        let cotangent = View { shape: cotangent.shape(), values: cotangent.as_slice()? };
        let (pullback, names) = detached(py, || {
            let mut state = self.write()?;
            let checkpointing = state.options.checkpointing.unwrap_or(false);
            let (graph, store) = state.parts()?;
            let mode = if training { Mode::Training { seed } } else { Mode::Evaluation };
            let how = GradientOptions { mode, checkpointing, precision };
            let Pullback { output, gradients } = torch::pull_back(graph, store, x, cotangent, how)?;
            let names: Vec<String> = gradients
                .iter()
                .map(|(index, _)| store.parameters()[*index].name.clone())
                .collect();
            Ok((Pullback { output, gradients }, names))
        })?;
        let gradients = PyDict::new(py);
        for (name, (_, array)) in names.into_iter().zip(pullback.gradients) {
            gradients.set_item(name, from_values(py, &array.shape, array.values)?)?;
        }
        Ok((from_values(py, &pullback.output.shape, pullback.output.values)?, gradients))
    }

    /// Freezes the parameters that these patterns match, or trains them again.
    fn set_trained(&self, py: Python<'_>, patterns: Vec<String>, trained: bool) -> PyResult<()> {
        detached(py, || {
            let mut state = self.write()?;
            let store = state.parts()?.1;
            let chosen = patterns
                .iter()
                .map(|pattern| groups::trained(store.parameters(), pattern, &self.name));
            let chosen = chosen.collect::<Result<Vec<_>>>()?.concat();
            store.set_trained(&chosen, trained)
        })
    }

    /// The names of the parameters that are trained.
    fn trained(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        detached(py, || {
            let state = self.read()?;
            let store = state.store()?;
            let indices = store.trained();
            Ok(indices.map(|index| store.parameters()[index].name.clone()).collect())
        })
    }

    /// Moves the parameters to another device.
    fn to(&self, py: Python<'_>, device: &str) -> PyResult<()> {
        detached(py, || self.write()?.parts()?.1.to_device(torch::device(device)?))
    }

    /// A copy of the network with the same values, frozen alike.
    fn copy(&self, py: Python<'_>) -> PyResult<Self> {
        detached(py, || {
            let state = self.read()?;
            let store = state.store.as_ref().map(Store::duplicate).transpose()?;
            let (options, graph) = (state.options.clone(), state.graph.clone());
            let labels = state.labels.clone();
            let state = RwLock::new(State { options, graph, store, labels });
            Ok(Self { name: self.name.clone(), row: self.row, state, asking: Mutex::default() })
        })
    }

    /// Moves every parameter toward that of `other`, a model of the same graph (EMA): decay · own + (1 - decay) ·
    /// other. Running statistics are averaged alike, or copied; batch counts are copied.
    fn average_from(
        &self,
        py: Python<'_>,
        other: &Self,
        decay: f64,
        average_buffers: bool,
    ) -> PyResult<()> {
        detached(py, || {
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
            own.parts()?.1.average(others.store()?, decay, average_buffers)
        })
    }

    /// The node of the pooled features.
    #[getter]
    fn embedding(&self, py: Python<'_>) -> PyResult<String> {
        self.look(py, |state| state.graph.node(state.graph.embedding()).name.clone())
    }

    /// Replaces the classifier by a new one for `num_classes` classes, or none; every other parameter stays the same
    /// tensor.
    fn reset_classifier(&self, py: Python<'_>, num_classes: usize, seed: u64) -> PyResult<()> {
        detached(py, || {
            let mut state = self.write()?;
            let mut options = state.options.clone();
            let (graph, recipe) = match self.row {
                Some((variant, edition)) => {
                    options.num_classes = Some(num_classes);
                    (variant.graph(edition, &options)?, edition.recipe)
                }
                None => (state.graph.with_classes(num_classes)?, Recipe::RESNET),
            };
            if let Some(store) = &mut state.store {
                store.redraw(&graph, recipe.of_new_classifier(), seed)?;
            }
            (state.graph, state.options, state.labels) = (graph, options, None);
            Ok(())
        })
    }

    /// A copy of every parameter and buffer, by name.
    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let arrays = detached(py, || self.read()?.store()?.snapshot())?;
        let dict = PyDict::new(py);
        for (name, shape, stored) in arrays {
            let array = match stored {
                Stored::Floats(values) => from_values(py, &shape, values)?,
                Stored::Count(number) => count(py, number)?,
            };
            dict.set_item(name, array)?;
        }
        Ok(dict)
    }

    /// Fills parameters from contiguous little-endian arrays; `others` has the names and kinds of other entries, for
    /// the message.
    fn load_state_dict<'py>(
        &self,
        arrays: &Bound<'py, PyDict>,
        others: HashMap<String, String>,
        naming: &str,
        policy: &str,
        origin: &str,
        prefix: Option<&str>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let py = arrays.py();
        let pinned = PinnedArrays::new(arrays)?;
        let given = pinned.beside(others);
        let (report, ignored, prefix) =
            detached(py, || self.fill(&given, naming, prefix, policy, origin))?;
        into_python(py, report, &ignored, &found_at(origin, &prefix))
    }

    /// Fills parameters from a file.
    fn load_weights<'py>(
        &self,
        py: Python<'py>,
        checkpoint: &Checkpoint,
        naming: &str,
        policy: &str,
        prefix: Option<&str>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let file = &checkpoint.inner;
        let origin = file.path().display().to_string();
        let (report, beside, prefix) =
            detached(py, || self.fill(file, naming, prefix, policy, &origin))?;
        let ignored: Vec<Ignored> = file.ignored().iter().cloned().chain(beside).collect();
        into_python(py, report, &ignored, &found_at(file.provenance(), &prefix))
    }

    /// For every parameter that `source` has too: the model's name, the source's name, and the source's shape.
    fn names_in(&self, py: Python<'_>, source: &str) -> PyResult<Vec<NameThere>> {
        detached(py, || {
            let naming = self.naming(source)?;
            let parameters = self.read()?.graph.parameters();
            let order: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
            let there = |parameter: &Parameter| {
                let own = parameter.name.clone();
                if let Naming::Other(translation) = &naming {
                    let other = translation.counterparts.get(&own)?;
                    return Some((own, other.name.clone(), other.shape.clone()));
                }
                let name = naming.foreign(&own, &order);
                Some((own, name, parameter.shape.clone()))
            };
            Ok(parameters.iter().filter_map(there).collect())
        })
    }

    /// For every variable of Keras's model of this network: name and shape in the Keras edition, Keras's path, and the
    /// view, axes and shape that convert the array to Keras's.
    fn keras_variables(&self, py: Python<'_>) -> PyResult<Vec<KerasVariable>> {
        detached(py, || {
            let graph = self.edition_of("keras").ok_or_else(|| Error::Argument {
                at: format!("weights for {}", self.name),
                expected: format!("those of {}", self.sources()),
                got: "those of Keras, which has no such network".into(),
            })??;
            let fields = |v: keras::Variable| (v.own, v.own_shape, v.path, v.view, v.axes, v.shape);
            Ok(keras::variables(&graph).into_iter().map(fields).collect())
        })
    }

    /// Writes every parameter and buffer, and `metadata`, to a .safetensors file.
    fn save(
        &self,
        py: Python<'_>,
        path: PathBuf,
        metadata: BTreeMap<String, String>,
    ) -> PyResult<()> {
        detached(py, || {
            let arrays = self.read()?.store()?.snapshot()?;
            let items = arrays.iter().map(|(name, shape, stored)| stored.item(name, shape));
            write_safetensors(path, items, &metadata.into_iter().collect())
        })
    }
}

impl Model {
    /// The differences allowed between a file of trained weights and a model with these options.
    fn pretrained(&self, options: Options) -> Result<Policy> {
        let Some((variant, edition)) = self.row else { return Ok(Policy::Strict) };
        let differs = options.num_classes.is_some();
        let usual = Options {
            num_classes: None,
            image_size: None,
            aux: edition.options.contains(&"aux").then_some(true),
            ..options
        };
        let usual = variant.graph(edition, &usual)?;
        let classifiers = usual.all_classifiers();
        let fresh = classifiers.into_iter().filter(|_| differs);
        Ok(Policy::Pretrained {
            fresh: fresh.map(|id| usual.node(id).name.clone()).collect(),
            auxiliary: usual.auxiliary_arrays(),
            adapted: usual
                .first_convolutions()
                .into_iter()
                .map(|id| usual.node(id).name.clone())
                .collect(),
        })
    }

    /// Fills parameters. Returns the parameters filled, the entries that do not belong to the network, and the prefix.
    fn fill(
        &self,
        entries: &impl Entries,
        naming: &str,
        prefix: Option<&str>,
        policy: &str,
        origin: &str,
    ) -> Result<(LoadOutcome, Vec<Ignored>, String)> {
        let (names, policy) = (self.names(naming, prefix, entries)?, self.policy(policy)?);
        let mut state = self.write()?;
        let (graph, store) = state.parts()?;
        let parameters = graph.parameters();
        let below = Below::new(entries, &names.prefix, &order(&parameters));
        let filled = fill(store, graph.name(), &below, names.naming, &policy, origin)?;
        let ignored = below.ignored().to_vec();
        Ok((filled, ignored, names.prefix))
    }

    /// The naming and prefix of the entries: as given, or, for `auto` and none, those that match most of them.
    fn names(&self, naming: &str, prefix: Option<&str>, entries: &impl Entries) -> Result<Names> {
        let shapes = entries.shapes();
        let keys: HashSet<&str> = shapes.iter().map(|(name, _)| name.as_str()).collect();
        let parameters = self.read()?.graph.parameters();
        let order = order(&parameters);
        if naming == "auto" {
            let others = || self.translations(None);
            return Names::recognise(&keys, &order, prefix, Naming::Own, others);
        }
        Names::recognise(&keys, &order, prefix, self.naming(naming)?, Vec::new)
    }

    /// The naming called `name`.
    fn naming(&self, name: &str) -> Result<Naming> {
        let own = self.source().unwrap_or_else(|| Naming::Own.to_string());
        let lite = Naming::EfficientNetLitePytorch.to_string();
        if name == own {
            Ok(Naming::Own)
        } else if name == lite {
            Ok(Naming::EfficientNetLitePytorch)
        } else if let Some(translation) = self.translations(Some(name)).into_iter().next() {
            Ok(Naming::Other(translation))
        } else {
            let differs = self.edition_of(name).map_or("", |_| ", whose layers are others here");
            Err(Error::Argument {
                at: format!("`source` of weights for {}", self.name),
                expected: format!("\"auto\", \"{lite}\" or one of {}", self.sources()),
                got: format!("\"{name}\"{differs}"),
            })
        }
    }

    /// The sources of the network, as in `torchvision, timm`.
    fn sources(&self) -> String {
        let Some((variant, _)) = self.row else { return Naming::Own.to_string() };
        let mut sources: Vec<String> =
            variant.editions.iter().map(|edition| edition.source.to_string()).collect();
        sources.dedup();
        sources.join(", ")
    }

    /// The names of the parameters in the other sources of the network, or in `source`.
    fn translations(&self, source: Option<&str>) -> Vec<Translation> {
        let Some((variant, own)) = self.row else { return Vec::new() };
        let (graph, options) = {
            let Ok(state) = self.read() else { return Vec::new() };
            (state.graph.clone(), state.options_of_others())
        };
        let others = variant.editions.iter().filter(|edition| {
            edition.source != own.source
                && source.is_none_or(|source| edition.source.to_string() == source)
        });
        let translation = |edition: &Edition| {
            let other = variant.graph(edition, &options).ok()?;
            let counterparts = translate(&graph, &other)?;
            Some(Translation { source: edition.source.to_string(), counterparts })
        };
        others.filter_map(translation).collect()
    }

    /// The network as `source` defines it, with the same sizes.
    fn edition_of(&self, source: &str) -> Option<Result<graph::Graph>> {
        let (variant, own) = self.row?;
        if own.source.to_string() == source {
            return Some(self.read().and_then(|state| variant.graph(own, &state.options)));
        }
        let edition = variant.editions.iter().find(|e| e.source.to_string() == source)?;
        Some(self.read().and_then(|state| variant.graph(edition, &state.options_of_others())))
    }

    /// `strict`, `lenient`, or `pretrained`, and no other word. `pretrained` allows three differences: the classifiers,
    /// which keep their initial values, where `num_classes` was given; auxiliary classifiers that the model lacks but
    /// the file has; and the first convolution, which is adapted, where other channels were asked for.
    fn policy(&self, name: &str) -> Result<Policy> {
        match name {
            "lenient" => Ok(Policy::Lenient),
            "pretrained" => self.pretrained(self.read()?.options.clone()),
            "strict" => Ok(Policy::Strict),
            other => Err(Error::Argument {
                at: "`policy`".into(),
                expected: "strict, lenient or pretrained".into(),
                got: other.into(),
            }),
        }
    }
}

/// The class names, if given.
type Labels = Option<Vec<String>>;

/// The names of parameters, in the order of the state dict.
fn order(parameters: &[Parameter]) -> Vec<&str> {
    parameters.iter().map(|parameter| parameter.name.as_str()).collect()
}

/// The place in the file where the parameters were found.
fn found_at(provenance: &str, prefix: &str) -> String {
    match prefix {
        "" => provenance.to_owned(),
        prefix => format!("{provenance}, prefix `{prefix}` removed"),
    }
}

/// The model's name, the source's name, the source's shape.
type NameThere = (String, String, Vec<usize>);

/// Name and shape here; path, view, axes and shape in Keras.
type KerasVariable = (String, Vec<usize>, String, Vec<usize>, Vec<usize>, Vec<usize>);

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Model>()
}
