//! The table of variants, and the family.

use super::super::{Definition, Family, Source};
use crate::data::{Filter, Preprocess};
use crate::weights::init::{Recipe, Rule};

pub(super) static DENSENET: Family = Family {
    name: "DenseNet",
    year: 2016,
    paper: "Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017, \
            arXiv:1608.06993",
    idea: "Every layer reads what all earlier layers of its block wrote, so each needs to write only a little.",
    strengths: "Few parameters for its accuracy; features are reused and gradients reach every layer directly.",
    weaknesses: "Much memory traffic: what was written is concatenated and normalised again at every layer.",
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stem {
    /// A 7×7 convolution and a pool, both of stride 2.
    Large,
    /// Three 3×3 convolutions, the first of stride 2, and a pool of stride 2.
    Deep,
    /// A 3×3 convolution of stride 1, without norm.
    Small,
}

/// torchvision's and timm's DenseNet.
const RECIPE: Recipe =
    Recipe { conv: Rule::NormalIn { gain: 2.0 }, bias: Rule::ZERO, ..Recipe::PYTORCH };

#[derive(Clone, Copy)]
pub(super) struct Row {
    pub name: &'static str,
    /// The default first.
    pub definitions: &'static [Definition],
    pub stem: Stem,
    /// Whether the pool of the stem is a blur pool (Zhang, arXiv:1904.11486).
    pub blurs: bool,
    /// Channels before the first block.
    pub stem_channels: usize,
    /// Layers in each block.
    pub depths: &'static [usize],
    /// Growth rate: channels that every layer adds (the paper's k).
    pub growth: usize,
    /// Bottleneck and compression, the paper's B and C: a layer begins with a 1×1 convolution to four times the growth
    /// rate, and a transition halves the channels.
    pub compress: bool,
    pub classes: usize,
}

const TORCHVISION: Definition = Definition {
    recipe: RECIPE,
    ..Definition::new(Source::Torchvision, Preprocess::imagenet(256, 224, Filter::Bilinear))
};
const TIMM: Definition = Definition {
    source: Source::Timm,
    preprocess: Preprocess::imagenet(256, 224, Filter::Bicubic),
    ..TORCHVISION
};
const KERAS: Definition =
    Definition::new(Source::Keras, Preprocess::imagenet(224, 224, Filter::Bilinear));
const PAPER: Definition = Definition { source: Source::Paper, ..TORCHVISION };

const IMAGENET: Row = Row {
    name: "",
    definitions: &[TORCHVISION, TIMM],
    stem: Stem::Large,
    blurs: false,
    stem_channels: 64,
    depths: &[6, 12, 24, 16],
    growth: 32,
    compress: true,
    classes: 1000,
};

const CIFAR: Row = Row {
    definitions: &[Definition { preprocess: Preprocess::CIFAR10, ..PAPER }],
    stem: Stem::Small,
    stem_channels: 16,
    depths: &[12, 12, 12],
    growth: 12,
    compress: false,
    classes: 10,
    ..IMAGENET
};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row { name: "densenet121", definitions: &[TORCHVISION, TIMM, KERAS.named("DenseNet121")], ..IMAGENET },
    Row {
        name: "densenet161",
        depths: &[6, 12, 36, 24],
        growth: 48,
        stem_channels: 96,
        ..IMAGENET
    },
    Row {
        name: "densenet169",
        definitions: &[TORCHVISION, TIMM, KERAS.named("DenseNet169")],
        depths: &[6, 12, 32, 32],
        ..IMAGENET
    },
    Row {
        name: "densenet201",
        definitions: &[TORCHVISION, TIMM, KERAS.named("DenseNet201")],
        depths: &[6, 12, 48, 32],
        ..IMAGENET
    },
    Row { name: "densenet264", definitions: &[PAPER], depths: &[6, 12, 64, 48], ..IMAGENET },
    Row {
        name: "densenet264d",
        definitions: &[Definition {
            deviations: "three 3×3 convolutions begin it, the paper's one 7×7; k = 48, the paper's 32",
            ..TIMM
        }],
        stem: Stem::Deep,
        depths: &[6, 12, 64, 48],
        growth: 48,
        stem_channels: 96,
        ..IMAGENET
    },
    Row {
        name: "densenetblur121d",
        definitions: &[Definition {
            deviations: "three 3×3 convolutions begin it, the paper's one 7×7; the pool after them is blurred before it steps",
            ..TIMM
        }],
        stem: Stem::Deep,
        blurs: true,
        ..IMAGENET
    },
    Row { name: "densenet40", ..CIFAR },
    Row { name: "densenet_bc100", stem_channels: 24, depths: &[16, 16, 16], compress: true, ..CIFAR },
];
