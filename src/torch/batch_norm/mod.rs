//! Batch norm in training on the CPU, fused with the activation after it.
//!
//! libtorch passes over the images twice for their statistics, once to normalise them and once for the activation, and
//! likewise in the backward pass; this passes over them once for the statistics, once for the values, and twice
//! backward. That is most of what `torch.compile` gains, and it is there from the first step on. Other devices, layouts
//! and element types are left to libtorch.

mod activation;
mod kernel;
mod loops;
mod record;
#[cfg(test)]
mod tests;

use std::iter::zip;

use tch::{TchError, Tensor};

pub(super) use activation::Fused;
use kernel::{Moments, Norm};
use record::{Memory, record};

use super::floats::{floats, floats_mut, room};

/// The arrays and options of a norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrays<'a> {
    pub scale: Option<&'a Tensor>,
    pub shift: &'a Tensor,
    /// Running mean and variance, where they are tracked.
    pub running: Option<[&'a Tensor; 2]>,
    pub momentum: f64,
    pub eps: f64,
}

/// Batch norm of `x` (N, C, H, W) by the statistics of the batch, then the activation, recorded for autograd. None
/// unless all is float32 on the CPU, and `x` in channels_last.
pub(super) fn batch_norm(
    x: &Tensor,
    arrays: Arrays<'_>,
    fused: Fused,
) -> Result<Option<Tensor>, TchError> {
    let Arrays { scale, shift, running, momentum, eps } = arrays;
    let (Some(values), Some(shifts)) = (floats(x), floats(shift)) else { return Ok(None) };
    let scales = scale.map(floats);
    let mut y = x.f_detach()?.f_empty_like()?;
    if scales == Some(None)
        || ![x, &y].into_iter().all(|images| in_channels_last(images, shifts.len()))
    {
        return Ok(None);
    }
    let Some(out) = room(&mut y) else { return Ok(None) };
    let moments = Moments::of(values, shifts.len());
    let norm = Norm::new(&moments, eps, scales.flatten(), shifts);
    norm.run(fused, values, out);
    if let Some([mean, variance]) = running {
        track(mean, moments.mean.iter().copied(), momentum);
        track(variance, moments.unbiased_variance(), momentum);
    }
    record(&y, x, shift, scale, Memory { norm, fused })?;
    Ok(Some(y))
}

fn in_channels_last(x: &Tensor, count: usize) -> bool {
    let (size, stride) = (x.size(), x.stride());
    let [_, channels, height, width] = size[..] else { return false };
    let expected = [height * width * channels, 1, width * channels, channels];
    channels == count as i64
        && zip(zip(size, stride), expected)
            .all(|((size, stride), expected)| size == 1 || stride == expected)
}

/// Updates a running statistic with that of the batch.
fn track(running: &Tensor, batch: impl Iterator<Item = f64>, momentum: f64) {
    // The tensors are the store's, to which a step has exclusive access.
    let mut running = running.shallow_clone();
    let running = floats_mut(&mut running).unwrap_or_default();
    for (running, batch) in zip(running, batch) {
        *running = (momentum * batch + (1.0 - momentum) * f64::from(*running)) as f32;
    }
}
