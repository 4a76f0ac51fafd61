//! Inception v4: a deeper and more uniform design of v3.
//!
//! Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
//! AAAI 2017, arXiv:1602.07261.
//!
//! There is one variant.
//!
//! Sources: timm alone (default), which follows the authors' code.

use super::super::{Definition, Family, Settings, Source, Variant};
use super::names::{Dialect, Names, Numbers, joins};
use super::{
    Branch, NORM, NetworkBuilder, Step, average_pool, branch, conv, keep, max_pool, reduce,
};
use crate::blocks::{Head, pooled_head};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{Conv, Pair};
use crate::graph::{Graph, PartKind};

static INCEPTION_V4: Family = Family {
    name: "Inception-v4",
    year: 2016,
    paper: PAPER,
    idea: "What Inception v3 grew by hand, drawn again as one regular pattern of branches and made deeper.",
    strengths: "As accurate as its residual sister, without any skip.",
    weaknesses: "Large and slow beside later networks; an intricate pattern of branches to change or to fuse.",
};

/// The paper of this network and of Inception-ResNet.
pub(super) const PAPER: &str = "Szegedy, Ioffe, Vanhoucke, Alemi: Inception-v4, Inception-ResNet and the Impact of Residual \
                                Connections on Learning, AAAI 2017, arXiv:1602.07261";

/// The modules after the three first convolutions, by the paper's figures, and the number of repeats of each.
const MODULES: [(Kind, usize); 8] = [
    (Kind::StemPool, 1),
    (Kind::StemLong, 1),
    (Kind::StemReduce, 1),
    (Kind::A, 4),
    (Kind::ReductionA, 1),
    (Kind::B, 7),
    (Kind::ReductionB, 1),
    (Kind::C, 3),
];

#[derive(Clone, Copy)]
enum Kind {
    /// The three concatenations of the stem, figure 3.
    StemPool,
    StemLong,
    StemReduce,
    /// Figure 4.
    A,
    /// Figure 7.
    ReductionA,
    /// Figure 5.
    B,
    /// Figure 8.
    ReductionB,
    /// Figure 6.
    C,
}

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    let definition = Definition {
        deviations: "no dropout unless asked for, where the paper drops 0.2",
        ..Definition::new(Source::Timm, Preprocess::inception(341, 299, Filter::Bicubic))
    };
    let draw = |_: &Definition, settings: &Settings| graph(settings);
    std::iter::once(Variant::new("inception_v4", &INCEPTION_V4, &[definition], draw))
}

fn graph(settings: &Settings) -> Result<Graph> {
    let names = Names::new(Dialect::Timm, Numbers::Steps);
    let mut builder = NetworkBuilder::new(settings, names, Some(NORM));
    let mut x = builder.g.input();
    let begin = builder.g.mark();
    let bare = |stride: usize| Conv { stride: stride.into(), padding: 0.into(), ..conv(32, 3) };
    for (index, conv) in [bare(2), bare(1), conv(64, 3)].into_iter().enumerate() {
        x = builder.stem_layer(&format!("features.{index}"), conv, x);
    }
    builder.g.part(PartKind::Stem, "stem", begin);
    let modules = MODULES.iter().flat_map(|&(kind, repeats)| std::iter::repeat_n(kind, repeats));
    for (index, kind) in (3..).zip(modules) {
        let path = format!("features.{index}");
        let twins = if matches!(kind, Kind::C) { 2 } else { 0 };
        x = builder.module(&path, &joins(&path, twins), &branches(kind), x);
    }
    let head = Head { dropout: "head_drop", linear: "last_linear" };
    let drop_rate = settings.drop_rate.unwrap_or(0.0);
    let logits = pooled_head(&mut builder.g, head, settings.classes, drop_rate, x);
    builder.g.finish(logits)
}

const ROW: Pair = Pair { height: 1, width: 7 };
const COLUMN: Pair = Pair { height: 7, width: 1 };

fn branches(kind: Kind) -> Vec<Branch> {
    let bare = |out| Step::Conv(Conv { padding: 0.into(), ..conv(out, 3) });
    let maximum = |name| branch(name, [Step::Pool(max_pool(3, 2, 0))]);
    let average = || average_pool(false);
    match kind {
        Kind::StemPool => vec![maximum("maxpool"), branch("conv", [reduce(96)])],
        Kind::StemLong => vec![
            branch("branch0", [keep(64, 1), bare(96)]),
            branch("branch1", [keep(64, 1), keep(64, ROW), keep(64, COLUMN), bare(96)]),
        ],
        Kind::StemReduce => vec![branch("conv", [reduce(192)]), maximum("maxpool")],
        Kind::A => vec![
            branch("branch0", [keep(96, 1)]),
            branch("branch1", [keep(64, 1), keep(96, 3)]),
            branch("branch2", [keep(64, 1), keep(96, 3), keep(96, 3)]),
            branch("branch3", [average(), keep(96, 1)]),
        ],
        Kind::ReductionA => vec![
            branch("branch0", [reduce(384)]),
            branch("branch1", [keep(192, 1), keep(224, 3), reduce(256)]),
            maximum("branch2"),
        ],
        Kind::B => vec![
            branch("branch0", [keep(384, 1)]),
            branch("branch1", [keep(192, 1), keep(224, ROW), keep(256, COLUMN)]),
            branch(
                "branch2",
                [
                    keep(192, 1),
                    keep(192, COLUMN),
                    keep(224, ROW),
                    keep(224, COLUMN),
                    keep(256, ROW),
                ],
            ),
            branch("branch3", [average(), keep(128, 1)]),
        ],
        Kind::ReductionB => vec![
            branch("branch0", [keep(192, 1), reduce(192)]),
            branch("branch1", [keep(256, 1), keep(256, ROW), keep(320, COLUMN), reduce(320)]),
            maximum("branch2"),
        ],
        Kind::C => {
            let (row, column) = ((1, 3), (3, 1));
            let twins = || Step::Twins([conv(256, row), conv(256, column)]);
            vec![
                branch("branch0", [keep(256, 1)]),
                branch("branch1", [keep(384, 1), twins()]),
                branch("branch2", [keep(384, 1), keep(448, column), keep(512, row), twins()]),
                branch("branch3", [average(), keep(256, 1)]),
            ]
        }
    }
}
