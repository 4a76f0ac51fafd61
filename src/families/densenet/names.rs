//! The sources' names for the layers.

use super::super::Source;
use crate::blocks::Layer;

/// A source's naming scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Also for the paper's networks that no library has.
    Torchvision,
    Timm,
    Keras,
}

impl From<Source> for Dialect {
    fn from(source: Source) -> Self {
        match source {
            Source::Torchvision | Source::Paper => Self::Torchvision,
            Source::Timm => Self::Timm,
            Source::Keras => Self::Keras,
        }
    }
}

/// The names in a layer of a block; a layer without bottleneck has only the second half.
pub(super) struct DenseLayer {
    pub path: String,
    pub squeeze: Layer,
    pub square: Layer,
    pub dropout: String,
    pub concat: String,
}

impl Dialect {
    /// The convolution `number` of the stem.
    pub(super) fn stem(self, number: usize) -> Layer {
        match self {
            Self::Torchvision => layer(
                format!("features.conv{number}"),
                format!("features.norm{number}"),
                format!("features.relu{number}"),
            ),
            Self::Timm => fused(format!("features.conv{number}"), format!("features.norm{number}")),
            Self::Keras => layer("conv1_conv".into(), "conv1_bn".into(), "conv1_relu".into()),
        }
    }

    pub(super) fn stem_pool(self) -> &'static str {
        match self {
            Self::Torchvision | Self::Timm => "features.pool0",
            Self::Keras => "pool1",
        }
    }

    /// The stem's pool with stride 1, and the blur with stride 2.
    pub(super) fn blurred_stem_pool() -> (&'static str, &'static str) {
        ("features.pool0.0", "features.pool0.1")
    }

    pub(super) fn dense_layer(self, block: usize, index: usize) -> DenseLayer {
        let path = match self {
            Self::Torchvision | Self::Timm => {
                format!("features.denseblock{}.denselayer{}", block + 1, index + 1)
            }
            Self::Keras => format!("conv{}_block{}", block + 2, index + 1),
        };
        let numbered = |number: usize| match self {
            Self::Torchvision => layer(
                format!("{path}.conv{number}"),
                format!("{path}.norm{number}"),
                format!("{path}.relu{number}"),
            ),
            Self::Timm => fused(format!("{path}.conv{number}"), format!("{path}.norm{number}")),
            Self::Keras => layer(
                format!("{path}_{number}_conv"),
                format!("{path}_{}_bn", number - 1),
                format!("{path}_{}_relu", number - 1),
            ),
        };
        let joined = |word: &str| match self {
            Self::Torchvision | Self::Timm => format!("{path}.{word}"),
            Self::Keras => format!("{path}_{word}"),
        };
        DenseLayer {
            squeeze: numbered(1),
            square: numbered(2),
            dropout: joined("dropout"),
            concat: match self {
                Self::Torchvision | Self::Timm => joined("cat"),
                Self::Keras => joined("concat"),
            },
            path,
        }
    }

    /// The concatenation at the end of a block.
    pub(super) fn block_concat(block: usize) -> String {
        format!("features.denseblock{}.cat", block + 1)
    }

    /// Norm, activation and convolution of a transition, and its pool.
    pub(super) fn transition(self, block: usize) -> (Layer, String) {
        let path = format!("features.transition{}", block + 1);
        match self {
            Self::Torchvision => {
                let names =
                    layer(format!("{path}.conv"), format!("{path}.norm"), format!("{path}.relu"));
                (names, format!("{path}.pool"))
            }
            Self::Timm => {
                (fused(format!("{path}.conv"), format!("{path}.norm")), format!("{path}.pool"))
            }
            Self::Keras => {
                let path = format!("pool{}", block + 2);
                let names =
                    layer(format!("{path}_conv"), format!("{path}_bn"), format!("{path}_relu"));
                (names, format!("{path}_pool"))
            }
        }
    }

    /// The norm and the activation after the last block.
    pub(super) fn last(self, blocks: usize) -> (String, String) {
        let norm = format!("features.norm{}", blocks + 1);
        match self {
            Self::Torchvision => (norm, "relu".into()),
            Self::Timm => (norm.clone(), format!("{norm}.act")),
            Self::Keras => ("bn".into(), "relu".into()),
        }
    }
}

fn layer(conv: String, norm: String, activation: String) -> Layer {
    Layer { conv, norm, activation }
}

/// timm's activations are part of the norms.
fn fused(conv: String, norm: String) -> Layer {
    let activation = format!("{norm}.act");
    Layer { conv, norm, activation }
}
