//! Each operation of a graph in libtorch's terms.

use tch::{Kind, TchError, Tensor};

use super::Layout;
use super::among::Among;
use super::batch_norm::{Arrays, Fused, batch_norm};
use super::lower::{Kernel, Step};
use super::patches::conv_of_patches;
use super::precision::lowered;
use crate::graph::Op;
use crate::graph::op::{
    Attention, BatchNorm, Blur, Border, Conv, Function, Lrn, MultiQueryAttention, Padding, Pair,
    Pool, PoolKind, PoolUpTo,
};
use crate::graph::shape::{same_padding, span};
use crate::weights::fresh::coins;

impl Step<'_> {
    /// The value of the node; `batch` is the number of images.
    pub(super) fn run(&self, inputs: &[&Tensor], batch: i64) -> Result<Tensor, TchError> {
        if !self.casts {
            return self.compute(inputs, self.arrays, batch);
        }
        let (inputs, arrays) = (lowered(inputs)?, lowered(self.arrays)?);
        self.compute(&inputs.iter().collect::<Vec<_>>(), &arrays, batch)
    }

    fn compute(
        &self,
        inputs: &[&Tensor],
        arrays: &[Tensor],
        batch: i64,
    ) -> Result<Tensor, TchError> {
        let Some(&x) = inputs.first() else {
            return arrays[0].f_expand([batch, -1, -1], false);
        };
        match &self.node.op {
            // The operation without an input is an embedding.
            Op::Input(_) | Op::Embedding(_) => Ok(x.shallow_clone()),
            Op::Conv(op) => self.conv(op, arrays, x),
            Op::Pad(op) => {
                let border = [op.left, op.right, op.top, op.bottom, 0, op.channels];
                x.f_constant_pad_nd(border.map(|size| size as i64))
            }
            Op::BatchNorm(op) => self.batch_norm(op, arrays, x),
            Op::GroupNorm(op) => {
                let groups = op.groups as i64;
                // Where only its parameters are trained, libtorch 2.13 writes the gradient of an image in channels_last to
                // a null pointer.
                let x = if x.requires_grad() { x.shallow_clone() } else { x.f_contiguous()? };
                x.f_group_norm(groups, arrays.first(), arrays.get(1), op.eps, true)
            }
            Op::LayerNorm(op) => {
                let width = x.size().last().copied().unwrap_or(0);
                x.f_layer_norm([width], arrays.first(), arrays.get(1), op.eps, true)
            }
            Op::Activation(_) if self.kernel == Kernel::PassOn => Ok(x.shallow_clone()),
            Op::Activation(op) if self.kernel == Kernel::InPlace => {
                activation_in_place(op.function, x)
            }
            Op::Activation(op) => activation(op.function, x),
            Op::Pool(op) => pool(op, x),
            Op::Blur(op) => blur(op, x),
            Op::AdaptivePool(op) => x.f_adaptive_avg_pool2d(op.size.sizes()),
            Op::PoolUpTo(op) => pool_up_to(op, x),
            Op::Lrn(op) => lrn(op, x),
            Op::Linear(_) => x.f_linear(&arrays[0], arrays.get(1)),
            Op::Flatten(_) => x.f_flatten(1, -1),
            Op::Add(_) => {
                let (mut sum, mut spare) = (x.shallow_clone(), self.kernel == Kernel::InPlace);
                for input in &inputs[1..] {
                    let in_place = spare && sum.f_kind()? == input.f_kind()?;
                    sum = if in_place { sum.f_add_(input)? } else { sum.f_add(input)? };
                    spare = true;
                }
                Ok(sum)
            }
            Op::Average(_) => Tensor::f_stack(inputs, 0)?.f_mean_dim(&[0_i64][..], false, None),
            Op::Multiply(op) => x.f_mul_scalar(op.by),
            Op::Affine(op) => {
                let channels = |values: &[f64]| {
                    Tensor::f_from_slice(values)?
                        .f_to_kind(x.f_kind()?)?
                        .f_to_device(x.device())?
                        .f_view([-1, 1, 1])
                };
                x.f_mul(&channels(&op.scale)?)?.f_add(&channels(&op.shift)?)
            }
            Op::Gate(_) => x.f_mul(inputs[1]),
            Op::Concat(_) => Tensor::f_cat(inputs, 1),
            Op::Dropout(op) => self.drop(x, op.rate, &x.size()),
            Op::DropPath(op) => {
                let mut whole = vec![1; x.dim()];
                whole[0] = batch;
                self.drop(x, op.rate, &whole)
            }
            Op::Tokens(_) => x.f_flatten(2, -1)?.f_transpose(1, 2),
            Op::Attention(op) => attention(op, x),
            Op::MultiQueryAttention(op) => multi_query_attention(op, inputs),
            Op::LayerScale(_) => x.f_mul(&arrays[0].f_view([1, -1, 1, 1])?),
            Op::SelectToken(op) => x.f_select(1, op.index as i64),
        }
    }

    fn conv(&self, conv: &Conv, arrays: &[Tensor], x: &Tensor) -> Result<Tensor, TchError> {
        // The output is in the layout of the weights, which what comes after it keeps.
        let (weight, bias) = (&arrays[0], arrays.get(1));
        if self.kernel == Kernel::Patches {
            return conv_of_patches(conv, x, weight, bias);
        }
        let groups = conv.groups as i64;
        let run = |x: &Tensor, padding: [i64; 2]| {
            x.f_conv2d(weight, bias, conv.stride.sizes(), padding, conv.dilation.sizes(), groups)
        };
        match conv.padding {
            Padding::Both(border) => run(x, border.sizes()),
            Padding::Same => {
                let (height, width) = spatial(x)?;
                let rows = same_padding(
                    height,
                    span(conv.kernel.height, conv.dilation.height),
                    conv.stride.height,
                );
                let columns = same_padding(
                    width,
                    span(conv.kernel.width, conv.dilation.width),
                    conv.stride.width,
                );
                if rows.0 == rows.1 && columns.0 == columns.1 {
                    return run(x, [rows.0 as i64, columns.0 as i64]);
                }
                let border = [columns.0, columns.1, rows.0, rows.1].map(|size| size as i64);
                run(&x.f_constant_pad_nd(border)?, [0, 0])
            }
        }
    }

    fn batch_norm(
        &self,
        norm: &BatchNorm,
        arrays: &[Tensor],
        x: &Tensor,
    ) -> Result<Tensor, TchError> {
        let (scale, rest) =
            if norm.scale { (arrays.first(), &arrays[1..]) } else { (None, arrays) };
        let [shift, mean, variance, count] = rest else {
            return Err(TchError::Shape("the arrays of a batch norm".into()));
        };
        let BatchNorm { eps, momentum, .. } = *norm;
        let Kernel::BatchStatistics { updates, then, layout } = self.kernel else {
            let (mean, variance) = (Some(mean), Some(variance));
            return x.f_batch_norm(scale, Some(shift), mean, variance, false, momentum, eps, true);
        };
        if updates {
            let _no_grad = tch::no_grad_guard();
            let _ = count.shallow_clone().f_add_scalar_(1)?;
        }
        let running = updates.then_some([mean, variance]);
        if let Some(among) = self.among {
            let y = norm_among(
                among,
                norm,
                [scale, Some(shift)],
                updates.then_some([mean, variance]),
                x,
            )?;
            return then
                .map_or(Ok(y.shallow_clone()), |function| activation_in_place(function, &y));
        }
        if layout == Layout::ChannelsLast {
            let arrays = Arrays { scale, shift, running, momentum, eps };
            let fused = then.and_then(Fused::of).unwrap_or(Fused::Identity);
            if let Some(y) = batch_norm(x, arrays, fused)? {
                return Ok(y);
            }
        }
        // In a second run copies are updated: PyTorch's checkpointing wants it recorded as the first was.
        let copies;
        let [mean, variance] = if let Some(running) = running {
            running
        } else {
            let copy = |of: &Tensor| of.f_to_device_(of.device(), of.f_kind()?, false, true);
            copies = [copy(mean)?, copy(variance)?];
            copies.each_ref()
        };
        let (mean, variance) = (Some(mean), Some(variance));
        let y = x.f_batch_norm(scale, Some(shift), mean, variance, true, momentum, eps, true)?;
        match then {
            Some(function) => activation_in_place(function, &y),
            None => Ok(y),
        }
    }

    /// Dropout with a mask of shape `size`, which is broadcast to `x`: in training a fraction `rate` is zeroed and the rest
    /// scaled up so that the expectation stays the same.
    fn drop(&self, x: &Tensor, rate: f64, size: &[i64]) -> Result<Tensor, TchError> {
        let Kernel::Masked { seed } = self.kernel else { return Ok(x.shallow_clone()) };
        if rate == 0.0 {
            return Ok(x.shallow_clone());
        }
        let count = size.iter().product::<i64>() as usize;
        let kept = coins(count, 1.0 - rate, seed, &self.node.name);
        let mask = Tensor::f_from_slice(&kept)?
            .f_view(size)?
            .f_to_device(x.device())?
            .f_to_kind(x.f_kind()?)?;
        x.f_mul(&mask.f_div_scalar(1.0 - rate)?)
    }
}

/// Batch norm of `x` (N, C, H, W) by the statistics of the batch of all processes.
fn norm_among(
    among: Among<'_>,
    norm: &BatchNorm,
    [scale, shift]: [Option<&Tensor>; 2],
    running: Option<[&Tensor; 2]>,
    x: &Tensor,
) -> Result<Tensor, TchError> {
    let [mean, variance, count] = among.statistics(x)?;
    if let Some([running_mean, running_variance]) = running {
        let _no_grad = tch::no_grad_guard();
        let unbiased = variance.f_mul(&count)?.f_div(&count.f_sub_scalar(1)?.f_clamp_min(1.0)?)?;
        for (running, batch) in [(running_mean, &mean), (running_variance, &unbiased)] {
            let batch = batch.f_to_kind(running.f_kind()?)?;
            let _ = running.shallow_clone().f_lerp_(&batch, norm.momentum)?;
        }
    }
    // The shift first, so that what cancels is rounded once.
    let inverse = variance.f_add_scalar(norm.eps)?.f_rsqrt()?;
    let by_channel = |of: &Tensor| of.f_view([1, -1, 1, 1]);
    let factor = match scale {
        Some(scale) => inverse.f_mul(scale)?,
        None => inverse,
    };
    let centred = x.f_sub(&by_channel(&mean.f_to_kind(x.f_kind()?)?)?)?;
    let y = centred.f_mul(&by_channel(&factor.f_to_kind(x.f_kind()?)?)?)?;
    match shift {
        Some(shift) => y.f_add(&by_channel(shift)?),
        None => Ok(y),
    }
}

fn spatial(x: &Tensor) -> Result<(usize, usize), TchError> {
    let (_, _, height, width) = x.size4()?;
    Ok((height as usize, width as usize))
}

fn activation(function: Function, x: &Tensor) -> Result<Tensor, TchError> {
    match function {
        Function::Relu => x.f_relu(),
        Function::Relu6 => x.f_relu6(),
        Function::Silu => x.f_silu(),
        Function::Sigmoid => x.f_sigmoid(),
        Function::Tanh => x.f_tanh(),
        Function::Gelu => x.f_gelu("none"),
        Function::HardSigmoid => x.f_hardsigmoid(),
        Function::HardSwish => x.f_hardswish(),
    }
}

/// The same in place, where that is no loss: the other functions' gradients need `x`.
fn activation_in_place(function: Function, x: &Tensor) -> Result<Tensor, TchError> {
    let mut x = x.shallow_clone();
    match function {
        Function::Relu => x.f_relu_(),
        Function::Relu6 => x.f_relu6_(),
        Function::Sigmoid => x.f_sigmoid_(),
        Function::Tanh => x.f_tanh_(),
        Function::Silu | Function::Gelu | Function::HardSigmoid | Function::HardSwish => {
            activation(function, &x)
        }
    }
}

fn pool(pool: &Pool, x: &Tensor) -> Result<Tensor, TchError> {
    let (kernel, stride) = (pool.kernel.sizes(), pool.stride.sizes());
    match (pool.kind, pool.padding) {
        (PoolKind::Max, Padding::Both(border)) => {
            x.f_max_pool2d(kernel, stride, border.sizes(), [1, 1], pool.ceil)
        }
        (PoolKind::Average, Padding::Both(border)) => {
            x.f_avg_pool2d(kernel, stride, border.sizes(), pool.ceil, pool.count_padding, None)
        }
        (PoolKind::Max, Padding::Same) => {
            let padded = x.f_pad(same_border(pool, x)?, "constant", f64::NEG_INFINITY)?;
            padded.f_max_pool2d(kernel, stride, [0, 0], [1, 1], false)
        }
        // Padding is not counted: the mean of the values inside is their sum over their number.
        (PoolKind::Average, Padding::Same) => {
            let border = same_border(pool, x)?;
            let sum = |x: &Tensor| {
                x.f_constant_pad_nd(border)?.f_avg_pool2d(kernel, stride, [0, 0], false, true, 1)
            };
            let (_, _, height, width) = x.size4()?;
            let ones = Tensor::f_ones([1, 1, height, width], (x.f_kind()?, x.device()))?;
            sum(x)?.f_div(&sum(&ones)?)
        }
    }
}

fn blur(blur: &Blur, x: &Tensor) -> Result<Tensor, TchError> {
    let weights: Vec<f32> = blur.weights().into_iter().map(|weight| weight as f32).collect();
    let row = Tensor::f_from_slice(&weights)?.f_to_device(x.device())?.f_to_kind(x.f_kind()?)?;
    let (_, channels, _, _) = x.size4()?;
    let size = blur.size as i64;
    let window = row.f_view([size, 1])?.f_mul(&row)?.f_view([1, 1, size, size])?;
    let weight = window.f_repeat([channels, 1, 1, 1])?;
    let [rows, columns] = blur.padding.sizes();
    let border = [columns, columns, rows, rows];
    let padded = match blur.border {
        Border::Mirror => x.f_reflection_pad2d(border)?,
        Border::Zeros => x.f_constant_pad_nd(border)?,
    };
    padded.f_conv2d(&weight, None::<&Tensor>, blur.stride.sizes(), [0, 0], [1, 1], channels)
}

fn pool_up_to(pool: &PoolUpTo, x: &Tensor) -> Result<Tensor, TchError> {
    let (height, width) = spatial(x)?;
    let Pair { height: rows, width: columns } = pool.size;
    if height >= rows && width >= columns {
        return Ok(x.shallow_clone());
    }
    x.f_adaptive_avg_pool2d([height.max(rows) as i64, width.max(columns) as i64])
}

/// (left, right, top, bottom) padding of a pool with `same` padding.
fn same_border(pool: &Pool, x: &Tensor) -> Result<[i64; 4], TchError> {
    let (height, width) = spatial(x)?;
    let rows = same_padding(height, pool.kernel.height, pool.stride.height);
    let columns = same_padding(width, pool.kernel.width, pool.stride.width);
    Ok([columns.0, columns.1, rows.0, rows.1].map(|size| size as i64))
}

/// (N, T, 3·D) → (N, T, D).
fn attention(op: &Attention, x: &Tensor) -> Result<Tensor, TchError> {
    let (batch, tokens, width) = x.size3()?;
    let heads = op.heads as i64;
    let split =
        x.f_view([batch, tokens, 3, heads, width / 3 / heads])?.f_permute([2, 0, 3, 1, 4])?;
    // Slices taken one by one would each have a gradient of the size of the whole.
    let parts = split.f_unbind(0)?;
    let [q, k, v] = &parts[..] else {
        return Err(TchError::Shape("queries, keys and values".into()));
    };
    let mixed =
        Tensor::f_scaled_dot_product_attention(q, k, v, None::<&Tensor>, 0.0, false, None, false)?;
    mixed.f_transpose(1, 2)?.f_reshape([batch, tokens, width / 3])
}

/// (N, heads·D, H, W), (N, D, h, w), (N, V, h, w) → (N, heads·V, H, W).
fn multi_query_attention(op: &MultiQueryAttention, inputs: &[&Tensor]) -> Result<Tensor, TchError> {
    let [queries, keys, values] = inputs else {
        return Err(TchError::Shape("the inputs of multi-query attention".into()));
    };
    let heads = op.heads as i64;
    let (batch, channels, height, width) = queries.size4()?;
    // (N, heads, H·W, D)
    let q = queries
        .f_view([batch, heads, channels / heads, height * width])?
        .f_transpose(2, 3)?
        .f_contiguous()?;
    // (N, 1, h·w, D)
    let shared = |x: &Tensor| x.f_flatten(2, -1)?.f_transpose(1, 2)?.f_unsqueeze(1)?.f_contiguous();
    let mixed = Tensor::f_scaled_dot_product_attention(
        &q,
        &shared(keys)?,
        &shared(values)?,
        None::<&Tensor>,
        0.0,
        false,
        None,
        false,
    )?;
    mixed.f_transpose(2, 3)?.f_reshape([batch, -1, height, width])
}

fn lrn(lrn: &Lrn, x: &Tensor) -> Result<Tensor, TchError> {
    let (batch, channels, height, width) = x.size4()?;
    let size = lrn.size as i64;
    // As under torch.autocast, bfloat16 numbers are averaged as float32.
    let squares = x.f_mul(x)?.f_to_kind(Kind::Float)?;
    let squares = squares.f_view([batch, 1, channels, height, width])?;
    let padded = squares.f_constant_pad_nd([0, 0, 0, 0, size / 2, (size - 1) / 2])?;
    let mean = padded
        .f_avg_pool3d([size, 1, 1], [1, 1, 1], [0, 0, 0], false, true, None)?
        .f_squeeze_dim(1)?;
    x.f_div(&mean.f_mul_scalar(lrn.alpha)?.f_add_scalar(lrn.k)?.f_pow_tensor_scalar(lrn.beta)?)
}
