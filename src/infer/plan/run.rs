//! A run of a plan.

use std::sync::{Mutex, PoisonError};

use super::super::kernel::{Residual, to_channels_first};
use super::super::memory::{Buffer, Source, Target, zeros};
use super::super::pool::Pool;
use super::step::{Arrangement, Home, Operation, Output, Plan, Slot, Step, Value, Workspace};
use crate::engine::Array;
use crate::error::Result;
use crate::graph::Shape;
use crate::memory::has_room;

/// The memory that steps read and write.
#[derive(Clone, Copy, Debug)]
struct Memory<'a> {
    plan: &'a Plan,
    images: Source<'a>,
    shared: Target<'a>,
    /// An image that is by itself, and its memory.
    own: Option<(usize, Target<'a>)>,
}

impl<'a> Memory<'a> {
    /// The images of a step.
    fn batch(&self) -> usize {
        if self.own.is_some() { 1 } else { self.plan.batch }
    }

    /// The first of them.
    fn image(&self) -> usize {
        self.own.map_or(0, |(image, _)| image)
    }

    fn source(&self, value: &Value) -> Source<'a> {
        match value.home {
            Home::Images => self.images.skip(self.image() * value.layout.image),
            Home::Slot { .. } => self.target(value).source(),
            Home::Constant(index) => Source::from(&self.plan.constants[index][..]),
        }
    }

    fn target(&self, value: &Value) -> Target<'a> {
        let Home::Slot { slot, offset } = value.home else { return self.shared.part(0, 0) };
        let Slot { is_own, place, .. } = self.plan.arrangement.slots[slot];
        let (begin, words) = (place + offset, value.words(self.batch()));
        match self.own {
            Some((_, own)) if is_own => own.part(begin, words),
            _ => {
                let image = value.form.words(self.image() * value.layout.image);
                self.shared.part(begin + image, words)
            }
        }
    }

    fn scratch(&self, step: &Step) -> Target<'a> {
        let Some(slot) = step.scratch else { return self.shared.part(0, 0) };
        let Slot { place, len, .. } = self.plan.arrangement.slots[slot];
        self.own.map_or(self.shared, |(_, own)| own).part(place, len)
    }

    /// Lets a step read and write its values alone, where a sanitizer looks on.
    fn open(&self, step: &Step) {
        // The shared memory belongs to the images of other threads too.
        self.own.map_or(self.shared, |(_, own)| own).close();
        let values = step.inputs.iter().chain([&step.output]);
        values.filter(|value| value.slot().is_some()).for_each(|value| self.target(value).open());
        self.scratch(step).open();
    }

    fn residual(&self, value: &Value) -> Residual<'a> {
        Residual { source: self.source(value), layout: value.layout, form: value.form }
    }

    /// Computes a step.
    fn run(&self, pool: &Pool, step: &Step) -> Result<()> {
        let batch = self.batch();
        let input = |index: usize| self.source(&step.inputs[index]);
        let second = step.inputs.get(1).map(|value| self.residual(value));
        let y = self.target(&step.output);
        match &step.operation {
            Operation::Rearrange(rearrange) => rearrange.run(pool, batch, input(0), y),
            Operation::Conv(conv) => {
                conv.run(pool, batch, input(0), y, second, self.scratch(step))?;
            }
            Operation::Winograd(conv) => {
                conv.run(pool, batch, input(0), y, second, self.scratch(step))?;
            }
            Operation::Strassen(conv) => {
                conv.run(pool, batch, input(0), y, second, self.scratch(step));
            }
            Operation::Gated(conv) => {
                let other = step.inputs.get(2).map(|value| self.residual(value));
                let inputs = (input(0), input(1));
                conv.run(pool, batch, inputs, y, other)?;
            }
            Operation::Depthwise(conv) => conv.run(pool, batch, input(0), y),
            Operation::Block(block) => {
                block.run(pool, batch, input(0), y, second, self.scratch(step))?;
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
}

impl Plan {
    /// Words of memory for a run; a thread that runs an image beside others needs some more.
    pub(super) fn memory(&self) -> usize {
        self.arrangement.shared + self.arrangement.own
    }

    /// Memory for a run.
    pub(in crate::infer) fn workspace(&self) -> Result<Workspace> {
        let bytes = (self.memory() * size_of::<f32>()) as u64;
        has_room(bytes, || self.largest.clone())?;
        Ok(Workspace { shared: zeros(self.arrangement.shared)?, own: Mutex::default() })
    }

    /// Runs the plan on images (N, C, H, W) of its shape; returns the values in the order in which they were asked for.
    pub(in crate::infer) fn run(
        &self,
        pool: &Pool,
        workspace: &mut Workspace,
        images: &[f32],
    ) -> Result<Vec<Array>> {
        let (memory, own) = self.memory_of(workspace, images);
        if self.arrangement.apart > 0 {
            let alone = Pool::new(1);
            // Each thread has as many of these images as the others; all threads share the steps of those that are left.
            let even = self.batch - self.batch % pool.threads();
            pool.try_run(even, &|image| self.apart(&alone, memory, (own, image), |_| {}))?;
            for image in even..self.batch {
                self.apart(pool, memory, (own, image), |_| {})?;
            }
        }
        self.together(pool, memory, |_| {})
    }

    /// As `run`, but all threads share every step. `after` is called with its number when a step has run for an image by
    /// itself, or for all.
    pub(in crate::infer) fn observed(
        &self,
        pool: &Pool,
        workspace: &mut Workspace,
        images: &[f32],
        mut after: impl FnMut(usize),
    ) -> Result<Vec<Array>> {
        let (memory, own) = self.memory_of(workspace, images);
        for image in (0..self.batch).filter(|_| self.arrangement.apart > 0) {
            self.apart(pool, memory, (own, image), &mut after)?;
        }
        self.together(pool, memory, after)
    }

    fn memory_of<'a>(
        &'a self,
        workspace: &'a mut Workspace,
        images: &'a [f32],
    ) -> (Memory<'a>, &'a Mutex<Vec<Buffer>>) {
        let Workspace { shared, own } = workspace;
        let shared = shared.lend(self.arrangement.shared);
        (Memory { plan: self, images: Source::from(images), shared, own: None }, own)
    }

    /// The steps for one image by itself.
    fn apart(
        &self,
        pool: &Pool,
        memory: Memory<'_>,
        (buffers, image): (&Mutex<Vec<Buffer>>, usize),
        mut after: impl FnMut(usize),
    ) -> Result<()> {
        let Arrangement { apart, own, .. } = self.arrangement;
        let idle = || buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let mut buffer = match kept {
            Some(buffer) => buffer,
            None => zeros(own)?,
        };
        let memory = Memory { own: Some((image, buffer.lend(own))), ..memory };
        for (number, step) in self.steps[..apart].iter().enumerate() {
            memory.open(step);
            memory.run(pool, step)?;
            after(number);
        }
        memory.own.iter().for_each(|(_, own)| own.open());
        idle().push(buffer);
        Ok(())
    }

    /// The steps for all images at once, and what was asked for.
    fn together(
        &self,
        pool: &Pool,
        memory: Memory<'_>,
        mut after: impl FnMut(usize),
    ) -> Result<Vec<Array>> {
        for (number, step) in self.steps.iter().enumerate().skip(self.arrangement.apart) {
            memory.open(step);
            memory.run(pool, step)?;
            after(number);
        }
        memory.shared.open();
        self.outputs.iter().map(|output| self.output(memory, output)).collect()
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
