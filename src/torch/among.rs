//! Training among several processes: sums over all of them, which the caller provides.

use std::fmt;

use tch::{Kind, TchError, Tensor};

use super::accumulated::Gradients;
use super::bridge::Handle;
use super::{Store, failed};
use crate::error::Result;

/// The processes that train together.
#[derive(Clone, Copy)]
pub struct Among<'a> {
    /// The sum of a tensor over all processes, through which autograd goes back.
    pub sum: &'a (dyn Fn(Handle) -> Result<Handle> + Sync),
    /// Whether norms use the statistics of the batch of all processes.
    pub norms: bool,
    /// Whether the images of this process count: where it has none of a batch, it runs others to take part.
    pub counts: bool,
}

impl fmt::Debug for Among<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "processes, norms together: {}", self.norms)
    }
}

impl Among<'_> {
    /// The weight of this process's images in the loss of all, by which its gradients are multiplied before they flow back:
    /// through the statistics of norms, those of one process reach the others.
    pub(super) fn weight(self, own: f64) -> f64 {
        if self.counts { own } else { 0.0 }
    }

    /// The gradients of the mean loss over the batch of all processes, from those of this process, which are multiplied by
    /// its weight already.
    pub(super) fn mean(
        self,
        store: &Store,
        gradients: Gradients,
        weight: f64,
    ) -> Result<Gradients> {
        let at = "the gradients of all processes";
        let weight = self.weight(weight);
        let flat = |gradients: &Gradients| {
            let line = |of: &Tensor| of.f_reshape([-1]);
            let mut parts = gradients.values().map(line).collect::<Result<Vec<_>, TchError>>()?;
            let device = store.device();
            parts.push(Tensor::f_from_slice(&[weight as f32])?.f_to_device(device)?);
            Tensor::f_cat(&parts, 0)
        };
        let Handle(all) = (self.sum)(Handle(flat(&gradients).map_err(failed(at))?))?;
        let split = || {
            let total = all.f_narrow(0, -1, 1)?.f_double_value(&[0])?;
            let mean = all.f_div_scalar(if total > 0.0 { total } else { 1.0 })?;
            let mut begin = 0;
            let mut found = Gradients::new();
            for &index in gradients.keys() {
                let size = store.tensors()[index].size();
                let count = size.iter().product::<i64>();
                found.insert(index, mean.f_narrow(0, begin, count)?.f_view(&size[..])?);
                begin += count;
            }
            Ok(found)
        };
        split().map_err(failed(at))
    }

    /// Mean, biased variance and number of the values of each channel of `x` (N, C, H, W), in float64, over all processes.
    pub(super) fn statistics(self, x: &Tensor) -> Result<[Tensor; 3], TchError> {
        let axes = [0_i64, 2, 3];
        let double = x.f_to_kind(Kind::Double)?;
        let sum = double.f_sum_dim_intlist(&axes[..], false, None)?;
        let squares = double.f_square()?.f_sum_dim_intlist(&axes[..], false, None)?;
        let count = x.numel() as f64 / x.size().get(1).copied().unwrap_or(1).max(1) as f64;
        let counts = if self.counts { 1.0 } else { 0.0 };
        let count = Tensor::f_from_slice(&[count])?.f_to_device(x.device())?;
        let local = Tensor::f_cat(&[sum, squares, count], 0)?.f_mul_scalar(counts)?;
        let Handle(all) =
            (self.sum)(Handle(local)).map_err(|error| TchError::Torch(error.to_string()))?;
        let channels = (all.numel() as i64 - 1) / 2;
        let count = all.f_narrow(0, 2 * channels, 1)?;
        let mean = all.f_narrow(0, 0, channels)?.f_div(&count)?;
        let squares = all.f_narrow(0, channels, channels)?.f_div(&count)?;
        let variance = squares.f_sub(&mean.f_square()?)?.f_clamp_min(0.0)?;
        Ok([mean, variance, count.f_detach()?])
    }
}
