//! The sources' names for the layers of pre-activation networks.

use super::super::Source;

/// A source's naming scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Timm,
    Keras,
}

impl From<Source> for Dialect {
    fn from(source: Source) -> Self {
        match source {
            Source::Keras => Self::Keras,
            Source::Torchvision | Source::Timm | Source::Paper => Self::Timm,
        }
    }
}

impl Dialect {
    pub(super) fn stem_pool(self) -> &'static str {
        match self {
            Self::Timm => "stem.pool",
            Self::Keras => "pool1_pool",
        }
    }

    pub(super) fn block(self, stage: usize, index: usize) -> BlockNames {
        let path = match self {
            Self::Timm => format!("stages.{stage}.blocks.{index}"),
            Self::Keras => format!("conv{}_block{}", stage + 2, index + 1),
        };
        BlockNames { dialect: self, path }
    }

    /// The norm and the activation after the last block.
    pub(super) fn last(self) -> (&'static str, &'static str) {
        match self {
            Self::Timm => ("norm", "norm.act"),
            Self::Keras => ("post_bn", "post_relu"),
        }
    }
}

/// The names in one block; its layers are numbered from 1.
pub(super) struct BlockNames {
    dialect: Dialect,
    pub(super) path: String,
}

impl BlockNames {
    pub(super) fn part(&self, part: &str) -> String {
        match self.dialect {
            Dialect::Timm => format!("{}.{part}", self.path),
            Dialect::Keras => format!("{}_{part}", self.path),
        }
    }

    pub(super) fn conv(&self, number: usize) -> String {
        match self.dialect {
            Dialect::Timm => self.part(&format!("conv{number}")),
            Dialect::Keras => self.part(&format!("{number}_conv")),
        }
    }

    /// The norm and the activation before a convolution. Keras numbers them after the convolution before.
    pub(super) fn before(&self, number: usize) -> (String, String) {
        match self.dialect {
            Dialect::Timm => {
                let norm = self.part(&format!("norm{number}"));
                let activation = format!("{norm}.act");
                (norm, activation)
            }
            Dialect::Keras if number == 1 => (self.part("preact_bn"), self.part("preact_relu")),
            Dialect::Keras => {
                let name = |word: &str| self.part(&format!("{}_{word}", number - 1));
                (name("bn"), name("relu"))
            }
        }
    }

    pub(super) fn projection(&self) -> String {
        match self.dialect {
            Dialect::Timm => self.part("downsample.conv"),
            Dialect::Keras => self.part("0_conv"),
        }
    }

    pub(super) fn add(&self) -> String {
        match self.dialect {
            Dialect::Timm => self.part("add"),
            Dialect::Keras => self.part("out"),
        }
    }
}
