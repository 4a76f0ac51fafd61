//! Inception v3: large kernels are factorised into smaller and one-dimensional ones, with the same receptive field.
//!
//! Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer Vision", CVPR 2016,
//! arXiv:1512.00567.
//!
//! There is one variant, which differs between sources.
//!
//! Sources: torchvision (default) with an auxiliary classifier, timm, and Keras, whose norms have no scale and whose
//! average pools do not count the padding. All follow the authors' code, which departs from table 1 of the paper.

use super::super::{Definition, Family, Settings, Source, Variant};
use super::names::{Dialect, Names, Numbers, joins};
use super::{
    Branch, NORM, NetworkBuilder, Step, average_pool, branch, conv, keep, max_pool, reduce,
};
use crate::blocks::{Head, classifier, keras_head, pooled_head};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{AdaptivePool, BatchNorm, Conv, Flatten, Padding, Pool, PoolKind};
use crate::graph::{Graph, NodeId, PartKind};
use crate::weights::init::{Recipe, Rule};

static INCEPTION_V3: Family = Family {
    name: "Inception-v3",
    year: 2015,
    paper: "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception Architecture for Computer Vision, CVPR 2016, \
            arXiv:1512.00567",
    idea: "Large windows fall apart into small and one-dimensional ones, which see as far for fewer multiply-adds.",
    strengths: "Accurate for its cost in its time; its features measure how real generated pictures look (FID).",
    weaknesses: "Needs images of 75 pixels and more, in training 299; an intricate pattern of branches to change or to fuse.",
};

/// A module, by torchvision's name and Keras's.
struct Module {
    name: &'static str,
    keras: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A 5×5 branch, one of two 3×3, and `pool` channels after the pool: figure 5 of the paper.
    Small { pool: usize },
    /// From 35 pixels to 17.
    ReduceSmall,
    /// 1×7 and 7×1 kernels with `width` channels: figure 6.
    Long { width: usize },
    /// From 17 pixels to 8.
    ReduceLong,
    /// 1×3 and 3×1 kernels side by side: figure 7.
    Wide,
}

const MODULES: [Module; 11] = [
    Module { name: "Mixed_5b", keras: "mixed0", kind: Kind::Small { pool: 32 } },
    Module { name: "Mixed_5c", keras: "mixed1", kind: Kind::Small { pool: 64 } },
    Module { name: "Mixed_5d", keras: "mixed2", kind: Kind::Small { pool: 64 } },
    Module { name: "Mixed_6a", keras: "mixed3", kind: Kind::ReduceSmall },
    Module { name: "Mixed_6b", keras: "mixed4", kind: Kind::Long { width: 128 } },
    Module { name: "Mixed_6c", keras: "mixed5", kind: Kind::Long { width: 160 } },
    Module { name: "Mixed_6d", keras: "mixed6", kind: Kind::Long { width: 160 } },
    Module { name: "Mixed_6e", keras: "mixed7", kind: Kind::Long { width: 192 } },
    Module { name: "Mixed_7a", keras: "mixed8", kind: Kind::ReduceLong },
    Module { name: "Mixed_7b", keras: "mixed9", kind: Kind::Wide },
    Module { name: "Mixed_7c", keras: "mixed10", kind: Kind::Wide },
];

/// The module whose output the auxiliary classifier reads.
const CLASSIFIED: &str = "Mixed_6e";

/// The paper names no loss weight; this is that of the authors' code and of PyTorch's fine-tuning tutorial.
const AUXILIARY_WEIGHT: f64 = 0.4;

/// torchvision's and timm's Inception v3.
const RECIPE: Recipe = Recipe {
    conv: Rule::Normal(0.1),
    linear: Rule::Normal(0.1),
    exceptions: &[("AuxLogits.fc.weight", Rule::Normal(0.001))],
    ..Recipe::PYTORCH
};

const DEFINITIONS: &[Definition] = &[
    Definition {
        recipe: RECIPE,
        deviations: "the authors' code: the stem has a 1×1 and a second pool where table 1 has 3×3 convolutions",
        options: &["drop_rate", "aux", "transform_input"],
        ..Definition::new(Source::Torchvision, Preprocess::imagenet(342, 299, Filter::Bilinear))
    },
    Definition {
        recipe: RECIPE,
        deviations: "as torchvision's; an auxiliary classifier only if asked for, no dropout",
        options: &["drop_rate", "aux"],
        ..Definition::new(Source::Timm, Preprocess::inception(341, 299, Filter::Bicubic))
    },
    Definition {
        deviations: "as torchvision's; no auxiliary classifier, no dropout, norms without scale, averages that leave the \
                     border out",
        ..Definition::new(Source::Keras, Preprocess::inception(299, 299, Filter::Bilinear))
            .named("InceptionV3")
    },
];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    let draw =
        |definition: &Definition, settings: &Settings| graph(definition.source.into(), settings);
    std::iter::once(Variant::new("inception_v3", &INCEPTION_V3, DEFINITIONS, draw))
}

fn graph(dialect: Dialect, settings: &Settings) -> Result<Graph> {
    let norm = match dialect {
        Dialect::Torchvision | Dialect::Timm => NORM,
        Dialect::Keras => BatchNorm { momentum: 0.01, scale: false, ..NORM },
    };
    let names = Names::new(dialect, Numbers::Convolutions);
    let mut builder = NetworkBuilder::new(settings, names, Some(norm));
    let input = builder.input(settings)?;
    let begin = builder.g.mark();
    let mut x = stem(&mut builder, dialect, input);
    builder.g.part(PartKind::Stem, "stem", begin);
    let auxiliary = settings.aux.unwrap_or(dialect == Dialect::Torchvision);
    let mut twins = 0;
    for module in &MODULES {
        let joins = match dialect {
            Dialect::Torchvision | Dialect::Timm => joins(module.name, module.twins()),
            Dialect::Keras => module.keras_joins(&mut twins),
        };
        x = builder.module(module.name, &joins, &module.branches(dialect), x);
        if module.name == CLASSIFIED && auxiliary && settings.classes > 0 {
            classify(&mut builder, settings.classes, x);
        }
    }
    let (g, classes) = (&mut builder.g, settings.classes);
    let drop_rate = settings.drop_rate;
    let logits = match dialect {
        Dialect::Torchvision => {
            let head = Head { dropout: "dropout", linear: "fc" };
            pooled_head(g, head, classes, drop_rate.unwrap_or(0.5), x)
        }
        Dialect::Timm => {
            let head = Head { dropout: "head_drop", linear: "fc" };
            pooled_head(g, head, classes, drop_rate.unwrap_or(0.0), x)
        }
        Dialect::Keras => keras_head(g, classes, drop_rate.unwrap_or(0.0), x),
    };
    builder.g.finish(logits)
}

fn stem(builder: &mut NetworkBuilder, dialect: Dialect, mut x: NodeId) -> NodeId {
    let pools =
        if dialect == Dialect::Timm { ["Pool1", "Pool2"] } else { ["maxpool1", "maxpool2"] };
    let bare = |out| Conv { padding: 0.into(), ..conv(out, 3) };
    x = builder.stem_layer("Conv2d_1a_3x3", Conv { stride: 2.into(), ..bare(32) }, x);
    x = builder.stem_layer("Conv2d_2a_3x3", bare(32), x);
    x = builder.stem_layer("Conv2d_2b_3x3", conv(64, 3), x);
    x = builder.pool(pools[0], max_pool(3, 2, 0), x);
    x = builder.stem_layer("Conv2d_3b_1x1", conv(80, 1), x);
    x = builder.stem_layer("Conv2d_4a_3x3", bare(192), x);
    builder.pool(pools[1], max_pool(3, 2, 0), x)
}

/// The auxiliary classifier.
fn classify(builder: &mut NetworkBuilder, classes: usize, input: NodeId) {
    let pool = Pool { kind: PoolKind::Average, ..max_pool(5, 3, 0) };
    let begin = builder.g.mark();
    let mut x = builder.g.add("AuxLogits.avg_pool2d", pool, input);
    x = builder.layer("AuxLogits.conv0", conv(128, 1), x);
    let whole = Conv { padding: Padding::Both(0.into()), ..conv(768, 5) };
    x = builder.layer("AuxLogits.conv1", whole, x);
    let g = &mut builder.g;
    x = g.add("AuxLogits.adaptive_avg_pool2d", AdaptivePool::default(), x);
    x = g.add("AuxLogits.flatten", Flatten {}, x);
    let logits = classifier(g, "", "AuxLogits.fc", classes, 0.0, x);
    g.part(PartKind::Head, "AuxLogits", begin);
    g.auxiliary(logits, AUXILIARY_WEIGHT);
}

impl Module {
    fn twins(&self) -> usize {
        if matches!(self.kind, Kind::Wide) { 2 } else { 0 }
    }

    /// Keras names the first twins of each of the last modules and numbers the second ones.
    fn keras_joins(&self, before: &mut usize) -> Vec<String> {
        let mut joins = Vec::new();
        if self.twins() > 0 {
            joins.push(format!("mixed9_{before}"));
            joins.push(match before {
                0 => "concatenate".into(),
                _ => format!("concatenate_{before}"),
            });
            *before += 1;
        }
        joins.push(self.keras.into());
        joins
    }

    fn branches(&self, dialect: Dialect) -> Vec<Branch> {
        let average = || average_pool(dialect != Dialect::Keras);
        let maximum = || branch("branch_pool", [Step::Pool(max_pool(3, 2, 0))]);
        let (row, column) = ((1, 7), (7, 1));
        let twins = || Step::Twins([conv(384, (1, 3)), conv(384, (3, 1))]);
        match self.kind {
            Kind::Small { pool } => vec![
                branch("branch1x1", [keep(64, 1)]),
                branch("branch5x5", [keep(48, 1), keep(64, 5)]),
                branch("branch3x3dbl", [keep(64, 1), keep(96, 3), keep(96, 3)]),
                branch("branch_pool", [average(), keep(pool, 1)]),
            ],
            Kind::ReduceSmall => vec![
                branch("branch3x3", [reduce(384)]),
                branch("branch3x3dbl", [keep(64, 1), keep(96, 3), reduce(96)]),
                maximum(),
            ],
            Kind::Long { width } => vec![
                branch("branch1x1", [keep(192, 1)]),
                branch("branch7x7", [keep(width, 1), keep(width, row), keep(192, column)]),
                branch(
                    "branch7x7dbl",
                    [
                        keep(width, 1),
                        keep(width, column),
                        keep(width, row),
                        keep(width, column),
                        keep(192, row),
                    ],
                ),
                branch("branch_pool", [average(), keep(192, 1)]),
            ],
            Kind::ReduceLong => vec![
                branch("branch3x3", [keep(192, 1), reduce(320)]),
                branch(
                    "branch7x7x3",
                    [keep(192, 1), keep(192, row), keep(192, column), reduce(192)],
                ),
                maximum(),
            ],
            Kind::Wide => vec![
                branch("branch1x1", [keep(320, 1)]),
                branch("branch3x3", [keep(384, 1), twins()]),
                branch("branch3x3dbl", [keep(448, 1), keep(384, 3), twins()]),
                branch("branch_pool", [average(), keep(192, 1)]),
            ],
        }
    }
}
