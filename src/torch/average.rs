//! Exponential moving average (EMA) of a model: the parameters of a store move toward those of another store of the
//! same graph.

use super::{Store, failed};
use crate::error::{Error, Result, shape_text};
use crate::graph::Role;
use crate::weights::Parameters;

impl Store {
    /// Moves every parameter toward that of `other`: e = decay · e + (1 - decay) · m, with the kernel that PyTorch's
    /// averages use. Running statistics are averaged alike, or copied; batch counts are copied. A decay of 0 copies
    /// everything.
    ///
    /// Fails with `Error::Argument` or `Error::Shape`, and changes nothing, where the stores do not hold the same
    /// arrays.
    pub fn average(&mut self, other: &Store, decay: f64, average_statistics: bool) -> Result<()> {
        if !(0.0..=1.0).contains(&decay) {
            return Err(Error::Argument {
                at: "`decay`".into(),
                expected: "a number of 0 to 1".into(),
                got: decay.to_string(),
            });
        }
        self.same_arrays(other)?;
        self.lay_out(other.layout())?;
        let _no_grad = tch::no_grad_guard();
        let pairs = self.tensors().iter().zip(other.tensors());
        for (parameter, (tensor, other)) in self.parameters().iter().zip(pairs) {
            let averaged = match parameter.role {
                Role::RunningMean | Role::RunningVariance => average_statistics,
                Role::BatchCount => false,
                _ => true,
            };
            let mut tensor = tensor.shallow_clone();
            let other = other.f_to_device(self.device());
            let moved = other.and_then(|other| {
                if averaged {
                    tensor.f_lerp_(&other, 1.0 - decay).map(drop)
                } else {
                    tensor.f_copy_(&other)
                }
            });
            moved.map_err(failed(&parameter.name))?;
        }
        Ok(())
    }

    fn same_arrays(&self, other: &Store) -> Result<()> {
        let (own, others) = (self.parameters(), other.parameters());
        let at = "the model to average with";
        for (own, other) in own.iter().zip(others) {
            if own.name != other.name {
                let (expected, got) = (format!("`{}`", own.name), format!("`{}`", other.name));
                return Err(Error::Argument { at: at.into(), expected, got });
            }
            if own.shape != other.shape {
                return Err(Error::Shape {
                    at: format!("{at}, `{}`", own.name),
                    expected: shape_text(&own.shape),
                    got: shape_text(&other.shape),
                });
            }
        }
        if own.len() != others.len() {
            let (expected, got) = (format!("{} arrays", own.len()), others.len().to_string());
            return Err(Error::Argument { at: at.into(), expected, got });
        }
        Ok(())
    }
}
