//! The parameters of one model as libtorch tensors.

use std::borrow::Cow;
use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::bridge::{Handle, count_change, is_inference, is_like, stamp, version};
use super::floats::{floats, floats_mut};
use super::{Layout, device_name, failed};
use crate::error::{Error, Result, shape_text};
use crate::graph::{Graph, NodeId, Parameter, Role};
use crate::memory::zeros;
use crate::weights::fresh::{Fresh, fill, has_room_for};
use crate::weights::init::Recipe;
use crate::weights::parameters::{Parameters, Stored, kept};

/// Every array of a graph, in the order of the state dict. A tensor keeps its identity for the life of the store:
/// loading copies into it.
#[derive(Debug)]
pub struct Store {
    parameters: Vec<Parameter>,
    tensors: Vec<Tensor>,
    /// The index of each node's first array; one entry more than there are nodes.
    starts: Vec<usize>,
    device: Device,
    layout: Layout,
    /// Whether Python has the tensors too, and may change them.
    is_shared: bool,
}

// SAFETY: a libtorch tensor is a pointer with an atomic count to memory that any thread may use. Reading it from
// many threads at once is what libtorch's own thread pools do; whatever writes to a tensor of a store (`load`, a run
// in training mode) takes the store by `&mut`, so the borrow checker keeps readers away.
unsafe impl Sync for Store {}

impl Store {
    /// New parameters, initialised by `recipe` with random numbers from `seed`.
    pub fn new(graph: &Graph, recipe: Recipe, seed: u64, device: Device) -> Result<Self> {
        let parameters = graph.parameters();
        let every: Vec<&Parameter> = parameters.iter().collect();
        let tensors = fresh(&every, recipe, seed, device)?;
        let (starts, layout) = (starts(graph, &parameters), Layout::ChannelsFirst);
        Ok(Self { parameters, tensors, starts, device, layout, is_shared: false })
    }

    /// A copy with the same values, frozen alike.
    pub fn duplicate(&self) -> Result<Self> {
        self.check()?;
        let duplicate = |(parameter, tensor): (&Parameter, &Tensor)| {
            tensor
                .f_detach()
                .and_then(|values| values.f_to_device_(self.device, values.f_kind()?, false, true))
                .and_then(|copy| copy.f_set_requires_grad(tensor.requires_grad()))
                .map_err(failed(&parameter.name))
        };
        let tensors = self.parameters.iter().zip(&self.tensors).map(duplicate);
        Ok(Self {
            tensors: tensors.collect::<Result<_>>()?,
            parameters: self.parameters.clone(),
            starts: self.starts.clone(),
            device: self.device,
            layout: self.layout,
            is_shared: false,
        })
    }

    /// The tensors themselves, with the name and role of each, for PyTorch, which may change their values from then on.
    pub fn share(&mut self) -> Vec<(&Parameter, Handle)> {
        self.is_shared = true;
        let tensors = self.tensors.iter().map(|tensor| Handle(tensor.shallow_clone()));
        self.parameters.iter().zip(tensors).collect()
    }

    /// Fails with `Error::Argument` where PyTorch has given a tensor another shape, element type or device, or values that were
    /// made in inference mode, or lets a statistic require gradients.
    pub(super) fn check(&self) -> Result<()> {
        if !self.is_shared {
            return Ok(());
        }
        let fits = |(parameter, tensor): &(&Parameter, &Tensor)| {
            let Parameter { role, shape, .. } = parameter;
            is_like(tensor, shape, *role == Role::BatchCount, self.device)
                && (role.is_trained() || !tensor.requires_grad())
        };
        match self.parameters.iter().zip(&self.tensors).find(|pair| !fits(pair)) {
            None => Ok(()),
            Some((Parameter { name, role, shape, .. }, tensor)) => {
                let at = format!("`{name}`, which PyTorch changed");
                if is_inference(tensor) {
                    let expected = "one that was made outside of torch.inference_mode".into();
                    return Err(Error::Argument { at, expected, got: "one made in it".into() });
                }
                let kind = if *role == Role::BatchCount { "int64" } else { "float32" };
                let device = device_name(self.device);
                let shape = shape_text(shape);
                Err(Error::Argument {
                    at,
                    expected: format!(
                        "{kind} {shape} on {device}, with gradients of parameters alone"
                    ),
                    got: format!("{tensor:?}"),
                })
            }
        }
    }

    /// A number that changes where PyTorch may have changed a value.
    pub(super) fn stamp(&self) -> u64 {
        if self.is_shared { stamp(self.tensors.iter()) } else { 0 }
    }

    /// The number of changes of all tensors.
    pub(super) fn changes(&self) -> u64 {
        self.tensors.iter().map(version).fold(0, u64::wrapping_add)
    }

    /// Counts changes of the arrays at these indices for autograd, for what writes to them past it.
    pub(super) fn count_changes(&self, indices: impl IntoIterator<Item = usize>) {
        indices.into_iter().for_each(|index| count_change(&self.tensors[index]));
    }

    /// Takes over device and layout of the tensors, which PyTorch has moved.
    pub fn adopt(&mut self) -> Result<()> {
        let Some(first) = self.tensors.first() else { return Ok(()) };
        self.device = first.device();
        self.layout = Layout::ChannelsFirst;
        for (parameter, tensor) in self.parameters.iter().zip(&self.tensors) {
            let is_last = parameter.role == Role::ConvWeight && !tensor.is_contiguous();
            if is_last && Layout::ChannelsLast.has(tensor).map_err(failed(&parameter.name))? {
                self.layout = Layout::ChannelsLast;
            }
        }
        self.check()
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Changes the memory layout of convolution weights; each stays the same tensor.
    pub fn lay_out(&mut self, layout: Layout) -> Result<()> {
        if self.layout == layout {
            return Ok(());
        }
        let _no_grad = tch::no_grad_guard();
        for (parameter, tensor) in self.parameters.iter().zip(&mut self.tensors) {
            if parameter.role == Role::ConvWeight {
                let at = || failed(&parameter.name);
                let laid_out = layout.of(&tensor.f_detach().map_err(at())?).map_err(at())?;
                tensor.f_set_data(&laid_out).map_err(at())?;
            }
        }
        self.layout = layout;
        Ok(())
    }

    pub fn device(&self) -> Device {
        self.device
    }

    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The arrays of the node at `index`, in the order of the state dict.
    pub(super) fn of_node(&self, index: usize) -> &[Tensor] {
        &self.tensors[self.range(index)]
    }

    /// The indices of these arrays.
    pub(super) fn range(&self, index: usize) -> Range<usize> {
        self.starts[index]..self.starts[index + 1]
    }

    /// Whether the node at `id` has parameters and all of them are frozen.
    pub(super) fn is_frozen(&self, id: NodeId) -> bool {
        let mut trained = self.range(id.index()).filter(|&i| self.parameters[i].role.is_trained());
        let mut frozen = false;
        trained.all(|index| {
            frozen = true;
            !self.tensors[index].requires_grad()
        }) && frozen
    }

    /// The indices of the trained parameters, whose gradients are computed.
    pub fn trained(&self) -> impl Iterator<Item = usize> {
        (0..self.tensors.len()).filter(|&index| self.tensors[index].requires_grad())
    }

    /// Freezes these parameters, or trains them again. A norm that is frozen uses its running statistics.
    pub fn set_trained(&mut self, indices: &[usize], trained: bool) -> Result<()> {
        for &index in indices {
            let at = &self.parameters[index].name;
            let _ = self.tensors[index].f_set_requires_grad(trained).map_err(failed(at))?;
        }
        Ok(())
    }

    fn copy(&mut self, index: usize, source: &Tensor) -> Result<()> {
        let at = &self.parameters[index].name;
        let _no_grad = tch::no_grad_guard();
        self.tensors[index].f_copy_(source).map_err(failed(at))
    }

    /// Moves every tensor to `device`; each stays the same tensor.
    pub fn to_device(&mut self, device: Device) -> Result<()> {
        self.lay_out(Layout::ChannelsFirst)?;
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

impl Parameters for Store {
    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn read(&self, index: usize) -> Result<Stored> {
        let (Parameter { name, role, .. }, tensor) =
            (&self.parameters[index], &self.tensors[index]);
        if *role == Role::BatchCount {
            return tensor.f_int64_value(&[]).map(Stored::Count).map_err(failed(name));
        }
        copy_out(tensor, name).map(Stored::Floats)
    }

    fn floats(&self, index: usize) -> Result<Option<Cow<'_, [f32]>>> {
        let (Parameter { name, role, .. }, tensor) =
            (&self.parameters[index], &self.tensors[index]);
        if *role == Role::BatchCount {
            return Ok(None);
        }
        if let Some(values) = floats(tensor).filter(|_| tensor.is_contiguous()) {
            return Ok(Some(Cow::Borrowed(values)));
        }
        copy_out(tensor, name).map(|values| Some(Cow::Owned(values)))
    }

    fn write_floats(&mut self, index: usize, values: &[f32]) -> Result<()> {
        let source = blob(values, &self.parameters[index].shape)?;
        self.copy(index, &source)
    }

    fn write_count(&mut self, index: usize, count: i64) -> Result<()> {
        self.copy(index, &Tensor::from(count))
    }

    /// Parameters of both graphs keep their tensors.
    fn redraw(&mut self, graph: &Graph, recipe: Recipe, seed: u64) -> Result<()> {
        self.lay_out(Layout::ChannelsFirst)?;
        let parameters = graph.parameters();
        let kept = kept(&self.parameters, graph, &parameters);
        let new: Vec<&Parameter> =
            parameters.iter().zip(&kept).filter(|(_, old)| old.is_none()).map(|(p, _)| p).collect();
        let mut new = fresh(&new, recipe, seed, self.device)?.into_iter();
        let mut take = |index: usize| self.tensors[index].shallow_clone();
        let tensors =
            kept.into_iter().filter_map(|old| old.map(&mut take).or_else(|| new.next())).collect();
        (self.starts, self.parameters, self.tensors) =
            (starts(graph, &parameters), parameters, tensors);
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

/// New tensors for `parameters`, all initialised at once.
fn fresh(
    parameters: &[&Parameter],
    recipe: Recipe,
    seed: u64,
    device: Device,
) -> Result<Vec<Tensor>> {
    has_room_for(parameters)?;
    let mut tensors = parameters.iter().map(|p| unwritten(p)).collect::<Result<Vec<_>>>()?;
    let drawn = parameters.iter().zip(&mut tensors).filter_map(|(parameter, tensor)| {
        let values = floats_mut(tensor)?;
        Some(Fresh { name: &parameter.name, draw: recipe.draw(parameter), values })
    });
    fill(drawn.collect(), seed);
    let finish = |(parameter, tensor): (&&Parameter, Tensor)| {
        tensor
            .f_to_device(device)
            .and_then(|tensor| tensor.f_set_requires_grad(parameter.role.is_trained()))
            .map_err(failed(&parameter.name))
    };
    parameters.iter().zip(tensors).map(finish).collect()
}

/// A tensor for a parameter: a batch count of zero, or uninitialised float32 values.
fn unwritten(parameter: &Parameter) -> Result<Tensor> {
    let shape: Vec<i64> = parameter.shape.iter().map(|&size| size as i64).collect();
    match parameter.role {
        Role::BatchCount => Tensor::f_zeros(shape, (Kind::Int64, Device::Cpu)),
        _ => Tensor::f_empty(shape, (Kind::Float, Device::Cpu)),
    }
    .map_err(failed(&parameter.name))
}

/// A tensor over `values`, without a copy. It must not outlive them, so it is never given outside this module.
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

/// The values of a float tensor in row-major order.
pub(super) fn copy_out(tensor: &Tensor, at: &str) -> Result<Vec<f32>> {
    let tensor = tensor
        .f_detach()
        .and_then(|t| t.f_to_device(Device::Cpu))
        .and_then(|t| t.f_to_kind(Kind::Float))
        .and_then(|t| t.f_contiguous())
        .map_err(failed(at))?;
    let mut values = zeros(tensor.numel()).map_err(|shortage| shortage.at(at))?;
    tensor.f_copy_data(&mut values, tensor.numel()).map_err(failed(at))?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::PlainMemory;

    const TINY: &str = include_str!("../../tests/weights/tiny.txt");

    #[test]
    fn parameters_have_the_bits_that_plain_memory_has() {
        let graph: Graph = TINY.parse().unwrap();
        let mut tensors = Store::new(&graph, Recipe::RESNET, 7, Device::Cpu).unwrap();
        let mut plain = PlainMemory::new(&graph, Recipe::RESNET, 7).unwrap();
        assert_eq!(tensors.snapshot().unwrap(), plain.snapshot().unwrap());
        tensors.redraw(&graph, Recipe::RESNET, 8).unwrap();
        plain.redraw(&graph, Recipe::RESNET, 8).unwrap();
        assert_eq!(tensors.snapshot().unwrap(), plain.snapshot().unwrap());
    }

    #[test]
    fn values_are_borrowed_where_they_lie_in_order() {
        let graph: Graph = TINY.parse().unwrap();
        let mut tensors = Store::new(&graph, Recipe::RESNET, 7, Device::Cpu).unwrap();
        for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
            tensors.lay_out(layout).unwrap();
            for index in 0..tensors.parameters.len() {
                let Stored::Floats(copy) = tensors.read(index).unwrap() else {
                    assert!(tensors.floats(index).unwrap().is_none());
                    continue;
                };
                let values = tensors.floats(index).unwrap().unwrap();
                assert_eq!(*values, copy[..]);
                let in_order = tensors.tensors[index].is_contiguous();
                assert_eq!(matches!(values, Cow::Borrowed(_)), in_order);
            }
        }
    }
}
