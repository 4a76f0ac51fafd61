//! The implementation of Python's `cnnzoo.Model`: conversions around a model that threads share.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{floats, from_array};
use super::checkpoint::Checkpoint;
use super::errors::detached;
use super::graph::Graph;
use super::load::{PinnedArrays, into_python, state_dict};
use super::onnx::{Choices, Written, written};
use super::options::parse_options;
use super::tune::{LayerRow, Tuner, layer};
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result};
use crate::families;
use crate::infer::Accuracy;
use crate::model::{self, QuantizedLayer, RunOptions, Shared};
use crate::onnx;
use crate::weights::load::Staying;
use crate::weights::{Stored, keras};

/// The ranges of nodes, and the layers with whether they run in int8.
type Ranges = (Vec<model::Range>, Vec<(String, bool)>);

/// Locked only without the GIL, so that nobody waits for a lock while holding the GIL.
#[pyclass(frozen, subclass, module = "cnnzoo._native")]
pub(super) struct Model(pub(super) Shared);

impl Model {
    fn look<T: Send>(
        &self,
        py: Python<'_>,
        at: impl FnOnce(&model::Model) -> Result<T> + Send,
    ) -> PyResult<T> {
        detached(py, || at(&*self.0.read()?))
    }

    fn change<T: Send>(
        &self,
        py: Python<'_>,
        at: impl FnOnce(&mut model::Model) -> Result<T> + Send,
    ) -> PyResult<T> {
        detached(py, || at(&mut *self.0.write()?))
    }

    /// The batch `x` as a contiguous array.
    pub(super) fn images<'py>(
        &self,
        x: &Bound<'py, PyAny>,
    ) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
        let channels = self.look(x.py(), |model| Ok(model.graph().input().channels))?;
        floats(x, &format!("the input of {}", self.0.name()), |shape| match shape {
            [batch, c, _, _] if *batch > 0 && *c == channels => Ok(()),
            _ => Err(format!("(N, {channels}, H, W) with N at least 1")),
        })
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
        let row = families::find(name, source)?;
        let options = parse_options(name, options)?;
        detached(py, || Ok(Self(model::Model::new(row, options, device, seed)?.into())))
    }

    /// A model of any graph, with newly initialised parameters.
    #[staticmethod]
    fn from_graph(py: Python<'_>, graph: &Graph, device: &str, seed: u64) -> PyResult<Self> {
        detached(py, || {
            Ok(Self(model::Model::from_graph(graph.0.as_ref().clone(), device, seed)?.into()))
        })
    }

    /// Allocates the parameters of a network that was built without them, and initialises them unless there is no seed.
    #[pyo3(signature = (device, seed))]
    fn allocate(&self, py: Python<'_>, device: &str, seed: Option<u64>) -> PyResult<()> {
        self.change(py, |model| model.allocate(device, seed))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn source(&self) -> Option<String> {
        self.0.row().map(|(_, edition)| edition.source.to_string())
    }

    /// The source's name of the network.
    #[getter]
    fn source_name(&self) -> Option<&'static str> {
        self.0.row().map(|(_, edition)| edition.source_name)
    }

    #[getter]
    fn num_classes(&self, py: Python<'_>) -> PyResult<usize> {
        self.look(py, |model| Ok(model.graph().classes()))
    }

    /// The options given, as a JSON object.
    #[getter]
    fn options(&self, py: Python<'_>) -> PyResult<String> {
        self.look(py, |model| Ok(serde_json::to_string(model.options())))?
            .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
    }

    #[getter]
    fn device(&self, py: Python<'_>) -> PyResult<String> {
        self.look(py, |model| Ok(model.device()))
    }

    fn graph(&self, py: Python<'_>) -> PyResult<Graph> {
        self.look(py, |model| Ok(Graph(model.graph().clone())))
    }

    /// The node of the pooled features.
    #[getter]
    fn embedding(&self, py: Python<'_>) -> PyResult<String> {
        self.look(py, |model| {
            let graph = model.graph();
            Ok(graph.node(graph.embedding()).name.clone())
        })
    }

    /// The class names, if given.
    #[getter]
    fn labels(&self, py: Python<'_>) -> PyResult<Labels> {
        self.look(py, |model| Ok(model.labels().map(<[String]>::to_vec)))
    }

    /// Sets the class names. Fails unless there is one for each class.
    fn set_labels(&self, py: Python<'_>, labels: Labels) -> PyResult<()> {
        self.change(py, |model| model.set_labels(labels))
    }

    /// The output for `x`, and the class names of the classifier that ran, if given; `alone` as in `RunOptions`.
    #[pyo3(signature = (x, *, alone=false, precision="float32"))]
    fn classify<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        alone: bool,
        precision: &str,
    ) -> PyResult<(Bound<'py, PyAny>, Labels)> {
        let py = x.py();
        let precision = Precision::of_inference(precision)?;
        let options = RunOptions { exact: false, precision, alone };
        let x = self.images(x)?;
        let view = View { shape: x.shape(), values: x.as_slice()? };
        let (array, labels) = detached(py, || {
            let model = self.0.prepared(options)?;
            Ok((model.output(view, options)?, model.labels().map(<[String]>::to_vec)))
        })?;
        Ok((from_array(py, array)?, labels))
    }

    /// The values of `nodes` for images `x` (N, C, H, W), or of the output where none are named.
    #[pyo3(signature = (x, nodes=None, exact=false, precision="float32"))]
    fn run<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        nodes: Option<Vec<String>>,
        exact: bool,
        precision: &str,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = x.py();
        let precision = Precision::of_inference(precision)?;
        let options = RunOptions { exact, precision, alone: false };
        let x = self.images(x)?;
        let view = View { shape: x.shape(), values: x.as_slice()? };
        let arrays = detached(py, || {
            let model = self.0.prepared(options)?;
            model.infer(view, &model.nodes(nodes.as_deref())?, options)
        })?;
        arrays.into_iter().map(|array| from_array(py, array)).collect()
    }

    /// The plan of native inference for images of `shape` (N, C, H, W), as text.
    fn plan(&self, py: Python<'_>, shape: Vec<usize>, precision: &str) -> PyResult<String> {
        let precision = Precision::of_inference(precision)?;
        self.look(py, |model| model.plan(&shape, precision))
    }

    /// The accuracy of native inference: `fast` or `high`.
    #[getter]
    fn accuracy(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.look(py, |model| Ok(model.accuracy().name()))
    }

    fn set_accuracy(&self, py: Python<'_>, accuracy: &str) -> PyResult<()> {
        let accuracy = Accuracy::parse(accuracy)?;
        self.change(py, |model| {
            model.set_accuracy(accuracy);
            Ok(())
        })
    }

    /// A measurement of the algorithms for the convolutions on images of `shape` (N, C, H, W).
    fn tuner(&self, py: Python<'_>, shape: Vec<usize>) -> PyResult<Tuner> {
        self.look(py, |model| {
            let inner = model.tuner(&shape)?;
            Ok(Tuner {
                names: model.graph().nodes().iter().map(|node| node.name.clone()).collect(),
                variants: inner.variants(),
                threads: inner.threads(),
                inner: Mutex::new(inner),
            })
        })
    }

    /// Chooses algorithms for layers, in place of those chosen before; the rules choose the others.
    fn choose(&self, py: Python<'_>, algorithms: Vec<(LayerRow, String)>) -> PyResult<()> {
        let chosen: Vec<_> = algorithms.into_iter().map(|(row, name)| (layer(row), name)).collect();
        self.change(py, |model| model.choose(&chosen))
    }

    /// The times of native inference on `x` (N, C, H, W): a row for each step, the seconds of a run, floating-point
    /// operations per second at most, and the number of threads.
    fn profile(
        &self,
        x: &Bound<'_, PyAny>,
        repeats: usize,
        precision: &str,
    ) -> PyResult<(Vec<ProfileRow>, f64, f64, usize)> {
        let (py, precision) = (x.py(), Precision::of_inference(precision)?);
        let x = self.images(x)?;
        let view = View { shape: x.shape(), values: x.as_slice()? };
        self.look(py, |model| {
            let found = model.profile(view, repeats, precision)?;
            let row = |timed: model::TimedStep| {
                let name = |&id| model.graph().node(id).name.clone();
                (
                    timed.step.title(),
                    timed.step.nodes.iter().map(name).collect(),
                    timed.step.fused,
                    timed.step.shape.to_vec(),
                    timed.parts,
                    timed.time.as_secs_f64(),
                    timed.operations,
                )
            };
            let rows = found.steps.into_iter().map(row).collect();
            Ok((rows, found.run.as_secs_f64(), found.peak, found.threads))
        })
    }

    /// Quantizes the model with images `x` (N, C, H, W): layers whose error alone is at most `most_error` run in int8 from
    /// now on. `progress` is called with the number of parts of the work that are done, and of all; Ctrl-C, or its
    /// exception, ends the work, and changes nothing. Returns each layer with its error and whether it runs in int8, the
    /// error of the network, and the ranges of nodes.
    fn quantize(
        &self,
        x: &Bound<'_, PyAny>,
        most_error: f64,
        progress: &Bound<'_, PyAny>,
    ) -> PyResult<(Vec<QuantizedRow>, f64, Vec<model::Range>)> {
        let py = x.py();
        let x = self.images(x)?;
        let view = View { shape: x.shape(), values: x.as_slice()? };
        let progress = Progress::new(progress);
        let found = detached(py, || {
            let found = self.0.quantize(view, most_error, |done, all| progress.tell(done, all))?;
            let model = self.0.read()?;
            let row = |of: &QuantizedLayer| {
                (model.graph().node(of.node).name.clone(), of.error, of.is_int8)
            };
            Ok((found.layers.iter().map(row).collect(), found.error, found.ranges))
        });
        progress.raised().map_or(found, Err)
    }

    /// Whether the model is quantized with the parameters that it has now.
    #[getter]
    fn is_quantized(&self, py: Python<'_>) -> PyResult<bool> {
        self.look(py, |model| Ok(model.quantization().is_some()))
    }

    /// Quantizes the model with ranges that were found before, and its layers with whether they run in int8; without them
    /// it is not quantized then.
    fn set_quantization(&self, py: Python<'_>, quantization: Option<Ranges>) -> PyResult<()> {
        self.change(py, |model| {
            if let Some((ranges, layers)) = quantization {
                return model.quantize_as(&ranges, &layers);
            }
            model.set_quantization(None);
            Ok(())
        })
    }

    /// The output for `x`, and the gradient of sum(output · cotangent) with respect to every trained parameter, by
    /// name.
    #[cfg(feature = "torch")]
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
        let at = format!("the cotangent of {}", self.0.name());
        let cotangent = floats(cotangent, &at, |_| Ok(()))?;
        let x = View { shape: x.shape(), values: x.as_slice()? };
        let cotangent = View { shape: cotangent.shape(), values: cotangent.as_slice()? };
        let seed = training.then_some(seed);
        let (output, by_name) =
            self.change(py, |model| model.pull_back(x, cotangent, seed, precision))?;
        let gradients = PyDict::new(py);
        for (name, array) in by_name {
            gradients.set_item(name, from_array(py, array)?)?;
        }
        Ok((from_array(py, output)?, gradients))
    }

    /// Freezes the parameters that these patterns match, or trains them again.
    #[cfg(feature = "torch")]
    fn set_trained(&self, py: Python<'_>, patterns: Vec<String>, trained: bool) -> PyResult<()> {
        self.change(py, |model| model.set_trained(&patterns, trained))
    }

    /// The names of the parameters that are trained.
    fn trained(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.look(py, model::Model::trained)
    }

    /// Moves every parameter toward that of `other`, a model of the same graph (EMA): decay · own + (1 - decay) ·
    /// other. Running statistics are averaged alike, or copied; batch counts are copied.
    #[cfg(feature = "torch")]
    fn average_from(
        &self,
        py: Python<'_>,
        other: &Self,
        decay: f64,
        average_buffers: bool,
    ) -> PyResult<()> {
        detached(py, || self.0.average_from(&other.0, decay, average_buffers))
    }

    /// Moves the parameters to another device.
    fn to(&self, py: Python<'_>, device: &str) -> PyResult<()> {
        self.change(py, |model| model.to_device(device))
    }

    /// A copy of the network with the same values, frozen alike.
    fn copy(&self, py: Python<'_>) -> PyResult<Self> {
        self.look(py, |model| Ok(Self(model.duplicate()?.into())))
    }

    /// Replaces the classifier by a new one for `num_classes` classes, or none; every other parameter stays the same
    /// tensor.
    fn reset_classifier(&self, py: Python<'_>, num_classes: usize, seed: u64) -> PyResult<()> {
        self.change(py, |model| model.reset_classifier(num_classes, seed))
    }

    /// A copy of every parameter and buffer, by name.
    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        state_dict(py, self.look(py, |model| model.parameters()?.snapshot())?)
    }

    /// A copy of the values of the array at `index` of the state dict, in a row; a number where it is a batch count.
    fn values<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        match self.look(py, |model| model.parameters()?.read(index))? {
            Stored::Floats(values) => from_array(py, Array { shape: vec![values.len()], values }),
            Stored::Count(count) => Ok(count.into_pyobject(py)?.into_any()),
        }
    }

    /// Overwrites the array at `index` of the state dict by such values.
    fn set_values(&self, py: Python<'_>, index: usize, values: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(count) = values.extract() {
            return self.change(py, |model| model.overwrite(index, &Stored::Count(count)));
        }
        let values = floats(values, "the values of an array", |_| Ok(()))?;
        let values = Stored::Floats(values.as_slice()?.to_vec());
        self.change(py, |model| model.overwrite(index, &values))
    }

    /// Fails where `load_weights` would, from the shapes in the file alone.
    fn expect(&self, py: Python<'_>, checkpoint: &Checkpoint, policy: &str) -> PyResult<()> {
        self.look(py, |model| model.expect(&checkpoint.inner, policy))
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
        let loaded = self.change(py, |model| model.fill(&given, naming, prefix, policy, origin))?;
        into_python(py, loaded, &[], origin)
    }

    /// Fills parameters from a file, or leaves them there until they are needed.
    #[pyo3(signature = (checkpoint, naming, policy, prefix, *, stay=false))]
    fn load_weights<'py>(
        &self,
        py: Python<'py>,
        checkpoint: &Checkpoint,
        naming: &str,
        policy: &str,
        prefix: Option<&str>,
        stay: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let file = &checkpoint.inner;
        let origin = file.path().display().to_string();
        let loaded = self.change(py, |model| {
            if stay {
                let staying = Staying(Arc::clone(file));
                return model.fill(&staying, naming, prefix, policy, &origin);
            }
            model.fill(&**file, naming, prefix, policy, &origin)
        })?;
        into_python(py, loaded, file.ignored(), file.provenance())
    }

    /// For every parameter that `source` has too: the model's name, the source's name, and the source's shape.
    fn names_in(&self, py: Python<'_>, source: &str) -> PyResult<Vec<NameThere>> {
        let names = self.look(py, |model| model.names_in(source))?;
        Ok(names.into_iter().map(|name| (name.own, name.theirs, name.shape)).collect())
    }

    /// For every variable of Keras's model of this network: name and shape in the Keras edition, Keras's path, and the
    /// view, axes and shape that convert the array to Keras's.
    fn keras_variables(&self, py: Python<'_>) -> PyResult<Vec<KerasVariable>> {
        let fields = |v: keras::Variable| (v.own, v.own_shape, v.path, v.view, v.axes, v.shape);
        let variables = self.look(py, model::Model::keras_variables)?;
        Ok(variables.into_iter().map(fields).collect())
    }

    /// Writes every parameter and buffer, and `metadata`, to a .safetensors file; in int8, weights of layers that run so
    /// as integers.
    fn save(
        &self,
        py: Python<'_>,
        path: PathBuf,
        metadata: BTreeMap<String, String>,
        precision: &str,
    ) -> PyResult<()> {
        let metadata = metadata.into_iter().collect();
        let precision = Precision::of_inference(precision)?;
        self.look(py, |model| match precision {
            Precision::Int8 => model.save_integers(&path, &metadata),
            Precision::Float32 | Precision::BFloat16 => model.save(&path, &metadata),
        })
    }

    /// Writes an ONNX file; `choices` are those of `Choices`. Ctrl-C, or an exception of `progress`, ends it and leaves old
    /// files as they were.
    fn export_onnx(
        &self,
        py: Python<'_>,
        path: PathBuf,
        choices: Choices,
        progress: &Bound<'_, PyAny>,
    ) -> PyResult<Written> {
        let progress = Progress::new(progress);
        let options = choices.into_options();
        let exported = self.look(py, |model| {
            let before = &mut |done, all| progress.tell(done, all);
            onnx::export(model.graph(), model.parameters()?, &options, &path, before)
        });
        progress.raised().map_or(exported, Err).map(written)
    }
}

/// A function in Python that hears of progress.
struct Progress {
    function: Py<PyAny>,
    /// The exception that it raised, or that of Ctrl-C.
    raised: Mutex<Option<PyErr>>,
}

impl Progress {
    fn new(function: &Bound<'_, PyAny>) -> Self {
        Self { function: function.clone().unbind(), raised: Mutex::default() }
    }

    fn tell(&self, done: usize, all: usize) -> Result<()> {
        Python::attach(|py| {
            let told = py.check_signals().and_then(|()| self.function.call1(py, (done, all)));
            told.map(drop).map_err(|error| {
                let got = error.to_string();
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                let (at, expected) = ("`progress`".into(), "work that is not ended".into());
                Error::Argument { at, expected, got }
            })
        })
    }

    fn raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The name of a layer, its error if it alone runs in int8, and whether it does.
type QuantizedRow = (String, f64, bool);

/// Kernel, nodes, what is fused, shape, parts, seconds and floating-point operations of a step.
type ProfileRow = (String, Vec<String>, Vec<String>, Vec<usize>, Vec<String>, f64, u64);

/// The class names, if given.
type Labels = Option<Vec<String>>;

/// The model's name, the source's name, the source's shape.
type NameThere = (String, String, Vec<usize>);

/// Name and shape here; path, view, axes and shape in Keras.
type KerasVariable = (String, Vec<usize>, String, Vec<usize>, Vec<usize>, Vec<usize>);

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Model>()
}
