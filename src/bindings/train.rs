//! Training in Python: optimisers, losses, and the training step.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{floats, from_array};
use super::errors::detached;
use super::model::Model;
use super::module::Sum;
use super::targets::Targets;
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result};
use crate::model::RunOptions;
use crate::torch::{
    self, Among, Clip, GradientOptions, Handle, LossResult, Memory, Mode, Objective, Rule, Task,
    Update,
};
use crate::train::groups::{Group, MatchedRates, RateRules};
use crate::weights::Parameters;

/// The implementation of Python's `SGD`, `AdamW` and so on.
#[pyclass(frozen, module = "cnnzoo._torch")]
pub(super) struct Optimizer {
    rules: MatchedRates,
    /// Locked only without the GIL.
    inner: Mutex<torch::Optimizer>,
}

/// Parameter, steps, running averages by name, the accumulated gradient.
type ParameterState<'py> =
    (String, u64, Vec<(String, Bound<'py, PyAny>)>, Option<Bound<'py, PyAny>>);

/// Patterns, learning-rate factor, weight decay.
type GroupFields = (Vec<String>, f64, Option<f64>);

#[pymethods]
impl Optimizer {
    /// `numbers` are the rule's hyperparameters, by their Python names.
    #[new]
    fn new(
        rule: &str,
        numbers: &Bound<'_, PyDict>,
        weight_decay: f64,
        norm_weight_decay: Option<f64>,
        bias_weight_decay: Option<f64>,
        layer_decay: Option<f64>,
        groups: Vec<GroupFields>,
    ) -> PyResult<Self> {
        let rule = parse(rule, numbers)?;
        rule.check()?;
        let group = |(patterns, lr_scale, weight_decay)| Group { patterns, lr_scale, weight_decay };
        let groups = groups.into_iter().map(group).collect();
        let rules =
            RateRules { weight_decay, norm_weight_decay, bias_weight_decay, layer_decay, groups };
        Ok(Self {
            rules: MatchedRates::new(rules)?,
            inner: Mutex::new(torch::Optimizer::new(rule)),
        })
    }

    /// For every parameter of the model: its name, the factor on its learning rate, and its weight decay. Fails where a
    /// pattern of the groups matches none.
    fn rates(&self, py: Python<'_>, model: &Model) -> PyResult<Vec<(String, f64, f64)>> {
        detached(py, || {
            let state = model.0.read()?;
            let parameters = state.graph().parameters();
            let rates = self.rules.rates(1.0, state.graph(), &parameters)?;
            let trained = parameters.into_iter().zip(rates).filter(|(p, _)| p.role.is_trained());
            Ok(trained.map(|(p, rate)| (p.name, rate.lr, rate.weight_decay)).collect())
        })
    }

    /// A copy of the optimiser's state for the parameters of the model.
    fn memory<'py>(&self, py: Python<'py>, model: &Model) -> PyResult<Vec<ParameterState<'py>>> {
        let memories = detached(py, || {
            let state = model.0.read()?;
            self.lock().memory(state.store()?)
        })?;
        let array = |array: Array| from_array(py, array);
        let remembered = |memory: Memory| {
            let averages = memory.averages.into_iter();
            let averages = averages.map(|(of, average)| Ok((of, array(average)?)));
            let waiting = memory.waiting.map(array).transpose()?;
            Ok((memory.parameter, memory.steps, averages.collect::<PyResult<_>>()?, waiting))
        };
        memories.into_iter().map(remembered).collect()
    }

    /// Restores the optimiser's state, with `waiting` as it was returned.
    fn recall(
        &self,
        py: Python<'_>,
        model: &Model,
        memories: Vec<ParameterState<'_>>,
        waiting: (u64, u64),
    ) -> PyResult<()> {
        let array = |array: Bound<'_, PyAny>| -> PyResult<Array> {
            let array = floats(&array, "the optimizer state", |_| Ok(()))?;
            Ok(Array { shape: array.shape().to_vec(), values: array.as_slice()?.to_vec() })
        };
        let memory =
            |(parameter, steps, averages, waiting): ParameterState<'_>| -> PyResult<Memory> {
                let averages = averages.into_iter().map(|(of, average)| Ok((of, array(average)?)));
                Ok(Memory {
                    parameter,
                    steps,
                    averages: averages.collect::<PyResult<_>>()?,
                    waiting: waiting.map(array).transpose()?,
                })
            };
        let memories = memories.into_iter().map(memory).collect::<PyResult<Vec<_>>>()?;
        detached(py, || {
            let state = model.0.read()?;
            self.lock().recall(state.store()?, &memories, waiting)
        })
    }

    /// The number of batches accumulated since the last update, and the number that make one (gradient accumulation).
    fn waiting(&self, py: Python<'_>) -> PyResult<(u64, u64)> {
        detached(py, || Ok(self.lock().waiting()))
    }

    /// Discards the accumulated gradients.
    fn drop_waiting(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || {
            self.lock().drop_waiting();
            Ok(())
        })
    }

    /// Updates with the gradients accumulated so far. Returns their norm before clipping; none where there are none.
    fn flush(
        &self,
        py: Python<'_>,
        model: &Model,
        lr: f64,
        clip_norm: Option<f64>,
        clip_value: Option<f64>,
    ) -> PyResult<Option<f64>> {
        let clip = clip_norm.map(Clip::Norm).or(clip_value.map(Clip::Value));
        detached(py, || {
            let mut state = model.0.write()?;
            state.changing_store(|graph, store| {
                let rates = self.rules.rates(lr, graph, store.parameters())?;
                torch::flush(store, &mut self.lock(), Update { rates: &rates, clip })
            })
        })
    }

    /// Updates with gradients by the names of their parameters. Returns their norm before clipping.
    fn apply(
        &self,
        py: Python<'_>,
        model: &Model,
        gradients: Vec<(String, Bound<'_, PyAny>)>,
        lr: f64,
        clip_norm: Option<f64>,
        clip_value: Option<f64>,
    ) -> PyResult<f64> {
        let clip = clip_norm.map(Clip::Norm).or(clip_value.map(Clip::Value));
        let mut arrays = Vec::with_capacity(gradients.len());
        for (name, array) in &gradients {
            arrays.push((name, floats(array, &format!("the gradient of `{name}`"), |_| Ok(()))?));
        }
        let views = arrays.iter().map(|(name, array)| {
            Ok((name.as_str(), View { shape: array.shape(), values: array.as_slice()? }))
        });
        let views = views.collect::<PyResult<Vec<_>>>()?;
        detached(py, || {
            let mut state = model.0.write()?;
            state.changing_store(|graph, store| {
                let rates = self.rules.rates(lr, graph, store.parameters())?;
                let mut placed = Vec::with_capacity(views.len());
                for (name, view) in views {
                    let place = store.parameters().iter().position(|of| of.name == name);
                    let place = place.ok_or_else(|| Error::Argument {
                        at: format!("gradients of {}", graph.name()),
                        expected: "names of its parameters".into(),
                        got: format!("`{name}`"),
                    })?;
                    placed.push((place, view));
                }
                torch::apply(store, &mut self.lock(), &placed, Update { rates: &rates, clip })
            })
        })
    }
}

impl Optimizer {
    pub(super) fn lock(&self) -> MutexGuard<'_, torch::Optimizer> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(rule: &str, numbers: &Bound<'_, PyDict>) -> PyResult<Rule> {
    fn get<'py, T>(numbers: &Bound<'py, PyDict>, name: &str) -> PyResult<T>
    where
        T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
    {
        numbers.as_any().get_item(name)?.extract()
    }
    Ok(match rule {
        "sgd" => Rule::Sgd {
            momentum: get(numbers, "momentum")?,
            dampening: get(numbers, "dampening")?,
            nesterov: get(numbers, "nesterov")?,
        },
        "adam" => Rule::Adam {
            betas: get(numbers, "betas")?,
            eps: get(numbers, "eps")?,
            decoupled: get(numbers, "decoupled")?,
        },
        "rmsprop" => Rule::RmsProp {
            alpha: get(numbers, "alpha")?,
            eps: get(numbers, "eps")?,
            momentum: get(numbers, "momentum")?,
            centered: get(numbers, "centered")?,
        },
        "lamb" => Rule::Lamb {
            betas: get(numbers, "betas")?,
            eps: get(numbers, "eps")?,
            max_grad_norm: get(numbers, "max_grad_norm")?,
        },
        other => {
            return Err(Error::Argument {
                at: "the update rule of an optimizer".into(),
                expected: "sgd, adam, rmsprop or lamb".into(),
                got: other.into(),
            }
            .into());
        }
    })
}

/// A loss function.
#[pyclass(frozen, module = "cnnzoo._torch")]
struct Loss {
    inner: torch::Loss,
    auxiliary: Option<f64>,
}

#[pymethods]
impl Loss {
    #[new]
    fn new(
        binary: bool,
        label_smoothing: f64,
        class_weights: Option<Vec<f32>>,
        auxiliary: Option<f64>,
    ) -> PyResult<Self> {
        let inner = if binary {
            torch::Loss::BinaryCrossEntropy { label_smoothing, positive_weights: class_weights }
        } else {
            torch::Loss::CrossEntropy { label_smoothing, class_weights }
        };
        inner.check()?;
        if let Some(weight) = auxiliary.filter(|weight| !(0.0..f64::INFINITY).contains(weight)) {
            let (at, expected) = ("`auxiliary`".into(), "a finite number of at least 0".into());
            return Err(Error::Argument { at, expected, got: weight.to_string() }.into());
        }
        Ok(Self { inner, auxiliary })
    }

    /// Fails with an `ArgumentError` where the loss is for another number of classes.
    fn fits(&self, num_classes: usize) -> PyResult<()> {
        Ok(self.inner.fits(num_classes)?)
    }
}

/// A loss function in Python: it takes logits (N, K) alone and returns the mean loss, the batch's weight, and the
/// gradient of the loss with respect to the logits, float32 (N, K).
struct Function {
    function: Py<PyAny>,
    /// The exception that it raised, which no error of the crate represents.
    raised: Mutex<Option<PyErr>>,
}

impl Function {
    fn judge(&self, logits: Array) -> Result<LossResult> {
        Python::attach(|py| {
            let answer: PyResult<(f64, f64, PyReadonlyArrayDyn<'_, f32>)> = from_array(py, logits)
                .and_then(|logits| self.function.bind(py).call1((logits,)))
                .and_then(|answer| answer.extract());
            let opinion = answer.and_then(|(loss, weight, gradient)| {
                Ok(LossResult { loss, weight, gradient: gradient.as_slice()?.to_vec() })
            });
            opinion.map_err(|error| {
                let got = error.to_string();
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                let (at, expected) = ("`loss`".into(), "a loss and its gradient".into());
                Error::Argument { at, expected, got }
            })
        })
    }

    fn raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The result of a step: loss, weight, correct, count, the norm of the gradients.
type Outcome = (f64, f64, usize, usize, Option<f64>);

/// Takes a training step on images `x` (N, C, H, W) with targets `y`: class labels (N,), or shares of each class (N,
/// K).
///
/// `among` makes it a step among several processes: a function that sums a tensor over them, whether norms use the statistics
/// of the batch of all, and whether the images of this process count.
#[pyfunction]
#[pyo3(signature = (
    model, optimizer, x, y, loss, lr, accumulate, clip_norm, clip_value, precision, seed, among=None
))]
#[allow(clippy::too_many_arguments, reason = "Python passes them by keyword")]
fn train_step(
    model: &Model,
    optimizer: &Optimizer,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    loss: &Bound<'_, PyAny>,
    lr: f64,
    accumulate: u64,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    precision: &str,
    seed: u64,
    among: Option<(Bound<'_, PyAny>, bool, bool)>,
) -> PyResult<Outcome> {
    let images = model.images(x)?;
    let x = View { shape: images.shape(), values: images.as_slice()? };
    let given = Targets::new(y, &format!("the targets of {}", model.0.name()))?;
    let targets = given.view()?;
    let precision = Precision::parse(precision)?;
    let clip = clip_norm.map(Clip::Norm).or(clip_value.map(Clip::Value));
    let known = loss.cast::<Loss>().ok().map(Bound::get);
    let function = known
        .is_none()
        .then(|| Function { function: loss.clone().unbind(), raised: Mutex::default() });
    let ask = function.as_ref().map(|function| {
        |logits| {
            // The function must not wait for a model that waits for the function.
            let expected = "a loss that is a function of logits and targets";
            let _asking = model.0.asking("in a training step", expected);
            function.judge(logits)
        }
    });
    let objective = match (known, &ask) {
        (Some(loss), _) => Objective::Loss(&loss.inner),
        (None, Some(ask)) => Objective::Function(ask),
        (None, None) => unreachable!("it is one or the other"),
    };
    let (sum, norms, counts) = match among {
        Some((function, norms, counts)) => (Some(Sum::new(function)), norms, counts),
        None => (None, false, true),
    };
    let add = sum.as_ref().map(|sum| {
        |handle: Handle| {
            let _asking = model.0.asking("in a training step", "a sum that does not run it");
            sum.of(&handle)
        }
    });
    let outcome = detached(y.py(), || {
        let among = add.as_ref().map(|sum| Among { sum, norms, counts });
        let mut state = model.0.write()?;
        let checkpointing = state.options().checkpointing.unwrap_or(false);
        let options = GradientOptions { mode: Mode::Training { seed }, checkpointing, precision };
        state.changing_store(|graph, store| {
            let rates = optimizer.rules.rates(lr, graph, store.parameters())?;
            let task = Task {
                x,
                targets,
                objective,
                auxiliary: known.and_then(|loss| loss.auxiliary),
                options,
                among,
                accumulate,
                update: Update { rates: &rates, clip },
            };
            let mut inner = optimizer.lock();
            let done = torch::train_step(graph, store, &mut inner, task)?;
            Ok((done.loss, done.weight, done.correct, x.shape[0], done.grad_norm))
        })
    });
    if let Some(error) = sum.and_then(|sum| sum.raised()) {
        return Err(error);
    }
    match function.and_then(|function| function.raised()) {
        Some(error) => Err(error),
        None => outcome,
    }
}

/// The part of a model that is not finite: the name of the first such array, or `""` for the outputs of images `x` in a
/// training step; none where all is finite.
#[pyfunction]
fn not_finite(
    py: Python<'_>,
    model: &Model,
    x: Option<&Bound<'_, PyAny>>,
    precision: &str,
    seed: u64,
) -> PyResult<Option<String>> {
    let images = x.map(|x| model.images(x)).transpose()?;
    let x = match &images {
        Some(images) => Some(View { shape: images.shape(), values: images.as_slice()? }),
        None => None,
    };
    let precision = Precision::parse(precision)?;
    let options =
        GradientOptions { mode: Mode::Training { seed }, checkpointing: false, precision };
    detached(py, || {
        if let Some(name) = model.0.read()?.store()?.not_finite()? {
            return Ok(Some(name.to_owned()));
        }
        let Some(x) = x else { return Ok(None) };
        let mut state = model.0.write()?;
        state.changing_store(|graph, store| {
            Ok((!torch::has_finite_outputs(graph, store, x, options)?).then(String::new))
        })
    })
}

/// Evaluates images `x` (N, C, H, W) with targets `y`: the sum of their losses, the sum of their weights, and the
/// logits (N, K). Without a loss, the first two are 0.
#[pyfunction]
fn assess<'py>(
    model: &Model,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    loss: Option<&Loss>,
    precision: &str,
) -> PyResult<(f64, f64, Bound<'py, PyAny>)> {
    let images = model.images(x)?;
    let x = View { shape: images.shape(), values: images.as_slice()? };
    let given = Targets::new(y, &format!("the targets of {}", model.0.name()))?;
    let targets = given.view()?;
    let precision = Precision::of_inference(precision)?;
    let options = RunOptions { precision, ..RunOptions::default() };
    let loss = loss.map(|loss| &loss.inner);
    let found = detached(y.py(), || {
        let state = model.0.prepared(options)?;
        torch::assess(state.graph(), x.shape[0], targets, loss, || state.output(x, options))
    })?;
    let logits = from_array(y.py(), found.logits)?;
    Ok((found.loss, found.weight, logits))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Optimizer>()?;
    module.add_class::<Loss>()?;
    module.add_function(wrap_pyfunction!(assess, module)?)?;
    module.add_function(wrap_pyfunction!(not_finite, module)?)?;
    module.add_function(wrap_pyfunction!(train_step, module)?)
}
