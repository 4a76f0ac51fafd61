//! From a graph to a plan: each node becomes a step, a part of the step of another, or another view of a value.

mod convolution;
mod forms;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::form::Form;
use super::super::kernel::{
    Attention, Blur, Combine, Conv, GroupNorm, Halves, LayerNorm, Lrn, Map, Pad, Part, Rearrange,
    Reduce, Taps, Tile, Transformed, Weights,
};
use super::super::layout::{Layout, Window};
use super::super::memory::{Buffer, zeros};
use super::super::pool::Pool;
use super::super::simd::{Element, Instructions};
use super::arrange::arrange;
use super::choose::Choices;
use super::fuse::{Tail, Uses};
use super::join::join;
use super::step::{Home, Operation, Output, Plan, Step, Value};
use crate::engine::Precision;
use crate::error::{Error, Result};
use crate::graph::op::{Function, Padding, Pair, PoolKind};
use crate::graph::{Graph, Node, NodeId, Op, Role, Shape, op};
use crate::memory::Shortage;
use crate::weights::Parameters;

/// The plan of `graph` for a batch of images of one size.
pub(in crate::infer) fn build(
    graph: &Graph,
    parameters: &dyn Parameters,
    (batch, height, width): (usize, usize, usize),
    wanted: &[NodeId],
    choices: &Choices,
    (packed, pool): (&mut Packed, &Pool),
) -> Result<Plan> {
    let shapes = graph.shapes(height, width, wanted)?;
    let schedule = graph.schedule(wanted);
    for id in schedule.nodes() {
        is_countable(graph, id, shapes[id.index()].elements(), batch)?;
    }
    let mut arrays: HashMap<NodeId, Vec<(Role, usize)>> = HashMap::new();
    for (index, parameter) in parameters.parameters().iter().enumerate() {
        arrays.entry(parameter.node).or_default().push((parameter.role, index));
    }
    let mut builder = Builder {
        graph,
        parameters,
        arrays,
        instructions: choices.instructions,
        choices,
        packed,
        pool,
        scaled: zeros(0)?,
        uses: Uses::new(graph, &schedule, wanted),
        shapes,
        batch,
        steps: Vec::new(),
        constants: Vec::new(),
        slots: Vec::new(),
        planned: HashMap::new(),
        wholes: HashMap::new(),
        values: HashMap::new(),
        computed: HashSet::new(),
        vectors: HashMap::new(),
        floats: HashMap::new(),
        gaining: HashSet::new(),
    };
    let nodes: Vec<NodeId> = schedule.nodes().collect();
    builder.find_gaining(&nodes);
    builder.plan_concatenations(&nodes);
    builder.begin();
    for id in schedule.nodes() {
        if builder.computed.insert(id) {
            builder.node(id)?;
        }
    }
    builder.finish(wanted)
}

/// Fails where the value of a node has more numbers than any machine holds, so that sums of sizes never overflow.
fn is_countable(graph: &Graph, id: NodeId, numbers: usize, batch: usize) -> Result<()> {
    const MOST: usize = 1 << 44;
    let all = numbers.saturating_mul(batch);
    if all <= MOST { Ok(()) } else { Err(Shortage(all.saturating_mul(4)).at(place_of(graph, id))) }
}

/// A node, for messages.
fn place_of(graph: &Graph, id: NodeId) -> String {
    let Node { name, op, .. } = graph.node(id);
    format!("{}, node `{name}` ({})", graph.name(), op.name())
}

/// Packed weights by their node and what is folded into them, which plans of all shapes share.
#[derive(Debug, Default)]
pub struct Packed {
    products: HashMap<(Folded, Element), Arc<Vec<Weights>>>,
    taps: HashMap<(Folded, (Form, Form)), Arc<Taps>>,
    transformed: HashMap<(Folded, Tile, Element), Arc<Transformed>>,
    halves: HashMap<Folded, Arc<Halves>>,
}

/// A layer, the norms and scales after it, and the size of its window.
type Folded = (NodeId, Vec<NodeId>, [usize; 2]);

struct Builder<'a> {
    graph: &'a Graph,
    parameters: &'a dyn Parameters,
    /// The arrays of each node.
    arrays: HashMap<NodeId, Vec<(Role, usize)>>,
    instructions: Instructions,
    choices: &'a Choices,
    packed: &'a mut Packed,
    /// For packing.
    pool: &'a Pool,
    /// A layer's weights with the norms after it.
    scaled: Buffer,
    uses: Uses<'a>,
    shapes: Vec<Shape>,
    batch: usize,
    steps: Vec<Step>,
    constants: Vec<Vec<f32>>,
    /// The length of each slot, for a batch and for one image.
    slots: Vec<[usize; 2]>,
    /// Values that are written into a part of a concatenation.
    planned: HashMap<NodeId, Value>,
    /// Concatenations that have a slot of their own, by the slot.
    wholes: HashMap<usize, (NodeId, Layout)>,
    values: HashMap<NodeId, Value>,
    /// Nodes that need no further step.
    computed: HashSet<NodeId>,
    /// Flattened images that were copied into vectors.
    vectors: HashMap<NodeId, Value>,
    /// Values that were copied as float32 numbers.
    floats: HashMap<NodeId, Value>,
    /// Nodes that gain by reading values of several numbers in a word.
    gaining: HashSet<NodeId>,
}

/// Values of an array, copied where they do not lie in order.
type Floats<'a> = Cow<'a, [f32]>;

/// Scales and shifts of channels, one after the other.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Affine {
    fn then(&mut self, scale: impl Fn(usize) -> f64, shift: impl Fn(usize) -> f64) {
        for (channel, (own, old)) in self.scale.iter_mut().zip(&mut self.shift).enumerate() {
            *own *= scale(channel);
            *old = *old * scale(channel) + shift(channel);
        }
    }

    fn floats(&self) -> (Vec<f32>, Vec<f32>) {
        let floats = |of: &[f64]| of.iter().map(|&number| number as f32).collect();
        (floats(&self.scale), floats(&self.shift))
    }
}

impl<'a> Builder<'a> {
    // ---- values

    fn op(&self, id: NodeId) -> &'a Op {
        &self.graph.node(id).op
    }

    fn inputs(&self, id: NodeId) -> &'a [NodeId] {
        &self.graph.node(id).inputs
    }

    fn shape(&self, id: NodeId) -> Shape {
        self.shapes[id.index()]
    }

    fn defect(&self, id: NodeId, message: &str) -> Error {
        let at = format!("a plan of {}", place_of(self.graph, id));
        Error::Defect { at, message: message.into() }
    }

    /// The value of a node as it lies; a flattened image may lie as an image.
    fn raw(&self, id: NodeId) -> Result<Value> {
        self.values.get(&id).copied().ok_or_else(|| self.defect(id, "it was not computed before"))
    }

    /// The value of a node as it lies, but in float32.
    fn floats(&mut self, id: NodeId) -> Result<Value> {
        let value = self.raw(id)?;
        if !value.form.is_narrow() {
            return Ok(value);
        }
        if let Some(&floats) = self.floats.get(&id) {
            return Ok(floats);
        }
        let Layout { height, width, channels, .. } = value.layout;
        let floats = self.fresh(Layout::dense(height, width, channels), Form::Float32);
        self.copy(id, value, floats);
        self.floats.insert(id, floats);
        Ok(floats)
    }

    /// Adds a step that copies a value, in another form or to another place.
    fn copy(&mut self, id: NodeId, from: Value, to: Value) {
        let map = self.map(from, to, None, None);
        self.step(vec![id], Operation::Map(map), vec![from], to, None);
    }

    /// The value of a node in any form, unless vectors lie as images.
    fn any(&mut self, id: NodeId) -> Result<Value> {
        let value = self.raw(id)?;
        let is_image = matches!(self.shape(id), Shape::Vector { .. }) && value.layout.pixels() > 1;
        if is_image { self.value(id) } else { Ok(value) }
    }

    /// The value of a node; vectors lie as vectors.
    fn value(&mut self, id: NodeId) -> Result<Value> {
        let value = self.floats(id)?;
        if !matches!(self.shape(id), Shape::Vector { .. }) || value.layout.pixels() == 1 {
            return Ok(value);
        }
        if let Some(&vector) = self.vectors.get(&id) {
            return Ok(vector);
        }
        let vector = self.fresh(Layout::of(self.shape(id)), Form::Float32);
        self.step(vec![id], Operation::Flatten, vec![value], vector, None);
        self.vectors.insert(id, vector);
        Ok(vector)
    }

    fn input(&mut self, id: NodeId) -> Result<Value> {
        let input = self.first(id)?;
        self.value(input)
    }

    /// The input of a node in any form.
    fn any_input(&mut self, id: NodeId) -> Result<Value> {
        let input = self.first(id)?;
        self.any(input)
    }

    fn first(&self, id: NodeId) -> Result<NodeId> {
        self.inputs(id).first().copied().ok_or_else(|| self.defect(id, "it has no input"))
    }

    /// A value in a slot of its own.
    fn fresh(&mut self, layout: Layout, form: Form) -> Value {
        let slot = self.slot(|batch| form.words(layout.extent(batch)));
        Value { home: Home::Slot { slot, offset: 0 }, layout, form }
    }

    /// A slot whose length depends on the batch.
    fn slot(&mut self, len: impl Fn(usize) -> usize) -> usize {
        self.slots.push([len(self.batch), len(1)]);
        self.slots.len() - 1
    }

    /// The value that a node's step writes.
    fn output(&mut self, id: NodeId) -> Value {
        let root = self.root(id);
        if let Some(&value) = self.planned.get(&root) {
            return value;
        }
        let form = self.form(root);
        self.fresh(self.layout(root, form), form)
    }

    /// The layout of a value that has a place of its own.
    fn layout(&self, id: NodeId, form: Form) -> Layout {
        form.spread(Layout::of(self.shape(id)), self.instructions.tiles().is_some())
    }

    /// The node whose value a node passes on.
    fn root(&self, id: NodeId) -> NodeId {
        let passes = self.uses.is_identity(id) || matches!(self.op(id), Op::Tokens(_));
        match self.inputs(id) {
            [input] if passes => self.root(*input),
            _ => id,
        }
    }

    fn step(
        &mut self,
        nodes: Vec<NodeId>,
        operation: Operation,
        inputs: Vec<Value>,
        output: Value,
        scratch: Option<usize>,
    ) {
        self.steps.push(Step { nodes, operation, inputs, output, scratch });
    }

    /// Adds the step of a node and its tail, and remembers its value.
    fn emit(
        &mut self,
        id: NodeId,
        tail: &Tail,
        inputs: Vec<Value>,
        output: Value,
        operation: Operation,
    ) {
        let len = |batch| match &operation {
            Operation::Conv(conv) => conv.scratch(batch),
            Operation::Winograd(conv) => conv.scratch(batch),
            Operation::Strassen(conv) => conv.scratch(batch),
            _ => 0,
        };
        let scratch = (len(self.batch).max(len(1)) > 0).then(|| self.slot(len));
        let nodes: Vec<NodeId> = [id].into_iter().chain(tail.nodes.iter().copied()).collect();
        let last = self.root(nodes[nodes.len() - 1]);
        self.computed.extend(&nodes);
        // Nodes at the end that pass the value on have it too.
        for &node in nodes.iter().rev() {
            self.values.insert(node, output);
            if node == last {
                break;
            }
        }
        self.step(nodes, operation, inputs, output, scratch);
    }

    // ---- concatenations

    /// Gives the parts of concatenations their places in them. Those that come last are planned first, so that what a
    /// dense block concatenates again and again lies in one place from the start.
    fn plan_concatenations(&mut self, nodes: &[NodeId]) {
        for &id in nodes.iter().rev() {
            if !matches!(self.op(id), Op::Concat(_)) {
                continue;
            }
            if let Some(view) = self.view(id) {
                self.planned.insert(id, view);
                continue;
            }
            let whole = self.planned.get(&id).copied();
            let whole = whole.unwrap_or_else(|| {
                let form = self.form_of_concatenation(id);
                self.fresh(self.layout(id, form), form)
            });
            self.planned.insert(id, whole);
            if let Some(slot) = whole.slot() {
                self.wholes.entry(slot).or_insert((id, whole.layout));
            }
            for (input, part) in self.parts(id, whole) {
                let root = self.root(input);
                let is_view = matches!(
                    self.op(root),
                    Op::Input(_)
                        | Op::Embedding(_)
                        | Op::SelectToken(_)
                        | Op::Flatten(_)
                        | Op::PoolUpTo(_)
                        | Op::AdaptivePool(_)
                );
                let fits = !whole.form.is_narrow() || self.writes_narrow(root);
                if !is_view && fits && !self.planned.contains_key(&root) {
                    let own = Layout::of(self.shape(root));
                    let layout =
                        Layout { pixel: part.layout.pixel, image: part.layout.image, ..own };
                    self.planned.insert(root, Value { layout, ..part });
                }
            }
        }
    }

    /// The inputs of a concatenation, and their places in it.
    fn parts(&self, id: NodeId, whole: Value) -> Vec<(NodeId, Value)> {
        let tokens = matches!(self.shape(id), Shape::Tokens { .. });
        let mut begin = 0;
        let part = |&input: &NodeId| {
            let own = Layout::of(self.shape(input));
            let layout = Layout { pixel: whole.layout.pixel, image: whole.layout.image, ..own };
            let step = if tokens { own.pixels() * layout.pixel } else { own.channels };
            let step = whole.form.words(step);
            let home = match whole.home {
                Home::Slot { slot, offset } => Home::Slot { slot, offset: offset + begin },
                other => other,
            };
            begin += step;
            (input, Value { home, layout, ..whole })
        };
        self.inputs(id).iter().map(part).collect()
    }

    /// A concatenation whose parts lie side by side in the place of another already.
    fn view(&self, id: NodeId) -> Option<Value> {
        let (&first, _) = self.inputs(id).split_first()?;
        if self.planned.contains_key(&id) {
            return None;
        }
        let first = self.planned.get(&self.root(first))?;
        let own = Layout::of(self.shape(id));
        let layout = Layout { pixel: first.layout.pixel, image: first.layout.image, ..own };
        let whole = Value { home: first.home, layout, form: first.form };
        let there = |(input, part): &(NodeId, Value)| {
            self.planned.get(&self.root(*input)).is_some_and(|value| {
                (value.home, value.form) == (part.home, part.form)
                    && (value.layout.pixel, value.layout.image)
                        == (part.layout.pixel, part.layout.image)
            })
        };
        self.parts(id, whole).iter().all(there).then_some(whole)
    }

    fn concat(&mut self, id: NodeId) -> Result<()> {
        let Some(&whole) = self.planned.get(&id) else {
            return Err(self.defect(id, "it has no place"));
        };
        for (input, part) in self.parts(id, whole) {
            let value = self.any(input)?;
            if (value.home, value.layout.pixel, value.layout.image)
                != (part.home, part.layout.pixel, part.layout.image)
            {
                self.copy(id, value, part);
            }
        }
        self.values.insert(id, whole);
        Ok(())
    }

    // ---- parameters

    fn array(&self, id: NodeId, wanted: impl Fn(Role) -> bool) -> Result<Option<Floats<'a>>> {
        let mut arrays = self.arrays.get(&id).into_iter().flatten();
        let Some(&(_, index)) = arrays.find(|(role, _)| wanted(*role)) else { return Ok(None) };
        self.parameters.floats(index)
    }

    fn weight(&self, id: NodeId) -> Result<Floats<'a>> {
        let is_weight = |role| matches!(role, Role::ConvWeight | Role::LinearWeight);
        self.array(id, is_weight)?.ok_or_else(|| self.defect(id, "it has no weight"))
    }

    /// Scales and shifts of a norm's channels.
    fn scale_and_shift(&self, id: NodeId, channels: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let scale = self.array(id, |role| role == Role::NormScale)?;
        let shift = self.array(id, |role| role == Role::NormShift)?;
        let or = |values: Option<Floats<'_>>, number: f32| {
            values.map_or_else(|| vec![number; channels], Cow::into_owned)
        };
        Ok((or(scale, 1.0), or(shift, 0.0)))
    }

    /// Norms and scales of channels, beginning with shifts.
    fn affine(&self, shift: Vec<f64>, nodes: &[NodeId]) -> Result<Affine> {
        let channels = shift.len();
        let mut affine = Affine { scale: vec![1.0; channels], shift };
        for &id in nodes {
            let (scale, shift) = self.scale_and_shift(id, channels)?;
            let wide = |numbers: &[f32], channel: usize| f64::from(numbers[channel]);
            match self.op(id) {
                Op::BatchNorm(norm) => {
                    let missing = || self.defect(id, "it has no running statistics");
                    let mean = self.array(id, |role| role == Role::RunningMean)?;
                    let mean = mean.ok_or_else(missing)?;
                    let variance = self.array(id, |role| role == Role::RunningVariance)?;
                    let variance = variance.ok_or_else(missing)?;
                    let factor = |channel| {
                        wide(&scale, channel) / (wide(&variance, channel) + norm.eps).sqrt()
                    };
                    affine.then(factor, |channel| {
                        wide(&shift, channel) - wide(&mean, channel) * factor(channel)
                    });
                }
                Op::LayerScale(_) => affine.then(|channel| wide(&scale, channel), |_| 0.0),
                Op::Multiply(op) => affine.then(|_| op.by, |_| 0.0),
                Op::Affine(op) => {
                    affine.then(|channel| op.scale[channel], |channel| op.shift[channel]);
                }
                _ => return Err(self.defect(id, "it is no scale of channels")),
            }
        }
        Ok(affine)
    }

    // ---- steps

    fn begin(&mut self) {
        let image = self.graph.image();
        let layout = Layout::of(self.shape(image));
        let images = Value { home: Home::Images, layout, form: Form::Float32 };
        let output = self.fresh(layout, Form::Float32);
        let rearrange = Rearrange { input: layout, output: layout, top: 0, left: 0 };
        let operation = Operation::Rearrange(rearrange);
        self.step(vec![image], operation, vec![images], output, None);
        self.values.insert(image, output);
    }

    /// Gives the images the border that a convolution wants, where that is all that reads them and nothing was computed
    /// yet. Returns whether it did.
    fn border_images(&mut self, id: NodeId, conv: &Conv) -> bool {
        let image = self.graph.image();
        let is_first = self.steps.len() == 1 && self.uses.sole(image) == Some(id);
        if !is_first || !conv.window.has_border() || conv.converts() {
            return false;
        }
        let output = self.fresh(conv.padded(), Form::Float32);
        let Window { top, left, .. } = conv.window;
        let rearrange = Rearrange { input: conv.input, output: output.layout, top, left };
        let step = &mut self.steps[0];
        (step.operation, step.output) = (Operation::Rearrange(rearrange), output);
        self.values.insert(image, output);
        true
    }

    fn finish(mut self, wanted: &[NodeId]) -> Result<Plan> {
        let output =
            |&node: &NodeId| Ok(Output { value: self.floats(node)?, shape: self.shape(node) });
        let outputs = wanted.iter().map(output).collect::<Result<Vec<_>>>()?;
        let Self { graph, batch, steps, constants, slots, wholes, pool, .. } = self;
        let steps = join(steps, &outputs);
        let arrangement = arrange(&slots, &steps, &outputs, &constants, (batch, pool.threads()));
        let largest = steps.iter().max_by_key(|step| step.output.words(batch));
        let largest = largest.and_then(|step| step.nodes.first()).copied();
        let largest = place_of(graph, largest.unwrap_or(graph.output()));
        Ok(Plan { batch, steps, arrangement, constants, wholes, largest, outputs })
    }

    fn tail(&self, id: NodeId, scales: bool, sums: bool) -> Tail {
        // A value that is flattened lies otherwise than a vector that is added to it.
        let ready = |other: NodeId| {
            self.values.get(&other).is_some_and(|value| {
                !matches!(self.shape(other), Shape::Vector { .. }) || value.layout.pixels() == 1
            })
        };
        self.uses.tail(id, (scales, sums), ready)
    }

    fn map(
        &self,
        input: Value,
        output: Value,
        combine: Option<Combine>,
        function: Option<Function>,
    ) -> Map {
        let (forms, instructions) = ((input.form, output.form), self.instructions);
        let (input, output) = (input.layout, output.layout);
        Map { input, output, combine, affine: None, function, instructions, forms }
    }

    fn node(&mut self, id: NodeId) -> Result<()> {
        match self.op(id) {
            Op::Input(_) => Ok(()),
            Op::Conv(conv) => self.conv(id, conv),
            Op::Linear(_) => self.linear(id),
            Op::BatchNorm(_)
            | Op::LayerScale(_)
            | Op::Multiply(_)
            | Op::Affine(_)
            | Op::Activation(_) => self.scales(id),
            Op::Add(_) | Op::Average(_) => self.sum(id),
            Op::Gate(_) => self.gate(id),
            Op::Concat(_) => self.concat(id),
            Op::Dropout(_) | Op::DropPath(_) => self.alias(id, |value| value),
            Op::Tokens(_) => self.alias(id, |value| {
                let layout = Layout { height: value.layout.pixels(), width: 1, ..value.layout };
                Value { layout, ..value }
            }),
            Op::Flatten(_) => self.flatten(id),
            Op::SelectToken(token) => self.select(id, token.index),
            Op::Embedding(_) => self.embedding(id),
            Op::Pool(pool) => self.pool(id, pool),
            Op::AdaptivePool(_) | Op::PoolUpTo(_) => self.adaptive(id),
            Op::Blur(blur) => self.blur(id, blur),
            Op::Pad(pad) => {
                let (input, output) = (self.input(id)?, self.output(id));
                let (top, left) = (pad.top, pad.left);
                let pad = Pad { input: input.layout, output: output.layout, top, left };
                self.emit(id, &Tail::default(), vec![input], output, Operation::Pad(pad));
                Ok(())
            }
            Op::LayerNorm(_) | Op::GroupNorm(_) | Op::Lrn(_) => self.norm(id),
            Op::Attention(op) => self.attention(id, op.heads),
            Op::MultiQueryAttention(op) => self.multi_query(id, op.heads),
        }
    }

    fn alias(&mut self, id: NodeId, view: impl Fn(Value) -> Value) -> Result<()> {
        let Some(&input) = self.inputs(id).first() else {
            return Err(self.defect(id, "it has no input"));
        };
        let value = view(self.raw(input)?);
        self.values.insert(id, value);
        Ok(())
    }

    /// Norms and scales of channels, and activations, that no layer before them could take.
    fn scales(&mut self, id: NodeId) -> Result<()> {
        let input = self.any_input(id)?;
        let mut tail = Tail::default();
        let mut nodes = vec![id];
        let function = if let Op::Activation(op) = self.op(id) {
            nodes.clear();
            Some(op.function)
        } else {
            tail = self.tail(id, true, false);
            nodes.extend(&tail.scales);
            tail.function
        };
        let affine = if nodes.is_empty() {
            None
        } else {
            Some(self.affine(vec![0.0; input.layout.channels], &nodes)?.floats())
        };
        let output = self.output(tail.nodes.last().copied().unwrap_or(id));
        let map = Map { affine, ..self.map(input, output, None, function) };
        self.emit(id, &tail, vec![input], output, Operation::Map(map));
        Ok(())
    }

    fn sum(&mut self, id: NodeId) -> Result<()> {
        let inputs = self.inputs(id);
        let tail = self.tail(id, false, false);
        let output = self.output(tail.nodes.last().copied().unwrap_or(id));
        let share = match self.op(id) {
            Op::Average(_) => Some(1.0 / inputs.len() as f32),
            _ => None,
        };
        let affine = share.map(|share| {
            let channels = output.layout.channels;
            (vec![share; channels], vec![0.0; channels])
        });
        let mut so_far = self.any(inputs[0])?;
        let others = &inputs[1..];
        if others.is_empty() {
            let map = self.map(so_far, output, None, tail.function);
            self.emit(id, &tail, vec![so_far], output, Operation::Map(map));
        }
        for (at, &other) in others.iter().enumerate() {
            let other = self.any(other)?;
            let mut map = self.map(so_far, output, Some(Combine::Add), None);
            let values = vec![so_far, other];
            if at + 1 < others.len() {
                self.step(vec![id], Operation::Map(map), values, output, None);
            } else {
                (map.affine, map.function) = (affine.clone(), tail.function);
                self.emit(id, &tail, values, output, Operation::Map(map));
            }
            so_far = output;
        }
        Ok(())
    }

    fn gate(&mut self, id: NodeId) -> Result<()> {
        let [input, gate] = self.inputs(id)[..] else {
            return Err(self.defect(id, "it has not two inputs"));
        };
        let (input, gate) = (self.any(input)?, self.any(gate)?);
        let tail = self.tail(id, false, false);
        let output = self.output(tail.nodes.last().copied().unwrap_or(id));
        let Layout { height, width, .. } = input.layout;
        let everywhere = Layout { height, width, pixel: 0, ..gate.layout };
        let gate = Value { layout: everywhere, ..gate };
        let map = self.map(input, output, Some(Combine::Multiply), tail.function);
        self.emit(id, &tail, vec![input, gate], output, Operation::Map(map));
        Ok(())
    }

    fn flatten(&mut self, id: NodeId) -> Result<()> {
        let Some(&input) = self.inputs(id).first() else {
            return Err(self.defect(id, "it has no input"));
        };
        let Shape::Tokens { .. } = self.shape(input) else {
            return self.alias(id, |value| value);
        };
        // Tokens follow one another as the vector's features do.
        let mut value = self.floats(input)?;
        if value.layout.pixel != value.layout.channels {
            let copy = self.fresh(Layout::of(self.shape(input)), Form::Float32);
            self.copy(id, value, copy);
            value = copy;
        }
        let Layout { height, channels, image, .. } = value.layout;
        let channels = height * channels;
        let layout = Layout { height: 1, width: 1, channels, pixel: channels, image };
        self.values.insert(id, Value { layout, ..value });
        Ok(())
    }

    fn select(&mut self, id: NodeId, index: usize) -> Result<()> {
        let value = self.input(id)?;
        let Layout { channels, pixel, image, .. } = value.layout;
        let layout = Layout { height: 1, width: 1, channels, pixel, image };
        let Home::Slot { slot, offset } = value.home else {
            // One token of a constant is a constant.
            let Home::Constant(constant) = value.home else {
                return Err(self.defect(id, "its input has no place"));
            };
            let token = self.constants[constant][index * channels..][..channels].to_vec();
            self.constants.push(token);
            let home = Home::Constant(self.constants.len() - 1);
            self.values.insert(id, Value { home, layout, ..value });
            return Ok(());
        };
        let home = Home::Slot { slot, offset: offset + index * pixel };
        self.values.insert(id, Value { home, layout, ..value });
        Ok(())
    }

    fn embedding(&mut self, id: NodeId) -> Result<()> {
        let is_embedding = |role| matches!(role, Role::Embedding | Role::Position { .. });
        let Some(numbers) = self.array(id, is_embedding)? else {
            return Err(self.defect(id, "it has no array"));
        };
        self.constants.push(numbers.into_owned());
        let home = Home::Constant(self.constants.len() - 1);
        let layout = Layout { image: 0, ..Layout::of(self.shape(id)) };
        self.values.insert(id, Value { home, layout, form: Form::Float32 });
        Ok(())
    }

    fn reduce(&mut self, id: NodeId, input: Value, output: Value, reduce: Reduce) {
        self.emit(id, &Tail::default(), vec![input], output, Operation::Reduce(reduce));
    }

    fn pool(&mut self, id: NodeId, pool: &op::Pool) -> Result<()> {
        let (input, output) = (self.any_input(id)?, self.output(id));
        let Layout { height, width, .. } = input.layout;
        let window =
            Window::new((pool.kernel, pool.stride, Pair::ONE), pool.padding, (height, width));
        let counts = pool.count_padding && pool.padding != Padding::Same;
        let rows = Reduce::sliding(
            output.layout.height,
            height,
            (pool.kernel.height, pool.stride.height),
            (window.top, window.bottom),
            counts,
        );
        let columns = Reduce::sliding(
            output.layout.width,
            width,
            (pool.kernel.width, pool.stride.width),
            (window.left, window.right),
            counts,
        );
        let reduce = Reduce {
            input: input.layout,
            output: output.layout,
            kind: pool.kind,
            instructions: self.instructions,
            rows,
            columns,
            forms: (input.form, output.form),
        };
        self.reduce(id, input, output, reduce);
        Ok(())
    }

    fn adaptive(&mut self, id: NodeId) -> Result<()> {
        let input = self.any_input(id)?;
        let target = Layout::of(self.shape(id));
        if (target.height, target.width) == (input.layout.height, input.layout.width) {
            return self.alias(id, |value| value);
        }
        let output = self.output(id);
        let Layout { height, width, channels, .. } = input.layout;
        let reduce = Reduce {
            input: input.layout,
            output: output.layout,
            kind: PoolKind::Average,
            instructions: self.instructions,
            rows: Reduce::adaptive(target.height, height),
            columns: Reduce::adaptive(target.width, width),
            forms: (input.form, output.form),
        };
        if target.pixels() > 1 || input.layout.has_few_rows() {
            self.reduce(id, input, output, reduce);
            return Ok(());
        }
        // Each thread sums the lines that it wrote.
        let lines = self.fresh(Layout::dense(height, 1, channels), Form::Float32);
        let (first, then) = reduce.by_lines(lines.layout);
        self.step(vec![id], Operation::Reduce(first), vec![input], lines, None);
        self.reduce(id, lines, output, then);
        Ok(())
    }

    fn blur(&mut self, id: NodeId, blur: &op::Blur) -> Result<()> {
        let (input, output) = (self.input(id)?, self.output(id));
        let Layout { height, width, .. } = input.layout;
        let padding = Padding::Both(blur.padding);
        let window =
            Window::new((blur.size.into(), blur.stride, Pair::ONE), padding, (height, width));
        let operation = Operation::Blur(Blur {
            input: input.layout,
            output: output.layout,
            window,
            border: blur.border,
            weights: blur.weights().into_iter().map(|weight| weight as f32).collect(),
        });
        self.emit(id, &Tail::default(), vec![input], output, operation);
        Ok(())
    }

    fn norm(&mut self, id: NodeId) -> Result<()> {
        let (value, output) = (self.input(id)?, self.output(id));
        let (input, layout) = (value.layout, output.layout);
        let (scale, shift) = self.scale_and_shift(id, input.channels)?;
        let operation = match self.op(id) {
            Op::LayerNorm(norm) => Operation::LayerNorm(LayerNorm {
                input,
                output: layout,
                form: output.form,
                eps: norm.eps,
                scale,
                shift,
                instructions: self.instructions,
            }),
            Op::GroupNorm(norm) => Operation::GroupNorm(GroupNorm {
                input,
                output: layout,
                groups: norm.groups,
                eps: norm.eps,
                scale,
                shift,
            }),
            Op::Lrn(lrn) => Operation::Lrn(Lrn {
                input,
                output: layout,
                size: lrn.size,
                alpha: lrn.alpha as f32,
                beta: lrn.beta as f32,
                k: lrn.k as f32,
                instructions: self.instructions,
            }),
            _ => return Err(self.defect(id, "it is no norm")),
        };
        self.emit(id, &Tail::default(), vec![value], output, operation);
        Ok(())
    }

    fn attention(&mut self, id: NodeId, heads: usize) -> Result<()> {
        let input = if self.is_narrow(id) { self.any_input(id)? } else { self.input(id)? };
        let output = self.output(id);
        let width = output.layout.channels;
        let depth = width / heads;
        let Value { layout, form, .. } = input;
        let part = |number: usize| Part { layout, form, first: number * width, step: depth };
        let attention = Attention {
            heads,
            depth,
            width: depth,
            queries: part(0),
            keys: part(1),
            values: part(2),
            output: output.layout,
            form: output.form,
            kind: self.kind_of_attention(depth),
        };
        self.emit(id, &Tail::default(), vec![input], output, Operation::Attention(attention));
        Ok(())
    }

    /// The instructions of attention, and the type of its factors, for keys of so many numbers.
    fn kind_of_attention(&self, depth: usize) -> (Instructions, Element) {
        let is_paired = self.choices.precision == Precision::BFloat16 && depth.is_multiple_of(2);
        let element = if is_paired { Element::BFloat16 } else { Element::Float32 };
        match self.instructions.multiplying(element) {
            Some(instructions) => (instructions, element),
            None => (self.instructions, Element::Float32),
        }
    }

    fn multi_query(&mut self, id: NodeId, heads: usize) -> Result<()> {
        let [queries, keys, values] = self.inputs(id)[..] else {
            return Err(self.defect(id, "it has not three inputs"));
        };
        let (q, k, v) = (self.value(queries)?, self.value(keys)?, self.value(values)?);
        let output = self.output(id);
        let depth = k.layout.channels;
        let attention = Attention {
            heads,
            depth,
            width: v.layout.channels,
            queries: Part { layout: q.layout, form: q.form, first: 0, step: depth },
            keys: Part { layout: k.layout, form: k.form, first: 0, step: 0 },
            values: Part { layout: v.layout, form: v.form, first: 0, step: 0 },
            output: output.layout,
            form: output.form,
            kind: self.kind_of_attention(depth),
        };
        self.emit(id, &Tail::default(), vec![q, k, v], output, Operation::Attention(attention));
        Ok(())
    }
}
