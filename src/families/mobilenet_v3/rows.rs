//! The tables of the blocks of both sizes, and of the variants.

use super::super::{Definition, Source};
use crate::data::{Filter, Preprocess};
use crate::graph::op::Function;
use crate::weights::init::Recipe;

pub(super) struct Block {
    /// Expansion ratio.
    pub expand: f64,
    pub channels: usize,
    pub kernel: usize,
    pub stride: usize,
    pub squeeze: bool,
    pub function: Function,
}

/// Groups of blocks, as timm counts them.
pub(super) type Stages = &'static [&'static [Block]];

const RELU: Block = Block {
    expand: 1.0,
    channels: 0,
    kernel: 3,
    stride: 1,
    squeeze: false,
    function: Function::Relu,
};

const SWISH: Block = Block { function: Function::HardSwish, ..RELU };

/// Table 1.
#[rustfmt::skip]
const LARGE: Stages = &[
    &[Block { expand: 1.0, channels: 16, ..RELU }],
    &[
        Block { expand: 4.0, channels: 24, stride: 2, ..RELU },
        Block { expand: 3.0, channels: 24, ..RELU },
    ],
    &[
        Block { expand: 3.0, channels: 40, kernel: 5, stride: 2, squeeze: true, ..RELU },
        Block { expand: 3.0, channels: 40, kernel: 5, squeeze: true, ..RELU },
        Block { expand: 3.0, channels: 40, kernel: 5, squeeze: true, ..RELU },
    ],
    &[
        Block { expand: 6.0, channels: 80, stride: 2, ..SWISH },
        Block { expand: 2.5, channels: 80, ..SWISH },
        Block { expand: 2.3, channels: 80, ..SWISH },
        Block { expand: 2.3, channels: 80, ..SWISH },
    ],
    &[
        Block { expand: 6.0, channels: 112, squeeze: true, ..SWISH },
        Block { expand: 6.0, channels: 112, squeeze: true, ..SWISH },
    ],
    &[
        Block { expand: 6.0, channels: 160, kernel: 5, stride: 2, squeeze: true, ..SWISH },
        Block { expand: 6.0, channels: 160, kernel: 5, squeeze: true, ..SWISH },
        Block { expand: 6.0, channels: 160, kernel: 5, squeeze: true, ..SWISH },
    ],
];

/// Table 2.
#[rustfmt::skip]
const SMALL: Stages = &[
    &[Block { expand: 1.0, channels: 16, stride: 2, squeeze: true, ..RELU }],
    &[
        Block { expand: 4.5, channels: 24, stride: 2, ..RELU },
        Block { expand: 88.0 / 24.0, channels: 24, ..RELU },
    ],
    &[
        Block { expand: 4.0, channels: 40, kernel: 5, stride: 2, squeeze: true, ..SWISH },
        Block { expand: 6.0, channels: 40, kernel: 5, squeeze: true, ..SWISH },
        Block { expand: 6.0, channels: 40, kernel: 5, squeeze: true, ..SWISH },
    ],
    &[
        Block { expand: 3.0, channels: 48, kernel: 5, squeeze: true, ..SWISH },
        Block { expand: 3.0, channels: 48, kernel: 5, squeeze: true, ..SWISH },
    ],
    &[
        Block { expand: 6.0, channels: 96, kernel: 5, stride: 2, squeeze: true, ..SWISH },
        Block { expand: 6.0, channels: 96, kernel: 5, squeeze: true, ..SWISH },
        Block { expand: 6.0, channels: 96, kernel: 5, squeeze: true, ..SWISH },
    ],
];

#[derive(Clone, Copy)]
pub(super) enum Size {
    Small,
    Large,
}

impl Size {
    pub(super) fn stages(self) -> Stages {
        match self {
            Self::Small => SMALL,
            Self::Large => LARGE,
        }
    }
}

pub(super) struct Row {
    pub name: &'static str,
    pub size: Size,
    pub width: f64,
    /// Without squeeze-and-excite and 5×5 kernels, and with ReLU everywhere.
    pub minimal: bool,
    pub definitions: &'static [Definition],
}

const fn torchvision(resize: u32) -> Definition {
    Definition {
        recipe: Recipe::MOBILENET,
        deviations: "pads symmetrically, the original at the bottom and right",
        options: &["drop_rate", "drop_path_rate", "width"],
        ..Definition::new(Source::Torchvision, Preprocess::imagenet(resize, 224, Filter::Bilinear))
    }
}

const TIMM: Definition = Definition {
    source: Source::Timm,
    preprocess: Preprocess::imagenet(256, 224, Filter::Bicubic),
    recipe: Recipe::TIMM_EFFICIENTNET,
    deviations: "pads symmetrically, the original at the bottom and right; BN epsilon 1e-5, the original 1e-3",
    ..torchvision(256)
};
const TIMM_BILINEAR: Definition =
    Definition { preprocess: Preprocess::imagenet(256, 224, Filter::Bilinear), ..TIMM };
const TIMM_TF: Definition = Definition {
    preprocess: Preprocess::inception(256, 224, Filter::Bilinear),
    deviations: "none",
    ..TIMM
};
const KERAS: Definition = Definition {
    options: TIMM.options,
    ..Definition::new(Source::Keras, Preprocess::inception(224, 224, Filter::Bilinear))
};

impl Row {
    /// The activation in place of the full network's `full`.
    pub(super) fn function(&self, full: Function) -> Function {
        if self.minimal { Function::Relu } else { full }
    }
}

const SMALL_ROW: Row =
    Row { name: "", size: Size::Small, width: 1.0, minimal: false, definitions: &[] };

const LARGE_ROW: Row = Row { size: Size::Large, ..SMALL_ROW };

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "mobilenet_v3_small",
        definitions: &[
            torchvision(256),
            TIMM.named("mobilenetv3_small_100"),
            TIMM_TF.named("tf_mobilenetv3_small_100"),
            KERAS.named("MobileNetV3Small(alpha=1.0)"),
        ],
        ..SMALL_ROW
    },
    Row {
        name: "mobilenet_v3_small_050",
        width: 0.5,
        definitions: &[TIMM.named("mobilenetv3_small_050")],
        ..SMALL_ROW
    },
    Row {
        name: "mobilenet_v3_small_075",
        width: 0.75,
        definitions: &[
            TIMM.named("mobilenetv3_small_075"),
            TIMM_TF.named("tf_mobilenetv3_small_075"),
            KERAS.named("MobileNetV3Small(alpha=0.75)"),
        ],
        ..SMALL_ROW
    },
    Row {
        name: "mobilenet_v3_small_minimal",
        minimal: true,
        definitions: &[
            TIMM_TF.named("tf_mobilenetv3_small_minimal_100"),
            KERAS.named("MobileNetV3Small(alpha=1.0,minimalistic)"),
        ],
        ..SMALL_ROW
    },
    Row {
        name: "mobilenet_v3_large",
        definitions: &[
            torchvision(232),
            TIMM.named("mobilenetv3_large_100"),
            TIMM_TF.named("tf_mobilenetv3_large_100"),
            KERAS.named("MobileNetV3Large(alpha=1.0)"),
        ],
        ..LARGE_ROW
    },
    Row {
        name: "mobilenet_v3_large_075",
        width: 0.75,
        definitions: &[
            TIMM_BILINEAR.named("mobilenetv3_large_075"),
            TIMM_TF.named("tf_mobilenetv3_large_075"),
            KERAS.named("MobileNetV3Large(alpha=0.75)"),
        ],
        ..LARGE_ROW
    },
    Row {
        name: "mobilenet_v3_large_minimal",
        minimal: true,
        definitions: &[
            TIMM_TF.named("tf_mobilenetv3_large_minimal_100"),
            KERAS.named("MobileNetV3Large(alpha=1.0,minimalistic)"),
        ],
        ..LARGE_ROW
    },
];
