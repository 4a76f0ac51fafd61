//! Which entry of a file goes into which parameter, decided before anything is copied.

use super::names::Naming;
use crate::error::{Error, Result};
use crate::graph::{Parameter, Role};

/// The outcome of matching the entries of a file with the parameters of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// (index of the parameter, name of the entry).
    pub pairs: Vec<(usize, String)>,
    /// Parameters without an entry.
    pub missing: Vec<String>,
    /// Entries without a parameter.
    pub unexpected: Vec<String>,
    /// Pairs whose shapes differ.
    pub mismatched: Vec<Mismatched>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatched {
    pub name: String,
    pub expected: Vec<usize>,
    pub got: Vec<usize>,
}

/// Matches `entries`, names and shapes under `naming`, with `parameters`. Batch counts may be missing, as they are
/// from files older than PyTorch 0.4.1.
pub fn match_entries(
    parameters: &[Parameter],
    entries: &[(String, Vec<usize>)],
    naming: Naming,
) -> Match {
    let order: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let by_name: std::collections::HashMap<&str, &Vec<usize>> =
        entries.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
    let mut used = std::collections::HashSet::new();
    let mut result = Match::default();
    for (index, parameter) in parameters.iter().enumerate() {
        let name = naming.foreign(&parameter.name, &order);
        match by_name.get(name.as_str()) {
            None if parameter.role == Role::BatchCount => {}
            None => result.missing.push(name),
            Some(shape) => {
                if **shape == parameter.shape {
                    result.pairs.push((index, name.clone()));
                } else {
                    result.mismatched.push(Mismatched {
                        name: parameter.name.clone(),
                        expected: parameter.shape.clone(),
                        got: shape.to_vec(),
                    });
                }
                used.insert(name);
            }
        }
    }
    result.unexpected = entries
        .iter()
        .filter(|(name, _)| !used.contains(name))
        .map(|(name, _)| name.clone())
        .collect();
    result
}

impl Match {
    /// Fails with `Error::StateDict`, which lists what does not fit, unless everything does.
    pub fn strict(&self, model: &str, origin: &str) -> Result<()> {
        let mismatched: Vec<String> = self
            .mismatched
            .iter()
            .map(|m| format!("`{}` (expected {:?}, got {:?})", m.name, m.expected, m.got))
            .collect();
        let quoted =
            |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let complaints: Vec<String> = [
            ("missing", quoted(&self.missing)),
            ("unexpected", quoted(&self.unexpected)),
            ("of another shape", mismatched),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{} {what}: {}", names.len(), first(&names)))
        .collect();
        if complaints.is_empty() {
            return Ok(());
        }
        let message = format!("{origin} does not fit {model}: {}", complaints.join("; "));
        Err(Error::StateDict { message })
    }
}

/// The first few of many names.
fn first(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, …") } else { shown }
}
