//! The sources' names for the layers of post-activation networks.

use super::super::Source;
use super::rows::{Form, Row};
use crate::blocks::{GateNames, Layer};

/// A source's naming scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Torchvision,
    Timm,
    /// timm's older definition.
    Legacy,
    Keras,
}

impl Dialect {
    pub(super) fn of(row: &Row, source: Source) -> Self {
        match source {
            Source::Torchvision | Source::Paper => Self::Torchvision,
            Source::Keras => Self::Keras,
            Source::Timm if row.legacy => Self::Legacy,
            Source::Timm => Self::Timm,
        }
    }

    /// The layer `number` of the stem, counted from 0.
    pub(super) fn stem(self, form: Form, number: usize) -> Layer {
        match (self, form) {
            (Self::Legacy, _) => Layer::new("layer0.conv1", "layer0.bn1", "layer0.relu1"),
            (Self::Keras, _) => Layer::new("conv1_conv", "conv1_bn", "conv1_relu"),
            (Self::Timm, Form::D) if number == 2 => Layer::new("conv1.6", "bn1", "act1"),
            (Self::Timm, Form::D) => {
                let part = |part: usize| format!("conv1.{}", 3 * number + part);
                Layer::new(&part(0), &part(1), &part(2))
            }
            (Self::Timm, _) => Layer::new("conv1", "bn1", "act1"),
            (Self::Torchvision, _) => Layer::new("conv1", "bn1", "relu"),
        }
    }

    pub(super) fn stem_pool(self) -> &'static str {
        match self {
            Self::Torchvision | Self::Timm => "maxpool",
            Self::Legacy => "pool0",
            Self::Keras => "pool1_pool",
        }
    }

    pub(super) fn block(self, stage: usize, index: usize) -> BlockNames {
        let path = match self {
            Self::Torchvision | Self::Timm | Self::Legacy => format!("layer{}.{index}", stage + 1),
            Self::Keras => format!("conv{}_block{}", stage + 2, index + 1),
        };
        BlockNames { dialect: self, path }
    }
}

/// The names in one block; layers and activations are numbered from 1.
pub(super) struct BlockNames {
    dialect: Dialect,
    pub(super) path: String,
}

impl BlockNames {
    pub(super) fn part(&self, part: &str) -> String {
        let joint = if self.dialect == Dialect::Keras { '_' } else { '.' };
        format!("{}{joint}{part}", self.path)
    }

    pub(super) fn layer(&self, number: usize) -> Layer {
        let name = |word: &str| match self.dialect {
            Dialect::Keras => self.part(&format!("{number}_{word}")),
            _ => self.part(&format!("{word}{number}")),
        };
        Layer { conv: name("conv"), norm: name("bn"), activation: self.activation(number) }
    }

    /// PyTorch's feature extraction numbers the calls of the one ReLU that a block has.
    pub(super) fn activation(&self, number: usize) -> String {
        match self.dialect {
            Dialect::Timm => self.part(&format!("act{number}")),
            Dialect::Keras => self.part(&format!("{number}_relu")),
            Dialect::Torchvision | Dialect::Legacy if number == 1 => self.part("relu"),
            Dialect::Torchvision | Dialect::Legacy => self.part(&format!("relu_{}", number - 1)),
        }
    }

    /// The activation after the sum, with `before` activations before it.
    pub(super) fn out(&self, before: usize) -> String {
        match self.dialect {
            Dialect::Keras => self.part("out"),
            _ => self.activation(before + 1),
        }
    }

    pub(super) fn gate(&self) -> GateNames {
        let (gate, activation, sigmoid) = match self.dialect {
            Dialect::Legacy => ("se_module", "relu", "sigmoid"),
            _ => ("se", "act", "gate"),
        };
        let name = |part: &str| self.part(&format!("{gate}.{part}"));
        GateNames {
            path: self.part(gate),
            pool: name("mean"),
            reduce: name("fc1"),
            activation: name(activation),
            expand: name("fc2"),
            gate: name(sigmoid),
            multiply: name("mul"),
        }
    }

    /// The pool and the padding of a shortcut without parameters.
    pub(super) fn padding(&self) -> (String, String) {
        (self.part("downsample.pool"), self.part("downsample.pad"))
    }

    /// The average pool of a shortcut.
    pub(super) fn shortcut_pool(&self) -> String {
        self.part("downsample.0")
    }

    /// The 1×1 convolution of a projection shortcut, and its norm.
    pub(super) fn projection(&self, form: Form) -> (String, String) {
        if self.dialect == Dialect::Keras {
            return (self.part("0_conv"), self.part("0_bn"));
        }
        let before = usize::from(form == Form::D);
        let name = |part: usize| self.part(&format!("downsample.{}", before + part));
        (name(0), name(1))
    }
}
