//! Update rules of optimisers, as PyTorch defines them; LAMB as timm does.

use std::collections::BTreeMap;
use std::iter::zip;

use tch::{TchError, Tensor};

use super::dispatch::{AdamStep, SgdStep, fused_adam, fused_sgd};
use super::norm::total_norm;
use crate::error::{Error, Result};

/// An update rule and its hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Sgd {
        momentum: f64,
        dampening: f64,
        nesterov: bool,
    },
    Adam {
        betas: [f64; 2],
        eps: f64,
        /// Decoupled weight decay (AdamW): subtracted from the parameters instead of added to the gradients.
        decoupled: bool,
    },
    RmsProp {
        alpha: f64,
        eps: f64,
        momentum: f64,
        centered: bool,
    },
    Lamb {
        betas: [f64; 2],
        eps: f64,
        /// The norm to which all gradients together are clipped.
        max_grad_norm: Option<f64>,
    },
}

/// The learning rate and weight decay of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub lr: f64,
    pub weight_decay: f64,
}

/// Parameters that are updated together.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Their indices in the store.
    pub indices: Vec<usize>,
    pub parameters: Vec<Tensor>,
    /// Gradients, which may share memory with others and so are never written to.
    pub gradients: Vec<Tensor>,
    /// Running averages in the order of `Rule::averages`, each of every parameter.
    pub averages: Vec<Vec<Tensor>>,
    /// The number of steps of each parameter, this one included.
    pub steps: Vec<u64>,
}

impl Rule {
    /// Fails with `Error::Argument` where a hyperparameter is out of range.
    pub fn check(self) -> Result<()> {
        let numbers = match self {
            Self::Sgd { momentum, dampening, nesterov } => {
                if nesterov && (momentum == 0.0 || dampening != 0.0) {
                    return Err(Error::Argument {
                        at: "`nesterov`".into(),
                        expected: "a momentum above 0 and no dampening with it".into(),
                        got: format!("momentum={momentum}, dampening={dampening}"),
                    });
                }
                vec![("momentum", momentum, 1.0), ("dampening", dampening, 1.0)]
            }
            Self::Adam { betas, eps, .. } | Self::Lamb { betas, eps, .. } => {
                vec![
                    ("betas", betas[0], 1.0),
                    ("betas", betas[1], 1.0),
                    ("eps", eps, f64::INFINITY),
                ]
            }
            Self::RmsProp { alpha, eps, momentum, .. } => {
                vec![
                    ("alpha", alpha, 1.0),
                    ("eps", eps, f64::INFINITY),
                    ("momentum", momentum, 1.0),
                ]
            }
        };
        for (name, number, below) in numbers {
            if !(0.0..below).contains(&number) {
                let limit = if below.is_finite() { " and below 1" } else { "" };
                return Err(Error::Argument {
                    at: format!("`{name}`"),
                    expected: format!("a number of at least 0{limit}"),
                    got: number.to_string(),
                });
            }
        }
        Ok(())
    }

    /// The running averages of each parameter's shape, by PyTorch's names.
    pub fn averages(self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum: 0.0, .. } => &[],
            Self::Sgd { .. } => &["momentum_buffer"],
            Self::Adam { .. } | Self::Lamb { .. } => &["exp_avg", "exp_avg_sq"],
            Self::RmsProp { momentum, centered, .. } => match (momentum > 0.0, centered) {
                (false, false) => &["square_avg"],
                (true, false) => &["square_avg", "momentum_buffer"],
                (false, true) => &["square_avg", "grad_avg"],
                (true, true) => &["square_avg", "momentum_buffer", "grad_avg"],
            },
        }
    }

    /// Clips all gradients together, where the rule does.
    pub(super) fn prepare(self, gradients: &mut BTreeMap<usize, Tensor>) -> Result<(), TchError> {
        let Self::Lamb { max_grad_norm: Some(most), .. } = self else { return Ok(()) };
        let norm = total_norm(gradients.values())?;
        if norm > most {
            for gradient in gradients.values_mut() {
                *gradient = gradient.f_div_scalar(norm / most)?;
            }
        }
        Ok(())
    }

    /// Updates the parameters of a group. Either all take their first step, or none.
    pub(super) fn step(self, group: &mut Group, rate: Rate) -> Result<(), TchError> {
        let Rate { lr, weight_decay } = rate;
        match self {
            Self::Sgd { momentum, dampening, nesterov } => {
                let first = group.steps.first() == Some(&1);
                let step = SgdStep { lr, weight_decay, momentum, dampening, nesterov, first };
                let momenta = group.averages.first().map_or(&[][..], Vec::as_slice);
                fused_sgd(&group.parameters, &group.gradients, momenta, step)
            }
            Self::Adam { betas, eps, decoupled } => {
                // The kernels read the counts where the parameters are.
                let counts = zip(&group.steps, &group.parameters);
                let counted =
                    counts.map(|(&steps, at)| scalar(steps as f32)?.f_to_device(at.device()));
                let steps = counted.collect::<Result<Vec<_>, _>>()?;
                let step = AdamStep { lr, weight_decay, betas, eps, decoupled };
                let [gradients, squares] = &group.averages[..] else {
                    unreachable!("two averages")
                };
                fused_adam(&group.parameters, &group.gradients, [gradients, squares], &steps, step)
            }
            Self::RmsProp { .. } => each(group, |mover| mover.rms_prop(self, rate)),
            Self::Lamb { betas, eps, .. } => each(group, |mover| mover.lamb(betas, eps, rate)),
        }
    }
}

/// One parameter of a group.
struct ParameterUpdate<'a> {
    parameter: &'a mut Tensor,
    gradient: &'a mut Tensor,
    averages: Vec<&'a mut Tensor>,
    steps: u64,
}

fn each(
    group: &mut Group,
    mut step: impl FnMut(ParameterUpdate<'_>) -> Result<(), TchError>,
) -> Result<(), TchError> {
    let Group { parameters, gradients, averages, steps, .. } = group;
    let mut averages: Vec<_> = averages.iter_mut().map(|of_every| of_every.iter_mut()).collect();
    for ((parameter, gradient), &steps) in zip(zip(parameters, gradients), steps.iter()) {
        let averages = averages.iter_mut().filter_map(Iterator::next).collect();
        step(ParameterUpdate { parameter, gradient, averages, steps })?;
    }
    Ok(())
}

impl ParameterUpdate<'_> {
    fn rms_prop(self, rule: Rule, rate: Rate) -> Result<(), TchError> {
        let Rule::RmsProp { alpha, eps, momentum, centered } = rule else { return Ok(()) };
        let Self { parameter, gradient, averages, .. } = self;
        let mut averages = averages.into_iter();
        let mut next = || averages.next().ok_or_else(|| TchError::Shape("an average".into()));
        if rate.weight_decay != 0.0 {
            *gradient = gradient.f_add(&parameter.f_mul_scalar(rate.weight_decay)?)?;
        }
        let square = next()?;
        let _ = square.f_mul_scalar_(alpha)?;
        let _ = square.f_add_(&gradient.f_square()?.f_mul_scalar_(1.0 - alpha)?)?;
        let buffer = if momentum > 0.0 { Some(next()?) } else { None };
        let mut deviation = if centered {
            let mean = next()?;
            let _ = mean.f_lerp_(gradient, 1.0 - alpha)?;
            square.f_sub(&mean.f_square()?)?.f_sqrt()?
        } else {
            square.f_sqrt()?
        };
        let step = gradient.f_div(&deviation.f_add_scalar_(eps)?)?;
        let step = if let Some(buffer) = buffer {
            let _ = buffer.f_mul_scalar_(momentum)?;
            buffer.f_add_(&step)?
        } else {
            step
        };
        parameter.f_sub_(&step.f_mul_scalar(rate.lr)?).map(drop)
    }

    fn lamb(self, betas: [f64; 2], eps: f64, rate: Rate) -> Result<(), TchError> {
        let Self { parameter, gradient, averages, steps } = self;
        let Ok([mean, square]) = <[&mut Tensor; 2]>::try_from(averages) else {
            return Err(TchError::Shape("the averages of LAMB".into()));
        };
        let [left1, left2] = betas.map(|beta| 1.0 - beta.powf(steps as f64));
        let _ = mean.f_lerp_(gradient, 1.0 - betas[0])?;
        let _ = square.f_mul_scalar_(betas[1])?;
        let _ = square.f_add_(&gradient.f_square()?.f_mul_scalar_(1.0 - betas[1])?)?;
        let deviation = square.f_sqrt()?.f_div_scalar_(left2.sqrt())?.f_add_scalar_(eps)?;
        let mut step = mean.f_div_scalar(left1)?.f_div_(&deviation)?;
        if rate.weight_decay != 0.0 {
            let _ = step.f_add_(&parameter.f_mul_scalar(rate.weight_decay)?)?;
            // LAMB's trust ratio: the norm of the parameter over that of its step.
            let (size, length) = (norm(parameter)?, norm(&step)?);
            if size > 0.0 && length > 0.0 {
                let _ = step.f_mul_scalar_(size / length)?;
            }
        }
        parameter.f_sub_(&step.f_mul_scalar_(rate.lr)?).map(drop)
    }
}

fn norm(tensor: &Tensor) -> Result<f64, TchError> {
    tensor.f_norm()?.f_double_value(&[])
}

/// A tensor without axes.
fn scalar(value: f32) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(&[value])?.f_view(&[] as &[i64])
}
