//! The sources' names for the layers.

use crate::blocks::{GateNames, InvertedNames, Layer};

/// A source's naming scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Torchvision,
    Timm,
    Keras,
    /// Keras's EfficientNetV2, which names depthwise convolutions differently than its EfficientNet.
    KerasV2,
}

/// The names of a fused block's layers; one without expansion has only the first.
pub(super) struct FusedNames {
    pub square: Layer,
    pub project: Layer,
    pub drop_path: String,
    pub add: String,
}

impl Dialect {
    pub(super) fn stem(self) -> Layer {
        match self {
            Self::Torchvision => Layer::sequential("features.0"),
            Self::Timm => Layer::new("conv_stem", "bn1", "act1"),
            Self::Keras | Self::KerasV2 => keras_layer("stem_"),
        }
    }

    pub(super) fn last(self, stages: usize) -> Layer {
        match self {
            Self::Torchvision => Layer::sequential(&format!("features.{}", stages + 1)),
            Self::Timm => Layer::new("conv_head", "bn2", "act2"),
            Self::Keras | Self::KerasV2 => keras_layer("top_"),
        }
    }

    /// The prefix of the names in block `index` of `stage`.
    pub(super) fn block(self, stage: usize, index: usize) -> String {
        match self {
            Self::Torchvision => format!("features.{}.{index}", stage + 1),
            Self::Timm => format!("blocks.{stage}.{index}"),
            Self::Keras | Self::KerasV2 => format!("block{}{}_", stage + 1, letters(index)),
        }
    }

    pub(super) fn inverted(
        self,
        stage: usize,
        index: usize,
        expands: bool,
        squeezes: bool,
    ) -> InvertedNames {
        let path = self.block(stage, index);
        let depthwise = match self {
            Self::Torchvision => return InvertedNames::torchvision(&path, expands, squeezes),
            Self::Timm => return InvertedNames::timm(&path, expands),
            Self::Keras => "dwconv",
            Self::KerasV2 => "dwconv2",
        };
        let name = |part: &str| format!("{path}{part}");
        InvertedNames {
            path: path.trim_end_matches('_').into(),
            expand: keras_layer(&name("expand_")),
            depthwise: Layer::new(&name(depthwise), &name("bn"), &name("activation")),
            squeeze: GateNames {
                path: name("se"),
                pool: name("se_squeeze"),
                reduce: name("se_reduce"),
                activation: name("se_reduce_activation"),
                expand: name("se_expand"),
                gate: name("se_expand_activation"),
                multiply: name("se_excite"),
            },
            project: keras_layer(&name("project_")),
            drop_path: name("drop"),
            add: name("add"),
        }
    }

    pub(super) fn fused(self, stage: usize, index: usize, expands: bool) -> FusedNames {
        let path = self.block(stage, index);
        match self {
            Self::Torchvision => FusedNames {
                square: Layer::sequential(&format!("{path}.block.0")),
                project: Layer::sequential(&format!("{path}.block.1")),
                drop_path: format!("{path}.drop_path"),
                add: format!("{path}.add"),
            },
            Self::Timm => {
                let layer = |conv: &str, number: usize| {
                    Layer::new(
                        &format!("{path}.{conv}"),
                        &format!("{path}.bn{number}"),
                        &format!("{path}.act{number}"),
                    )
                };
                FusedNames {
                    square: layer(if expands { "conv_exp" } else { "conv" }, 1),
                    project: layer("conv_pwl", 2),
                    drop_path: format!("{path}.drop_path"),
                    add: format!("{path}.add"),
                }
            }
            Self::Keras | Self::KerasV2 => {
                let layer = |part: &str| keras_layer(&format!("{path}{part}_"));
                FusedNames {
                    square: layer(if expands { "expand" } else { "project" }),
                    project: layer("project"),
                    drop_path: format!("{path}drop"),
                    add: format!("{path}add"),
                }
            }
        }
    }
}

fn keras_layer(prefix: &str) -> Layer {
    Layer::new(&format!("{prefix}conv"), &format!("{prefix}bn"), &format!("{prefix}activation"))
}

/// Keras's letter for a block of a stage: `a` to `z`, then `aa`, `ab` and so on.
fn letters(index: usize) -> String {
    let letter = char::from(b'a' + (index % 26) as u8);
    if index < 26 { letter.to_string() } else { format!("{}{letter}", letters(index / 26 - 1)) }
}
