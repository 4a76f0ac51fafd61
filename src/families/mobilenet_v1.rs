//! MobileNet: every convolution but the first is depthwise separable: a depthwise one per channel, then a 1×1 that
//! mixes channels.
//!
//! Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam, "MobileNets: Efficient Convolutional Neural Networks
//! for Mobile Vision Applications", 2017, arXiv:1704.04861.
//!
//! Variants differ in the width multiplier (table 6). The resolution multiplier (table 7) is the option `image_size`.
//! `100h` has timm's additional convolution before pooling.
//!
//! Sources: timm (default where it has the width) pads symmetrically and has BN epsilon 1e-5. Keras pads at the bottom
//! and right, by one pixel before every convolution of stride 2 but the first, whatever the size of the image; it has
//! epsilon 1e-3.

use super::{Definition, Family, Settings, Source, Variant};
use crate::blocks::{Head, Layer, conv_norm_act, divisible, pooled_head, stage_name};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{BatchNorm, Conv, Function, Pad, Padding};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use crate::weights::init::Recipe;

static FAMILY: Family = Family {
    name: "MobileNet",
    year: 2017,
    paper: "Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam: MobileNets: Efficient Convolutional Neural \
            Networks for Mobile Vision Applications, 2017, arXiv:1704.04861",
    idea: "A convolution becomes two: one filters each channel by itself, one of 1×1 mixes channels; width and image \
           size scale the whole.",
    strengths: "An eighth to a ninth of the multiply-adds of full convolutions for about a percent of accuracy; a plain \
                stack that is easy to run anywhere.",
    weaknesses: "No skips, so it cannot grow deep; depthwise convolutions run far below peak speed.",
};

struct Stage {
    channels: usize,
    repeats: usize,
    stride: usize,
}

/// Table 1. It gives the last depthwise convolution a stride of 2, and 7×7 images before and after it.
const STAGES: &[Stage] = &[
    Stage { channels: 64, repeats: 1, stride: 1 },
    Stage { channels: 128, repeats: 2, stride: 2 },
    Stage { channels: 256, repeats: 2, stride: 2 },
    Stage { channels: 512, repeats: 6, stride: 2 },
    Stage { channels: 1024, repeats: 2, stride: 2 },
];

struct Row {
    name: &'static str,
    width: f64,
    /// Whether a 1×1 convolution comes before pooling.
    head_conv: bool,
    definitions: &'static [Definition],
}

const TIMM: Definition = Definition {
    recipe: Recipe::TIMM_EFFICIENTNET,
    deviations: "ReLU6, the paper ReLU; pads symmetrically, the original at the bottom and right; BN epsilon 1e-5, the \
                 original 1e-3",
    options: &["drop_rate", "width"],
    ..Definition::new(Source::Timm, Preprocess::inception(256, 224, Filter::Bicubic))
};
const TIMM_125: Definition =
    Definition { preprocess: Preprocess::inception(248, 224, Filter::Bicubic), ..TIMM };
const TIMM_H: Definition = Definition {
    deviations: "a further 1×1 convolution before pooling; ReLU6, the paper ReLU; pads symmetrically; BN epsilon 1e-5",
    ..TIMM
};
const KERAS: Definition = Definition {
    deviations: "ReLU6, the paper ReLU",
    options: TIMM.options,
    ..Definition::new(Source::Keras, Preprocess::inception(224, 224, Filter::Bilinear))
};

const ROW: Row = Row { name: "", width: 1.0, head_conv: false, definitions: &[] };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "mobilenet_v1", definitions: &[TIMM.named("mobilenetv1_100"), KERAS.named("MobileNet(alpha=1.0)")], ..ROW },
    Row { name: "mobilenet_v1_025", width: 0.25, definitions: &[KERAS.named("MobileNet(alpha=0.25)")], ..ROW },
    Row { name: "mobilenet_v1_050", width: 0.5, definitions: &[KERAS.named("MobileNet(alpha=0.5)")], ..ROW },
    Row { name: "mobilenet_v1_075", width: 0.75, definitions: &[KERAS.named("MobileNet(alpha=0.75)")], ..ROW },
    Row { name: "mobilenet_v1_125", width: 1.25, definitions: &[TIMM_125.named("mobilenetv1_125")], ..ROW },
    Row { name: "mobilenet_v1_100h", head_conv: true, definitions: &[TIMM_H.named("mobilenetv1_100h")], ..ROW },
];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        Variant::new(row.name, &FAMILY, row.definitions, |definition, settings| {
            graph(row, definition.source.into(), settings)
        })
    })
}

/// A source's naming scheme, padding and norm.
#[derive(Clone, Copy)]
enum Dialect {
    Timm,
    Keras,
}

/// The names of a block's two convolutions, and of the padding before the first.
struct Names {
    path: String,
    pad: String,
    depthwise: Layer,
    pointwise: Layer,
}

impl From<Source> for Dialect {
    fn from(source: Source) -> Self {
        match source {
            Source::Timm => Self::Timm,
            Source::Keras | Source::Torchvision | Source::Paper => Self::Keras,
        }
    }
}

impl Dialect {
    fn norm(self) -> BatchNorm {
        match self {
            Self::Timm => BatchNorm::default(),
            Self::Keras => BatchNorm { eps: 1e-3, momentum: 0.01, scale: true },
        }
    }

    fn padding(self) -> Padding {
        match self {
            Self::Timm => 1.into(),
            Self::Keras => Padding::Same,
        }
    }

    fn channels(self, channels: usize, width: f64) -> usize {
        match self {
            Self::Timm => divisible(channels as f64 * width),
            Self::Keras => (channels as f64 * width) as usize,
        }
    }

    fn stem(self) -> Layer {
        match self {
            Self::Timm => Layer::new("conv_stem", "bn1", "act1"),
            Self::Keras => Layer::new("conv1", "conv1_bn", "conv1_relu"),
        }
    }

    /// The names in block `index` of `stage`, which is number `number` of all, from 1.
    fn block(self, stage: usize, index: usize, number: usize) -> Names {
        match self {
            Self::Timm => {
                let name = |part: &str| format!("blocks.{stage}.{index}.{part}");
                Names {
                    path: format!("blocks.{stage}.{index}"),
                    pad: name("pad"),
                    depthwise: Layer::new(&name("conv_dw"), &name("bn1"), &name("act1")),
                    pointwise: Layer::new(&name("conv_pw"), &name("bn2"), &name("act2")),
                }
            }
            Self::Keras => {
                let layer = |part: &str| {
                    let name = format!("conv_{part}_{number}");
                    Layer::new(&name, &format!("{name}_bn"), &format!("{name}_relu"))
                };
                Names {
                    path: format!("conv_{number}"),
                    pad: format!("conv_pad_{number}"),
                    depthwise: layer("dw"),
                    pointwise: layer("pw"),
                }
            }
        }
    }

    /// Names of dropout and classifier, and the source's dropout rate.
    fn head(self) -> (Head, f64) {
        match self {
            Self::Timm => (Head { dropout: "dropout", linear: "classifier" }, 0.0),
            Self::Keras => (Head { dropout: "dropout", linear: "conv_preds" }, 1e-3),
        }
    }
}

fn graph(row: &Row, dialect: Dialect, settings: &Settings) -> Result<Graph> {
    let classes = settings.classes;
    let width = settings.width.unwrap_or(row.width);
    let mut g = settings.builder();
    let norm = dialect.norm();
    let conv = Conv {
        out: dialect.channels(32, width),
        kernel: 3.into(),
        stride: 2.into(),
        padding: dialect.padding(),
        ..Conv::default()
    };
    let mut channels = conv.out;
    let (input, begin) = (g.input(), g.mark());
    let mut x = conv_norm_act(&mut g, &dialect.stem(), conv, norm, Function::Relu6, input);
    g.part(PartKind::Stem, "stem", begin);

    let mut number = 0_usize;
    for (place, stage) in STAGES.iter().enumerate() {
        let out = dialect.channels(stage.channels, width);
        let begin = g.mark();
        for index in 0..stage.repeats {
            number += 1;
            let stride = if index == 0 { stage.stride } else { 1 };
            let names = dialect.block(place, index, number);
            x = separable(&mut g, dialect, &names, Separable { channels, out, stride }, x);
            channels = out;
        }
        g.part(PartKind::Stage, stage_name(place), begin);
    }
    if row.head_conv {
        let conv = Conv { out: channels.max(1024), ..Conv::default() };
        let names = Layer::new("conv_head", "bn2", "act2");
        x = conv_norm_act(&mut g, &names, conv, norm, Function::Relu6, x);
    }
    let (head, drop_rate) = dialect.head();
    let logits = pooled_head(&mut g, head, classes, settings.drop_rate.unwrap_or(drop_rate), x);
    g.finish(logits)
}

struct Separable {
    channels: usize,
    out: usize,
    stride: usize,
}

/// Depthwise, then 1×1 convolution, each with norm and activation.
fn separable(
    g: &mut Builder,
    dialect: Dialect,
    names: &Names,
    block: Separable,
    mut x: NodeId,
) -> NodeId {
    let Separable { channels, out, stride } = block;
    let begin = g.mark();
    let mut padding = dialect.padding();
    if stride == 2 && matches!(dialect, Dialect::Keras) {
        x = g.add(&names.pad, Pad { bottom: 1, right: 1, ..Pad::default() }, x);
        padding = 0.into();
    }
    let depthwise = Conv {
        out: channels,
        kernel: 3.into(),
        stride: stride.into(),
        padding,
        groups: channels,
        ..Conv::default()
    };
    let pointwise = Conv { out, ..Conv::default() };
    let (norm, function) = (dialect.norm(), Function::Relu6);
    x = conv_norm_act(g, &names.depthwise, depthwise, norm, function, x);
    x = conv_norm_act(g, &names.pointwise, pointwise, norm, function, x);
    g.part(PartKind::Block, &names.path, begin);
    x
}
