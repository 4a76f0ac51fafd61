//! Matching of a file's entries with parameters, decided before anything is copied.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;

use super::channels::is_for_colours;
use super::filed::Filed;
use super::names::Naming;
use super::position::stored_grid;
use super::{Checkpoint, Dtype, Value};
use crate::error::{Error, Result, shape_text};
use crate::graph::{Parameter, Role};

/// The result of matching the entries of a file with the parameters of a model.
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
    /// Position embeddings for another image size among `pairs`, to be interpolated.
    pub resampled: Vec<Mismatched>,
    /// First convolutions for RGB among `pairs`, to be adapted to other channels.
    pub adapted: Vec<Mismatched>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatched {
    pub name: String,
    pub expected: Vec<usize>,
    pub got: Vec<usize>,
}

/// Matches `entries`, names and shapes under `naming`, with `parameters`. Batch counts may be missing, as in files
/// older than PyTorch 0.4.1.
pub fn match_entries(
    parameters: &[Parameter],
    entries: &[(String, Vec<usize>)],
    naming: &Naming,
    policy: &Policy,
) -> Match {
    let order: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let by_name: HashMap<&str, &Vec<usize>> =
        entries.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
    let mut used = HashSet::new();
    let mut result = Match::default();
    for (index, parameter) in parameters.iter().enumerate() {
        let name = naming.foreign(&parameter.name, &order);
        match by_name.get(name.as_str()) {
            None if parameter.role == Role::BatchCount => {}
            None => result.missing.push(name),
            Some(shape) => {
                let differing = || Mismatched {
                    name: parameter.name.clone(),
                    expected: parameter.shape.clone(),
                    got: (*shape).clone(),
                };
                let mut pair = || result.pairs.push((index, name.clone()));
                if naming.fits(shape, &parameter.shape) {
                    pair();
                } else if stored_grid(parameter, shape).is_some() {
                    pair();
                    result.resampled.push(differing());
                } else if policy.adapts(parameter) && is_for_colours(parameter, shape) {
                    pair();
                    result.adapted.push(differing());
                } else {
                    result.mismatched.push(differing());
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

/// Tolerance for entries and parameters without a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everything must match.
    Strict,
    /// Anything may be unmatched; it is reported.
    Lenient,
    /// The differences expected of a file of trained weights.
    Pretrained {
        /// Nodes whose arrays may not match; they keep their initial values.
        fresh: Vec<String>,
        /// Arrays of auxiliary classifiers, which the model may lack.
        auxiliary: Vec<String>,
        /// Nodes whose weights may be for RGB, and are adapted.
        adapted: Vec<String>,
    },
}

impl Policy {
    fn adapts(&self, parameter: &Parameter) -> bool {
        let Self::Pretrained { adapted, .. } = self else { return false };
        parameter.name.strip_suffix(".weight").is_some_and(|node| adapted.iter().any(|a| a == node))
    }
}

impl Match {
    /// Fails with `Error::StateDict`, which lists the mismatches, unless `policy` allows all of them.
    pub fn accept(
        &self,
        policy: &Policy,
        naming: &Naming,
        model: &str,
        origin: &str,
        entries: &impl Entries,
    ) -> Result<()> {
        let excused: Vec<String> = match policy {
            Policy::Lenient => return Ok(()),
            Policy::Strict => Vec::new(),
            Policy::Pretrained { fresh, .. } => fresh
                .iter()
                .flat_map(|node| [format!("{node}.weight"), format!("{node}.bias")])
                .flat_map(|own| [naming.foreign(&own, &[]), own])
                .collect(),
        };
        let spare: &[String] = match policy {
            Policy::Pretrained { auxiliary, .. } => auxiliary,
            Policy::Strict | Policy::Lenient => &[],
        };
        let quoted = |names: &[String], spare: &[String]| -> Vec<String> {
            names
                .iter()
                .filter(|name| !excused.contains(name) && !spare.contains(name))
                .map(|name| match entries.unreadable(name) {
                    Some(what) => format!("`{name}` ({what})"),
                    None => format!("`{name}`"),
                })
                .collect()
        };
        let mismatched = self
            .mismatched
            .iter()
            .filter(|m| !excused.contains(&m.name))
            .map(|m| {
                let (expected, got) = (shape_text(&m.expected), shape_text(&m.got));
                format!("`{}` (expected {expected}, got {got})", m.name)
            })
            .collect();
        let complaints: Vec<String> = [
            ("missing", quoted(&self.missing, &[])),
            ("unexpected", quoted(&self.unexpected, spare)),
            ("of another shape", mismatched),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{} {what}: {}", names.len(), first(&names)))
        .collect();
        if complaints.is_empty() {
            return Ok(());
        }
        Err(Error::StateDict {
            message: format!("{origin} does not fit {model}: {}", complaints.join("; ")),
        })
    }
}

/// Whether values of `dtype` may go into `parameter`; if not, the types that may.
pub fn takes(parameter: &Parameter, dtype: Dtype) -> Result<(), &'static str> {
    let integer = !dtype.is_float();
    match (parameter.role == Role::BatchCount, integer) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Err("an integer"),
        (false, true) => Err("floating-point values"),
    }
}

/// Named values to load from.
pub trait Entries: Sync {
    fn shapes(&self) -> Vec<(String, Vec<usize>)>;

    fn dtype(&self, name: &str) -> Option<Dtype>;

    fn get(&self, name: &str) -> Result<Value<'_>>;

    /// Reads float32 values of this name to where they belong, if they lie somewhere as they are; returns whether they do.
    fn read_into(&self, _name: &str, _values: &mut [f32]) -> Result<bool> {
        Ok(false)
    }

    /// The values of this name, to be read later, if they are float32 values that may stay where they are.
    fn filed(&self, _name: &str) -> Option<Filed> {
        None
    }

    /// The reason why there is no array of this name, if something else is there.
    fn unreadable(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// Weights that the file has as integers of 8 bits are those of float32 that these stand for.
impl Entries for Checkpoint {
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.names()
            .filter(|name| !self.is_steps(name))
            .map(|name| (name.to_owned(), self.shape(name).unwrap_or_default().to_vec()))
            .collect()
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        if self.steps_of(name).is_some() { Some(Dtype::F32) } else { self.dtype(name) }
    }

    fn get(&self, name: &str) -> Result<Value<'_>> {
        match self.steps_of(name) {
            Some(steps) => self.weights_of_integers(name, &steps),
            None => self.get(name),
        }
    }

    fn read_into(&self, name: &str, values: &mut [f32]) -> Result<bool> {
        self.read_into(name, values)
    }

    fn unreadable(&self, name: &str) -> Option<&str> {
        let entry = self.ignored().iter().find(|entry| entry.name == name)?;
        Some(&entry.what)
    }
}

/// The entries of a file, whose float32 arrays may stay there.
#[derive(Debug)]
pub struct Staying(pub Arc<Checkpoint>);

impl Entries for Staying {
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.0.shapes()
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        Entries::dtype(&*self.0, name)
    }

    fn get(&self, name: &str) -> Result<Value<'_>> {
        Entries::get(&*self.0, name)
    }

    fn read_into(&self, name: &str, values: &mut [f32]) -> Result<bool> {
        self.0.read_into(name, values)
    }

    fn filed(&self, name: &str) -> Option<Filed> {
        Filed::of(&self.0, name)
    }

    fn unreadable(&self, name: &str) -> Option<&str> {
        self.0.unreadable(name)
    }
}

/// Values in memory, and entries of other kinds.
#[derive(Debug)]
pub struct Given<'a> {
    pub values: IndexMap<&'a str, Value<'a>>,
    /// Names of entries that are no arrays, and their kinds.
    pub others: HashMap<String, String>,
}

impl Entries for Given<'_> {
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.values.iter().map(|(name, value)| ((*name).to_owned(), value.shape.clone())).collect()
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        self.values.get(name).map(|value| value.dtype)
    }

    fn get(&self, name: &str) -> Result<Value<'_>> {
        let value = self
            .values
            .get(name)
            .ok_or_else(|| Error::StateDict { message: format!("no `{name}` to load") })?;
        Ok(Value {
            dtype: value.dtype,
            shape: value.shape.clone(),
            bytes: value.bytes.as_ref().into(),
        })
    }

    fn unreadable(&self, name: &str) -> Option<&str> {
        self.others.get(name).map(String::as_str)
    }
}

/// The first few of a list of names.
fn first(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, …") } else { shown }
}
