//! Position embeddings, interpolated to another image size as timm does.

use std::borrow::Cow;

use super::{Dtype, Value};
use crate::error::Result;
use crate::graph::op::Pair;
use crate::graph::{Parameter, Role};

/// The square grid of position embeddings stored in `shape`, if they can be interpolated to fit `parameter`.
pub fn stored_grid(parameter: &Parameter, shape: &[usize]) -> Option<Pair> {
    let Role::Position { grid } = parameter.role else { return None };
    let [1, tokens, width] = *shape else { return None };
    let cells = tokens.checked_sub(apart(parameter, grid))?;
    let side = cells.isqrt();
    let fits = cells > 0 && side * side == cells && parameter.shape.last() == Some(&width);
    fits.then(|| side.into())
}

/// The number of tokens of `parameter` that are not in its grid, such as the class token.
fn apart(parameter: &Parameter, grid: Pair) -> usize {
    parameter.shape[1] - grid.height * grid.width
}

/// Interpolates `value`, whose grid is `from`, to fit `parameter`. Tokens that are no patches are kept.
pub fn refit(parameter: &Parameter, from: Pair, value: &Value<'_>) -> Result<Value<'static>> {
    let Role::Position { grid: to } = parameter.role else {
        unreachable!("only positions have a stored grid")
    };
    let mut values = vec![0.0; value.elements()];
    value.write_f32(&mut values)?;
    let width = parameter.shape[2];
    let (kept, cells) = values.split_at(apart(parameter, to) * width);
    let cells = resample(cells, width, from, to);
    let bytes = kept.iter().chain(&cells).flat_map(|value| value.to_le_bytes()).collect();
    Ok(Value { dtype: Dtype::F32, shape: parameter.shape.clone(), bytes: Cow::Owned(bytes) })
}

/// Interpolates `cells` (height, width, features) from one grid to another: bicubic with a = -0.5 and antialiasing,
/// pixels being areas. That is PyTorch's `interpolate(mode="bicubic", antialias=True)`.
pub fn resample(cells: &[f32], features: usize, from: Pair, to: Pair) -> Vec<f32> {
    let rows = along(cells, from.width, to.width, features);
    along(&rows, from.height, to.height, to.width * features)
}

/// Interpolates the middle axis of `values` (any, `from`, `inner`).
fn along(values: &[f32], from: usize, to: usize, inner: usize) -> Vec<f32> {
    let weights: Vec<(usize, Vec<f64>)> = (0..to).map(|cell| window(cell, from, to)).collect();
    let mut out = Vec::with_capacity(values.len() / from * to);
    for slab in values.chunks_exact(from * inner) {
        for (start, weights) in &weights {
            out.extend((0..inner).map(|column| {
                let taps = slab[start * inner + column..].iter().step_by(inner);
                taps.zip(weights).map(|(&value, weight)| f64::from(value) * weight).sum::<f64>()
                    as f32
            }));
        }
    }
    out
}

/// The first input cell of the output `cell`, and the weights of it and of those that follow.
fn window(cell: usize, from: usize, to: usize) -> (usize, Vec<f64>) {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let (centre, reach) = ((cell as f64 + 0.5) * scale, 2.0 * stretch);
    let start = (centre - reach + 0.5).max(0.0) as usize;
    let end = ((centre + reach + 0.5) as usize).min(from);
    let weight = |cell: usize| cubic((cell as f64 + 0.5 - centre) / stretch);
    let sum: f64 = (start..end).map(weight).sum();
    (start, (start..end).map(|cell| weight(cell) / sum).collect())
}

/// Keys' cubic kernel with a = -0.5.
fn cubic(distance: f64) -> f64 {
    const A: f64 = -0.5;
    let x = distance.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
