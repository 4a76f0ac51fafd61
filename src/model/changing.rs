//! Changes of a model's parameters, and what they end: plans, and a quantization.

use std::sync::Arc;

use super::{Model, read_only};
use crate::engine::Engine;
use crate::error::Result;
use crate::graph::Graph;

impl Model {
    /// Does work that may change parameters. Plans are dropped before; the model stays quantized unless a value did change,
    /// so a refusal leaves it as it was.
    ///
    /// Fails with `Error::Device` where there are no parameters.
    pub fn changing<T>(
        &mut self,
        work: impl FnOnce(&Arc<Graph>, &mut dyn Engine) -> Result<T>,
    ) -> Result<T> {
        let before = self.engine()?.changes();
        let choices = self.native().choices();
        self.native.set_choices(choices);
        let changing = Changing { model: self, before };
        let Model { graph, engine, .. } = &mut *changing.model;
        work(graph, engine.as_deref_mut().ok_or_else(|| read_only(graph))?)
    }
}

/// A model whose parameters may change, until this is dropped, also by a panic.
struct Changing<'a> {
    model: &'a mut Model,
    /// The engine's count of changes before.
    before: u64,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let Some(engine) = &self.model.engine else { return };
        if engine.changes() != self.before {
            self.model.native.forget();
        }
        // Values that were only moved to other memory are the same.
        *self.model.stamp.get_mut() = engine.stamp();
    }
}
