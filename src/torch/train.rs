//! One training step: the loss of a batch, its gradients, and the update of the parameters.

use tch::{Kind, TchError};

use super::accumulated::{Accumulated, Gradients};
use super::among::Among;
use super::gradients::{GradientOptions, gradients};
use super::layout::laid_out_like;
use super::loss::{BatchLoss, Loss, Objective, Targets, judge};
use super::memory::keep_freed_memory;
use super::norm::total_norm;
use super::optimizer::Optimizer;
use super::rule::Rate;
use super::run::on_device;
use super::store::blob;
use super::walk::Walk;
use super::{Layout, Store, failed};
use crate::engine::{Array, View};
use crate::error::{Error, Result, shape_text};
use crate::graph::{Graph, Parameter};
use crate::weights::Parameters;

/// The options of a training step.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    pub x: View<'a>,
    pub targets: Targets<'a>,
    pub objective: Objective<'a>,
    /// The loss weight of each auxiliary classifier, if not as the graph says.
    pub auxiliary: Option<f64>,
    pub options: GradientOptions,
    /// The processes that train together, whose mean gradients make the updates.
    pub among: Option<Among<'a>>,
    /// The number of batches that make an update (gradient accumulation).
    pub accumulate: u64,
    pub update: Update<'a>,
}

/// The optimiser update that follows once enough batches are accumulated.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The learning rate and weight decay of every parameter.
    pub rates: &'a [Rate],
    pub clip: Option<Clip>,
}

/// Gradient clipping.
#[derive(Clone, Copy, Debug)]
pub enum Clip {
    /// Clips the Euclidean norm of all gradients together.
    Norm(f64),
    /// Clips the magnitude of each number.
    Value(f64),
}

/// The result of a step.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The batch's mean loss before the update; 0 where all images have weight 0.
    pub loss: f64,
    /// The batch's weight in a mean over batches.
    pub weight: f64,
    /// The number of images whose largest logit is at the largest target.
    pub correct: usize,
    /// The Euclidean norm of all gradients before clipping; none without an update.
    pub grad_norm: Option<f64>,
}

/// Takes a training step.
pub fn train_step(
    graph: &Graph,
    store: &mut Store,
    optimizer: &mut Optimizer,
    task: Task<'_>,
) -> Result<Outcome> {
    keep_freed_memory();
    let heads = graph.heads();
    let weights: Vec<f64> = graph
        .auxiliary()
        .iter()
        .map(|auxiliary| task.auxiliary.unwrap_or(auxiliary.weight))
        .collect();
    store.lay_out(Layout::ChannelsLast)?;
    let x = on_device(task.x, store)?;
    let GradientOptions { mode, checkpointing, precision } = task.options;
    let walk = Walk::new(graph, store, &x, &heads, mode)?.in_precision(precision);
    let walk = walk.among(task.among);
    fits(graph, walk.batch, task.targets)?;
    if let Objective::Loss(loss) = task.objective {
        loss.fits(graph.classes())?;
        loss.takes(task.targets, graph)?;
    }
    let at = format!("the loss of {}", graph.name());
    let targets = task.targets.tensor().and_then(|targets| targets.f_to_device(store.device()));
    let targets = targets.map_err(failed(&at))?;
    let share = 1.0 / task.accumulate as f64;
    let (verdict, new) = gradients(walk, x, &heads, checkpointing, |heads| {
        let (verdict, mut cotangents) = judge(task.objective, heads, &targets, &weights, share)?;
        if let Some(among) = task.among {
            let weight = among.weight(verdict.weight);
            for cotangent in &mut cotangents {
                *cotangent = cotangent.f_mul_scalar(weight).map_err(failed(&at))?;
            }
        }
        Ok((verdict, cotangents))
    })?;

    let _no_grad = tch::no_grad_guard();
    let new = match task.among {
        Some(among) => among.mean(store, new, verdict.weight)?,
        None => new,
    };
    let waiting = optimizer.waiting.with(store, new, task.accumulate)?;
    let mut grad_norm = None;
    if waiting.is_due() {
        grad_norm = Some(update(store, optimizer, waiting, task.update)?);
    } else {
        optimizer.waiting = waiting;
    }
    let BatchLoss { loss, weight, correct } = verdict;
    Ok(Outcome { loss, weight, correct, grad_norm })
}

/// Updates with the mean of the gradients accumulated so far, though further batches were to come. Returns their norm
/// before clipping; none where nothing is accumulated.
pub fn flush(
    store: &mut Store,
    optimizer: &mut Optimizer,
    then: Update<'_>,
) -> Result<Option<f64>> {
    if optimizer.waiting.batches == 0 {
        return Ok(None);
    }
    store.lay_out(Layout::ChannelsLast)?;
    let _no_grad = tch::no_grad_guard();
    let all = optimizer.waiting.with_none();
    update(store, optimizer, all, then).map(Some)
}

/// Updates with gradients that the caller computed: those at these places among the store's arrays. Returns their norm before
/// clipping. Other parameters stay, as they do in PyTorch where they have no gradient.
///
/// Fails with `Error::Argument` or `Error::Shape`, and changes nothing, where a gradient is that of no trained parameter or
/// has another shape, or gradients are accumulated.
pub fn apply(
    store: &Store,
    optimizer: &mut Optimizer,
    gradients: &[(usize, View<'_>)],
    Update { rates, clip }: Update<'_>,
) -> Result<f64> {
    let waiting = optimizer.waiting.batches;
    if waiting > 0 {
        return Err(Error::Argument {
            at: "an update with given gradients".into(),
            expected: "an optimizer that has accumulated none".into(),
            got: format!("one with those of {waiting} batches"),
        });
    }
    let _no_grad = tch::no_grad_guard();
    let mut all = Gradients::new();
    for &(index, gradient) in gradients {
        let (Parameter { name, shape, .. }, parameter) =
            (&store.parameters()[index], &store.tensors()[index]);
        let at = || format!("the gradient of `{name}`");
        if !parameter.requires_grad() {
            let expected = "one of a parameter that is trained".into();
            return Err(Error::Argument {
                at: at(),
                expected,
                got: "one of a frozen or other array".into(),
            });
        }
        if gradient.shape != shape {
            let (expected, got) = (shape_text(shape), shape_text(gradient.shape));
            return Err(Error::Shape { at: at(), expected, got });
        }
        let moved = on_device(gradient, store)?;
        all.insert(index, laid_out_like(parameter, moved).map_err(failed(at()))?);
    }
    let at = || failed("the norm of the gradients");
    let norm = total_norm(all.values()).map_err(at())?;
    cut(&mut all, clip, norm).map_err(at())?;
    optimizer.step(store, all, rates)?;
    Ok(norm)
}

fn update(
    store: &Store,
    optimizer: &mut Optimizer,
    waiting: Accumulated,
    Update { rates, clip }: Update<'_>,
) -> Result<f64> {
    let mut all = waiting.mean(store)?;
    let at = || failed("the norm of the gradients");
    let norm = total_norm(all.values()).map_err(at())?;
    cut(&mut all, clip, norm).map_err(at())?;
    optimizer.step(store, all, rates)?;
    Ok(norm)
}

/// The result of evaluating a batch.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// The sum of the images' losses; 0 where no loss was asked for.
    pub loss: f64,
    /// The sum of the images' weights: the mean over batches is the sum of the losses over that of the weights.
    pub weight: f64,
    pub logits: Array,
}

/// The loss of a batch of `count` images in evaluation mode, without the auxiliary classifiers, and its logits, which
/// `run` computes once the targets are checked.
pub fn assess(
    graph: &Graph,
    count: usize,
    targets: Targets<'_>,
    loss: Option<&Loss>,
    run: impl FnOnce() -> Result<Array>,
) -> Result<Assessment> {
    fits(graph, count, targets)?;
    if let Some(loss) = loss {
        loss.fits(graph.classes())?;
        loss.takes(targets, graph)?;
    }
    let logits = run()?;
    let Some(of) = loss else { return Ok(Assessment { loss: 0.0, weight: 0.0, logits }) };
    let tensor = blob(&logits.values, &logits.shape)?;
    // In float64, so that the division into batches does not matter.
    let judged = tensor.f_to_kind(Kind::Double).and_then(|tensor| {
        let (sum, weight) = of.of(&tensor, &targets.tensor()?)?;
        Ok((sum.f_double_value(&[])?, weight))
    });
    let (loss, weight) = judged.map_err(failed(format_args!("the loss of {}", graph.name())))?;
    Ok(Assessment { loss, weight, logits })
}

fn cut(gradients: &mut Gradients, clip: Option<Clip>, norm: f64) -> Result<(), TchError> {
    // Gradients may share memory, so none is written to.
    for gradient in gradients.values_mut() {
        *gradient = match clip {
            Some(Clip::Norm(most)) if norm + SMALL > most => {
                gradient.f_mul_scalar(most / (norm + SMALL))?
            }
            Some(Clip::Value(most)) => gradient.f_clamp(-most, most)?,
            _ => continue,
        };
    }
    Ok(())
}

/// PyTorch's epsilon, added to a norm before division.
const SMALL: f64 = 1e-6;

/// Fails unless the targets are classes, or shares of classes, for this many outputs.
fn fits(graph: &Graph, batch: usize, targets: Targets<'_>) -> Result<()> {
    let classes = graph.classes();
    let at = format!("the targets of {}", graph.name());
    if classes == 0 {
        let expected = "a network with a classifier".into();
        return Err(Error::Argument { at, expected, got: "one of num_classes=0".into() });
    }
    let (shape, expected) = match targets {
        Targets::Classes(found) => (vec![found.len()], vec![batch]),
        Targets::Shares { values, classes: of } => {
            (vec![values.len() / of.max(1), of], vec![batch, classes])
        }
    };
    if shape != expected {
        return Err(Error::Shape { at, expected: shape_text(&expected), got: shape_text(&shape) });
    }
    if let Targets::Classes(found) = targets
        && let Some(wrong) = found.iter().find(|&&class| class < 0 || class >= classes as i64)
    {
        let expected = format!("classes of 0 to {}", classes - 1);
        return Err(Error::Argument { at, expected, got: wrong.to_string() });
    }
    Ok(())
}
