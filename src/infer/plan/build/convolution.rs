//! Convolutions and linear layers with what is folded into them, by the algorithms that were chosen.

use std::sync::Arc;

use super::super::super::form::Form;
use super::super::super::kernel::{
    Bytes, Combine, Conv, Depthwise, Gated, Halves, Map, Strassen, Taps, Tile, Transformed,
    Weights, Winograd, fold,
};
use super::super::super::layout::{Layout, Window};
use super::super::super::simd::Element;
use super::super::choose::{Algorithm, Layer};
use super::super::fuse::Tail;
use super::super::step::{Operation, Step, Value};
use super::{Affine, Builder, Folded, is_countable};
use crate::error::Result;
use crate::graph::op::{self, Padding, Pair};
use crate::graph::{NodeId, Op, Role, Shape};

/// A layer that is planned: its node and what follows, its input and output, and its window.
struct Planned<'a> {
    id: NodeId,
    tail: &'a Tail,
    input: Value,
    output: Value,
    window: Window,
}

/// A weight and a bias.
type Numbers<'a> = (&'a [f32], &'a [f32]);

/// Whether each channel has a window of its own.
pub(super) fn is_depthwise(conv: &op::Conv, channels: usize) -> bool {
    conv.groups > 1 && conv.groups == channels && conv.out == channels
}

/// The window of a convolution on images of this layout.
pub(super) fn window(conv: &op::Conv, &Layout { height, width, .. }: &Layout) -> Window {
    Window::new((conv.kernel, conv.stride, conv.dilation), conv.padding, (height, width))
}

impl Planned<'_> {
    fn key(&self) -> Folded {
        let Pair { height, width } = self.window.kernel;
        (self.id, self.tail.scales.clone(), [height, width])
    }
}

impl Builder<'_> {
    pub(super) fn conv(&mut self, id: NodeId, conv: &op::Conv) -> Result<()> {
        let input = if self.is_narrow(id) { self.any_input(id)? } else { self.input(id)? };
        let Layout { height, width, channels, .. } = input.layout;
        let window = window(conv, &input.layout);
        let tall = height.saturating_add(window.top).saturating_add(window.bottom);
        let wide = width.saturating_add(window.left).saturating_add(window.right);
        let padded = tall.saturating_mul(wide).saturating_mul(channels);
        is_countable(self.graph, id, padded, self.batch)?;
        let depthwise = is_depthwise(conv, channels);
        let tail = &self.tail(id, true, !depthwise);
        let output = self.output(tail.nodes.last().copied().unwrap_or(id));
        let planned = Planned { id, tail, input, output, window };
        if depthwise { self.depthwise(planned) } else { self.layer(planned, conv.groups) }
    }

    pub(super) fn linear(&mut self, id: NodeId) -> Result<()> {
        let Some(&from) = self.inputs(id).first() else {
            return Err(self.defect(id, "it has no input"));
        };
        let input = if self.is_narrow(id) { self.raw(from)? } else { self.floats(from)? };
        let tail = &self.tail(id, true, true);
        let output = self.output(tail.nodes.last().copied().unwrap_or(id));
        // A vector is an image, and the layer a window of its size, so flattened images stay where they are.
        let kernel = match self.shape(from) {
            Shape::Vector { .. } => Pair { height: input.layout.height, width: input.layout.width },
            Shape::Image { .. } | Shape::Tokens { .. } => Pair::ONE,
        };
        let window = Window::new(
            (kernel, Pair::ONE, Pair::ONE),
            Padding::from(0),
            (kernel.height, kernel.width),
        );
        self.layer(Planned { id, tail, input, output, window }, 1)
    }

    fn layer(&mut self, planned: Planned<'_>, groups: usize) -> Result<()> {
        let Planned { id, tail, window, .. } = planned;
        let (input, output) = (planned.input.layout, planned.output.layout);
        let function = tail.function;
        let (mut inputs, mut gates) = (vec![planned.input], Vec::new());
        let layer = Layer::new(&window, groups, &input, output.channels);
        let (algorithm, element) = if self.is_quantized(id) {
            (Algorithm::Direct, Element::Byte)
        } else {
            self.choices.algorithm(&layer)
        };
        let forms = (planned.input.form, planned.output.form);
        let residual = match tail.residual {
            Some(residual) if self.is_narrow(id) => Some(self.any(residual)?),
            Some(residual) => Some(self.value(residual)?),
            None => None,
        };
        let operation = match algorithm {
            Algorithm::Winograd(tile) => {
                let weights = self.transformed(&planned, (tile, element))?;
                Operation::Winograd(Winograd { input, output, window, weights, function, forms })
            }
            Algorithm::Strassen => {
                let weights = self.halves(&planned)?;
                Operation::Strassen(Strassen { input, output, weights, function })
            }
            Algorithm::Direct => {
                let groups = self.products(&planned, groups, element)?;
                let bytes = match element {
                    Element::Byte => Some(self.bytes(&planned, &groups, residual)?),
                    Element::Float32 | Element::BFloat16 => None,
                };
                let is_bordered = false;
                let mut conv =
                    Conv { input, output, window, groups, function, forms, bytes, is_bordered };
                if self.border_images(id, &conv) {
                    conv.is_bordered = true;
                    inputs = vec![self.input(id)?];
                }
                if let Some(step) = self.gate_before(id, &conv) {
                    (inputs, gates) = (step.inputs, step.nodes);
                    let (input, gate) = (inputs[0].layout, inputs[1].layout);
                    Operation::Gated(Box::new(Gated { conv: Conv { input, ..conv }, gate }))
                } else {
                    Operation::Conv(conv)
                }
            }
        };
        inputs.extend(residual);
        if planned.output.form.is_narrow() && !self.is_narrow(id) {
            return Err(self.defect(id, "its value is to have a form that it cannot write"));
        }
        self.emit(id, tail, inputs, planned.output, operation);
        if let Some(step) = self.steps.last_mut() {
            step.nodes.splice(1..1, gates);
        }
        Ok(())
    }

    /// Takes back the last step if it is a gate whose value this convolution alone reads, and could scale its weights by.
    fn gate_before(&mut self, id: NodeId, conv: &Conv) -> Option<Step> {
        let (&input, step) = (self.inputs(id).first()?, self.steps.last()?);
        let scales = |map: &Map| {
            map.combine == Some(Combine::Multiply) && map.affine.is_none() && map.function.is_none()
        };
        let is_gate = matches!(self.op(input), Op::Gate(_))
            && step.nodes == [input]
            && matches!(&step.operation, Operation::Map(map) if scales(map));
        let scales_weights = conv.element() == Element::Float32
            && step.inputs.iter().all(|input| !input.form.is_narrow())
            && Gated::is_worthwhile(conv);
        if !is_gate || self.uses.sole(input) != Some(id) || !scales_weights {
            return None;
        }
        self.steps.pop()
    }

    fn depthwise(&mut self, planned: Planned<'_>) -> Result<()> {
        let taps = self.taps(&planned)?;
        let Planned { id, tail, input, output, window } = planned;
        let conv = Depthwise {
            input: input.layout,
            output: output.layout,
            window,
            function: tail.function,
            instructions: self.instructions,
            taps,
            forms: (input.form, output.form),
        };
        self.emit(id, tail, vec![input], output, Operation::Depthwise(conv));
        Ok(())
    }

    // ---- weights, packed once for plans of all shapes

    fn taps(&mut self, planned: &Planned<'_>) -> Result<Arc<Taps>> {
        let forms = (planned.input.form, planned.output.form);
        let key = (planned.key(), forms);
        if let Some(taps) = self.packed.taps.get(&key) {
            return Ok(Arc::clone(taps));
        }
        let Pair { height, width } = planned.window.kernel;
        let pack = |(weight, bias): Numbers<'_>| Taps::pack(height * width, weight, bias, forms);
        let taps = Arc::new(self.folded(planned, pack)?);
        self.packed.taps.insert(key, Arc::clone(&taps));
        Ok(taps)
    }

    fn products(
        &mut self,
        planned: &Planned<'_>,
        groups: usize,
        element: Element,
    ) -> Result<Arc<Vec<Weights>>> {
        let key = (planned.key(), element);
        if let Some(products) = self.packed.products.get(&key) {
            return Ok(Arc::clone(products));
        }
        let Planned { input, output, window, .. } = planned;
        let size = (output.layout.channels, input.layout.channels / groups, groups);
        let instructions = self.instructions.multiplying(element).unwrap_or(self.instructions);
        let (pool, kind) = (self.pool, (instructions, element));
        let pack = |numbers: Numbers<'_>| Conv::pack(pool, kind, size, window, numbers);
        let products = Arc::new(self.folded(planned, pack)?);
        self.packed.products.insert(key, Arc::clone(&products));
        Ok(products)
    }

    /// The scales and shifts of a convolution of bytes.
    fn bytes(
        &self,
        planned: &Planned<'_>,
        groups: &[Weights],
        residual: Option<Value>,
    ) -> Result<Bytes> {
        let (id, input) = (planned.id, planned.input.form);
        let scale = match input {
            Form::Byte(scale) => Some(scale),
            Form::Float32 | Form::BFloat16 => {
                self.inputs(id).first().and_then(|&input| self.scale(input))
            }
        };
        let scale = scale.ok_or_else(|| self.defect(id, "the range of its input is not known"))?;
        let bias = self.bias(planned)?;
        let residual = residual.map_or(Form::Float32, |residual| residual.form);
        let output = (planned.tail.function, planned.output.form);
        Bytes::new(groups, &bias.floats().1, scale, residual, output)
    }

    fn transformed(
        &mut self,
        planned: &Planned<'_>,
        (tile, element): (Tile, Element),
    ) -> Result<Arc<Transformed>> {
        let key = (planned.key(), tile, element);
        if let Some(transformed) = self.packed.transformed.get(&key) {
            return Ok(Arc::clone(transformed));
        }
        let Planned { input, output, window, .. } = planned;
        let (kind, size) = ((tile, window), (output.layout.channels, input.layout.channels));
        let (pool, instructions) = (self.pool, (self.instructions, element));
        let pack =
            |numbers: Numbers<'_>| Transformed::pack(pool, instructions, kind, size, numbers);
        let transformed = Arc::new(self.folded(planned, pack)?);
        self.packed.transformed.insert(key, Arc::clone(&transformed));
        Ok(transformed)
    }

    fn halves(&mut self, planned: &Planned<'_>) -> Result<Arc<Halves>> {
        let key = planned.key();
        if let Some(halves) = self.packed.halves.get(&key) {
            return Ok(Arc::clone(halves));
        }
        let size = (planned.output.layout.channels, planned.input.layout.channels);
        let (pool, instructions) = (self.pool, self.instructions);
        let pack = |numbers: Numbers<'_>| Halves::pack(pool, instructions, size, numbers);
        let halves = Arc::new(self.folded(planned, pack)?);
        self.packed.halves.insert(key, Arc::clone(&halves));
        Ok(halves)
    }

    /// Packs the weight and bias of a layer with the norms after it.
    fn folded<T>(
        &mut self,
        planned: &Planned<'_>,
        pack: impl FnOnce(Numbers<'_>) -> Result<T>,
    ) -> Result<T> {
        let weight = self.weight(planned.id)?;
        let affine = self.bias(planned)?;
        let (_, bias) = affine.floats();
        if planned.tail.scales.is_empty() {
            return pack((&weight, &bias));
        }
        pack((fold(self.pool, &weight, &affine.scale, &mut self.scaled)?, &bias))
    }

    /// The scales of a layer's outputs by the norms after it, and its biases with them.
    fn bias(&self, planned: &Planned<'_>) -> Result<Affine> {
        let outputs = planned.output.layout.channels;
        let bias = self.array(planned.id, |role| matches!(role, Role::Bias { .. }))?;
        let bias = bias.map_or(vec![0.0; outputs], |bias| bias.iter().map(|&b| b.into()).collect());
        self.affine(bias, &planned.tail.scales)
    }
}
