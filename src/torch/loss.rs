//! Loss functions: the loss of a batch, and its gradient with respect to the logits.

use std::fmt;

use tch::{Kind, Reduction, TchError, Tensor};

use super::failed;
use super::run::array;
use super::store::blob;
use crate::engine::Array;
use crate::error::{Error, Result, shape_text};
use crate::graph::Graph;

/// The targets of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// Class labels (N,).
    Classes(&'a [i64]),
    /// The share of each class (N, K) in row-major order: soft labels.
    Shares { values: &'a [f32], classes: usize },
}

impl Targets<'_> {
    /// The number of images.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Shares { values, classes } => values.len() / classes.max(&1),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn tensor(&self) -> Result<Tensor, TchError> {
        match *self {
            Self::Classes(classes) => Tensor::f_from_slice(classes),
            Self::Shares { values, classes } => {
                Tensor::f_from_slice(values)?.f_view([-1, classes as i64])
            }
        }
    }
}

/// A loss function, as PyTorch defines it.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// Softmax cross-entropy.
    CrossEntropy {
        /// The part of each target that is spread evenly over all classes.
        label_smoothing: f64,
        class_weights: Option<Vec<f32>>,
    },
    /// A sigmoid for each class, then binary cross-entropy, averaged over images and classes.
    BinaryCrossEntropy {
        label_smoothing: f64,
        /// The weight of positive targets against negative ones, for each class.
        positive_weights: Option<Vec<f32>>,
    },
}

/// The objective that training minimises.
#[derive(Clone, Copy)]
pub enum Objective<'a> {
    Loss(&'a Loss),
    /// A function of logits (N, K) that knows the targets by itself.
    Function(&'a (dyn Fn(Array) -> Result<LossResult> + Sync)),
}

impl fmt::Debug for Objective<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss(loss) => loss.fmt(out),
            Self::Function(_) => out.write_str("a function"),
        }
    }
}

/// The result of a function of logits (N, K).
#[derive(Clone, Debug)]
pub struct LossResult {
    /// The batch's mean loss.
    pub loss: f64,
    /// The batch's weight in a mean over batches.
    pub weight: f64,
    /// The gradient of the loss with respect to the logits, row-major.
    pub gradient: Vec<f32>,
}

/// The loss of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLoss {
    /// The mean loss of the output plus, weighted, of the auxiliary classifiers.
    pub loss: f64,
    /// The batch's weight in a mean over batches.
    pub weight: f64,
    /// The number of images whose largest logit is at the largest target and that have no NaN.
    pub correct: usize,
}

/// Tolerance on the sum of an image's shares, since those of half precision are rounded.
const OF_ROUNDED_SHARES: f32 = 0.01;

/// PyTorch's `ignore_index`: images of this class are left out of the mean. No image has it here.
const IGNORED: i64 = -100;

impl Loss {
    /// Fails with `Error::Argument` where a hyperparameter is out of range, whatever the network.
    pub fn check(&self) -> Result<()> {
        let (Self::CrossEntropy { label_smoothing, .. }
        | Self::BinaryCrossEntropy { label_smoothing, .. }) = self;
        let refused = |at: &str, expected: &str, got: String| {
            Err(Error::Argument { at: at.into(), expected: expected.into(), got })
        };
        if !(0.0..=1.0).contains(label_smoothing) {
            return refused("`label_smoothing`", "a number of 0 to 1", label_smoothing.to_string());
        }
        let Some((name, weights)) = self.weights() else { return Ok(()) };
        if let Some(wrong) = weights.iter().find(|weight| !(0.0..f32::INFINITY).contains(*weight)) {
            return refused(name, "finite numbers of at least 0", wrong.to_string());
        }
        if !weights.iter().any(|&weight| weight > 0.0) {
            return refused(name, "at least one number above 0", "none".into());
        }
        Ok(())
    }

    /// Fails with `Error::Argument` where the loss is for another number of classes.
    pub fn fits(&self, classes: usize) -> Result<()> {
        match self.weights() {
            Some((name, weights)) if weights.len() != classes => Err(Error::Argument {
                at: name.into(),
                expected: format!("a number for each of {classes} classes"),
                got: format!("{} numbers", weights.len()),
            }),
            _ => Ok(()),
        }
    }

    /// Fails with `Error::Argument` where the loss cannot be computed from the targets, or nothing could be learned.
    pub(super) fn takes(&self, targets: Targets<'_>, graph: &Graph) -> Result<()> {
        let refused = |expected: &str, got: String| {
            let at = format!("the targets of {}", graph.name());
            Err(Error::Argument { at, expected: expected.into(), got })
        };
        let softmax = matches!(self, Self::CrossEntropy { .. });
        if softmax && graph.classes() == 1 {
            return refused(
                "two classes or more for CrossEntropy, or BinaryCrossEntropy with a 0 or 1 for each image (N, 1)",
                "one class, whose cross-entropy is 0 whatever is learned".into(),
            );
        }
        let Targets::Shares { values, classes } = targets else { return Ok(()) };
        if let Some(wrong) = values.iter().find(|share| !(0.0..=1.0).contains(*share)) {
            return refused("probabilities of 0 to 1", wrong.to_string());
        }
        let sums = values.chunks_exact(classes.max(1)).map(|row| row.iter().sum::<f32>());
        match sums.into_iter().find(|sum| (sum - 1.0).abs() > OF_ROUNDED_SHARES) {
            Some(wrong) if softmax => refused(
                "class probabilities that sum to 1 for CrossEntropy; BinaryCrossEntropy takes any number of labels",
                format!("a sum of {wrong}"),
            ),
            _ => Ok(()),
        }
    }

    /// The weights per class, and the name of the option.
    fn weights(&self) -> Option<(&'static str, &[f32])> {
        match self {
            Self::CrossEntropy { class_weights, .. } => {
                class_weights.as_deref().map(|weights| ("`class_weights`", weights))
            }
            Self::BinaryCrossEntropy { positive_weights, .. } => {
                positive_weights.as_deref().map(|weights| ("`positive_weights`", weights))
            }
        }
    }

    /// The sum of the losses of logits (N, K), recorded for its gradient, and the sum of the images' weights: the mean
    /// over any number of batches is the sum of the former over that of the latter.
    pub(super) fn of(&self, logits: &Tensor, targets: &Tensor) -> Result<(Tensor, f64), TchError> {
        let kind = logits.f_kind()?;
        let [images, classes] = logits.size()[..] else { unreachable!("a row for each image") };
        let of_classes = targets.dim() == 1;
        let weights = self.weights().map(|(_, weights)| {
            Tensor::f_from_slice(weights)?.f_to_device(logits.device())?.f_to_kind(kind)
        });
        let weights = weights.transpose()?;
        let targets = if of_classes { targets.shallow_clone() } else { targets.f_to_kind(kind)? };
        match self {
            Self::CrossEntropy { label_smoothing, .. } => {
                let weight = match &weights {
                    Some(weights) if of_classes => weights
                        .f_index_select(0, &targets)?
                        .f_sum(Kind::Double)?
                        .f_double_value(&[])?,
                    // PyTorch's mean over soft labels divides by the number of images, whatever their classes weigh.
                    _ => images as f64,
                };
                let (sum, smoothing) = (Reduction::Sum, *label_smoothing);
                let sum =
                    logits.f_cross_entropy_loss(&targets, weights, sum, IGNORED, smoothing)?;
                Ok((sum, weight))
            }
            Self::BinaryCrossEntropy { label_smoothing, .. } => {
                let shares =
                    if of_classes { targets.f_one_hot(classes)?.f_to_kind(kind)? } else { targets };
                let shares = shares
                    .f_mul_scalar(1.0 - label_smoothing)?
                    .f_add_scalar(label_smoothing / classes as f64)?;
                let none = None::<Tensor>;
                let sum = logits.f_binary_cross_entropy_with_logits(
                    &shares,
                    none,
                    weights,
                    Reduction::Sum,
                )?;
                Ok((sum.f_div_scalar(classes)?, images as f64))
            }
        }
    }

    /// The mean loss of a batch, its weight, and the gradient of `share` times the mean. Images of weight 0 have no
    /// loss and no gradient.
    fn judge(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        share: f64,
    ) -> Result<(f64, f64, Tensor), TchError> {
        let leaf = logits.f_set_requires_grad(true)?;
        let (sum, weight) = self.of(&leaf, targets)?;
        if weight <= 0.0 {
            return Ok((0.0, 0.0, leaf.f_detach()?.f_zeros_like()?));
        }
        let scaled = sum.f_mul_scalar(share / weight)?;
        let mut gradients = Tensor::f_run_backward(&[scaled], &[&leaf], false, false)?;
        let Some(gradient) = gradients.pop() else { unreachable!("one was asked for") };
        Ok((sum.f_double_value(&[])? / weight, weight, gradient))
    }
}

impl Objective<'_> {
    fn judge(self, logits: &Tensor, targets: &Tensor, share: f64) -> Result<(f64, f64, Tensor)> {
        const AT: &str = "the gradient of the loss with respect to the logits";
        match self {
            Self::Loss(loss) => loss.judge(logits, targets, share).map_err(failed(AT)),
            Self::Function(function) => {
                let logits_now = array(logits, "the logits of a step")?;
                let shape = logits_now.shape.clone();
                let LossResult { loss, weight, gradient } = function(logits_now)?;
                if gradient.len() != shape.iter().product::<usize>() {
                    let (expected, got) = (shape_text(&shape), shape_text(&[gradient.len()]));
                    return Err(Error::Shape { at: AT.into(), expected, got });
                }
                let gradient = blob(&gradient, &shape)?
                    .f_to_device(logits.device())
                    .and_then(|gradient| gradient.f_mul_scalar(share))
                    .map_err(failed(AT))?;
                Ok((loss, weight, gradient))
            }
        }
    }
}

/// The loss of `heads` (the output, then auxiliary classifiers, with the loss weights in `weights`), and the gradient
/// of `share` times it with respect to each.
pub(super) fn judge(
    objective: Objective<'_>,
    heads: &[Tensor],
    targets: &Tensor,
    weights: &[f64],
    share: f64,
) -> Result<(BatchLoss, Vec<Tensor>)> {
    let Some((output, others)) = heads.split_first() else { unreachable!("there is an output") };
    let (mut total, weight, gradient) = objective.judge(output, targets, share)?;
    let mut cotangents = vec![gradient];
    for (other, &counts) in others.iter().zip(weights) {
        let (loss, _, gradient) = objective.judge(other, targets, counts * share)?;
        total += counts * loss;
        cotangents.push(gradient);
    }
    let correct = correct(output, targets).map_err(failed("how many images are recognised"))?;
    Ok((BatchLoss { loss: total, weight, correct }, cotangents))
}

/// Counts the correct predictions. A row with a NaN is never correct, whichever other value is largest.
fn correct(logits: &Tensor, targets: &Tensor) -> Result<usize, TchError> {
    let logits = logits.f_detach()?;
    let shown =
        if targets.dim() == 1 { targets.shallow_clone() } else { targets.f_argmax(1, false)? };
    let answered = logits.f_isnan()?.f_any_dim(1, false)?.f_logical_not()?;
    let hits = logits.f_argmax(1, false)?.f_eq_tensor(&shown)?.f_logical_and(&answered)?;
    Ok(usize::try_from(hits.f_sum(Kind::Int64)?.f_int64_value(&[])?).unwrap_or(0))
}
