//! AlexNet: five convolutions and three fully connected layers, learned end to end on a million photographs.
//!
//! Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012.
//! One tower: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
//!
//! Variants differ in the channels, in convolutions of two groups (the paper's two GPUs), and in local response
//! normalisation.
//!
//! Sources: torchvision (default of `alexnet`) has the single tower of 2014. The paper's of 2012 is `alexnet_2012`, with
//! layer names as in later work (conv1 to fc8). The paper speaks of images of 224 pixels, but its
//! first layer needs 227 for the 55 × 55 outputs of its figure.

use super::{Definition, Family, Settings, Source, Variant};
use crate::blocks::{Dense, HiddenHead, KRIZHEVSKY, hidden_head};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{AdaptivePool, Conv, Function, Pool};
use crate::graph::{Graph, PartKind};
use crate::weights::init::{Recipe, Rule};

static ALEXNET: Family = Family {
    name: "AlexNet",
    year: 2012,
    paper: "Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012; the single tower: arXiv:1404.5997",
    idea: "Five convolutions and three fully connected layers with ReLU and dropout, learned end to end on a million photographs.",
    strengths: "Short and shallow: each layer can be looked at and understood; few multiply-adds.",
    weaknesses: "96 % of its parameters sit in the fully connected layers; far less accurate than what followed.",
};

/// Krizhevsky, Sutskever and Hinton (2012), section 5.
const RECIPE_2012: Recipe = Recipe {
    conv: Rule::Normal(0.01),
    linear: Rule::Normal(0.01),
    bias: Rule::ZERO,
    exceptions: &[
        ("conv2.bias", Rule::ONE),
        ("conv4.bias", Rule::ONE),
        ("conv5.bias", Rule::ONE),
        ("fc6.bias", Rule::ONE),
        ("fc7.bias", Rule::ONE),
    ],
    ..Recipe::PYTORCH
};

struct Row {
    name: &'static str,
    definition: Definition,
    channels: [usize; 5],
    /// Padding of the image.
    border: usize,
    /// Groups of the second, fourth and fifth convolution.
    groups: usize,
    /// Local response normalisation after the first two convolutions.
    normalise: bool,
    names: Names,
}

const ROWS: &[Row] = &[
    Row {
        name: "alexnet",
        definition: Definition {
            deviations: "the single tower of 2014 (arXiv:1404.5997): other channels, no groups; unlike both, no local \
                         response normalisation, and dropout before the hidden layers",
            ..Definition::new(Source::Torchvision, Preprocess::imagenet(256, 224, Filter::Bilinear))
        },
        channels: [64, 192, 384, 256, 256],
        border: 2,
        groups: 1,
        normalise: false,
        names: TORCHVISION,
    },
    Row {
        name: "alexnet_2012",
        definition: Definition {
            recipe: RECIPE_2012,
            deviations: "images of 227 pixels, where the paper writes 224 and draws the layers of 227; the mean of the \
                         channels is subtracted, not that of every pixel",
            ..Definition::new(Source::Paper, Preprocess::centred(256, 227))
        },
        channels: [96, 256, 384, 384, 256],
        border: 0,
        groups: 2,
        normalise: true,
        names: PAPER,
    },
];

/// Kernel of each convolution; whether a pool (and what goes before it) follows.
const LAYERS: [(usize, bool); 5] = [(11, true), (5, true), (3, false), (3, false), (3, true)];

struct Names {
    convs: [&'static str; 5],
    relus: [&'static str; 5],
    norms: [&'static str; 2],
    /// Names of the pools, by the convolution before; empty where no pool follows.
    pools: [&'static str; 5],
    /// Name of the adaptive pooling to the size that the hidden layers expect, if there is one.
    grid: Option<&'static str>,
    head: HiddenHead,
}

const TORCHVISION: Names = Names {
    convs: ["features.0", "features.3", "features.6", "features.8", "features.10"],
    relus: ["features.1", "features.4", "features.7", "features.9", "features.11"],
    norms: ["", ""],
    pools: ["features.2", "features.5", "", "", "features.12"],
    grid: Some("avgpool"),
    head: HiddenHead {
        hidden: [
            (Dense { dropout: Some("classifier.0"), linear: "classifier.1" }, "classifier.2"),
            (Dense { dropout: Some("classifier.3"), linear: "classifier.4" }, "classifier.5"),
        ],
        classifier: Dense { dropout: None, linear: "classifier.6" },
    },
};

const PAPER: Names = Names {
    convs: ["conv1", "conv2", "conv3", "conv4", "conv5"],
    relus: ["relu1", "relu2", "relu3", "relu4", "relu5"],
    norms: ["norm1", "norm2"],
    pools: ["pool1", "pool2", "", "", "pool5"],
    grid: None,
    head: HiddenHead {
        hidden: [
            (Dense { dropout: None, linear: "fc6" }, "relu6"),
            (Dense { dropout: Some("drop6"), linear: "fc7" }, "relu7"),
        ],
        classifier: Dense { dropout: Some("drop7"), linear: "fc8" },
    },
};

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        Variant::new(row.name, &ALEXNET, &[row.definition], |_, settings| graph(row, settings))
    })
}

fn graph(row: &Row, settings: &Settings) -> Result<Graph> {
    let classes = settings.classes;
    let mut g = settings.builder();
    let names = &row.names;
    let mut x = g.input();
    for (index, &(kernel, pooled)) in LAYERS.iter().enumerate() {
        let first = index == 0;
        let conv = Conv {
            out: row.channels[index],
            kernel: kernel.into(),
            stride: if first { 4 } else { 1 }.into(),
            padding: if first { row.border } else { kernel / 2 }.into(),
            groups: if matches!(index, 1 | 3 | 4) { row.groups } else { 1 },
            bias: true,
            ..Conv::default()
        };
        let begin = g.mark();
        x = g.add(names.convs[index], conv, x);
        x = g.add(names.relus[index], Function::Relu, x);
        if row.normalise && index < 2 {
            x = g.add(names.norms[index], KRIZHEVSKY, x);
        }
        if pooled {
            // Overlapping pools: windows of 3 at stride 2.
            let pool = Pool { kernel: 3.into(), stride: 2.into(), ..Pool::default() };
            x = g.add(names.pools[index], pool, x);
        }
        g.part(if first { PartKind::Stem } else { PartKind::Block }, names.convs[index], begin);
    }
    if let Some(grid) = names.grid {
        x = g.add(grid, AdaptivePool { size: 6.into() }, x);
    }
    let logits = hidden_head(&mut g, &names.head, classes, settings.drop_rate.unwrap_or(0.5), x);
    g.finish(logits)
}
