//! Checks that a model's arrays and outputs are finite.

use std::collections::HashSet;

use super::gradients::GradientOptions;
use super::run::{Values, on_device};
use super::walk::{Pass, Walk};
use super::{Layout, Store, failed};
use crate::engine::View;
use crate::error::Result;
use crate::graph::Graph;
use crate::weights::Parameters;

impl Store {
    /// The first array that holds an infinite value or NaN, running statistics included.
    pub fn not_finite(&self) -> Result<Option<&str>> {
        let _no_grad = tch::no_grad_guard();
        for (parameter, tensor) in self.parameters().iter().zip(self.tensors()) {
            let finite = tensor.f_isfinite().and_then(|finite| finite.f_all());
            let finite = finite.and_then(|all| all.f_int64_value(&[]));
            if finite.map_err(failed(&parameter.name))? == 0 {
                return Ok(Some(&parameter.name));
            }
        }
        Ok(None)
    }
}

/// Whether the outputs for images `x` are finite in training mode. No running statistics are updated.
pub fn has_finite_outputs(
    graph: &Graph,
    store: &mut Store,
    x: View<'_>,
    GradientOptions { mode, precision, .. }: GradientOptions,
) -> Result<bool> {
    store.lay_out(Layout::ChannelsLast)?;
    let _no_grad = tch::no_grad_guard();
    let x = on_device(x, store)?;
    let heads = graph.heads();
    let walk = Walk::new(graph, store, &x, &heads, mode)?.in_precision(precision);
    let mut values = Values::from([(graph.image(), x)]);
    let kept: HashSet<_> = heads.iter().copied().collect();
    walk.run(&graph.schedule(&heads), &mut values, &kept, Pass::Second)?;
    for head in &heads {
        let finite = values[head].f_isfinite().and_then(|finite| finite.f_all());
        let finite = finite.and_then(|all| all.f_int64_value(&[]));
        if finite.map_err(failed(&graph.node(*head).name))? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
