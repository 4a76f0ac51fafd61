//! GoogLeNet: modules with parallel branches of 1×1, 3×3 and 5×5 convolutions and a pool, after 1×1 convolutions that
//! reduce the channels.
//!
//! Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich, "Going Deeper with Convolutions", CVPR 2015,
//! arXiv:1409.4842.
//!
//! There is one variant, which differs between sources.
//!
//! Sources: torchvision (default) has a later version with batch norm, whose 5×5 are 3×3 by mistake. The paper's own
//! (`googlenet_2014`) has torchvision's names. Both have two auxiliary classifiers, which run in training only.

use super::super::{Definition, Family, Settings, Source, Variant};
use super::names::{Dialect, Names, Numbers, joins};
use super::{NORM, NetworkBuilder, Step, branch, conv, keep, max_pool};
use crate::blocks::{Head, KRIZHEVSKY, classifier, pooled_head};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{AdaptivePool, BatchNorm, Conv, Flatten, Function, Linear, Pool, PoolKind};
use crate::graph::{Auxiliary, Graph, NodeId, PartKind};
use crate::weights::init::{Recipe, Rule};

static GOOGLENET: Family = Family {
    name: "GoogLeNet",
    year: 2014,
    paper: "Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going Deeper with Convolutions, CVPR \
            2015, arXiv:1409.4842",
    idea: "A module looks at its input through windows of 1, 3 and 5 pixels at once, after 1×1 convolutions that keep \
           each look cheap.",
    strengths: "A ninth of AlexNet's parameters and far more accurate; no large fully connected layers.",
    weaknesses: "Many small operations, which hardware runs below its speed; every width was chosen by hand.",
};

/// torchvision's GoogLeNet. It truncates the normal distribution at ±2, which is far in its tails.
const RECIPE: Recipe =
    Recipe { conv: Rule::Normal(0.01), linear: Rule::Normal(0.01), ..Recipe::PYTORCH };

/// The paper of GoogLeNet names no rule; without norms, this one keeps the scale of activations.
const RECIPE_2014: Recipe = Recipe {
    conv: Rule::NormalIn { gain: 2.0 },
    linear: Rule::NormalIn { gain: 2.0 },
    bias: Rule::ZERO,
    ..Recipe::PYTORCH
};

struct Row {
    definition: Definition,
    norm: Option<BatchNorm>,
    /// Local response normalisation in the stem.
    normalise: bool,
    /// Kernel size of the third branch.
    large: usize,
    /// Kernel size of the last pool.
    last_pool: usize,
    drop_rate: f64,
    /// Whether an auxiliary classifier pools to 4×4 with windows of 5 at stride 3, or adaptively.
    windows: bool,
}

const ROWS: &[Row] = &[
    Row {
        definition: Definition {
            recipe: RECIPE,
            deviations: "batch norm, no local response normalisation, 3×3 for the 5×5, 2×2 for the last 3×3 pool, dropout 0.2 \
                         for 0.4; auxiliary classifiers fit any size of image",
            options: &["drop_rate", "aux", "transform_input"],
            ..Definition::new(Source::Torchvision, Preprocess::imagenet(256, 224, Filter::Bilinear))
        },
        norm: Some(NORM),
        normalise: false,
        large: 3,
        last_pool: 2,
        drop_rate: 0.2,
        windows: false,
    },
    Row {
        definition: Definition {
            recipe: RECIPE_2014,
            deviations: "what the paper leaves open: local response normalisation has the constants of Krizhevsky et al. \
                         (2012), parameters start as He et al. say (arXiv:1502.01852), and pools hang over the border, \
                         which gives the sizes of its table 1",
            options: &["drop_rate", "aux"],
            ..Definition::new(Source::Paper, Preprocess::centred(256, 224)).named("googlenet_2014")
        },
        norm: None,
        normalise: true,
        large: 5,
        last_pool: 3,
        drop_rate: 0.4,
        windows: true,
    },
];

/// Dropout of the auxiliary classifiers.
const AUXILIARY_DROP_RATE: f64 = 0.7;

/// A module, with the channels of each branch.
struct Module {
    name: &'static str,
    point: usize,
    /// The 3×3 branch: channels of the 1×1 before, and of the 3×3.
    square: (usize, usize),
    /// The 5×5 branch: channels of the 1×1 before, and of the 5×5.
    large: (usize, usize),
    /// Channels after the pool.
    pool: usize,
    after: After,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Pool,
    /// An auxiliary classifier.
    Classifier,
}

#[rustfmt::skip]
const MODULES: [Module; 9] = [
    Module { name: "inception3a", point: 64, square: (96, 128), large: (16, 32), pool: 32, after: After::Nothing },
    Module { name: "inception3b", point: 128, square: (128, 192), large: (32, 96), pool: 64, after: After::Pool },
    Module { name: "inception4a", point: 192, square: (96, 208), large: (16, 48), pool: 64, after: After::Classifier },
    Module { name: "inception4b", point: 160, square: (112, 224), large: (24, 64), pool: 64, after: After::Nothing },
    Module { name: "inception4c", point: 128, square: (128, 256), large: (24, 64), pool: 64, after: After::Nothing },
    Module { name: "inception4d", point: 112, square: (144, 288), large: (32, 64), pool: 64, after: After::Classifier },
    Module { name: "inception4e", point: 256, square: (160, 320), large: (32, 128), pool: 128, after: After::Pool },
    Module { name: "inception5a", point: 256, square: (160, 320), large: (32, 128), pool: 128, after: After::Nothing },
    Module { name: "inception5b", point: 384, square: (192, 384), large: (48, 128), pool: 128, after: After::Nothing },
];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    let edition =
        |row: &'static Row| row.definition.edition("googlenet", |settings| graph(row, settings));
    let editions = ROWS.iter().map(edition).collect();
    let variant = Variant { name: "googlenet", family: &GOOGLENET, classes: 1000, editions };
    std::iter::once(variant)
}

fn graph(row: &Row, settings: &Settings) -> Result<Graph> {
    let names = Names::new(Dialect::Torchvision, Numbers::Steps);
    let mut builder = NetworkBuilder::new(settings, names, row.norm);
    let input = builder.input(settings)?;
    let begin = builder.g.mark();
    let mut x = stem(&mut builder, row, input);
    builder.g.part(PartKind::Stem, "stem", begin);
    let mut pools: usize = 2;
    let mut classified = Vec::new();
    for module in &MODULES {
        x = inception(&mut builder, row, module, x);
        match module.after {
            After::Nothing => {}
            After::Classifier => classified.push(x),
            After::Pool => {
                pools += 1;
                let kernel = if pools == 4 { row.last_pool } else { 3 };
                x = builder.pool(&format!("maxpool{pools}"), hanging_pool(kernel), x);
            }
        }
    }
    // At this place in the order of the state dict.
    if settings.aux.unwrap_or(true) && settings.classes > 0 {
        for (number, &x) in (1..).zip(&classified) {
            let logits = auxiliary(&mut builder, row, &format!("aux{number}"), settings.classes, x);
            builder.g.auxiliary(logits, Auxiliary::USUAL_WEIGHT);
        }
    }
    let head = Head { dropout: "dropout", linear: "fc" };
    let drop_rate = settings.drop_rate.unwrap_or(row.drop_rate);
    let logits = pooled_head(&mut builder.g, head, settings.classes, drop_rate, x);
    builder.g.finish(logits)
}

fn stem(builder: &mut NetworkBuilder, row: &Row, input: NodeId) -> NodeId {
    let mut x = builder.stem_layer("conv1", Conv { stride: 2.into(), ..conv(64, 7) }, input);
    x = builder.pool("maxpool1", hanging_pool(3), x);
    if row.normalise {
        x = builder.g.add("norm1", KRIZHEVSKY, x);
    }
    x = builder.stem_layer("conv2", conv(64, 1), x);
    x = builder.stem_layer("conv3", conv(192, 3), x);
    if row.normalise {
        x = builder.g.add("norm2", KRIZHEVSKY, x);
    }
    builder.pool("maxpool2", hanging_pool(3), x)
}

fn inception(builder: &mut NetworkBuilder, row: &Row, module: &Module, x: NodeId) -> NodeId {
    let Module { name, point, square, large, pool, .. } = module;
    let branches = [
        branch("branch1", [keep(*point, 1)]),
        branch("branch2", [keep(square.0, 1), keep(square.1, 3)]),
        branch("branch3", [keep(large.0, 1), keep(large.1, row.large)]),
        branch("branch4", [Step::Pool(max_pool(3, 1, 1)), keep(*pool, 1)]),
    ];
    builder.module(name, &joins(name, 0), &branches, x)
}

fn auxiliary(
    builder: &mut NetworkBuilder,
    row: &Row,
    path: &str,
    classes: usize,
    input: NodeId,
) -> NodeId {
    let begin = builder.g.mark();
    let mut x = if row.windows {
        let pool = Pool { kind: PoolKind::Average, ..max_pool(5, 3, 0) };
        builder.g.add(format!("{path}.avg_pool2d"), pool, input)
    } else {
        builder.g.add(format!("{path}.adaptive_avg_pool2d"), AdaptivePool { size: 4.into() }, input)
    };
    x = builder.layer(&format!("{path}.conv"), conv(128, 1), x);
    let g = &mut builder.g;
    x = g.add(format!("{path}.flatten"), Flatten {}, x);
    x = g.add(format!("{path}.fc1"), Linear { out: 1024, ..Linear::default() }, x);
    x = g.add(format!("{path}.relu"), Function::Relu, x);
    let names = [format!("{path}.dropout"), format!("{path}.fc2")];
    x = classifier(g, &names[0], &names[1], classes, AUXILIARY_DROP_RATE, x);
    g.part(PartKind::Head, path, begin);
    x
}

/// A pool of stride 2 in ceil mode: its last window may hang over the border.
fn hanging_pool(kernel: usize) -> Pool {
    Pool { ceil: true, ..max_pool(kernel, 2, 0) }
}
