//! What training makes small: the loss of a batch, and its gradient by the logits.

use tch::{Kind, Reduction, TchError, Tensor};

/// What the images of a batch show.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// One class each, (N,).
    Classes(&'a [i64]),
    /// How much of each class, (N, K) in row-major order.
    Shares { values: &'a [f32], classes: usize },
}

impl Targets<'_> {
    /// How many images.
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

/// The mean loss over a batch, as PyTorch defines it.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// Softmax, then the negative logarithm of the targets' shares.
    CrossEntropy {
        /// How much of each target goes to all classes alike.
        label_smoothing: f64,
        class_weights: Option<Vec<f32>>,
    },
    /// Each class on its own: a sigmoid, then the cross-entropy of yes and no, averaged over images and classes.
    BinaryCrossEntropy {
        label_smoothing: f64,
        /// How much more a yes counts than a no, of each class.
        positive_weights: Option<Vec<f32>>,
    },
}

/// What a loss says of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// Of the output and, weighted, of the auxiliary classifiers.
    pub loss: f64,
    /// How many images have their largest logit where their target is largest.
    pub correct: usize,
}

/// PyTorch leaves images of this class out of the mean; none has it here.
const IGNORED: i64 = -100;

impl Loss {
    /// The loss of logits (N, K), recorded for its gradient.
    pub(super) fn of(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::CrossEntropy { label_smoothing, class_weights } => {
                let weights = per_class(class_weights.as_deref(), logits)?;
                let (mean, smoothing) = (Reduction::Mean, *label_smoothing);
                logits.f_cross_entropy_loss(targets, weights, mean, IGNORED, smoothing)
            }
            Self::BinaryCrossEntropy { label_smoothing, positive_weights } => {
                let classes = logits.size()[1];
                let shares = if targets.dim() == 1 {
                    targets.f_one_hot(classes)?.f_to_kind(logits.f_kind()?)?
                } else {
                    targets.shallow_clone()
                };
                let shares = shares
                    .f_mul_scalar(1.0 - label_smoothing)?
                    .f_add_scalar(label_smoothing / classes as f64)?;
                let weights = per_class(positive_weights.as_deref(), logits)?;
                let none = None::<Tensor>;
                logits.f_binary_cross_entropy_with_logits(&shares, none, weights, Reduction::Mean)
            }
        }
    }
}

/// The loss of `heads` (the output, then auxiliary classifiers, each of which counts as its one of `weights` says), and
/// the gradient of `share` times it by each.
pub(super) fn judge(
    loss: &Loss,
    heads: &[Tensor],
    targets: &Tensor,
    weights: &[f64],
    share: f64,
) -> Result<(Verdict, Vec<Tensor>), TchError> {
    let leaves: Vec<Tensor> =
        heads.iter().map(|head| head.f_set_requires_grad(true)).collect::<Result<_, _>>()?;
    let Some((output, others)) = leaves.split_first() else { unreachable!("there is an output") };
    let mut total = loss.of(output, targets)?;
    for (other, &weight) in others.iter().zip(weights) {
        total = total.f_add(&loss.of(other, targets)?.f_mul_scalar(weight)?)?;
    }
    let scaled = total.f_mul_scalar(share)?;
    let cotangents = Tensor::f_run_backward(&[scaled], &leaves, false, false)?;
    let shown =
        if targets.dim() == 1 { targets.shallow_clone() } else { targets.f_argmax(1, false)? };
    let hits = output.f_detach()?.f_argmax(1, false)?.f_eq_tensor(&shown)?.f_sum(Kind::Int64)?;
    let correct = usize::try_from(hits.f_int64_value(&[])?).unwrap_or(0);
    Ok((Verdict { loss: total.f_double_value(&[])?, correct }, cotangents))
}

/// A number per class, where the logits are.
fn per_class(weights: Option<&[f32]>, logits: &Tensor) -> Result<Option<Tensor>, TchError> {
    let Some(weights) = weights else { return Ok(None) };
    Tensor::f_from_slice(weights)?.f_to_device(logits.device()).map(Some)
}
