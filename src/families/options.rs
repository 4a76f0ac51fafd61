//! Options of networks, and the checks on them.

use serde::{Deserialize, Serialize};

use super::adapt::{Adaptation, Norm, Stem};
use super::{Edition, Settings, Variant};
use crate::error::{Error, Result};
use crate::graph::op::Function;

/// Options of a network; `None` keeps the edition's own. They are also saved with a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Number of classes. 0: no classifier; the output is the pooled features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_channels: Option<usize>,
    /// Height and width of the image for which the network is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Dropout rate before the classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_rate: Option<f64>,
    /// Stochastic depth rate of the last block; that of earlier blocks is linearly less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
    /// Replaces every activation but those of gates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Function>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Whether the scale of the last norm of every residual block starts at zero, or at one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_init_residual: Option<bool>,
    /// Whether there are auxiliary classifiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<bool>,
    /// Whether images come with ImageNet's mean and standard deviation, for a network that was trained on values of -1
    /// to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform_input: Option<bool>,
    /// Width multiplier, relative to the family's base network, in place of the variant's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    /// Depth multiplier, relative to the family's base network, in place of the variant's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<f64>,
    /// Activation checkpointing: training keeps few values and recomputes the others. The graph is the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpointing: Option<bool>,
}

/// Options that every edition of every family reads.
pub const COMMON_OPTIONS: [&str; 4] = ["num_classes", "in_channels", "image_size", "checkpointing"];

/// Limit on classes, channels and pixels: it keeps every size computable, and is far above any real one.
const MAX_SIZE: usize = 1 << 16;

/// Limit on width and depth multipliers, for the same reason.
const MAX_MULTIPLIER: f64 = 16.0;

impl Options {
    pub(super) fn resolve(&self, variant: &Variant, edition: &Edition) -> Result<Settings> {
        let name = variant.name;
        for (option, given) in
            [("drop_rate", self.drop_rate), ("drop_path_rate", self.drop_path_rate)]
        {
            if let Some(rate) = given {
                Self::accepted(name, option, edition)?;
                check(name, option, (0.0..1.0).contains(&rate), "a rate from 0 to below 1", rate)?;
            }
        }
        for (option, given) in [("aux", self.aux), ("transform_input", self.transform_input)] {
            given.map_or(Ok(()), |_| Self::accepted(name, option, edition))?;
        }
        for (option, given) in [("width", self.width), ("depth", self.depth)] {
            if let Some(multiplier) = given {
                Self::accepted(name, option, edition)?;
                let holds = multiplier > 0.0 && multiplier <= MAX_MULTIPLIER;
                let expected = format!("a number above 0, at most {MAX_MULTIPLIER}");
                check(name, option, holds, &expected, multiplier)?;
            }
        }
        let size = |option: &str, given: Option<usize>, default: usize, least: usize| {
            let size = given.unwrap_or(default);
            let holds = (least..=MAX_SIZE).contains(&size);
            check(name, option, holds, &format!("from {least} to {MAX_SIZE}"), size).map(|()| size)
        };
        Ok(Settings {
            name,
            classes: size("num_classes", self.num_classes, variant.classes, 0)?,
            in_channels: size("in_channels", self.in_channels, 3, 1)?,
            image_size: size("image_size", self.image_size, edition.preprocess.crop as usize, 1)?,
            drop_rate: self.drop_rate,
            drop_path_rate: self.drop_path_rate,
            aux: self.aux,
            transform_input: self.transform_input.unwrap_or(false),
            width: self.width,
            depth: self.depth,
        })
    }

    /// The options that every edition of a variant reads, which determine the sizes.
    #[must_use]
    pub fn common(&self) -> Self {
        Self {
            drop_rate: None,
            drop_path_rate: None,
            zero_init_residual: None,
            aux: None,
            transform_input: None,
            ..self.clone()
        }
    }

    pub(super) fn adaptation(&self) -> Adaptation {
        let Self { stem, activation, norm, zero_init_residual, .. } = *self;
        Adaptation { stem, activation, norm, zero_init_residual }
    }

    fn accepted(name: &str, option: &str, edition: &Edition) -> Result<()> {
        let known: Vec<&str> = COMMON_OPTIONS.iter().chain(edition.options).copied().collect();
        let expected = format!("one of {}", known.join(", "));
        check(name, "options", edition.options.contains(&option), &expected, format!("`{option}`"))
    }
}

fn check(
    name: &str,
    option: &str,
    holds: bool,
    expected: &str,
    got: impl std::fmt::Display,
) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Argument {
        at: format!("`{option}` of {name}"),
        expected: expected.into(),
        got: got.to_string(),
    })
}
