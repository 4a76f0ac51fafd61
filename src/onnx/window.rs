//! Windows that slide over an image: convolutions, pooling, blurs, and padding.

use super::content::Content;
use super::network::Attribute;
use super::norm::affine;
use super::site::Site;
use crate::error::{Error, Result};
use crate::graph::op::{Blur, Border, Conv, Op, Pad, Padding, Pair, Pool, PoolKind};
use crate::graph::shape::{same_padding, span};
use crate::graph::{NodeId, Role, Shape};

type Attributes = Vec<(&'static str, Attribute)>;

fn integers(
    name: &'static str,
    values: impl IntoIterator<Item = usize>,
) -> (&'static str, Attribute) {
    (name, Attribute::Integers(values.into_iter().map(|value| value as i64).collect()))
}

fn pair(name: &'static str, pair: Pair) -> (&'static str, Attribute) {
    integers(name, [pair.height, pair.width])
}

/// Zeros before and after each axis of an image.
#[derive(Clone, Copy)]
struct Sides {
    before: Pair,
    after: Pair,
}

impl Sides {
    fn both(pair: Pair) -> Self {
        Self { before: pair, after: pair }
    }

    fn attribute(self) -> (&'static str, Attribute) {
        let Self { before, after } = self;
        integers("pads", [before.height, before.width, after.height, after.width])
    }
}

/// Height and width of an image.
fn size_of(shape: Shape) -> Pair {
    match shape {
        Shape::Image { height, width, .. } => Pair { height, width },
        Shape::Tokens { .. } | Shape::Vector { .. } => Pair::ONE,
    }
}

/// The border that makes the output `ceil(input / stride)` large: numbers, unless they depend on an image of any size.
fn same(
    site: &Site<'_, '_>,
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
) -> Result<(&'static str, Attribute)> {
    if site.inputs[0].free && stride != Pair::ONE {
        // onnxruntime takes no dilation then.
        if dilation != Pair::ONE {
            return Err(site.needs_a_size("a dilated window whose border depends on the image"));
        }
        return Ok(("auto_pad", Attribute::Text("SAME_UPPER")));
    }
    let size = size_of(site.inputs[0].shape);
    let of = |size, kernel, stride, dilation| same_padding(size, span(kernel, dilation), stride);
    let rows = of(size.height, kernel.height, stride.height, dilation.height);
    let columns = of(size.width, kernel.width, stride.width, dilation.width);
    let before = Pair { height: rows.0, width: columns.0 };
    let after = Pair { height: rows.1, width: columns.1 };
    Ok(Sides { before, after }.attribute())
}

/// A convolution, and the batch norm after it if that is folded into it.
pub(super) fn conv(site: &mut Site<'_, '_>, op: &Conv, norm: Option<NodeId>) -> Result<String> {
    let padding = match op.padding {
        Padding::Same => same(site, op.kernel, op.stride, op.dilation)?,
        Padding::Both(border) => Sides::both(border).attribute(),
    };
    let attributes = vec![
        pair("kernel_shape", op.kernel),
        pair("strides", op.stride),
        padding,
        pair("dilations", op.dilation),
        ("group", Attribute::Integer(op.groups as i64)),
    ];
    let (weight, bias) = match norm {
        None => {
            let weight = site.own(|role| role == Role::ConvWeight)?;
            (weight, site.array(|role| matches!(role, Role::Bias { .. })))
        }
        Some(norm) => {
            let (weight, bias) = scaled(site, norm)?;
            (weight, Some(bias))
        }
    };
    let inputs = [site.x(), weight].into_iter().chain(bias);
    Ok(site.last("Conv", inputs, attributes))
}

/// The weights and the bias with a norm in them, which are computed in float64.
fn scaled(site: &mut Site<'_, '_>, norm: NodeId) -> Result<(String, String)> {
    let Op::BatchNorm(op) = site.draft.graph.node(norm).op else {
        let message = "only a batch norm is folded".into();
        return Err(Error::Defect { at: format!("node `{}`", site.name()), message });
    };
    let id = std::mem::replace(&mut site.id, norm);
    let of_norm = affine(site, &op);
    site.id = id;
    let (factors, mut shifts) = of_norm?;
    let bias = site.draft.parameter(id, |role| matches!(role, Role::Bias { .. }));
    let name = match bias {
        Some(index) => {
            for (at, bias) in site.draft.numbers(index)?.into_iter().enumerate() {
                shifts[at] += bias * factors[at];
            }
            site.draft.named(index).0
        }
        None => format!("{}/bias", site.name()),
    };
    let values: Vec<f32> = shifts.into_iter().map(|shift| shift as f32).collect();
    let bias = site.draft.initialiser(name, vec![values.len()], Content::Floats(values));
    let weight = site.draft.parameter(id, |role| role == Role::ConvWeight).ok_or_else(|| {
        let message = "a convolution without weights".into();
        Error::Defect { at: format!("node `{}`", site.name()), message }
    })?;
    let (name, shape) = site.draft.named(weight);
    let content = Content::Scaled { index: weight, factors };
    Ok((site.draft.initialiser(name, shape, content), bias))
}

/// Zeros around an image, and after its channels.
fn padded(site: &mut Site<'_, '_>, sides: Sides, channels: usize, is_last: bool) -> String {
    let Sides { before, after } = sides;
    let sizes = [0, 0, before.height, before.width, 0, channels, after.height, after.width];
    let sizes = site.integers("sides", sizes.map(|size| size as i64).to_vec());
    let x = site.x();
    if is_last {
        site.last("Pad", [x, sizes], Vec::new())
    } else {
        site.step("padded", "Pad", [x, sizes], Vec::new())
    }
}

pub(super) fn pad(site: &mut Site<'_, '_>, op: &Pad) -> String {
    let sides = Sides {
        before: Pair { height: op.top, width: op.left },
        after: Pair { height: op.bottom, width: op.right },
    };
    padded(site, sides, op.channels, true)
}

pub(super) fn pool(site: &mut Site<'_, '_>, op: &Pool) -> Result<String> {
    let mut x = site.x();
    let mut attributes = vec![pair("kernel_shape", op.kernel), pair("strides", op.stride)];
    let mut counts = false;
    match op.padding {
        Padding::Same => attributes.push(same(site, op.kernel, op.stride, Pair::ONE)?),
        Padding::Both(border) if !op.ceil => {
            attributes.push(Sides::both(border).attribute());
            counts = op.count_padding && border != 0.into();
        }
        Padding::Both(mut border) => {
            let mut size = size_of(site.inputs[0].shape);
            // A last window counts these zeros, but not what is beyond them.
            if op.kind == PoolKind::Average && op.count_padding && border != 0.into() {
                x = padded(site, Sides::both(border), 0, false);
                size.height += 2 * border.height;
                size.width += 2 * border.width;
                border = 0.into();
            }
            attributes.extend(ceiling(site, op, size, border)?);
        }
    }
    Ok(match op.kind {
        PoolKind::Max => site.last("MaxPool", [x], attributes),
        PoolKind::Average => {
            attributes.push(("count_include_pad", Attribute::Integer(i64::from(counts))));
            site.last("AveragePool", [x], attributes)
        }
    })
}

/// The attributes that let a last window extend over the border: numbers, since runtimes differ about `ceil_mode`, unless
/// they depend on an image of any size.
fn ceiling(site: &Site<'_, '_>, op: &Pool, size: Pair, border: Pair) -> Result<Attributes> {
    if site.inputs[0].free {
        let may_be_outside = |kernel, stride, border| border + stride > kernel;
        if may_be_outside(op.kernel.height, op.stride.height, border.height)
            || may_be_outside(op.kernel.width, op.stride.width, border.width)
        {
            return Err(site.needs_a_size("a last window that may lie beyond the image"));
        }
        return Ok(vec![Sides::both(border).attribute(), ("ceil_mode", Attribute::Integer(1))]);
    }
    let windows = size_of(site.shape);
    let after = |windows: usize, size: usize, kernel: usize, stride: usize, border: usize| {
        ((windows - 1) * stride + kernel).saturating_sub(size + border)
    };
    let Pair { height, width } = op.kernel;
    let after = Pair {
        height: after(windows.height, size.height, height, op.stride.height, border.height),
        width: after(windows.width, size.width, width, op.stride.width, border.width),
    };
    Ok(vec![Sides { before: border, after }.attribute()])
}

/// A convolution of each channel by itself.
pub(super) fn blur(site: &mut Site<'_, '_>, op: &Blur) -> String {
    let channels = site.shape.channels();
    let row: Vec<f32> = op.weights().into_iter().map(|weight| weight as f32).collect();
    let window: Vec<f32> = row.iter().flat_map(|a| row.iter().map(move |b| a * b)).collect();
    let weights = window.repeat(channels);
    let weights = site.floats("weight", vec![channels, 1, op.size, op.size], weights);
    let mut attributes = vec![
        pair("kernel_shape", op.size.into()),
        pair("strides", op.stride),
        ("group", Attribute::Integer(channels as i64)),
    ];
    let x = match op.border {
        Border::Zeros => {
            attributes.push(Sides::both(op.padding).attribute());
            site.x()
        }
        Border::Mirror => {
            let Pair { height, width } = op.padding;
            let sizes = [0, 0, height, width, 0, 0, height, width].map(|size| size as i64);
            let sizes = site.integers("sides", sizes.to_vec());
            let x = site.x();
            let mode = vec![("mode", Attribute::Text("reflect"))];
            site.step("mirrored", "Pad", [x, sizes], mode)
        }
    };
    site.last("Conv", [x, weights], attributes)
}

/// Windows of one size where they divide the image; else sums whose weights are matrices.
pub(super) fn adaptive_pool(site: &mut Site<'_, '_>, to: Pair) -> String {
    let (x, size) = (site.x(), size_of(site.inputs[0].shape));
    if to == Pair::ONE {
        return site.last("GlobalAveragePool", [x], Vec::new());
    }
    if size == to {
        return x;
    }
    if size.height.is_multiple_of(to.height) && size.width.is_multiple_of(to.width) {
        let window = Pair { height: size.height / to.height, width: size.width / to.width };
        let attributes = vec![pair("kernel_shape", window), pair("strides", window)];
        return site.last("AveragePool", [x], attributes);
    }
    let rows = site.floats("rows", vec![to.height, size.height], shares(size.height, to.height));
    let columns = shares(size.width, to.width);
    let columns = site.floats("columns", vec![to.width, size.width], columns);
    let columns = site.transpose("across", columns, &[1, 0]);
    let narrow = site.step("narrow", "MatMul", [x, columns], Vec::new());
    site.last("MatMul", [rows, narrow], Vec::new())
}

/// For each of `to` cells, the share of each of `size` pixels in its mean.
fn shares(size: usize, to: usize) -> Vec<f32> {
    let cell = |at: usize| {
        let (begin, end) = (at * size / to, ((at + 1) * size).div_ceil(to));
        let share = 1.0 / (end - begin) as f32;
        (0..size).map(move |pixel| if (begin..end).contains(&pixel) { share } else { 0.0 })
    };
    (0..to).flat_map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::shares;

    /// PyTorch's windows of 5 pixels in 3 cells begin at 0, 1, 3 and end at 2, 4, 5.
    #[test]
    fn cells_share_the_pixels_between_them() {
        let third = 1.0 / 3.0;
        let expected =
            [[0.5, 0.5, 0.0, 0.0, 0.0], [0.0, third, third, third, 0.0], [0.0, 0.0, 0.0, 0.5, 0.5]];
        assert_eq!(shares(5, 3), expected.concat());
        // And more cells than pixels.
        assert_eq!(shares(2, 3), [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]].concat());
    }
}
