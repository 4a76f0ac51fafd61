//! Optimisers: an update rule, and its state for each parameter, by the parameter's name.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::accumulated::{Accumulated, Gradients};
use super::layout::{laid_out_like, line};
use super::memory::give_back_freed_memory;
use super::rule::{Group, Rate, Rule};
use super::run::array;
use super::store::blob;
use super::{Store, failed};
use crate::engine::Array;
use crate::error::{Error, Result, shape_text};
use crate::weights::Parameters;

/// An update rule and its state.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    states: BTreeMap<String, State>,
    pub(super) waiting: Accumulated,
}

impl Drop for Optimizer {
    /// Frees memory, since training is over.
    fn drop(&mut self) {
        self.states.clear();
        self.waiting = Accumulated::default();
        give_back_freed_memory();
    }
}

/// The state of one parameter.
#[derive(Debug)]
struct State {
    steps: u64,
    /// Running averages in the order of `Rule::averages`.
    averages: Vec<Tensor>,
}

/// The state of one parameter, to be saved.
#[derive(Clone, Debug)]
pub struct Memory {
    pub parameter: String,
    /// The number of steps taken.
    pub steps: u64,
    /// Running averages by PyTorch's names; none where no step was taken.
    pub averages: Vec<(String, Array)>,
    /// The sum of gradients accumulated for the next update.
    pub waiting: Option<Array>,
}

impl Optimizer {
    pub fn new(rule: Rule) -> Self {
        Self { rule, states: BTreeMap::new(), waiting: Accumulated::default() }
    }

    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The number of batches accumulated since the last update, and the number that make one (gradient accumulation).
    pub fn waiting(&self) -> (u64, u64) {
        (self.waiting.batches, self.waiting.accumulate)
    }

    /// Discards the accumulated gradients.
    pub fn drop_waiting(&mut self) {
        self.waiting = Accumulated::default();
    }

    /// Updates the parameters that have gradients, each at its own rate: `rates` has one for every parameter. No
    /// accumulated gradients are left then. Where memory runs out before any parameter is updated, all state stays.
    pub(super) fn step(
        &mut self,
        store: &Store,
        mut gradients: Gradients,
        rates: &[Rate],
    ) -> Result<()> {
        self.rule.prepare(&mut gradients).map_err(failed("the gradients"))?;
        // Parameters with the same rate are updated in one call of libtorch.
        let mut groups: BTreeMap<([u64; 2], bool), (Rate, Group)> = BTreeMap::new();
        for (index, gradient) in gradients {
            let name = store.parameters()[index].name.as_str();
            let parameter = store.tensors()[index].shallow_clone();
            let rate = rates[index];
            let state = self.state(name, &parameter)?;
            let steps = state.steps.saturating_add(1);
            let key = ([rate.lr.to_bits(), rate.weight_decay.to_bits()], steps == 1);
            let (_, group) = groups.entry(key).or_insert_with(|| (rate, Group::default()));
            group.indices.push(index);
            group.steps.push(steps);
            group.averages.resize_with(state.averages.len(), Vec::new);
            // libtorch's kernels copy what is not in the order of its axes, but to them one order is as good as
            // another.
            let in_line = |tensor: &Tensor| {
                let line = line(tensor).map_err(failed(name))?;
                Ok(line.unwrap_or_else(|| tensor.shallow_clone()))
            };
            for (of_every, average) in group.averages.iter_mut().zip(&state.averages) {
                of_every.push(in_line(average)?);
            }
            group.gradients.push(in_line(&gradient)?);
            group.parameters.push(in_line(&parameter)?);
        }
        self.drop_waiting();
        for (rate, mut group) in groups.into_values() {
            // libtorch's fused kernels do not count what they write, and where one fails some of it is written.
            store.count_changes(group.indices.iter().copied());
            self.rule.step(&mut group, rate).map_err(failed("a step of the optimizer"))?;
            for index in group.indices {
                if let Some(state) = self.states.get_mut(&store.parameters()[index].name) {
                    state.steps = state.steps.saturating_add(1);
                }
            }
        }
        Ok(())
    }

    /// The state of a parameter, in its layout. State of another shape or device begins afresh.
    fn state(&mut self, name: &str, parameter: &Tensor) -> Result<&State> {
        let fits = |state: &State| {
            state.averages.iter().all(|average| {
                average.size() == parameter.size() && average.device() == parameter.device()
            })
        };
        if !self.states.get(name).is_some_and(fits) {
            let zeros = self.rule.averages().iter().map(|_| parameter.f_zeros_like());
            let averages = zeros.collect::<Result<_, _>>().map_err(failed(name))?;
            self.states.insert(name.to_owned(), State { steps: 0, averages });
        }
        let Some(state) = self.states.get_mut(name) else { unreachable!("it was put there") };
        for average in &mut state.averages {
            *average = laid_out_like(parameter, average.shallow_clone()).map_err(failed(name))?;
        }
        Ok(state)
    }

    /// A copy of the state of the parameters of `store`.
    pub fn memory(&self, store: &Store) -> Result<Vec<Memory>> {
        let mut memories = Vec::new();
        for parameter in store.parameters() {
            let name = &parameter.name;
            let of_its_shape = |tensor: &&Tensor| {
                tensor.size().iter().map(|&size| size as usize).eq(parameter.shape.iter().copied())
            };
            let state =
                self.states.get(name).filter(|s| s.averages.iter().all(|t| of_its_shape(&t)));
            let waiting = self.waiting.sums.get(name).filter(of_its_shape);
            if state.is_none() && waiting.is_none() {
                continue;
            }
            let averages = self.rule.averages().iter().zip(state.iter().flat_map(|s| &s.averages));
            let copied = averages.map(|(of, tensor)| Ok(((*of).to_owned(), array(tensor, name)?)));
            memories.push(Memory {
                parameter: name.clone(),
                steps: state.map_or(0, |state| state.steps),
                averages: copied.collect::<Result<_>>()?,
                waiting: waiting.map(|tensor| array(tensor, name)).transpose()?,
            });
        }
        Ok(memories)
    }

    /// Restores the state of the parameters of `store`, with the number of accumulated batches and the number that make
    /// an update.
    pub fn recall(
        &mut self,
        store: &Store,
        memories: &[Memory],
        (batches, accumulate): (u64, u64),
    ) -> Result<()> {
        let (mut states, mut sums) = (BTreeMap::new(), BTreeMap::new());
        for Memory { parameter: name, steps, averages, waiting } in memories {
            let at = format!("the optimizer state of `{name}`");
            let refused =
                |expected: String, got: String| Error::Argument { at: at.clone(), expected, got };
            let mut parameters = store.parameters().iter();
            let parameter =
                parameters.find(|parameter| parameter.name == *name).ok_or_else(|| {
                    refused("a parameter of the model".into(), "none of that name".into())
                })?;
            let tensor = |of: &Array| {
                if of.shape != parameter.shape {
                    return Err(refused(shape_text(&parameter.shape), shape_text(&of.shape)));
                }
                let tensor = blob(&of.values, &of.shape)?;
                // A copy, also where the device is the same.
                tensor.f_to_device_(store.device(), Kind::Float, false, true).map_err(failed(&at))
            };
            if *steps > 0 {
                let names: Vec<&str> = averages.iter().map(|(of, _)| of.as_str()).collect();
                if names != self.rule.averages() {
                    return Err(refused(self.rule.averages().join(", "), names.join(", ")));
                }
                let averages = averages.iter().map(|(_, of)| tensor(of)).collect::<Result<_>>()?;
                states.insert(name.clone(), State { steps: *steps, averages });
            }
            if let Some(sum) = waiting {
                sums.insert(name.clone(), tensor(sum)?);
            }
        }
        let without = batches == 0 && !sums.is_empty();
        if without || batches > 0 && batches >= accumulate {
            return Err(Error::Argument {
                at: "accumulated gradients".into(),
                expected: "those of fewer batches than an update takes".into(),
                got: format!("{} of {batches} out of {accumulate} batches", sums.len()),
            });
        }
        (self.states, self.waiting) = (states, Accumulated { sums, batches, accumulate });
        Ok(())
    }
}
