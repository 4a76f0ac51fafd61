//! Inception-ResNet v2: residual modules with Inception branches, whose sum is scaled down so that training stays
//! stable.
//!
//! Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
//! AAAI 2017, arXiv:1602.07261.
//!
//! There is one variant, which differs between sources.
//!
//! Sources: timm (default), and Keras, whose norms have no scale. Both follow the authors' code, which departs from the
//! figures of the paper.

use super::super::{Definition, Family, Settings, Source, Variant};
use super::names::{Dialect, Names, Numbers, joins};
use super::v4::PAPER;
use super::{
    Branch, NORM, NetworkBuilder, Step, average_pool, branch, conv, keep, max_pool, reduce,
};
use crate::blocks::{Head, Layer, keras_head, pooled_head};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{Add, BatchNorm, Conv, Function, Multiply};
use crate::graph::{Graph, NodeId, PartKind};

static INCEPTION_RESNET_V2: Family = Family {
    name: "Inception-ResNet-v2",
    year: 2016,
    paper: PAPER,
    idea: "The branches of a module only correct what flows past them, scaled down so that training stays stable.",
    strengths: "Trains much faster than the same network without skips, to about the same accuracy.",
    weaknesses: "More than two hundred convolutions, most of them 1×1; large and slow beside later networks.",
};

/// A sequence of residual modules of one kind.
struct Stage {
    kind: Kind,
    repeats: usize,
    /// Channels of the shortcut.
    channels: usize,
    /// The factor on the residual branch.
    scale: f64,
    /// timm's and Keras's names.
    timm: &'static str,
    keras: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    /// At 35×35 pixels: figure 16 of the paper.
    A,
    /// At 17×17 pixels: figure 17.
    B,
    /// At 8×8 pixels: figure 19.
    C,
}

const A: Stage = Stage {
    kind: Kind::A,
    repeats: 10,
    channels: 320,
    scale: 0.17,
    timm: "repeat",
    keras: "block35",
};
const B: Stage = Stage {
    kind: Kind::B,
    repeats: 20,
    channels: 1088,
    scale: 0.1,
    timm: "repeat_1",
    keras: "block17",
};
/// One more module follows these, with neither scaling nor ReLU.
const C: Stage = Stage {
    kind: Kind::C,
    repeats: 9,
    channels: 2080,
    scale: 0.2,
    timm: "repeat_2",
    keras: "block8",
};

const DEFINITIONS: &[Definition] = &[
    Definition {
        deviations: "the authors' code: the stem of Inception v3, 10, 20 and 10 residual modules where the paper draws 5, 10 \
                     and 5, no dropout unless asked for",
        ..Definition::new(Source::Timm, Preprocess::inception(333, 299, Filter::Bicubic))
    },
    Definition {
        deviations: "as timm's; norms without scale",
        ..Definition::new(Source::Keras, Preprocess::inception(299, 299, Filter::Bilinear))
            .named("InceptionResNetV2")
    },
];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    let draw = |definition: &Definition, settings: &Settings| {
        Network::new(definition.source.into(), settings).build(settings)
    };
    std::iter::once(Variant::new("inception_resnet_v2", &INCEPTION_RESNET_V2, DEFINITIONS, draw))
}

struct Network {
    builder: NetworkBuilder,
    dialect: Dialect,
}

impl Network {
    fn new(dialect: Dialect, settings: &Settings) -> Self {
        let norm = match dialect {
            Dialect::Keras => BatchNorm { momentum: 0.01, scale: false, ..NORM },
            Dialect::Timm | Dialect::Torchvision => NORM,
        };
        let names = Names::new(dialect, Numbers::Steps);
        Self { builder: NetworkBuilder::new(settings, names, Some(norm)), dialect }
    }

    fn build(mut self, settings: &Settings) -> Result<Graph> {
        let begin = self.builder.g.mark();
        let mut x = self.stem();
        self.builder.g.part(PartKind::Stem, "stem", begin);
        let first = vec![
            branch("branch0", [keep(96, 1)]),
            branch("branch1", [keep(48, 1), keep(64, 5)]),
            branch("branch2", [keep(64, 1), keep(96, 3), keep(96, 3)]),
            branch("branch3", [average_pool(false), keep(64, 1)]),
        ];
        x = self.joint("mixed_5b", &first, x);
        x = self.stage(&A, x);
        let second = vec![
            branch("branch0", [reduce(384)]),
            branch("branch1", [keep(256, 1), keep(256, 3), reduce(384)]),
            branch("branch2", [Step::Pool(max_pool(3, 2, 0))]),
        ];
        x = self.joint("mixed_6a", &second, x);
        x = self.stage(&B, x);
        let third = vec![
            branch("branch0", [keep(256, 1), reduce(384)]),
            branch("branch1", [keep(256, 1), reduce(288)]),
            branch("branch2", [keep(256, 1), keep(288, 3), reduce(320)]),
            branch("branch3", [Step::Pool(max_pool(3, 2, 0))]),
        ];
        x = self.joint("mixed_7a", &third, x);
        x = self.stage(&C, x);
        x = self.residual(&C, &ModuleNames::last(self.dialect), x);

        let last = match self.dialect {
            Dialect::Keras => Layer::new("conv_7b", "conv_7b_bn", "conv_7b_ac"),
            Dialect::Torchvision | Dialect::Timm => self.builder.names.layer("conv2d_7b"),
        };
        let begin = self.builder.g.mark();
        x = self.builder.named_layer(&last, conv(1536, 1), x);
        self.builder.g.part(PartKind::Block, &last.conv, begin);
        let (g, classes) = (&mut self.builder.g, settings.classes);
        let drop_rate = settings.drop_rate.unwrap_or(0.0);
        let logits = match self.dialect {
            Dialect::Keras => keras_head(g, classes, drop_rate, x),
            Dialect::Torchvision | Dialect::Timm => pooled_head(
                g,
                Head { dropout: "head_drop", linear: "classif" },
                classes,
                drop_rate,
                x,
            ),
        };
        self.builder.g.finish(logits)
    }

    fn stem(&mut self) -> NodeId {
        let builder = &mut self.builder;
        let bare = |out| Conv { padding: 0.into(), ..conv(out, 3) };
        let mut x = builder.g.input();
        x = builder.stem_layer("conv2d_1a", Conv { stride: 2.into(), ..bare(32) }, x);
        x = builder.stem_layer("conv2d_2a", bare(32), x);
        x = builder.stem_layer("conv2d_2b", conv(64, 3), x);
        x = builder.pool("maxpool_3a", max_pool(3, 2, 0), x);
        x = builder.stem_layer("conv2d_3b", conv(80, 1), x);
        x = builder.stem_layer("conv2d_4a", bare(192), x);
        builder.pool("maxpool_5a", max_pool(3, 2, 0), x)
    }

    /// A module without a shortcut, between stages.
    fn joint(&mut self, name: &str, branches: &[Branch], x: NodeId) -> NodeId {
        let joins = match self.dialect {
            Dialect::Keras => vec![name.into()],
            Dialect::Torchvision | Dialect::Timm => joins(name, 0),
        };
        self.builder.module(name, &joins, branches, x)
    }

    fn stage(&mut self, stage: &Stage, mut x: NodeId) -> NodeId {
        let begin = self.builder.g.mark();
        for index in 0..stage.repeats {
            x = self.residual(stage, &ModuleNames::new(self.dialect, stage, index), x);
        }
        self.builder.g.part(PartKind::Stage, stage.timm, begin);
        x
    }

    fn residual(&mut self, stage: &Stage, names: &ModuleNames, input: NodeId) -> NodeId {
        let joins = std::slice::from_ref(&names.join);
        let begin = self.builder.g.mark();
        let mut x = self.builder.branches(&names.path, joins, &stage.kind.branches(), input);
        let g = &mut self.builder.g;
        x = g.add(&names.conv, Conv { out: stage.channels, bias: true, ..Conv::default() }, x);
        if names.activation.is_some() {
            x = g.add(&names.scale, Multiply { by: stage.scale }, x);
        }
        x = g.add(&names.add, Add {}, [x, input]);
        if let Some(activation) = &names.activation {
            x = g.add(activation, Function::Relu, x);
        }
        g.part(PartKind::Block, &names.path, begin);
        x
    }
}

/// The names of one residual module.
struct ModuleNames {
    path: String,
    join: String,
    conv: String,
    scale: String,
    add: String,
    /// None for the last module.
    activation: Option<String>,
}

impl ModuleNames {
    fn new(dialect: Dialect, stage: &Stage, index: usize) -> Self {
        match dialect {
            Dialect::Keras => Self::keras(format!("{}_{}", stage.keras, index + 1), true),
            Dialect::Torchvision | Dialect::Timm => {
                Self::timm(format!("{}.{index}", stage.timm), true)
            }
        }
    }

    fn last(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Keras => Self::keras(format!("{}_{}", C.keras, C.repeats + 1), false),
            Dialect::Torchvision | Dialect::Timm => Self::timm("block8".into(), false),
        }
    }

    fn timm(path: String, active: bool) -> Self {
        Self {
            join: format!("{path}.cat"),
            conv: format!("{path}.conv2d"),
            scale: format!("{path}.mul"),
            add: format!("{path}.add"),
            activation: active.then(|| format!("{path}.act")),
            path,
        }
    }

    fn keras(path: String, active: bool) -> Self {
        Self {
            join: format!("{path}_mixed"),
            conv: format!("{path}_conv"),
            scale: format!("{path}_scale"),
            add: format!("{path}_add"),
            activation: active.then(|| format!("{path}_ac")),
            path,
        }
    }
}

impl Kind {
    fn branches(self) -> Vec<Branch> {
        match self {
            Self::A => vec![
                branch("branch0", [keep(32, 1)]),
                branch("branch1", [keep(32, 1), keep(32, 3)]),
                branch("branch2", [keep(32, 1), keep(48, 3), keep(64, 3)]),
            ],
            Self::B => vec![
                branch("branch0", [keep(192, 1)]),
                branch("branch1", [keep(128, 1), keep(160, (1, 7)), keep(192, (7, 1))]),
            ],
            Self::C => vec![
                branch("branch0", [keep(192, 1)]),
                branch("branch1", [keep(192, 1), keep(224, (1, 3)), keep(256, (3, 1))]),
            ],
        }
    }
}
