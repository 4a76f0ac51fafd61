//! MobileNetV2: inverted residual blocks (expansion, depthwise convolution, projection) with shortcuts between the
//! narrow ends.
//!
//! Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
//! arXiv:1801.04381.
//!
//! Variants differ in width and depth multipliers, and in whether they apply to stem and head.
//!
//! Sources: torchvision (default at width 1) and timm pad symmetrically and have BN epsilon 1e-5. Keras pads like the
//! original (`same`, whatever the size of the image) and has its epsilon of 1e-3; it rounds a block's output channels
//! down to an integer before it rounds them to a multiple of 8.

use super::{Definition, Family, Settings, Source, Variant};
use crate::blocks::{
    GateNames, Head, InvertedNames, InvertedResidual, Layer, conv_norm_act, divisible,
    inverted_residual, pooled_head, stage_name,
};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{BatchNorm, Conv, Function, Padding};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use crate::weights::init::Recipe;

static FAMILY: Family = Family {
    name: "MobileNetV2",
    year: 2018,
    paper: "Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR \
            2018, arXiv:1801.04381",
    idea: "A block widens, filters each channel by itself and narrows again; skips join the narrow ends, which have \
           no activation.",
    strengths: "Few multiply-adds and little memory; no operation that int8 kernels lack; the block that later mobile networks share.",
    weaknesses: "Depthwise convolutions run far below peak speed, and it is less accurate than what was searched for.",
};

struct Stage {
    expand: usize,
    channels: usize,
    repeats: usize,
    stride: usize,
}

const STAGES: &[Stage] = &[
    Stage { expand: 1, channels: 16, repeats: 1, stride: 1 },
    Stage { expand: 6, channels: 24, repeats: 2, stride: 2 },
    Stage { expand: 6, channels: 32, repeats: 3, stride: 2 },
    Stage { expand: 6, channels: 64, repeats: 4, stride: 2 },
    Stage { expand: 6, channels: 96, repeats: 3, stride: 1 },
    Stage { expand: 6, channels: 160, repeats: 3, stride: 2 },
    Stage { expand: 6, channels: 320, repeats: 1, stride: 1 },
];

struct Row {
    name: &'static str,
    width: f64,
    depth: f64,
    /// Whether stem and head, and the repeats of the first and the last stage, are scaled too.
    scale_ends: bool,
    definitions: &'static [Definition],
}

const TORCHVISION: Definition = Definition {
    recipe: Recipe::MOBILENET,
    deviations: "pads symmetrically, the original at the bottom and right; BN epsilon 1e-5, the original 1e-3",
    options: &["drop_rate", "drop_path_rate", "width", "depth"],
    ..Definition::new(Source::Torchvision, Preprocess::imagenet(232, 224, Filter::Bilinear))
};
const TIMM: Definition = Definition {
    source: Source::Timm,
    preprocess: Preprocess::imagenet(256, 224, Filter::Bicubic),
    recipe: Recipe::TIMM_EFFICIENTNET,
    ..TORCHVISION
};
const TIMM_D: Definition = Definition {
    deviations: "timm's own widths and depths; pads symmetrically, BN epsilon 1e-5",
    ..TIMM
};
const KERAS: Definition = Definition {
    options: TORCHVISION.options,
    ..Definition::new(Source::Keras, Preprocess::inception(224, 224, Filter::Bilinear))
};

const ROW: Row = Row { name: "", width: 1.0, depth: 1.0, scale_ends: true, definitions: &[] };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row {
        name: "mobilenet_v2",
        definitions: &[TORCHVISION, TIMM.named("mobilenetv2_100"), KERAS.named("MobileNetV2(alpha=1.0)")],
        ..ROW
    },
    Row { name: "mobilenet_v2_035", width: 0.35, definitions: &[TIMM.named("mobilenetv2_035"), KERAS.named("MobileNetV2(alpha=0.35)")], ..ROW },
    Row { name: "mobilenet_v2_050", width: 0.5, definitions: &[TIMM.named("mobilenetv2_050"), KERAS.named("MobileNetV2(alpha=0.5)")], ..ROW },
    Row { name: "mobilenet_v2_075", width: 0.75, definitions: &[TIMM.named("mobilenetv2_075"), KERAS.named("MobileNetV2(alpha=0.75)")], ..ROW },
    Row { name: "mobilenet_v2_130", width: 1.3, definitions: &[KERAS.named("MobileNetV2(alpha=1.3)")], ..ROW },
    Row { name: "mobilenet_v2_140", width: 1.4, definitions: &[TIMM.named("mobilenetv2_140"), KERAS.named("MobileNetV2(alpha=1.4)")], ..ROW },
    Row { name: "mobilenet_v2_110d", width: 1.1, depth: 1.2, scale_ends: false, definitions: &[TIMM_D.named("mobilenetv2_110d")] },
    Row { name: "mobilenet_v2_120d", width: 1.2, depth: 1.4, scale_ends: false, definitions: &[TIMM_D.named("mobilenetv2_120d")] },
];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        Variant::new(row.name, &FAMILY, row.definitions, |definition, settings| {
            graph(row, definition.source.into(), settings)
        })
    })
}

/// A source's naming scheme, padding and norm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Torchvision,
    Timm,
    Keras,
}

impl From<Source> for Dialect {
    fn from(source: Source) -> Self {
        match source {
            Source::Torchvision => Self::Torchvision,
            Source::Timm => Self::Timm,
            Source::Keras | Source::Paper => Self::Keras,
        }
    }
}

impl Dialect {
    fn padding(self, kernel: usize) -> Padding {
        match self {
            Self::Torchvision | Self::Timm => ((kernel - 1) / 2).into(),
            Self::Keras => Padding::Same,
        }
    }

    fn norm(self) -> BatchNorm {
        match self {
            Self::Torchvision | Self::Timm => BatchNorm::default(),
            Self::Keras => BatchNorm { eps: 1e-3, momentum: 0.001, scale: true },
        }
    }

    /// The rounded number of a block's output channels.
    fn narrow(self, channels: f64) -> usize {
        match self {
            Self::Torchvision | Self::Timm => divisible(channels),
            Self::Keras => divisible(channels.floor()),
        }
    }

    fn stem(self) -> Layer {
        match self {
            Self::Torchvision => Layer::sequential("features.0"),
            Self::Timm => Layer::new("conv_stem", "bn1", "act1"),
            Self::Keras => Layer::new("Conv1", "bn_Conv1", "Conv1_relu"),
        }
    }

    /// The names in block `index` of `stage`, before which there are `before` others.
    fn block(self, stage: usize, index: usize, before: usize, expands: bool) -> InvertedNames {
        match self {
            Self::Torchvision => {
                let path = format!("features.{}", before + 1);
                let name = |part: usize| format!("{path}.conv.{part}");
                let depthwise = usize::from(expands);
                InvertedNames {
                    path: path.clone(),
                    expand: Layer::sequential(&name(0)),
                    depthwise: Layer::sequential(&name(depthwise)),
                    squeeze: GateNames::torchvision(&path),
                    project: Layer::new(&name(depthwise + 1), &name(depthwise + 2), ""),
                    drop_path: format!("{path}.drop_path"),
                    add: format!("{path}.add"),
                }
            }
            Self::Timm => InvertedNames::timm(&format!("blocks.{stage}.{index}"), expands),
            Self::Keras => {
                let prefix = match before {
                    0 => "expanded_conv".to_owned(),
                    _ => format!("block_{before}"),
                };
                let layer = |part: &str| {
                    let name = format!("{prefix}_{part}");
                    Layer::new(&name, &format!("{name}_BN"), &format!("{name}_relu"))
                };
                InvertedNames {
                    path: prefix.clone(),
                    expand: layer("expand"),
                    depthwise: layer("depthwise"),
                    squeeze: GateNames::timm(&prefix),
                    project: layer("project"),
                    drop_path: format!("{prefix}_drop_path"),
                    add: format!("{prefix}_add"),
                }
            }
        }
    }

    fn last(self, blocks: usize) -> Layer {
        match self {
            Self::Torchvision => Layer::sequential(&format!("features.{}", blocks + 1)),
            Self::Timm => Layer::new("conv_head", "bn2", "act2"),
            Self::Keras => Layer::new("Conv_1", "Conv_1_bn", "out_relu"),
        }
    }

    /// Names of dropout and classifier, and the source's dropout rate.
    fn head(self) -> (Head, f64) {
        match self {
            Self::Torchvision => (Head { dropout: "classifier.0", linear: "classifier.1" }, 0.2),
            Self::Timm => (Head { dropout: "dropout", linear: "classifier" }, 0.0),
            Self::Keras => (Head { dropout: "dropout", linear: "predictions" }, 0.0),
        }
    }
}

impl Row {
    fn channels(&self, channels: usize) -> usize {
        divisible(channels as f64 * self.width)
    }

    fn repeats(&self, stage: usize) -> usize {
        let repeats = STAGES[stage].repeats;
        let end = stage == 0 || stage + 1 == STAGES.len();
        if end && !self.scale_ends {
            repeats
        } else {
            (repeats as f64 * self.depth).ceil() as usize
        }
    }

    fn blocks(&self) -> usize {
        (0..STAGES.len()).map(|stage| self.repeats(stage)).sum()
    }
}

fn graph(row: &Row, dialect: Dialect, settings: &Settings) -> Result<Graph> {
    let classes = settings.classes;
    let row = &Row {
        width: settings.width.unwrap_or(row.width),
        depth: settings.depth.unwrap_or(row.depth),
        ..*row
    };
    let mut g = settings.builder();
    let norm = dialect.norm();
    let stem = if row.scale_ends { row.channels(32) } else { 32 };
    let conv = Conv {
        out: stem,
        kernel: 3.into(),
        stride: 2.into(),
        padding: dialect.padding(3),
        ..Conv::default()
    };
    let (input, begin) = (g.input(), g.mark());
    let x = conv_norm_act(&mut g, &dialect.stem(), conv, norm, Function::Relu6, input);
    g.part(PartKind::Stem, "stem", begin);
    let x = blocks(&mut g, row, dialect, settings.drop_path_rate.unwrap_or(0.0), stem, x);

    let last = if row.scale_ends { row.channels(1280).max(1280) } else { 1280 };
    let conv = Conv { out: last, ..Conv::default() };
    let (begin, names) = (g.mark(), dialect.last(row.blocks()));
    let x = conv_norm_act(&mut g, &names, conv, norm, Function::Relu6, x);
    if dialect == Dialect::Torchvision {
        // torchvision counts it among the blocks, timm with the last of them.
        g.part(PartKind::Block, &names.conv, begin);
    }
    let (head, drop_rate) = dialect.head();
    let logits = pooled_head(&mut g, head, classes, settings.drop_rate.unwrap_or(drop_rate), x);
    g.finish(logits)
}

fn blocks(
    g: &mut Builder,
    row: &Row,
    dialect: Dialect,
    drop_path: f64,
    mut channels: usize,
    mut x: NodeId,
) -> NodeId {
    let mut before: usize = 0;
    for (number, stage) in STAGES.iter().enumerate() {
        let begin = g.mark();
        for index in 0..row.repeats(number) {
            let expands = stage.expand != 1;
            let block = InvertedResidual {
                channels,
                wide: channels * stage.expand,
                out: dialect.narrow(stage.channels as f64 * row.width),
                kernel: 3,
                stride: if index == 0 { stage.stride } else { 1 },
                padding: dialect.padding(3),
                norm: dialect.norm(),
                function: Function::Relu6,
                expands,
                squeeze: None,
                drop_path: drop_path * before as f64 / row.blocks() as f64,
            };
            let names = dialect.block(number, index, before, expands);
            x = inverted_residual(g, &names, &block, x);
            channels = block.out;
            before += 1;
        }
        g.part(PartKind::Stage, stage_name(number), begin);
    }
    x
}
