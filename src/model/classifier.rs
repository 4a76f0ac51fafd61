//! Replacing the classifier.

use super::Model;
use crate::error::Result;

impl Model {
    /// Replaces the classifier by a new one for `num_classes` classes, or none; every other parameter stays. There are
    /// no class names then.
    pub fn reset_classifier(&mut self, num_classes: usize, seed: u64) -> Result<()> {
        let mut options = self.options.clone();
        let graph = match self.row {
            Some((variant, edition)) => {
                options.num_classes = Some(num_classes);
                variant.graph(edition, &options)?
            }
            None => self.graph.with_classes(num_classes)?,
        };
        let recipe = self.recipe().of_new_classifier();
        self.native.forget();
        self.generation += 1;
        if let Some(engine) = &mut self.engine {
            engine.redraw(&graph, recipe, seed)?;
        }
        (self.graph, self.options, self.labels) = (graph.into(), options, None);
        Ok(())
    }
}
