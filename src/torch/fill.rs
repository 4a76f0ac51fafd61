//! From named values into the parameters of a model: all that fits, or nothing.

use std::collections::HashSet;

use super::Store;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::weights::channels::adapt;
use crate::weights::load::{Entries, Match, Policy, match_entries, takes};
use crate::weights::names::Naming;
use crate::weights::position::{refit, stored_grid};
use crate::weights::{Dtype, Value};

/// The outcome of a load: the parameters that were filled, and how the file was read.
#[derive(Debug)]
pub struct LoadOutcome {
    /// Parameters by the model's names.
    pub loaded: Vec<String>,
    pub matched: Match,
    /// Parameters whose values were stored in another floating-point type than float32, with that type.
    pub converted: Vec<(String, Dtype)>,
    pub naming: Naming,
}

impl Store {
    /// Copies the matching entries. Everything is checked before the first value is copied.
    ///
    /// Fails with `Error::StateDict` on what `policy` does not allow, or an element type that a parameter cannot take;
    /// `origin` says in messages where the entries come from.
    pub fn fill(
        &mut self,
        graph: &Graph,
        entries: &impl Entries,
        naming: Naming,
        policy: &Policy,
        origin: &str,
    ) -> Result<LoadOutcome> {
        let matched = match_entries(self.parameters(), &entries.shapes(), &naming, policy);
        matched.accept(policy, &naming, graph.name(), origin, entries)?;
        let (mut loaded, mut converted) = (Vec::new(), Vec::new());
        for (index, entry) in &matched.pairs {
            let Some(dtype) = entries.dtype(entry) else { continue };
            let parameter = &self.parameters()[*index];
            takes(parameter, dtype).map_err(|expected| Error::StateDict {
                message: format!("{origin}: `{entry}`: expected {expected}, got {dtype}"),
            })?;
            if dtype.is_float() && dtype != Dtype::F32 {
                converted.push((parameter.name.clone(), dtype));
            }
            loaded.push(parameter.name.clone());
        }
        let adapted: HashSet<&str> = matched.adapted.iter().map(|m| m.name.as_str()).collect();
        for (index, entry) in &matched.pairs {
            let (parameter, value) = (&self.parameters()[*index], entries.get(entry)?);
            let value = match stored_grid(parameter, &value.shape) {
                Some(grid) if value.shape != parameter.shape => refit(parameter, grid, &value)?,
                _ if adapted.contains(parameter.name.as_str()) => adapt(parameter, &value)?,
                _ => Value { shape: parameter.shape.clone(), ..value },
            };
            self.load(*index, &value)?;
        }
        Ok(LoadOutcome { loaded, matched, converted, naming })
    }
}
