//! The gradients of batches that wait for an update, and how many batches these are.

use std::collections::BTreeMap;

use tch::Tensor;

use super::layout::laid_out_like;
use super::{Store, failed};
use crate::error::Result;

/// By the index of their parameter.
pub(super) type Gradients = BTreeMap<usize, Tensor>;

/// What has come since the last update.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The gradients of the batches, each over `accumulate`, added up, by parameter.
    pub sums: BTreeMap<String, Tensor>,
    pub batches: u64,
    /// How many batches make an update.
    pub accumulate: u64,
}

impl Waiting {
    /// These and the gradients of one more batch, which come over `accumulate`. Nothing is written to, so where this
    /// fails, nothing has happened.
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

    /// The same, which still wait.
    pub(super) fn with_none(&self) -> Self {
        let shared = |(name, sum): (&String, &Tensor)| (name.clone(), sum.shallow_clone());
        Self { sums: self.sums.iter().map(shared).collect(), ..*self }
    }

    pub(super) fn is_due(&self) -> bool {
        self.batches >= self.accumulate
    }

    /// The mean over the batches, of every trained parameter that has one, laid out as the parameter: whatever adds them
    /// up takes them in that order, also after a checkpoint.
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

/// What is there over `from`, over `to` instead.
fn scaled(sum: &Tensor, from: u64, to: u64) -> Result<Tensor, tch::TchError> {
    if from == to { Ok(sum.shallow_clone()) } else { sum.f_mul_scalar(from as f64 / to as f64) }
}
