//! The sources' names for the layers.

use super::super::{Definition, Source};
use super::rows::Stages;
use crate::blocks::{GateNames, InvertedNames, InvertedResidual, Layer};

/// A source's naming scheme, padding and norm.
#[derive(Clone, Copy)]
pub(super) enum Dialect {
    Torchvision,
    Timm,
    /// timm's networks for the original's weights.
    TimmTf,
    Keras,
}

/// The names of the layers after the last pooling.
pub(super) struct Head {
    pub pool: &'static str,
    pub wide: &'static str,
    /// Whether the wide layer is a 1×1 convolution of the pooled image; otherwise a linear layer.
    pub convolves: bool,
    pub activation: &'static str,
    pub dropout: &'static str,
    pub classifier: &'static str,
}

impl Dialect {
    pub(super) fn of(definition: &Definition) -> Self {
        let is_tf = definition.name.is_some_and(|name| name.starts_with("tf_"));
        match definition.source {
            Source::Torchvision => Self::Torchvision,
            Source::Timm if is_tf => Self::TimmTf,
            Source::Timm => Self::Timm,
            Source::Keras | Source::Paper => Self::Keras,
        }
    }

    pub(super) fn stem(self) -> Layer {
        match self {
            Self::Torchvision => Layer::sequential("features.0"),
            Self::Timm | Self::TimmTf => Layer::new("conv_stem", "bn1", "act1"),
            Self::Keras => Layer::new("conv", "conv_bn", "conv_act"),
        }
    }

    /// The names in block `index` of stage `stage`, before which there are `before` others.
    pub(super) fn block(
        self,
        stage: usize,
        index: usize,
        before: usize,
        block: &InvertedResidual,
    ) -> InvertedNames {
        match self {
            Self::Torchvision => InvertedNames::torchvision(
                &format!("features.{}", before + 1),
                block.expands,
                block.squeeze.is_some(),
            ),
            Self::Timm | Self::TimmTf => {
                InvertedNames::timm(&format!("blocks.{stage}.{index}"), block.expands)
            }
            Self::Keras => keras_block(before),
        }
    }

    pub(super) fn last(self, stages: Stages) -> Layer {
        match self {
            Self::Torchvision => {
                let blocks: usize = stages.iter().map(|stage| stage.len()).sum();
                Layer::sequential(&format!("features.{}", blocks + 1))
            }
            Self::Timm | Self::TimmTf => {
                let path = format!("blocks.{}.0", stages.len());
                let name = |part: &str| format!("{path}.{part}");
                Layer::new(&name("conv"), &name("bn1"), &name("act1"))
            }
            Self::Keras => Layer::new("conv_1", "conv_1_bn", "conv_1_act"),
        }
    }

    pub(super) fn head(self) -> Head {
        match self {
            Self::Torchvision => Head {
                pool: "avgpool",
                wide: "classifier.0",
                convolves: false,
                activation: "classifier.1",
                dropout: "classifier.2",
                classifier: "classifier.3",
            },
            Self::Timm | Self::TimmTf => Head {
                pool: "global_pool",
                wide: "conv_head",
                convolves: true,
                activation: "act2",
                dropout: "dropout",
                classifier: "classifier",
            },
            Self::Keras => Head {
                pool: "avg_pool",
                wide: "conv_2",
                convolves: true,
                activation: "conv_2_act",
                dropout: "dropout",
                classifier: "logits",
            },
        }
    }
}

fn keras_block(before: usize) -> InvertedNames {
    let prefix = match before {
        0 => "expanded_conv".to_owned(),
        _ => format!("expanded_conv_{before}"),
    };
    let layer = |part: &str| {
        let name = format!("{prefix}_{part}");
        Layer::new(&name, &format!("{name}_bn"), &format!("{name}_act"))
    };
    let gate = |part: &str| format!("{prefix}_squeeze_excite_{part}");
    InvertedNames {
        path: prefix.clone(),
        expand: layer("expand"),
        depthwise: layer("depthwise"),
        squeeze: GateNames {
            path: format!("{prefix}_squeeze_excite"),
            pool: gate("avg_pool"),
            reduce: gate("conv"),
            activation: gate("relu"),
            expand: gate("conv_1"),
            gate: gate("gate"),
            multiply: gate("mul"),
        },
        project: layer("project"),
        drop_path: format!("{prefix}_drop_path"),
        add: format!("{prefix}_add"),
    }
}
