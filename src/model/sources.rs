//! The sources of a network: their names for its parameters, and the layouts of Keras.

use super::Model;
use super::files::order;
use crate::error::{Error, Result};
use crate::families::{Edition, Options};
use crate::graph::{Graph, Parameter};
use crate::weights::keras;
use crate::weights::names::{Naming, Translation};
use crate::weights::translate::translate;

/// A parameter as another source has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameThere {
    pub own: String,
    pub theirs: String,
    /// Their shape.
    pub shape: Vec<usize>,
}

impl Model {
    /// The source whose definition the model follows; none if a user wrote the graph.
    pub fn source(&self) -> Option<String> {
        self.row.map(|(_, edition)| edition.source.to_string())
    }

    /// Every parameter that `source` has too. Fails with `Error::Argument` where it has no such network.
    pub fn names_in(&self, source: &str) -> Result<Vec<NameThere>> {
        let naming = self.naming(source)?;
        let parameters = self.graph.parameters();
        let order = order(&parameters);
        let there = |parameter: &Parameter| {
            let own = parameter.name.clone();
            let (theirs, shape) = match &naming {
                Naming::Other(translation) => {
                    let other = translation.counterparts.get(&own)?;
                    (other.name.clone(), other.shape.clone())
                }
                naming => (naming.foreign(&own, &order), parameter.shape.clone()),
            };
            Some(NameThere { own, theirs, shape })
        };
        Ok(parameters.iter().filter_map(there).collect())
    }

    /// The variables of Keras's model of this network.
    pub fn keras_variables(&self) -> Result<Vec<keras::Variable>> {
        let graph = self.edition_of("keras")?.ok_or_else(|| Error::Argument {
            at: format!("weights for {}", self.name()),
            expected: format!("those of {}", self.sources()),
            got: "those of Keras, which does not have this network".into(),
        })?;
        Ok(keras::variables(&graph))
    }

    /// The naming called `name`.
    pub(super) fn naming(&self, name: &str) -> Result<Naming> {
        let own = self.source().unwrap_or_else(|| Naming::Own.to_string());
        let lite = Naming::EfficientNetLitePytorch.to_string();
        if name == own {
            Ok(Naming::Own)
        } else if name == lite {
            Ok(Naming::EfficientNetLitePytorch)
        } else if let Some(translation) = self.translations(Some(name)).into_iter().next() {
            Ok(Naming::Other(translation))
        } else {
            let known = self.edition(name).is_some();
            let differs = if known { ", whose layers differ from those of this model" } else { "" };
            Err(Error::Argument {
                at: format!("`source` of weights for {}", self.name()),
                expected: format!("\"auto\", \"{lite}\" or one of {}", self.sources()),
                got: format!("\"{name}\"{differs}"),
            })
        }
    }

    /// The names of the parameters in the other sources of the network, or in `source`.
    pub(super) fn translations(&self, source: Option<&str>) -> Vec<Translation> {
        let Some((variant, own)) = self.row else { return Vec::new() };
        let options = self.options_of_others();
        let others = variant.editions.iter().filter(|edition| {
            edition.source != own.source
                && source.is_none_or(|source| edition.source.to_string() == source)
        });
        let translation = |edition: &Edition| {
            let other = variant.graph(edition, &options).ok()?;
            let counterparts = translate(&self.graph, &other)?;
            Some(Translation { source: edition.source.to_string(), counterparts })
        };
        others.filter_map(translation).collect()
    }

    /// The sources of the network, as in `torchvision, timm`.
    fn sources(&self) -> String {
        let Some((variant, _)) = self.row else { return Naming::Own.to_string() };
        let mut sources: Vec<String> =
            variant.editions.iter().map(|edition| edition.source.to_string()).collect();
        sources.dedup();
        sources.join(", ")
    }

    /// The edition of `source`; the model's own, where it is of that source.
    fn edition(&self, source: &str) -> Option<&'static Edition> {
        let (variant, own) = self.row?;
        let own = std::iter::once(own).chain(&variant.editions);
        own.into_iter().find(|edition| edition.source.to_string() == source)
    }

    /// The network as `source` defines it, with the same sizes; none where it does not.
    fn edition_of(&self, source: &str) -> Result<Option<Graph>> {
        let (Some((variant, own)), Some(edition)) = (self.row, self.edition(source)) else {
            return Ok(None);
        };
        let options = if std::ptr::eq(own, edition) {
            self.options.clone()
        } else {
            self.options_of_others()
        };
        variant.graph(edition, &options).map(Some)
    }

    /// The options under which another edition has the same sizes, even if it is built for other images by default.
    fn options_of_others(&self) -> Options {
        Options { image_size: Some(self.graph.input().height), ..self.options.common() }
    }
}
