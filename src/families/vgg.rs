//! VGG: deep stacks of 3×3 convolutions. Two of them have the receptive field of a 5×5, with fewer parameters.
//!
//! Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
//! arXiv:1409.1556.
//!
//! Variants differ in the number of convolutions in each of the five stages (columns A to E of the paper's table 1),
//! batch norm after each of them, and, in column C, a 1×1 at the end of a stage.
//!
//! Sources: torchvision (default) has an adaptive average pool to 7×7 before the hidden layers, so that any image fits.
//! timm writes the hidden layers as convolutions, and averages their outputs on larger images. Keras has no dropout,
//! and its first hidden layer fixes the size of the image. That layer's weight is ordered (height, width, channels) in
//! Keras and (channels, height, width) here, so it has to be reordered. Keras's published weights are for blue, green and
//! red, and are turned around when they are loaded. Columns A-LRN and C are in the paper alone: `vgg11_lrn` and
//! `vgg16_1x1`.

use super::{Definition, Family, Settings, Source, Variant};
use crate::blocks::{Dense, HIDDEN, HiddenHead, KRIZHEVSKY, hidden_head, pooled, stage_name};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{AdaptivePool, BatchNorm, Conv, Dropout, Function, Pool, PoolUpTo};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use crate::weights::init::Recipe;

static VGG: Family = Family {
    name: "VGG",
    year: 2014,
    paper: "Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, arXiv:1409.1556",
    idea: "Only 3×3 convolutions, stacked deep: two of them see as far as a 5×5, with fewer parameters and one more ReLU.",
    strengths: "As regular as a network can be; its features carry style transfer and perceptual losses.",
    weaknesses: "More parameters and multiply-adds than any other here for its accuracy, most parameters in one layer.",
};

static VGG_BN: Family = Family {
    name: "VGG-BN",
    year: 2014,
    paper: VGG.paper,
    idea: "VGG with batch norm (Ioffe and Szegedy, 2015) after every convolution, so that all depths train from scratch.",
    strengths: "More accurate than plain VGG, and trains without a shallower network to start from.",
    weaknesses: VGG.weaknesses,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Normalise {
    Nothing,
    /// Batch norm after every convolution.
    Batch,
    /// Local response normalisation after the first convolution.
    LocalResponse,
}

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    family: &'static Family,
    /// Convolutions in each stage.
    depths: [usize; 5],
    normalise: Normalise,
    /// Whether the last convolution of the three later stages is 1×1.
    pointwise: bool,
    definitions: &'static [Definition],
}

const TORCHVISION: Definition = Definition {
    recipe: Recipe::VGG,
    deviations: "averages to 7 × 7 before the hidden layers",
    ..Definition::new(Source::Torchvision, Preprocess::imagenet(256, 224, Filter::Bilinear))
};
const TIMM: Definition = Definition {
    source: Source::Timm,
    deviations: "the hidden layers are convolutions; no dropout unless asked for",
    ..TORCHVISION
};
const KERAS: Definition = Definition {
    deviations: "no dropout",
    options: &[],
    ..Definition::new(Source::Keras, Preprocess::centred(224, 224))
};
const PAPER: Definition = Definition {
    // Section 3.1 says that Glorot's rule makes its pre-training unnecessary.
    recipe: Recipe::KERAS,
    deviations: "starts by Glorot's rule, not from a trained network A",
    ..Definition::new(Source::Paper, Preprocess::centred(256, 224))
};
const WITH_NORMS: [Definition; 2] = [
    Definition {
        deviations: "batch norm after every convolution; averages to 7 × 7 before the hidden layers",
        ..TORCHVISION
    },
    Definition {
        deviations: "batch norm after every convolution; the hidden layers are convolutions; no dropout unless asked for",
        ..TIMM
    },
];

const PLAIN: Row = Row {
    name: "",
    family: &VGG,
    depths: [1, 1, 2, 2, 2],
    normalise: Normalise::Nothing,
    pointwise: false,
    definitions: &[TORCHVISION, TIMM],
};
const BATCH: Row =
    Row { family: &VGG_BN, normalise: Normalise::Batch, definitions: &WITH_NORMS, ..PLAIN };

const A: [usize; 5] = [1, 1, 2, 2, 2];
const B: [usize; 5] = [2, 2, 2, 2, 2];
const C_AND_D: [usize; 5] = [2, 2, 3, 3, 3];
const E: [usize; 5] = [2, 2, 4, 4, 4];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "vgg11", depths: A, ..PLAIN },
    Row { name: "vgg13", depths: B, ..PLAIN },
    Row { name: "vgg16", depths: C_AND_D, definitions: &[TORCHVISION, TIMM, KERAS.named("VGG16")], ..PLAIN },
    Row { name: "vgg19", depths: E, definitions: &[TORCHVISION, TIMM, KERAS.named("VGG19")], ..PLAIN },
    Row { name: "vgg11_lrn", depths: A, normalise: Normalise::LocalResponse, definitions: &[PAPER], ..PLAIN },
    Row { name: "vgg16_1x1", depths: C_AND_D, pointwise: true, definitions: &[PAPER], ..PLAIN },
    Row { name: "vgg11_bn", depths: A, ..BATCH },
    Row { name: "vgg13_bn", depths: B, ..BATCH },
    Row { name: "vgg16_bn", depths: C_AND_D, ..BATCH },
    Row { name: "vgg19_bn", depths: E, ..BATCH },
];

/// Channels of each stage.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        Variant::new(row.name, row.family, row.definitions, |definition, settings| {
            graph(row, definition.source, settings)
        })
    })
}

fn graph(row: &Row, source: Source, settings: &Settings) -> Result<Graph> {
    let classes = settings.classes;
    let mut g = settings.builder();
    let x = features(&mut g, row, source);
    let drop_rate = settings.drop_rate.unwrap_or(if source == Source::Timm { 0.0 } else { 0.5 });
    let logits = match source {
        Source::Torchvision => {
            let x = g.add("avgpool", AdaptivePool { size: 7.into() }, x);
            hidden_head(&mut g, &CLASSIFIER, classes, drop_rate, x)
        }
        Source::Timm => timm_head(&mut g, classes, drop_rate, x),
        Source::Keras => hidden_head(&mut g, &KERAS_HEAD, classes, drop_rate, x),
        Source::Paper => hidden_head(&mut g, &CLASSIFIER, classes, drop_rate, x),
    };
    g.finish(logits)
}

/// Names of layers: numbered through, or in Keras by stage.
struct Names {
    source: Source,
    next: usize,
}

impl Names {
    fn next(&mut self, in_keras: impl FnOnce() -> String) -> String {
        if self.source == Source::Keras {
            return in_keras();
        }
        let number = self.next;
        self.next += 1;
        format!("features.{number}")
    }
}

fn features(g: &mut Builder, row: &Row, source: Source) -> NodeId {
    let mut names = Names { source, next: 0 };
    let mut x = g.input();
    for (stage, (&depth, &channels)) in row.depths.iter().zip(&CHANNELS).enumerate() {
        let block = stage + 1;
        let stage_begin = g.mark();
        for number in 1..=depth {
            let pointwise = row.pointwise && stage >= 2 && number == depth;
            let kernel: usize = if pointwise { 1 } else { 3 };
            let conv = Conv {
                out: channels,
                kernel: kernel.into(),
                padding: (kernel / 2).into(),
                bias: true,
                ..Conv::default()
            };
            let path = || format!("block{block}_conv{number}");
            let (begin, name) = (g.mark(), names.next(path));
            x = g.add(&name, conv, x);
            if row.normalise == Normalise::Batch {
                x = g.add(names.next(|| format!("{}.norm", path())), BatchNorm::default(), x);
            }
            x = g.add(names.next(|| format!("{}.relu", path())), Function::Relu, x);
            if row.normalise == Normalise::LocalResponse && stage == 0 {
                x = g.add(names.next(|| format!("{}.norm", path())), KRIZHEVSKY, x);
            }
            g.part(PartKind::Block, name, begin);
        }
        let pool = Pool { kernel: 2.into(), stride: 2.into(), ..Pool::default() };
        x = g.add(names.next(|| format!("block{block}_pool")), pool, x);
        g.part(PartKind::Stage, stage_name(stage), stage_begin);
    }
    x
}

const CLASSIFIER: HiddenHead = HiddenHead {
    hidden: [
        (Dense { dropout: None, linear: "classifier.0" }, "classifier.1"),
        (Dense { dropout: Some("classifier.2"), linear: "classifier.3" }, "classifier.4"),
    ],
    classifier: Dense { dropout: Some("classifier.5"), linear: "classifier.6" },
};

const KERAS_HEAD: HiddenHead = HiddenHead {
    hidden: [
        (Dense { dropout: None, linear: "fc1" }, "fc1.relu"),
        (Dense { dropout: None, linear: "fc2" }, "fc2.relu"),
    ],
    classifier: Dense { dropout: None, linear: "predictions" },
};

/// timm's hidden layers as convolutions, which slide over images larger than 7 × 7.
fn timm_head(g: &mut Builder, classes: usize, drop_rate: f64, x: NodeId) -> NodeId {
    let dense =
        |kernel: usize| Conv { out: HIDDEN, kernel: kernel.into(), bias: true, ..Conv::default() };
    let dropout = |g: &mut Builder, name: &str, x| match drop_rate {
        rate if rate > 0.0 => g.add(name, Dropout { rate }, x),
        _ => x,
    };
    let x = g.add("pre_logits.adaptive_avg_pool2d", PoolUpTo { size: 7.into() }, x);
    let begin = g.mark();
    let x = g.add("pre_logits.fc1", dense(7), x);
    let x = g.add("pre_logits.act1", Function::Relu, x);
    g.part(PartKind::Block, "pre_logits.fc1", begin);
    let x = dropout(g, "pre_logits.drop", x);
    let begin = g.mark();
    let x = g.add("pre_logits.fc2", dense(1), x);
    let x = g.add("pre_logits.act2", Function::Relu, x);
    g.part(PartKind::Block, "pre_logits.fc2", begin);
    let layers = ["head.global_pool.pool", "head.global_pool.flatten", "head.drop", "head.fc"];
    let begin = g.mark();
    pooled(g, begin, layers, classes, drop_rate, x)
}
