//! A model: an edition of a network with its options, the graph, the engine that holds the parameters and runs them, and
//! the class names. Nothing here names Python; libtorch is named in `engine.rs`, which chooses an engine, and in
//! `torch.rs`, for training.

mod changing;
mod classifier;
mod engine;
mod files;
mod profile;
mod quantize;
mod shared;
mod sources;
#[cfg(feature = "torch")]
mod torch;

pub use files::Loaded;
pub use profile::{Profile, TimedStep};
pub use quantize::{Quantized, QuantizedLayer, Range};
pub use shared::{Asking, Shared};
pub use sources::NameThere;
#[cfg(feature = "torch")]
pub use torch::{ForwardNames, NamedSegments};

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{Array, CPU, Engine, Precision, View};
use crate::error::{Error, Result};
use crate::families::{Edition, Options, Variant, residual_ends};
use crate::graph::{Graph, NodeId};
use crate::infer::{Accuracy, Layer, Native, Pool, Tuner};
use crate::weights::init::Recipe;
use crate::weights::{Parameters, Stored};

/// A registered network as one source defines it.
pub type Row = (&'static Variant, &'static Edition);

/// A network with its parameters.
pub struct Model {
    /// None if a user wrote the graph.
    row: Option<Row>,
    options: Options,
    /// Shared with whatever was derived from it, so that it is derived once.
    graph: Arc<Graph>,
    /// None on the device `meta`.
    engine: Option<Box<dyn Engine>>,
    /// Plans of native inference, which hold packed copies of the parameters.
    native: Native,
    /// The engine's stamp when the plans were made.
    stamp: AtomicU64,
    /// The number of times that the parameters became others.
    generation: u64,
    labels: Option<Vec<String>>,
}

/// Options of an inference run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Run operator by operator, as PyTorch does.
    pub exact: bool,
    pub precision: Precision,
    /// Run native inference on the caller's thread alone, for callers that run beside each other.
    pub alone: bool,
}

/// The device of models without parameters.
const META: &str = "meta";

impl Model {
    /// A registered network with new parameters on a device; none on `meta`.
    ///
    /// Fails with `Error::Argument` on options that the edition does not read, and `Error::Device` where there is no
    /// such device.
    pub fn new(row: Row, options: Options, device: &str, seed: u64) -> Result<Self> {
        let graph = row.0.graph(row.1, &options)?;
        Self::of(Some(row), options, graph, device, seed)
    }

    /// A model of any graph, with new parameters.
    pub fn from_graph(graph: Graph, device: &str, seed: u64) -> Result<Self> {
        Self::of(None, Options::default(), graph, device, seed)
    }

    fn of(
        row: Option<Row>,
        options: Options,
        graph: Graph,
        device: &str,
        seed: u64,
    ) -> Result<Self> {
        let mut model = Self {
            row,
            options,
            graph: Arc::new(graph),
            engine: None,
            native: Native::default(),
            stamp: AtomicU64::default(),
            generation: 0,
            labels: None,
        };
        model.allocate(device, Some(seed))?;
        Ok(model)
    }

    /// Allocates the parameters, and initialises them with random numbers from `seed`. Without one they are for whoever fills
    /// them all: most are zeros.
    pub fn allocate(&mut self, device: &str, seed: Option<u64>) -> Result<()> {
        self.native.forget();
        self.generation += 1;
        if device == META {
            self.engine = None;
            return Ok(());
        }
        let (recipe, seed) = match seed {
            Some(seed) => (self.recipe(), seed),
            None => (Recipe::ZEROS, 0),
        };
        let mut engine = engine::on(device, &self.graph, recipe, seed)?;
        if let Some(zero) = self.options.zero_init_residual {
            engine.set_scales(&residual_ends(&self.graph), if zero { 0.0 } else { 1.0 })?;
        }
        self.engine = Some(engine);
        Ok(())
    }

    /// A copy with the same values.
    pub fn duplicate(&self) -> Result<Self> {
        Ok(Self {
            row: self.row,
            options: self.options.clone(),
            graph: self.graph.clone(),
            engine: self.engine.as_ref().map(|engine| engine.duplicate()).transpose()?,
            native: self.native().choices().into(),
            stamp: AtomicU64::default(),
            generation: 0,
            labels: self.labels.clone(),
        })
    }

    pub fn name(&self) -> &str {
        self.graph.name()
    }

    /// The options given.
    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The class names, if given.
    pub fn labels(&self) -> Option<&[String]> {
        self.labels.as_deref()
    }

    /// Sets the class names. Fails unless there is one for each class.
    pub fn set_labels(&mut self, labels: Option<Vec<String>>) -> Result<()> {
        let (classes, names) = (self.graph.classes(), labels.as_ref().map(Vec::len));
        if names.is_some_and(|names| names != classes) {
            return Err(Error::Argument {
                at: format!("labels of {}", self.name()),
                expected: format!("{classes} names"),
                got: names.unwrap_or_default().to_string(),
            });
        }
        self.labels = labels;
        Ok(())
    }

    /// `cpu`, `cuda:N`, or `meta`, where there are no parameters.
    pub fn device(&self) -> String {
        self.engine.as_ref().map_or(META.into(), |engine| engine.device())
    }

    /// Moves the parameters to another device.
    pub fn to_device(&mut self, device: &str) -> Result<()> {
        self.changing(|_, engine| engine.to_device(device))
    }

    /// The parameters. Fails with `Error::Device` on the device `meta`, as all that needs them does.
    pub fn parameters(&self) -> Result<&dyn Parameters> {
        self.engine().map(|engine| engine as &dyn Parameters)
    }

    /// The names of the parameters that are trained, and not frozen.
    pub fn trained(&self) -> Result<Vec<String>> {
        let engine = self.engine()?;
        let parameters = engine.parameters().iter().enumerate();
        let trained = parameters.filter(|&(index, _)| engine.is_trained(index));
        Ok(trained.map(|(_, parameter)| parameter.name.clone()).collect())
    }

    /// Overwrites the array at `index` of the state dict.
    pub fn overwrite(&mut self, index: usize, values: &Stored) -> Result<()> {
        self.changing(|_, engine| match values {
            Stored::Floats(values) => engine.write_floats(index, values),
            Stored::Count(count) => engine.write_count(index, *count),
        })
    }

    /// Runs the graph on `x` (N, C, H, W) and returns the values of `wanted`.
    pub fn infer(&self, x: View<'_>, wanted: &[NodeId], options: RunOptions) -> Result<Vec<Array>> {
        let engine = self.engine()?;
        let native = self.is_native(options)?;
        if options.precision == Precision::Int8 {
            self.offers(Precision::Int8)?;
            if !native {
                return Err(self.only_native(options));
            }
        }
        if native {
            let pool = if options.alone { Arc::new(Pool::new(1)) } else { Pool::shared() };
            let of = (wanted, options.precision);
            let mut found = self.native().run(&self.graph, engine, x, of, &pool)?;
            if options.precision == Precision::Int8 {
                pass_on(x, &mut found);
            }
            return Ok(found);
        }
        engine.infer(&self.graph, x, wanted, options.precision)
    }

    /// Runs the graph on `x` (N, C, H, W) and returns its output.
    pub fn output(&self, x: View<'_>, options: RunOptions) -> Result<Array> {
        let found = self.infer(x, &[self.graph.output()], options)?;
        found.into_iter().next().ok_or_else(|| Error::Defect {
            at: self.name().to_owned(),
            message: "a run without an output".into(),
        })
    }

    /// The plan of native inference for images of `shape` (N, C, H, W), as text: a line for each step.
    ///
    /// Fails with `Error::Device` where the processor has no instructions for the precision.
    pub fn plan(&self, shape: &[usize], precision: Precision) -> Result<String> {
        let (graph, engine) = (&self.graph, self.engine()?);
        self.offers(precision)?;
        let (pool, wanted) = (Pool::shared(), [graph.output()]);
        let prepared = self.native().prepared(graph, engine, shape, (&wanted, precision), &pool)?;
        Ok(prepared.plan().text(graph))
    }

    /// A measurement of the algorithms for the convolutions of native inference on images of `shape` (N, C, H, W).
    ///
    /// Fails with `Error::Device` where the parameters are on no CPU.
    pub fn tuner(&self, shape: &[usize]) -> Result<Tuner> {
        let engine = self.engine_on_cpu("whose convolutions are measured")?;
        let choices = self.native().choices();
        Tuner::new(&self.graph, engine, shape, &choices, Pool::shared())
    }

    /// Chooses algorithms for convolutions by their names, in place of those chosen before; other convolutions get those of
    /// the rules.
    ///
    /// Fails with `Error::Argument`, and changes nothing, where there is no such algorithm for the layer.
    pub fn choose(&mut self, algorithms: &[(Layer, String)]) -> Result<()> {
        let mut choices = self.native().choices();
        choices.clear();
        algorithms.iter().try_for_each(|(layer, name)| choices.choose(*layer, name))?;
        self.native().set_choices(choices);
        Ok(())
    }

    /// The accuracy of native inference.
    pub fn accuracy(&self) -> Accuracy {
        self.native().choices().accuracy
    }

    pub fn set_accuracy(&mut self, accuracy: Accuracy) {
        let mut choices = self.native().choices();
        choices.accuracy = accuracy;
        self.native().set_choices(choices);
    }

    /// Whether a run is the native engine's: on the CPU, in a precision that it offers, unless it is to be exact.
    fn is_native(&self, options: RunOptions) -> Result<bool> {
        let on_cpu = self.engine()?.device() == CPU;
        Ok(on_cpu && !options.exact && Native::offers(options.precision))
    }

    /// Fails with `Error::Device` where the native engine does not compute in this precision.
    fn offers(&self, precision: Precision) -> Result<()> {
        if precision == Precision::Int8 && self.quantization().is_none() {
            return Err(Error::Argument {
                at: format!("precision \"int8\" of {}", self.name()),
                expected: "a model quantized with the parameters that it has now: \
                           model.quantize(images)"
                    .into(),
                got: "one that is not quantized".into(),
            });
        }
        if Native::offers(precision) {
            return Ok(());
        }
        Err(Error::Device {
            device: CPU.into(),
            expected: format!("a processor with AVX512-BF16, for {} in bfloat16", self.name()),
            got: "one without".into(),
        })
    }

    fn only_native(&self, options: RunOptions) -> Error {
        Error::Argument {
            at: format!("precision \"int8\" of {}", self.name()),
            expected: "a model on the CPU, and no exact run".into(),
            got: if options.exact { "exact=True".into() } else { self.device() },
        }
    }

    /// The nodes of these names, or the output where none are given.
    pub fn nodes(&self, names: Option<&[String]>) -> Result<Vec<NodeId>> {
        let Some(names) = names else { return Ok(vec![self.graph.output()]) };
        names.iter().map(|name| self.graph.named(name)).collect()
    }

    fn recipe(&self) -> Recipe {
        self.row.map_or(Recipe::RESNET, |(_, edition)| edition.recipe)
    }

    fn engine(&self) -> Result<&dyn Engine> {
        let engine = self.engine.as_deref().ok_or_else(|| read_only(&self.graph))?;
        engine.check()?;
        Ok(engine)
    }

    /// The plans of native inference, without those for which PyTorch has changed parameters since.
    fn native(&self) -> &Native {
        let stamp = self.engine.as_ref().map_or(0, |engine| engine.stamp());
        if self.stamp.swap(stamp, Ordering::AcqRel) != stamp {
            self.native.forget();
        }
        &self.native
    }

    /// A value that changes with every change of a parameter, as far as it is known.
    fn changes(&self) -> [u64; 3] {
        let [changes, stamp] =
            self.engine.as_ref().map_or([0, 0], |engine| [engine.changes(), engine.stamp()]);
        [self.generation, changes, stamp]
    }

    /// A number that changes where the parameters become others, as those of a new classifier.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The engine, unless it is on another device.
    fn engine_on_cpu(&self, what_for: &str) -> Result<&dyn Engine> {
        let engine = self.engine()?;
        if engine.device() == CPU {
            return Ok(engine);
        }
        Err(Error::Device {
            device: engine.device(),
            expected: format!("{} on the CPU, {what_for}", self.name()),
            got: "one on another device".into(),
        })
    }

    /// Lays the parameters out for inference.
    fn prepare(&mut self) -> Result<()> {
        self.changing(|_, engine| engine.prepare())
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.name(), self.device())
    }
}

fn read_only(graph: &Graph) -> Error {
    Error::Device {
        device: META.into(),
        expected: format!("{} with parameters", graph.name()),
        got: "one that was built with meta=True, to be read only".into(),
    }
}
/// Makes all values of an image NaN that has numbers which are not finite: in integers they would be cut off, and pass for
/// others.
fn pass_on(x: View<'_>, values: &mut [Array]) {
    const INFINITE: u32 = f32::INFINITY.to_bits();
    let count = x.shape.first().copied().unwrap_or(0);
    let each = |len: usize| (len / count.max(1)).max(1);
    for (at, image) in x.values.chunks(each(x.values.len())).enumerate() {
        // The largest bits of all numbers, which takes less time than to stop at the first.
        let largest = image.iter().fold(0, |largest, x| largest.max(x.abs().to_bits()));
        if largest < INFINITE {
            continue;
        }
        for array in &mut *values {
            let each = each(array.values.len());
            array.values.chunks_mut(each).skip(at).take(1).for_each(|of| of.fill(f32::NAN));
        }
    }
}
