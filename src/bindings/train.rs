//! Training steps: optimisers, losses, and the step.

use std::sync::{Mutex, PoisonError};

use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{Shown, from_values};
use super::errors::detached;
use super::model::Model;
use crate::error::Error;
use crate::torch::{self, Clip, Manner, Mode, Precision, Rule, Task, Update, View};
use crate::train::groups::{Group, Paces};

/// What the Python classes `SGD`, `AdamW` and so on drive.
#[pyclass(frozen, module = "cnnzoo._native")]
pub(super) struct Optimizer {
    paces: Paces,
    /// Locked only without the GIL.
    pub(super) inner: Mutex<torch::Optimizer>,
}

/// Patterns, times the rate, decay.
type GroupFields = (Vec<String>, f64, Option<f64>);

#[pymethods]
impl Optimizer {
    /// `numbers` are those of the rule, by their Python names.
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
        let paces = Paces {
            lr: 1.0,
            weight_decay,
            norm_weight_decay,
            bias_weight_decay,
            layer_decay,
            groups,
        };
        paces.check()?;
        Ok(Self { paces, inner: Mutex::new(torch::Optimizer::new(rule)) })
    }

    /// Of every parameter of the model: its name, how many times the rate it moves by, and its decay. Fails where a
    /// pattern of the groups fits none.
    fn paces(&self, py: Python<'_>, model: &Model) -> PyResult<Vec<(String, f64, f64)>> {
        detached(py, || {
            let state = model.read();
            let parameters = state.graph.parameters();
            let paces = self.paces.of(&state.graph, &parameters)?;
            let trained = parameters.into_iter().zip(paces).filter(|(p, _)| p.role.is_trained());
            Ok(trained.map(|(p, pace)| (p.name, pace.lr, pace.weight_decay)).collect())
        })
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
        _ => Rule::Lamb {
            betas: get(numbers, "betas")?,
            eps: get(numbers, "eps")?,
            max_grad_norm: get(numbers, "max_grad_norm")?,
        },
    })
}

/// What training makes small.
#[pyclass(frozen, module = "cnnzoo._native")]
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
        if !(0.0..=1.0).contains(&label_smoothing) {
            let at = "`label_smoothing`".into();
            let (expected, got) = ("a number of 0 to 1".into(), label_smoothing.to_string());
            return Err(Error::Argument { at, expected, got }.into());
        }
        let inner = if binary {
            torch::Loss::BinaryCrossEntropy { label_smoothing, positive_weights: class_weights }
        } else {
            torch::Loss::CrossEntropy { label_smoothing, class_weights }
        };
        Ok(Self { inner, auxiliary })
    }
}

/// What a step did: loss, correct, count, the norm of the gradients.
type Outcome = (f64, usize, usize, Option<f64>);

/// Takes a training step on images `x` (N, C, H, W) that show `y`: classes (N,), or shares of each class (N, K).
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "Python passes them by keyword")]
fn train_step(
    model: &Model,
    optimizer: &Optimizer,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    loss: &Loss,
    lr: f64,
    share: f64,
    update: bool,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    precision: &str,
    seed: u64,
) -> PyResult<Outcome> {
    let images = model.images(x)?;
    let x = View { shape: images.shape(), values: images.as_slice()? };
    let shown = Shown::new(y, &format!("the targets of {}", model.name))?;
    let targets = shown.targets()?;
    let precision = Precision::parse(precision)?;
    let clip = clip_norm.map(Clip::Norm).or(clip_value.map(Clip::Value));
    detached(y.py(), || {
        let mut state = model.write();
        let checkpointing = state.options.checkpointing.unwrap_or(false);
        let (graph, store) = state.parts()?;
        let paces = Paces { lr, ..optimizer.paces.clone() };
        let paces = paces.of(graph, store.parameters())?;
        let task = Task {
            x,
            targets,
            loss: &loss.inner,
            auxiliary: loss.auxiliary,
            manner: Manner { mode: Mode::Training { seed }, checkpointing, precision },
            share,
            update: update.then_some(Update { paces: &paces, clip }),
        };
        let mut inner = optimizer.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let done = torch::train_step(graph, store, &mut inner, task)?;
        Ok((done.loss, done.correct, x.shape[0], done.grad_norm))
    })
}

/// The mean loss (a float) and the logits (N, K) of images `x` (N, C, H, W) that show `y`, in evaluation.
#[pyfunction]
fn assess<'py>(
    model: &Model,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    loss: &Loss,
    precision: &str,
) -> PyResult<(f64, Bound<'py, PyAny>)> {
    let images = model.images(x)?;
    let x = View { shape: images.shape(), values: images.as_slice()? };
    let shown = Shown::new(y, &format!("the targets of {}", model.name))?;
    let targets = shown.targets()?;
    let precision = Precision::parse(precision)?;
    let (mean, logits) = detached(y.py(), || {
        let state = model.settled()?;
        torch::assess(&state.graph, state.store()?, x, targets, &loss.inner, precision)
    })?;
    Ok((mean, from_values(y.py(), &logits.shape, logits.values)?))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Optimizer>()?;
    module.add_class::<Loss>()?;
    module.add_function(wrap_pyfunction!(assess, module)?)?;
    module.add_function(wrap_pyfunction!(train_step, module)?)
}
