//! A run of a plan.

use super::super::kernel::{Residual, from_channels_first, to_channels_first};
use super::super::memory::{Source, Target, zeros};
use super::super::pool::Pool;
use super::step::{Home, Operation, Output, Plan, Step, Value, Workspace};
use crate::engine::Array;
use crate::error::Result;
use crate::graph::Shape;
use crate::memory::has_room;

/// The memory that steps read and write.
#[derive(Clone, Copy)]
struct Memory<'a> {
    images: Source<'a>,
    workspace: Target<'a>,
    plan: &'a Plan,
}

impl<'a> Memory<'a> {
    fn source(&self, value: &Value) -> Source<'a> {
        match value.home {
            Home::Images => self.images,
            Home::Slot { .. } => self.target(value).source(),
            Home::Constant(index) => Source::from(&self.plan.constants[index][..]),
        }
    }

    fn target(&self, value: &Value) -> Target<'a> {
        let Home::Slot { slot, offset } = value.home else { return self.workspace.part(0, 0) };
        self.workspace.part(self.plan.slots[slot] + offset, value.words(self.plan.batch))
    }

    fn scratch(&self, step: &Step) -> Target<'a> {
        let scratch = step.scratch.map(|(slot, len)| (self.plan.slots[slot], len));
        let (place, len) = scratch.unwrap_or_default();
        self.workspace.part(place, len)
    }

    /// Lets a step read and write its values alone, where a sanitizer looks on.
    fn open(&self, step: &Step) {
        self.workspace.close();
        let values = step.inputs.iter().chain([&step.output]);
        values.filter(|value| value.slot().is_some()).for_each(|value| self.target(value).open());
        self.scratch(step).open();
    }

    fn residual(&self, value: &Value) -> Residual<'a> {
        Residual { source: self.source(value), layout: value.layout, form: value.form }
    }
}

impl Plan {
    /// Memory for a run.
    pub(in crate::infer) fn workspace(&self) -> Result<Workspace> {
        let bytes = (self.memory * size_of::<f32>()) as u64;
        has_room(bytes, || self.largest.clone())?;
        zeros(self.memory).map(Workspace)
    }

    /// Runs the plan on images (N, C, H, W) of its shape; returns the values in the order in which they were asked for.
    /// `after` is called when each step has run.
    pub(in crate::infer) fn run(
        &self,
        pool: &Pool,
        workspace: &mut Workspace,
        images: &[f32],
        mut after: impl FnMut(),
    ) -> Result<Vec<Array>> {
        let memory = Memory {
            images: Source::from(images),
            workspace: workspace.0.lend(self.memory),
            plan: self,
        };
        for step in &self.steps {
            memory.open(step);
            self.step(pool, memory, step)?;
            after();
        }
        memory.workspace.open();
        self.outputs.iter().map(|output| self.output(memory, output)).collect()
    }

    fn step(&self, pool: &Pool, memory: Memory<'_>, step: &Step) -> Result<()> {
        let batch = self.batch;
        let input = |index: usize| memory.source(&step.inputs[index]);
        let second = step.inputs.get(1).map(|value| memory.residual(value));
        let y = memory.target(&step.output);
        match &step.operation {
            Operation::Rearrange => {
                from_channels_first(pool, batch, input(0), y, &step.output.layout);
            }
            Operation::Conv(conv) => {
                conv.run(pool, batch, input(0), y, second, memory.scratch(step))?;
            }
            Operation::Winograd(conv) => {
                conv.run(pool, batch, input(0), y, second, memory.scratch(step))?;
            }
            Operation::Strassen(conv) => {
                conv.run(pool, batch, input(0), y, second, memory.scratch(step));
            }
            Operation::Gated(conv) => {
                let other = step.inputs.get(2).map(|value| memory.residual(value));
                let inputs = (input(0), input(1));
                conv.run(pool, batch, inputs, y, other, memory.scratch(step))?;
            }
            Operation::Depthwise(conv) => conv.run(pool, batch, input(0), y),
            Operation::Block(block) => {
                block.run(pool, batch, input(0), y, second, memory.scratch(step))?;
            }
            Operation::Reduce(reduce) => reduce.run(pool, batch, input(0), y),
            Operation::Blur(blur) => blur.run(pool, batch, input(0), y),
            Operation::Map(map) => map.run(pool, batch, input(0), second, y),
            Operation::LayerNorm(norm) => norm.run(pool, batch, input(0), y),
            Operation::GroupNorm(norm) => norm.run(pool, batch, input(0), y),
            Operation::Lrn(norm) => norm.run(pool, batch, input(0), y),
            Operation::Pad(pad) => pad.run(pool, batch, input(0), y),
            Operation::Attention(attention) => {
                let last = step.inputs.len() - 1;
                let parts = [input(0), input(last.min(1)), input(last)];
                attention.run(pool, batch, parts, y)?;
            }
            Operation::Flatten => {
                let Value { layout, .. } = step.inputs[0];
                let len = step.output.layout.extent(batch);
                // SAFETY: nothing else has a place among them.
                let to = unsafe { y.slice(0, len) };
                to_channels_first(batch, input(0), &layout, false, to);
            }
        }
        Ok(())
    }

    fn output(&self, memory: Memory<'_>, output: &Output) -> Result<Array> {
        let mut shape = vec![self.batch];
        shape.extend(output.shape.sizes());
        let count = shape.iter().product();
        let mut values =
            crate::memory::zeros(count).map_err(|shortage| shortage.at("inference"))?;
        let tokens = matches!(output.shape, Shape::Tokens { .. });
        let Value { layout, .. } = output.value;
        let from = memory.source(&output.value);
        to_channels_first(self.batch, from, &layout, tokens, &mut values);
        Ok(Array { shape, values })
    }
}
