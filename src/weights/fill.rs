//! From named values into the parameters of a model: all that fits, or nothing.

use std::collections::{HashMap, HashSet};

use super::channels::adapt;
use super::load::{Entries, Match, Policy, match_entries, takes};
use super::names::Naming;
use super::parameters::Parameters;
use super::position::{refit, stored_grid};
use super::{Dtype, Value};
use crate::error::{Error, Result};

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

/// Copies the matching entries into the parameters of `model`. Everything is checked before the first value is copied.
///
/// Fails with `Error::StateDict` on what `policy` does not allow, or an element type that a parameter cannot take;
/// `origin` says in messages where the entries come from.
pub fn fill<P: Parameters + ?Sized>(
    parameters: &mut P,
    model: &str,
    entries: &impl Entries,
    naming: Naming,
    policy: &Policy,
    origin: &str,
) -> Result<LoadOutcome> {
    let matched = match_entries(parameters.parameters(), &entries.shapes(), &naming, policy);
    matched.accept(policy, &naming, model, origin, entries)?;
    let (mut loaded, mut converted) = (Vec::new(), Vec::new());
    for (index, entry) in &matched.pairs {
        let Some(dtype) = entries.dtype(entry) else { continue };
        let parameter = &parameters.parameters()[*index];
        takes(parameter, dtype).map_err(|expected| Error::StateDict {
            message: format!("{origin}: `{entry}`: expected {expected}, got {dtype}"),
        })?;
        if dtype.is_float() && dtype != Dtype::F32 {
            converted.push((parameter.name.clone(), dtype));
        }
        loaded.push(parameter.name.clone());
    }
    let adapted: HashSet<&str> = matched.adapted.iter().map(|m| m.name.as_str()).collect();
    let shapes: HashMap<String, Vec<usize>> = entries.shapes().into_iter().collect();
    for (index, entry) in &matched.pairs {
        let parameter = &parameters.parameters()[*index];
        if shapes.get(entry).is_some_and(|shape| naming.fits(shape, &parameter.shape)) {
            if let Some(values) = entries.filed(entry)
                && parameters.leave_in_file(*index, values)
            {
                continue;
            }
            if let Some(values) = parameters.floats_mut(*index)?
                && entries.read_into(entry, values)?
            {
                continue;
            }
        }
        let (parameter, value) = (&parameters.parameters()[*index], entries.get(entry)?);
        let value = match stored_grid(parameter, &value.shape) {
            Some(grid) if value.shape != parameter.shape => refit(parameter, grid, &value)?,
            _ if adapted.contains(parameter.name.as_str()) => adapt(parameter, &value)?,
            _ => Value { shape: parameter.shape.clone(), ..value },
        };
        parameters.load(*index, &value)?;
    }
    Ok(LoadOutcome { loaded, matched, converted, naming })
}
