//! The parameters of one model as libtorch tensors.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::{Device, Kind, Tensor};

use super::failed;
use crate::error::{Error, Result, shape_text};
use crate::graph::{Graph, Parameter, Role};
use crate::weights::Value;
use crate::weights::init::{Recipe, fill};

/// Every array of a graph, in checkpoint order. A tensor keeps its identity for the life of the store: loading
/// copies into it.
#[derive(Debug)]
pub struct Store {
    parameters: Vec<Parameter>,
    tensors: Vec<Tensor>,
    /// Where each node's arrays begin; one entry more than there are nodes.
    starts: Vec<usize>,
    device: Device,
}

/// The values of one array.
#[derive(Clone, Debug)]
pub enum Stored {
    Floats(Vec<f32>),
    Count(i64),
}

// SAFETY: a libtorch tensor is a pointer with an atomic count to memory that any thread may use. Reading it from
// many threads at once is what libtorch's own thread pools do; whatever writes to a tensor of a store (`load`, a run
// in training mode) takes the store by `&mut`, so the borrow checker keeps readers away.
unsafe impl Sync for Store {}

impl Store {
    /// New parameters by `recipe`, drawn from `seed`.
    pub fn new(graph: &Graph, recipe: Recipe, seed: u64, device: Device) -> Result<Self> {
        let parameters = graph.parameters();
        let tensors = all_fresh(&parameters, recipe, seed, device)?;
        Ok(Self { starts: starts(graph, &parameters), parameters, tensors, device })
    }

    /// Takes the parameters of `graph` instead: those it shares with the present graph by name and shape stay the same
    /// tensors, but for its classifiers, which like all others start afresh.
    pub fn redraw(&mut self, graph: &Graph, recipe: Recipe, seed: u64) -> Result<()> {
        let parameters = graph.parameters();
        let classifiers = graph.all_classifiers();
        let tensors = parameters
            .iter()
            .map(|parameter| {
                let same =
                    |old: &&Parameter| old.name == parameter.name && old.shape == parameter.shape;
                let is_classifier = classifiers.contains(&parameter.node);
                match self.parameters.iter().position(|old| same(&old)) {
                    Some(index) if !is_classifier => Ok(self.tensors[index].shallow_clone()),
                    _ => fresh(parameter, recipe, seed, self.device),
                }
            })
            .collect::<Result<_>>()?;
        *self =
            Self { starts: starts(graph, &parameters), parameters, tensors, device: self.device };
        Ok(())
    }

    pub fn device(&self) -> Device {
        self.device
    }

    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The arrays of the node at `index`, in checkpoint order.
    pub(super) fn of_node(&self, index: usize) -> &[Tensor] {
        &self.tensors[self.starts[index]..self.starts[index + 1]]
    }

    /// Copies stored values into a parameter, converted to its type.
    pub fn load(&mut self, index: usize, value: &Value<'_>) -> Result<()> {
        let parameter = &self.parameters[index];
        if value.shape != parameter.shape {
            return Err(Error::Shape {
                at: format!("`{}`", parameter.name),
                expected: shape_text(&parameter.shape),
                got: shape_text(&value.shape),
            });
        }
        if parameter.role == Role::BatchCount {
            let count = Tensor::from(value.read_i64()?);
            return self.copy(index, &count);
        }
        let mut values = zeros(parameter.elements(), &parameter.name)?;
        value.write_f32(&mut values)?;
        let source = blob(&values, &parameter.shape)?;
        self.copy(index, &source)
    }

    fn copy(&mut self, index: usize, source: &Tensor) -> Result<()> {
        let at = &self.parameters[index].name;
        let _no_grad = tch::no_grad_guard();
        self.tensors[index].f_copy_(source).map_err(failed(at))
    }

    /// A copy of every array: its name, shape and values.
    pub fn snapshot(&self) -> Result<Vec<(String, Vec<usize>, Stored)>> {
        let copy = |(parameter, tensor): (&Parameter, &Tensor)| {
            let stored = match parameter.role {
                Role::BatchCount => {
                    Stored::Count(tensor.f_int64_value(&[]).map_err(failed(&parameter.name))?)
                }
                _ => Stored::Floats(copy_out(tensor, &parameter.name)?),
            };
            Ok((parameter.name.clone(), parameter.shape.clone(), stored))
        };
        self.parameters.iter().zip(&self.tensors).map(copy).collect()
    }

    /// Moves every tensor to `device`; each stays the same tensor.
    pub fn to_device(&mut self, device: Device) -> Result<()> {
        for (parameter, tensor) in self.parameters.iter().zip(&mut self.tensors) {
            let moved = tensor
                .f_detach()
                .and_then(|t| t.f_to_device(device))
                .map_err(failed(&parameter.name))?;
            let _no_grad = tch::no_grad_guard();
            tensor.f_set_data(&moved).map_err(failed(&parameter.name))?;
        }
        self.device = device;
        Ok(())
    }
}

fn starts(graph: &Graph, parameters: &[Parameter]) -> Vec<usize> {
    let mut starts = vec![parameters.len(); graph.nodes().len() + 1];
    for (index, parameter) in parameters.iter().enumerate().rev() {
        starts[..=parameter.node.index()].fill(index);
    }
    starts
}

/// Every parameter, drawn by as many threads as there are cores: no value depends on who draws it, or when.
fn all_fresh(
    parameters: &[Parameter],
    recipe: Recipe,
    seed: u64,
    device: Device,
) -> Result<Vec<Tensor>> {
    let next = AtomicUsize::new(0);
    let draw_some = || {
        let mut drawn = Vec::new();
        while let Some(parameter) = parameters.get(next.fetch_add(1, Ordering::Relaxed)) {
            drawn.push((parameter.name.as_str(), fresh(parameter, recipe, seed, device)));
        }
        drawn
    };
    let helpers = std::thread::available_parallelism().map_or(1, usize::from) - 1;
    let mut drawn: HashMap<&str, Result<Tensor>> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(draw_some)).collect();
        let own = draw_some();
        let others = helpers.into_iter().filter_map(|helper| helper.join().ok()).flatten();
        own.into_iter().chain(others).collect()
    });
    let mut take = |parameter: &Parameter| {
        // What a helper that panicked had in hand is drawn again.
        drawn
            .remove(parameter.name.as_str())
            .unwrap_or_else(|| fresh(parameter, recipe, seed, device))
    };
    parameters.iter().map(&mut take).collect()
}

fn fresh(parameter: &Parameter, recipe: Recipe, seed: u64, device: Device) -> Result<Tensor> {
    let shape: Vec<i64> = parameter.shape.iter().map(|&size| size as i64).collect();
    let at = &parameter.name;
    if parameter.role == Role::BatchCount {
        return Tensor::f_zeros(shape, (Kind::Int64, device)).map_err(failed(at));
    }
    let tensor = Tensor::f_empty(&shape, (Kind::Float, Device::Cpu)).map_err(failed(at))?;
    if parameter.elements() > 0 {
        let start = tensor.data_ptr().cast::<f32>();
        // SAFETY: a fresh contiguous tensor of float32 on the CPU has that many values, and nobody else holds it.
        // Without values it would have no address.
        let values = unsafe { std::slice::from_raw_parts_mut(start, parameter.elements()) };
        fill(values, recipe.draw(parameter), seed, &parameter.name);
    }
    let tensor = tensor.f_to_device(device).map_err(failed(at))?;
    tensor.f_set_requires_grad(parameter.role.is_trained()).map_err(failed(at))
}

/// A tensor over `values`, without a copy. It must not outlive them, so it never leaves this room.
pub(super) fn blob(values: &[f32], shape: &[usize]) -> Result<Tensor> {
    let sizes: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
    let strides: Vec<i64> =
        (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>() as i64).collect();
    debug_assert_eq!(values.len(), shape.iter().product::<usize>());
    // SAFETY: the sizes and strides span exactly `values`, which every caller keeps alive until the tensor is gone.
    unsafe {
        Tensor::f_from_blob(values.as_ptr().cast(), &sizes, &strides, Kind::Float, Device::Cpu)
    }
    .map_err(failed("an array"))
}

/// As many zeros; without the memory for them, an error instead of the end of the process.
fn zeros(count: usize, at: &str) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|error| Error::OutOfMemory {
        at: at.to_owned(),
        message: format!("{count} float32 values: {error}"),
    })?;
    values.resize(count, 0.0);
    Ok(values)
}

/// The values of a float tensor in row-major order.
pub(super) fn copy_out(tensor: &Tensor, at: &str) -> Result<Vec<f32>> {
    let tensor = tensor
        .f_detach()
        .and_then(|t| t.f_to_device(Device::Cpu))
        .and_then(|t| t.f_to_kind(Kind::Float))
        .and_then(|t| t.f_contiguous())
        .map_err(failed(at))?;
    let mut values = zeros(tensor.numel(), at)?;
    tensor.f_copy_data(&mut values, tensor.numel()).map_err(failed(at))?;
    Ok(values)
}
