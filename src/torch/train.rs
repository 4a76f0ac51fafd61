//! One training step: the loss of a batch, its gradients, and the update of the parameters.

use std::collections::BTreeMap;

use tch::{TchError, Tensor};

use super::gradients::{Manner, gradients};
use super::loss::{Loss, Targets, judge};
use super::memory::keep_freed_memory;
use super::norm::total_norm;
use super::optimizer::Optimizer;
use super::precision::Precision;
use super::rule::Pace;
use super::run::{Array, View, Walk, infer, on_device};
use super::store::blob;
use super::{Layout, Store, failed};
use crate::error::{Error, Result, shape_text};
use crate::graph::Graph;

/// What a step is to do.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    pub x: View<'a>,
    pub targets: Targets<'a>,
    pub loss: &'a Loss,
    /// How much the loss of each auxiliary classifier counts beside that of the output, if not as the graph says.
    pub auxiliary: Option<f64>,
    pub manner: Manner,
    /// How much the gradients of this batch count among those of an update.
    pub share: f64,
    pub update: Option<Update<'a>>,
}

/// What follows the gradients, unless they wait for those of further batches.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// For every parameter.
    pub paces: &'a [Pace],
    pub clip: Option<Clip>,
}

/// What keeps an update small.
#[derive(Clone, Copy, Debug)]
pub enum Clip {
    /// All gradients together get at most this Euclidean norm.
    Norm(f64),
    /// Each number of them gets at most this magnitude.
    Value(f64),
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The batch's mean loss before the update.
    pub loss: f64,
    /// How many images had their largest logit where their target is largest.
    pub correct: usize,
    /// The Euclidean norm of all gradients before they were clipped; none without an update.
    pub grad_norm: Option<f64>,
}

/// Takes a step.
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
    let Manner { mode, checkpointing, precision } = task.manner;
    let walk = Walk::new(graph, store, &x, &heads, mode)?.in_precision(precision);
    fits(graph, walk.batch, task.targets)?;
    let at = format!("the loss of {}", graph.name());
    let targets = task.targets.tensor().and_then(|targets| targets.f_to_device(store.device()));
    let targets = targets.map_err(failed(&at))?;
    let (verdict, new) = gradients(walk, x, &heads, checkpointing, |heads| {
        judge(task.loss, heads, &targets, &weights, task.share).map_err(failed(&at))
    })?;

    let _no_grad = tch::no_grad_guard();
    let mut all = optimizer.with_waiting(store, new)?;
    let mut grad_norm = None;
    if let Some(Update { paces, clip }) = task.update {
        let at = || failed("the norm of the gradients");
        let norm = total_norm(all.values()).map_err(at())?;
        cut(&mut all, clip, norm).map_err(at())?;
        optimizer.step(store, all, paces)?;
        grad_norm = Some(norm);
    } else {
        optimizer.wait(store, all);
    }
    Ok(Outcome { loss: verdict.loss, correct: verdict.correct, grad_norm })
}

/// The mean loss of a batch in evaluation, without the auxiliary classifiers, and its logits.
pub fn assess(
    graph: &Graph,
    store: &Store,
    x: View<'_>,
    targets: Targets<'_>,
    loss: &Loss,
    precision: Precision,
) -> Result<(f64, Array)> {
    fits(graph, x.shape.first().copied().unwrap_or(0), targets)?;
    let mut outputs = infer(graph, store, x, &[graph.output()], precision)?;
    let Some(logits) = outputs.pop() else { unreachable!("one was asked for") };
    let tensor = blob(&logits.values, &logits.shape)?;
    let mean = targets.tensor().and_then(|targets| loss.of(&tensor, &targets)?.f_double_value(&[]));
    let mean = mean.map_err(failed(format_args!("the loss of {}", graph.name())))?;
    Ok((mean, logits))
}

fn cut(
    gradients: &mut BTreeMap<usize, Tensor>,
    clip: Option<Clip>,
    norm: f64,
) -> Result<(), TchError> {
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

/// What PyTorch adds to a norm before it divides by it.
const SMALL: f64 = 1e-6;

/// Whether the targets are classes, or shares of the classes, that this many outputs can have.
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
