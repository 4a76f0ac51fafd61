//! The plans of a model, made as they are needed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::plan::{Choices, Packed};
use super::pool::Pool;
use super::prepared::Prepared;
use super::simd::{Element, Instructions};
use crate::engine::{Array, Precision, View};
use crate::error::Result;
use crate::graph::{Graph, NodeId};
use crate::weights::Parameters;

/// Plans of a model for the shapes of its images, and the packed weights that they share.
#[derive(Debug, Default)]
pub struct Native(Mutex<State>);

#[derive(Debug)]
struct State {
    choices: Choices,
    packed: Packed,
    /// The one used last comes last.
    plans: VecDeque<Arc<Prepared>>,
}

impl From<Choices> for State {
    fn from(choices: Choices) -> Self {
        Self { choices, packed: Packed::default(), plans: VecDeque::new() }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::from(Choices::from(Instructions::best()))
    }
}

impl From<Choices> for Native {
    fn from(choices: Choices) -> Self {
        Self(Mutex::new(State::from(choices)))
    }
}

/// The most plans that are kept. Each has memory for a batch.
const MOST_PLANS: usize = 6;

impl Native {
    /// Runs `graph` on `x` (N, C, H, W) and returns the values of `wanted`. The first run for a shape makes its plan.
    pub fn run(
        &self,
        graph: &Graph,
        parameters: &dyn Parameters,
        x: View<'_>,
        (wanted, precision): (&[NodeId], Precision),
        pool: &Pool,
    ) -> Result<Vec<Array>> {
        self.prepared(graph, parameters, x.shape, (wanted, precision), pool)?.run(x, pool)
    }

    /// The plan for images of `shape`.
    pub fn prepared(
        &self,
        graph: &Graph,
        parameters: &dyn Parameters,
        shape: &[usize],
        (wanted, precision): (&[NodeId], Precision),
        pool: &Pool,
    ) -> Result<Arc<Prepared>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |plan: &Arc<Prepared>| plan.fits(shape, wanted, precision);
        let found = state.plans.iter().position(fits).and_then(|at| state.plans.remove(at));
        let prepared = if let Some(prepared) = found {
            prepared
        } else {
            let State { choices, packed, .. } = &mut *state;
            let (choices, packed) = (choices.with(precision), (packed, pool));
            Arc::new(Prepared::new(graph, parameters, shape, wanted, &choices, packed)?)
        };
        if state.plans.len() == MOST_PLANS {
            state.plans.pop_front();
        }
        state.plans.push_back(Arc::clone(&prepared));
        Ok(prepared)
    }

    /// A plan that is not kept, with these choices.
    pub fn prepare_once(
        &self,
        graph: &Graph,
        parameters: &dyn Parameters,
        shape: &[usize],
        wanted: &[NodeId],
        choices: &Choices,
        pool: &Pool,
    ) -> Result<Prepared> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let packed = (&mut state.packed, pool);
        Prepared::new(graph, parameters, shape, wanted, choices, packed)
    }

    /// Whether it computes in this precision: bfloat16 needs a processor with instructions for it.
    pub fn offers(precision: Precision) -> bool {
        match precision {
            Precision::Float32 | Precision::Int8 => true,
            Precision::BFloat16 => Instructions::best().multiplying(Element::BFloat16).is_some(),
        }
    }

    /// Forgets all plans and weights, and what was measured for int8, since a parameter has changed.
    pub fn forget(&self) {
        let mut choices = self.choices();
        choices.quantization = None;
        self.set_choices(choices);
    }

    pub fn choices(&self) -> Choices {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).choices.clone()
    }

    /// Makes all plans anew, with these choices.
    pub fn set_choices(&self, choices: Choices) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::from(choices);
    }
}
