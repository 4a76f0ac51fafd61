//! Gradient accumulation: the gradients of batches since the last update, and the number of these batches.

use std::collections::BTreeMap;

use tch::Tensor;

use super::layout::laid_out_like;
use super::{Store, failed};
use crate::error::Result;
use crate::weights::Parameters;

/// Gradients by the index of their parameter.
pub(super) type Gradients = BTreeMap<usize, Tensor>;

/// Gradients accumulated since the last update.
#[derive(Debug, Default)]
pub(super) struct Accumulated {
    /// The sum of the batches' gradients, each divided by `accumulate`, by parameter.
    pub sums: BTreeMap<String, Tensor>,
    pub batches: u64,
    /// The number of batches that make an update.
    pub accumulate: u64,
}

impl Accumulated {
    /// The sum with the gradients of one more batch, which are divided by `accumulate` already. Nothing is written to,
    /// so a failure changes nothing.
    pub(super) fn with(
        &self,
        store: &Store,
        gradients: Gradients,
        accumulate: u64,
    ) -> Result<Self> {
        let mut sums = BTreeMap::new();
        for (index, gradient) in gradients {
            let name = &store.parameters()[index].name;
            let sum = match self.sums.get(name).filter(|sum| sum.size() == gradient.size()) {
                Some(sum) => scaled(sum, self.accumulate, accumulate)
                    .and_then(|sum| sum.f_to_device(gradient.device()))
                    .and_then(|sum| sum.f_add(&gradient))
                    .map_err(failed(name))?,
                None => gradient,
            };
            sums.insert(name.clone(), sum);
        }
        Ok(Self { sums, batches: self.batches.saturating_add(1), accumulate })
    }

    /// A copy without a further batch.
    pub(super) fn with_none(&self) -> Self {
        let shared = |(name, sum): (&String, &Tensor)| (name.clone(), sum.shallow_clone());
        Self { sums: self.sums.iter().map(shared).collect(), ..*self }
    }

    pub(super) fn is_due(&self) -> bool {
        self.batches >= self.accumulate
    }

    /// The mean over the batches, for every trained parameter that has one, in the layout of the parameter, so that
    /// sums over it are taken in the same order also after a run checkpoint is resumed.
    pub(super) fn mean(mut self, store: &Store) -> Result<Gradients> {
        let mut gradients = Gradients::new();
        for index in store.trained() {
            let (name, parameter) = (&store.parameters()[index].name, &store.tensors()[index]);
            let Some(sum) = self.sums.remove(name).filter(|sum| sum.size() == parameter.size())
            else {
                continue;
            };
            let mean = scaled(&sum, self.accumulate, self.batches)
                .and_then(|mean| mean.f_to_device(parameter.device()))
                .and_then(|mean| laid_out_like(parameter, mean))
                .map_err(failed(name))?;
            gradients.insert(index, mean);
        }
        Ok(gradients)
    }
}

/// A sum divided by `from`, divided by `to` instead.
fn scaled(sum: &Tensor, from: u64, to: u64) -> Result<Tensor, tch::TchError> {
    if from == to { Ok(sum.shallow_clone()) } else { sum.f_mul_scalar(from as f64 / to as f64) }
}
