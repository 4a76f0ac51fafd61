//! The table of variants, and the family.

use super::super::Family;
use super::super::Source::{self, Keras, Paper, Timm, Torchvision};
use crate::data::{Filter, Preprocess};

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

#[derive(Clone, Copy)]
pub(super) struct Row {
    pub name: &'static str,
    /// The sources that define it, the default first.
    pub sources: &'static [Source],
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

const IMAGENET: Row = Row {
    name: "",
    sources: &[Torchvision, Timm, Keras],
    stem: Stem::Large,
    blurs: false,
    stem_channels: 64,
    depths: &[6, 12, 24, 16],
    growth: 32,
    compress: true,
    classes: 1000,
};

const CIFAR: Row = Row {
    sources: &[Paper],
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
    Row { name: "densenet121", ..IMAGENET },
    Row {
        name: "densenet161",
        sources: &[Torchvision, Timm],
        depths: &[6, 12, 36, 24],
        growth: 48,
        stem_channels: 96,
        ..IMAGENET
    },
    Row { name: "densenet169", depths: &[6, 12, 32, 32], ..IMAGENET },
    Row { name: "densenet201", depths: &[6, 12, 48, 32], ..IMAGENET },
    Row { name: "densenet264", sources: &[Paper], depths: &[6, 12, 64, 48], ..IMAGENET },
    Row {
        name: "densenet264d",
        sources: &[Timm],
        stem: Stem::Deep,
        depths: &[6, 12, 64, 48],
        growth: 48,
        stem_channels: 96,
        ..IMAGENET
    },
    Row { name: "densenetblur121d", sources: &[Timm], stem: Stem::Deep, blurs: true, ..IMAGENET },
    Row { name: "densenet40", ..CIFAR },
    Row { name: "densenet_bc100", stem_channels: 24, depths: &[16, 16, 16], compress: true, ..CIFAR },
];

impl Row {
    pub(super) fn preprocess(&self, source: Source) -> Preprocess {
        match (self.stem, source) {
            (Stem::Small, _) => Preprocess::CIFAR10,
            (_, Torchvision | Paper) => Preprocess::imagenet(256, 224, Filter::Bilinear),
            (_, Timm) => Preprocess::imagenet(256, 224, Filter::Bicubic),
            (_, Keras) => Preprocess::imagenet(224, 224, Filter::Bilinear),
        }
    }

    /// The source's name of the variant.
    pub(super) fn source_name(&self, source: Source) -> &'static str {
        match (source, self.name) {
            (Keras, "densenet121") => "DenseNet121",
            (Keras, "densenet169") => "DenseNet169",
            (Keras, "densenet201") => "DenseNet201",
            (_, name) => name,
        }
    }

    pub(super) fn deviations(&self) -> &'static str {
        match (self.stem, self.blurs) {
            (Stem::Large | Stem::Small, _) => "none",
            (Stem::Deep, true) => {
                "three 3×3 convolutions begin it, the paper's one 7×7; the pool after them is blurred before it steps"
            }
            (Stem::Deep, false) => {
                "three 3×3 convolutions begin it, the paper's one 7×7; k = 48, the paper's 32"
            }
        }
    }
}
