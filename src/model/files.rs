//! Loading parameters from files, and saving them.

use std::collections::HashSet;
use std::path::Path;

use indexmap::IndexMap;

use super::Model;
use crate::error::{Error, Result};
use crate::families::Options;
use crate::graph::{NodeId, Parameter, Role};
use crate::weights::fill::{LoadOutcome, fill};
use crate::weights::integers::{Integers, Written};
use crate::weights::load::{Entries, Policy, match_entries};
use crate::weights::names::Naming;
use crate::weights::prefix::{Below, Names};
use crate::weights::{Checkpoint, Ignored, Stored, write_safetensors};

/// The outcome of a load.
#[derive(Debug)]
pub struct Loaded {
    pub outcome: LoadOutcome,
    /// Entries that do not belong to the network.
    pub ignored: Vec<Ignored>,
    /// The prefix that was removed from all names.
    pub prefix: String,
}

impl Model {
    /// Fails where `fill` would, from the shapes in the file alone.
    pub fn expect(&self, file: &Checkpoint, policy: &str) -> Result<()> {
        let (names, policy) = (self.names("auto", None, file)?, self.policy(policy)?);
        let parameters = self.graph.parameters();
        let below = Below::new(file, &names.prefix, &order(&parameters));
        let found = match_entries(&parameters, &below.shapes(), &names.naming, &policy);
        let origin = file.path().display().to_string();
        found.accept(&policy, &names.naming, self.name(), &origin, &below)
    }

    /// Fills the parameters from `entries`: all that fits, or none. They are named as `naming` says, which is a source,
    /// or `auto` for whatever fits best; `prefix` stands in front of all names, and is found where it is not given.
    /// `policy` says what may be unmatched: `strict`, `lenient` or `pretrained`; and `origin`, where the entries come
    /// from.
    ///
    /// Fails with `Error::StateDict` where they do not fit.
    pub fn fill(
        &mut self,
        entries: &impl Entries,
        naming: &str,
        prefix: Option<&str>,
        policy: &str,
        origin: &str,
    ) -> Result<Loaded> {
        let (names, policy) = (self.names(naming, prefix, entries)?, self.policy(policy)?);
        let parameters = self.graph.parameters();
        let below = Below::new(entries, &names.prefix, &order(&parameters));
        let outcome = self.changing(|graph, engine| {
            fill(engine, graph.name(), &below, names.naming, &policy, origin)
        })?;
        Ok(Loaded { outcome, ignored: below.ignored().to_vec(), prefix: names.prefix })
    }

    /// Writes every parameter and buffer, and `metadata`, to a .safetensors file.
    pub fn save(&self, path: &Path, metadata: &IndexMap<String, String>) -> Result<()> {
        let arrays = self.parameters()?.snapshot()?;
        let items = arrays.iter().map(|(name, shape, stored)| stored.item(name, shape));
        write_safetensors(path, items, metadata)
    }

    /// The same with the weights of layers that run in int8 as integers of 8 bits, which takes a quarter to a third of the space.
    /// Runs in int8 of what is loaded again have the same bits.
    ///
    /// Fails with `Error::Argument` where the model is not quantized.
    pub fn save_integers(&self, path: &Path, metadata: &IndexMap<String, String>) -> Result<()> {
        let factors = self.factors_in_int8()?;
        let parameters = self.graph.parameters();
        let arrays = self.parameters()?.snapshot()?;
        let written = arrays.into_iter().zip(&parameters).map(|((name, shape, stored), of)| {
            let is_weight = matches!(of.role, Role::ConvWeight | Role::LinearWeight);
            let written = match (stored, factors.get(&of.node).filter(|_| is_weight)) {
                (Stored::Floats(weights), Some(factors)) => {
                    Written::Integers(Integers::of(&name, &weights, factors))
                }
                (stored, _) => Written::Plain(stored),
            };
            (name, shape, written)
        });
        let written: Vec<_> = written.collect();
        let items = written.iter().flat_map(|(name, shape, written)| written.items(name, shape));
        write_safetensors(path, items, metadata)
    }

    /// The naming and prefix of the entries: as given, or, for `auto` and none, those that match most of them.
    fn names(&self, naming: &str, prefix: Option<&str>, entries: &impl Entries) -> Result<Names> {
        let shapes = entries.shapes();
        let keys: HashSet<&str> = shapes.iter().map(|(name, _)| name.as_str()).collect();
        let parameters = self.graph.parameters();
        let order = order(&parameters);
        if naming == "auto" {
            let others = || self.translations(None);
            return Names::recognise(&keys, &order, prefix, Naming::Own, others);
        }
        Names::recognise(&keys, &order, prefix, self.naming(naming)?, Vec::new)
    }

    fn policy(&self, name: &str) -> Result<Policy> {
        match name {
            "lenient" => Ok(Policy::Lenient),
            "pretrained" => self.pretrained(),
            "strict" => Ok(Policy::Strict),
            other => Err(Error::Argument {
                at: "`policy`".into(),
                expected: "strict, lenient or pretrained".into(),
                got: other.into(),
            }),
        }
    }

    /// Allows three differences between a file of trained weights and a model with these options: the classifiers,
    /// which keep their initial values, where `num_classes` was given; auxiliary classifiers that the model lacks but
    /// the file has; and the first convolution, which is adapted, where other channels were asked for.
    fn pretrained(&self) -> Result<Policy> {
        let Some((variant, edition)) = self.row else { return Ok(Policy::Strict) };
        let usual = Options {
            num_classes: None,
            image_size: None,
            aux: edition.options.contains(&"aux").then_some(true),
            ..self.options.clone()
        };
        let usual = variant.graph(edition, &usual)?;
        let names = |nodes: Vec<NodeId>| -> Vec<String> {
            nodes.into_iter().map(|id| usual.node(id).name.clone()).collect()
        };
        let differs = self.options.num_classes.is_some();
        Ok(Policy::Pretrained {
            fresh: if differs { names(usual.all_classifiers()) } else { Vec::new() },
            auxiliary: usual.auxiliary_arrays(),
            adapted: names(usual.first_convolutions()),
        })
    }
}

/// The names of parameters, in the order of the state dict.
pub(super) fn order(parameters: &[Parameter]) -> Vec<&str> {
    parameters.iter().map(|parameter| parameter.name.as_str()).collect()
}
