//! How the sources name the layers.

use crate::blocks::{Head, Layer};

/// How a source names the parts of the network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Torchvision,
    Timm,
}

impl Dialect {
    pub(super) fn stem(self) -> Layer {
        match self {
            Self::Torchvision => sequential("features.0"),
            Self::Timm => layer("conv_stem", "bn1", "act1"),
        }
    }

    pub(super) fn block(self, stage: usize, index: usize) -> String {
        match self {
            Self::Torchvision => format!("features.{}.{index}", stage + 1),
            Self::Timm => format!("blocks.{stage}.{index}"),
        }
    }

    pub(super) fn last(self, stages: usize) -> Layer {
        match self {
            Self::Torchvision => sequential(&format!("features.{}", stages + 1)),
            Self::Timm => layer("conv_head", "bn2", "act2"),
        }
    }

    pub(super) fn classifier(self) -> Head {
        match self {
            Self::Torchvision => Head { dropout: "classifier.0", linear: "classifier.1" },
            Self::Timm => Head { dropout: "dropout", linear: "classifier" },
        }
    }

    pub(super) fn layers(self, path: &str) -> Layers<'_> {
        Layers { dialect: self, path, count: 0 }
    }
}

/// Names of a block's layers, one after the other.
pub(super) struct Layers<'a> {
    dialect: Dialect,
    path: &'a str,
    count: usize,
}

impl Layers<'_> {
    /// torchvision counts the layers; timm gives each convolution a word, and counts the norms from 1.
    pub(super) fn next(&mut self, word: &str) -> Layer {
        let (path, count) = (self.path, self.count);
        self.count += 1;
        match self.dialect {
            Dialect::Torchvision => sequential(&format!("{path}.block.{count}")),
            Dialect::Timm => layer(
                &format!("{path}.{word}"),
                &format!("{path}.bn{}", count + 1),
                &format!("{path}.act{}", count + 1),
            ),
        }
    }

    pub(super) fn squeeze(&mut self) -> String {
        match self.dialect {
            Dialect::Torchvision => {
                self.count += 1;
                format!("{}.block.{}", self.path, self.count - 1)
            }
            Dialect::Timm => format!("{}.se", self.path),
        }
    }
}

fn sequential(path: &str) -> Layer {
    layer(&format!("{path}.0"), &format!("{path}.1"), &format!("{path}.2"))
}

fn layer(conv: &str, norm: &str, activation: &str) -> Layer {
    Layer { conv: conv.into(), norm: norm.into(), activation: activation.into() }
}
