//! Norms.

use super::network::Attribute;
use super::site::Site;
use crate::error::Result;
use crate::graph::Role;
use crate::graph::op::{BatchNorm, GroupNorm, LayerNorm, Lrn};

pub(super) fn batch_norm(site: &mut Site<'_, '_>, op: &BatchNorm) -> Result<String> {
    let channels = site.shape.channels();
    let scale = match site.array(|role| role == Role::NormScale) {
        Some(scale) => scale,
        None => site.floats("scale", vec![channels], vec![1.0; channels]),
    };
    let shift = site.own(|role| role == Role::NormShift)?;
    let mean = site.own(|role| role == Role::RunningMean)?;
    let variance = site.own(|role| role == Role::RunningVariance)?;
    let inputs = [site.x(), scale, shift, mean, variance];
    Ok(site.last("BatchNormalization", inputs, vec![epsilon(op.eps)]))
}

/// The factors and shifts of a batch norm: it makes x · factor + shift of x.
pub(super) fn affine(site: &Site<'_, '_>, op: &BatchNorm) -> Result<(Vec<f64>, Vec<f64>)> {
    let channels = site.shape.channels();
    let numbers = |role: Role, usual: f64| match site.draft.parameter(site.id, |of| of == role) {
        Some(index) => site.draft.numbers(index),
        None => Ok(vec![usual; channels]),
    };
    let mut factors = numbers(Role::NormScale, 1.0)?;
    let mut shifts = numbers(Role::NormShift, 0.0)?;
    let mean = numbers(Role::RunningMean, 0.0)?;
    let variance = numbers(Role::RunningVariance, 1.0)?;
    for (at, factor) in factors.iter_mut().enumerate() {
        *factor /= (variance[at] + op.eps).sqrt();
        shifts[at] -= mean[at] * *factor;
    }
    Ok((factors, shifts))
}

pub(super) fn layer_norm(site: &mut Site<'_, '_>, op: LayerNorm) -> Result<String> {
    let scale = site.own(|role| role == Role::NormScale)?;
    let shift = site.own(|role| role == Role::NormShift)?;
    let x = site.x();
    let axis = ("axis", Attribute::Integer(-1));
    Ok(site.last("LayerNormalization", [x, scale, shift], vec![axis, epsilon(op.eps)]))
}

/// From version 21 on it is one operator with a scale for each channel; before, each group is an instance of one channel.
pub(super) fn group_norm(site: &mut Site<'_, '_>, op: &GroupNorm) -> Result<String> {
    const GROUP_NORM: usize = 21;
    let scale = site.own(|role| role == Role::NormScale)?;
    let shift = site.own(|role| role == Role::NormShift)?;
    let x = site.x();
    if site.opset() >= GROUP_NORM {
        let groups = ("num_groups", Attribute::Integer(op.groups as i64));
        let inputs = [x, scale, shift];
        return Ok(site.last("GroupNormalization", inputs, vec![groups, epsilon(op.eps)]));
    }
    let groups = site.reshape("groups", x.clone(), vec![0, op.groups as i64, -1]);
    let ones = site.floats("ones", vec![op.groups], vec![1.0; op.groups]);
    let zeros = site.floats("zeros", vec![op.groups], vec![0.0; op.groups]);
    let inputs = [groups, ones, zeros];
    let eps = vec![epsilon(op.eps)];
    let normal = site.step("normal", "InstanceNormalization", inputs, eps);
    let sizes = site.step("sizes", "Shape", [x], Vec::new());
    let whole = site.step("whole", "Reshape", [normal, sizes], Vec::new());
    let axes = site.integers("axes", vec![1, 2]);
    let mut column = |step, array| site.step(step, "Unsqueeze", [array, axes.clone()], Vec::new());
    let (scale, shift) = (column("scale", scale), column("shift", shift));
    let scaled = site.step("scaled", "Mul", [whole, scale], Vec::new());
    Ok(site.last("Add", [scaled, shift], Vec::new()))
}

/// For an odd number of channels it is one operator. Of an even number ONNX has one more after than before, PyTorch one
/// more before, so there the squares are averaged as an image with a third axis.
pub(super) fn lrn(site: &mut Site<'_, '_>, op: &Lrn) -> String {
    let x = site.x();
    if op.size % 2 == 1 {
        let number = |name, value: f64| (name, Attribute::Float(value as f32));
        let size = ("size", Attribute::Integer(op.size as i64));
        let numbers = [number("alpha", op.alpha), number("beta", op.beta), number("bias", op.k)];
        return site.last("LRN", [x], [size].into_iter().chain(numbers).collect());
    }
    let axis = site.integers("axis", vec![1]);
    let squares = site.step("squares", "Mul", [x.clone(), x.clone()], Vec::new());
    let deep = site.step("deep", "Unsqueeze", [squares, axis.clone()], Vec::new());
    let half = op.size as i64 / 2;
    let integers = |name, values: &[i64]| (name, Attribute::Integers(values.to_vec()));
    let window = vec![
        integers("kernel_shape", &[op.size as i64, 1, 1]),
        integers("pads", &[half, 0, 0, half - 1, 0, 0]),
        ("count_include_pad", Attribute::Integer(1)),
    ];
    let means = site.step("means", "AveragePool", [deep], window);
    let means = site.step("mean", "Squeeze", [means, axis], Vec::new());
    let (alpha, k) = (site.float("alpha", op.alpha), site.float("k", op.k));
    let beta = site.float("beta", op.beta);
    let scaled = site.step("scaled", "Mul", [means, alpha], Vec::new());
    let above = site.step("above", "Add", [scaled, k], Vec::new());
    let power = site.step("power", "Pow", [above, beta], Vec::new());
    site.last("Div", [x, power], Vec::new())
}

fn epsilon(eps: f64) -> (&'static str, Attribute) {
    ("epsilon", Attribute::Float(eps as f32))
}
