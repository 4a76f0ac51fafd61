//! The eager run: walks the graph, lets each value go after its last use, and records gradients as PyTorch would.

use tch::{Kind, TchError, Tensor};

use super::store::{blob, copy_out};
use super::{Store, failed};
use crate::error::{Error, Result, shape_text};
use crate::graph::op::{
    Attention, BatchNorm, Conv, DropPath, Enlarge, Function, Lrn, Padding, Pair, Pool, PoolKind,
};
use crate::graph::shape::{same_padding, span};
use crate::graph::{Graph, Node, NodeId, Op, Shape};

/// Float32 values with their shape, row-major: what goes in and comes out.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The same, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub shape: &'a [usize],
    pub values: &'a [f32],
}

/// Runs `graph` on `x` (N, C, H, W) and returns the values of `wanted`, without recording gradients. Batch norm uses
/// its running statistics.
pub fn infer(graph: &Graph, store: &Store, x: View<'_>, wanted: &[NodeId]) -> Result<Vec<Array>> {
    let _no_grad = tch::no_grad_guard();
    let values = walk(graph, store, &on_device(x, store)?, wanted, false)?;
    values.iter().zip(wanted).map(|(value, &id)| array(value, &graph.node(id).name)).collect()
}

/// What a gradient run gives back.
#[derive(Debug)]
pub struct Pullback {
    pub output: Array,
    /// The index of a trained parameter that the output depends on, and its gradient.
    pub gradients: Vec<(usize, Array)>,
}

/// Runs `graph` on `x` and pulls `cotangent`, of the output's shape, back to every trained parameter. In training
/// mode batch norm uses and tracks batch statistics, and dropout drops.
pub fn pull_back(
    graph: &Graph,
    store: &mut Store,
    x: View<'_>,
    cotangent: View<'_>,
    training: bool,
) -> Result<Pullback> {
    tch::with_grad(|| {
        let x = on_device(x, store)?;
        let output = walk(graph, store, &x, &[graph.output()], training)?.remove(0);
        let cotangent = on_device(cotangent, store)?;
        if output.size() != cotangent.size() {
            return Err(Error::Shape {
                at: format!("the cotangent of {}", graph.name()),
                expected: shape_text(&output.size()),
                got: shape_text(&cotangent.size()),
            });
        }
        let needed = graph.needed_for(&[graph.output()]);
        let depends = |&index: &usize| {
            let parameter = &store.parameters()[index];
            parameter.role.is_trained() && needed[parameter.node.index()]
        };
        let trained: Vec<usize> = (0..store.parameters().len()).filter(depends).collect();
        if trained.is_empty() {
            return Ok(Pullback { output: array(&output, "the output")?, gradients: Vec::new() });
        }
        let inputs: Vec<&Tensor> = trained.iter().map(|&index| &store.tensors()[index]).collect();
        let gradients = output
            .f_mul(&cotangent)
            .and_then(|product| product.f_sum(Kind::Float))
            .and_then(|scalar| Tensor::f_run_backward(&[scalar], &inputs, false, false))
            .map_err(failed(format_args!("the gradient of {}", graph.name())))?;
        let named = trained.into_iter().zip(&gradients);
        Ok(Pullback {
            output: array(&output, "the output")?,
            gradients: named
                .map(|(index, gradient)| {
                    Ok((index, array(gradient, &store.parameters()[index].name)?))
                })
                .collect::<Result<_>>()?,
        })
    })
}

fn on_device(view: View<'_>, store: &Store) -> Result<Tensor> {
    blob(view.values, view.shape)?.f_to_device(store.device()).map_err(failed("the input"))
}

fn array(tensor: &Tensor, at: &str) -> Result<Array> {
    let shape = tensor.size().iter().map(|&size| size as usize).collect();
    Ok(Array { shape, values: copy_out(tensor, at)? })
}

fn walk(
    graph: &Graph,
    store: &Store,
    x: &Tensor,
    wanted: &[NodeId],
    training: bool,
) -> Result<Vec<Tensor>> {
    let (batch, shapes) = input_shapes(graph, x, wanted)?;
    if training {
        enough_for_statistics(graph, batch, &shapes)?;
    }
    let needed = graph.needed_for(wanted);
    let mut uses = vec![0_usize; graph.nodes().len()];
    for id in graph.ids().filter(|id| needed[id.index()]) {
        graph.node(id).inputs.iter().for_each(|input| uses[input.index()] += 1);
    }
    for id in wanted {
        uses[id.index()] += 1;
    }

    let mut values: Vec<Option<Tensor>> = graph.ids().map(|_| None).collect();
    values[0] = Some(x.shallow_clone());
    for id in graph.ids().skip(1).filter(|id| needed[id.index()]) {
        let node = graph.node(id);
        let arrays = store.of_node(id.index());
        let step = Step { node, arrays, batch: batch as i64, training };
        let inputs: Vec<&Tensor> =
            node.inputs.iter().filter_map(|input| values[input.index()].as_ref()).collect();
        let value = step.run(&inputs).map_err(failed(format_args!(
            "{}, node `{}` ({})",
            graph.name(),
            node.name,
            node.op.name()
        )))?;
        values[id.index()] = Some(value);
        for input in &node.inputs {
            uses[input.index()] -= 1;
            if uses[input.index()] == 0 {
                values[input.index()] = None;
            }
        }
    }
    Ok(wanted
        .iter()
        .filter_map(|id| values[id.index()].as_ref().map(Tensor::shallow_clone))
        .collect())
}

/// Checks `x` against the graph; what fits has a shape at every node.
fn input_shapes(graph: &Graph, x: &Tensor, wanted: &[NodeId]) -> Result<(usize, Vec<Shape>)> {
    let size = x.size();
    let channels = graph.input().channels as i64;
    match size[..] {
        [batch, c, height, width] if c == channels && batch > 0 => {
            Ok((batch as usize, graph.shapes(height as usize, width as usize, wanted)?))
        }
        _ => Err(Error::Shape {
            at: format!("the input of {}", graph.name()),
            expected: format!("(N, {channels}, H, W) with N at least 1"),
            got: shape_text(&size),
        }),
    }
}

/// Batch statistics of a single value have no variance; PyTorch refuses them too.
fn enough_for_statistics(graph: &Graph, batch: usize, shapes: &[Shape]) -> Result<()> {
    let single = graph.ids().find(|id| {
        let per_channel = shapes[id.index()].elements() / shapes[id.index()].channels().max(1);
        matches!(graph.node(*id).op, Op::BatchNorm(_)) && batch * per_channel < 2
    });
    single.map_or(Ok(()), |id| {
        Err(Error::Shape {
            at: format!("{} in training mode, node `{}`", graph.name(), graph.node(id).name),
            expected: "more than one value per channel".into(),
            got: format!("one, from a batch of {batch}"),
        })
    })
}

/// One node about to run.
struct Step<'a> {
    node: &'a Node,
    arrays: &'a [Tensor],
    batch: i64,
    training: bool,
}

impl Step<'_> {
    fn run(&self, inputs: &[&Tensor]) -> Result<Tensor, TchError> {
        let Some(&x) = inputs.first() else {
            return self.arrays[0].f_expand([self.batch, -1, -1], false);
        };
        match &self.node.op {
            // What has no input is an embedding.
            Op::Input(_) | Op::Embedding(_) => Ok(x.shallow_clone()),
            Op::Conv(op) => self.conv(op, x),
            Op::Pad(op) => {
                let border = [op.left, op.right, op.top, op.bottom, 0, op.channels];
                x.f_constant_pad_nd(border.map(|size| size as i64))
            }
            Op::BatchNorm(op) => self.batch_norm(op, x),
            Op::GroupNorm(op) => {
                let groups = op.groups as i64;
                x.f_group_norm(groups, self.arrays.first(), self.arrays.get(1), op.eps, true)
            }
            Op::LayerNorm(op) => {
                let width = x.size().last().copied().unwrap_or(0);
                x.f_layer_norm([width], self.arrays.first(), self.arrays.get(1), op.eps, true)
            }
            Op::Activation(op) => activation(op.function, x),
            Op::Pool(op) => pool(op, x),
            Op::AdaptivePool(op) => x.f_adaptive_avg_pool2d(op.size.sizes()),
            Op::Enlarge(op) => enlarge(op, x),
            Op::Lrn(op) => lrn(op, x),
            Op::Linear(op) if op.pointwise => {
                x.f_linear(&self.arrays[0].f_flatten(1, -1)?, self.arrays.get(1))
            }
            Op::Linear(_) => x.f_linear(&self.arrays[0], self.arrays.get(1)),
            Op::Flatten(_) => x.f_flatten(1, -1),
            Op::Add(_) => {
                inputs[1..].iter().try_fold(x.shallow_clone(), |sum, input| sum.f_add(input))
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
            Op::Scale(_) => x.f_mul(inputs[1]),
            Op::Concat(_) => Tensor::f_cat(inputs, 1),
            Op::Dropout(op) => x.f_dropout(op.rate, self.training),
            Op::DropPath(op) => drop_path(op, x, self.training),
            Op::Tokens(_) => x.f_flatten(2, -1)?.f_transpose(1, 2),
            Op::Attention(op) => attention(op, x),
            Op::Take(op) => x.f_select(1, op.index as i64),
        }
    }

    fn conv(&self, conv: &Conv, x: &Tensor) -> Result<Tensor, TchError> {
        let (weight, bias) = (&self.arrays[0], self.arrays.get(1));
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

    fn batch_norm(&self, norm: &BatchNorm, x: &Tensor) -> Result<Tensor, TchError> {
        let (scale, rest) =
            if norm.scale { (self.arrays.first(), &self.arrays[1..]) } else { (None, self.arrays) };
        let [shift, mean, variance, count] = rest else {
            return Err(TchError::Shape("the arrays of a batch norm".into()));
        };
        if self.training {
            let _no_grad = tch::no_grad_guard();
            let _ = count.shallow_clone().f_add_scalar_(1)?;
        }
        let BatchNorm { eps, momentum, .. } = *norm;
        x.f_batch_norm(
            scale,
            Some(shift),
            Some(mean),
            Some(variance),
            self.training,
            momentum,
            eps,
            true,
        )
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
        // Zeros of the border are not counted: the mean of what is there is the sum over its number.
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

fn enlarge(enlarge: &Enlarge, x: &Tensor) -> Result<Tensor, TchError> {
    let (height, width) = spatial(x)?;
    let Pair { height: rows, width: columns } = enlarge.size;
    if height >= rows && width >= columns {
        return Ok(x.shallow_clone());
    }
    x.f_adaptive_avg_pool2d([height.max(rows) as i64, width.max(columns) as i64])
}

/// (left, right, top, bottom) of a pool that pads `same`.
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
    let (q, k, v) = (split.f_select(0, 0)?, split.f_select(0, 1)?, split.f_select(0, 2)?);
    let mixed = Tensor::f_scaled_dot_product_attention(
        &q,
        &k,
        &v,
        None::<&Tensor>,
        0.0,
        false,
        None,
        false,
    )?;
    mixed.f_transpose(1, 2)?.f_reshape([batch, tokens, width / 3])
}

fn lrn(lrn: &Lrn, x: &Tensor) -> Result<Tensor, TchError> {
    let (batch, channels, height, width) = x.size4()?;
    let size = lrn.size as i64;
    let squares = x.f_mul(x)?.f_view([batch, 1, channels, height, width])?;
    let padded = squares.f_constant_pad_nd([0, 0, 0, 0, size / 2, (size - 1) / 2])?;
    let mean = padded
        .f_avg_pool3d([size, 1, 1], [1, 1, 1], [0, 0, 0], false, true, None)?
        .f_squeeze_dim(1)?;
    x.f_div(&mean.f_mul_scalar(lrn.alpha)?.f_add_scalar(lrn.k)?.f_pow_tensor_scalar(lrn.beta)?)
}

fn drop_path(op: &DropPath, x: &Tensor, training: bool) -> Result<Tensor, TchError> {
    if !training || op.rate == 0.0 {
        return Ok(x.shallow_clone());
    }
    let keep = 1.0 - op.rate;
    let mut size = vec![1; x.dim()];
    size[0] = x.size()[0];
    let kept = Tensor::f_empty(size, (x.f_kind()?, x.device()))?
        .f_bernoulli_float_(keep)?
        .f_div_scalar_(keep)?;
    x.f_mul(&kept)
}
