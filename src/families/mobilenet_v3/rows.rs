//! The tables of the blocks of both sizes, and of the variants.

use crate::data::Filter;
use crate::graph::op::Function;

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
    /// The sources' names.
    pub torchvision: Option<&'static str>,
    pub timm: Option<&'static str>,
    pub timm_tf: Option<&'static str>,
    pub keras: Option<&'static str>,
    /// torchvision's resize before cropping, and timm's interpolation.
    pub resize: u32,
    pub timm_filter: Filter,
}

impl Row {
    /// The activation in place of the full network's `full`.
    pub(super) fn function(&self, full: Function) -> Function {
        if self.minimal { Function::Relu } else { full }
    }
}

const SMALL_ROW: Row = Row {
    name: "",
    size: Size::Small,
    width: 1.0,
    minimal: false,
    torchvision: None,
    timm: None,
    timm_tf: None,
    keras: None,
    resize: 256,
    timm_filter: Filter::Bicubic,
};

const LARGE_ROW: Row = Row { size: Size::Large, resize: 232, ..SMALL_ROW };

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "mobilenet_v3_small",
        torchvision: Some("mobilenet_v3_small"),
        timm: Some("mobilenetv3_small_100"),
        timm_tf: Some("tf_mobilenetv3_small_100"),
        keras: Some("MobileNetV3Small(alpha=1.0)"),
        ..SMALL_ROW
    },
    Row {
        name: "mobilenet_v3_small_050",
        width: 0.5,
        timm: Some("mobilenetv3_small_050"),
        ..SMALL_ROW
    },
    Row {
        name: "mobilenet_v3_small_075",
        width: 0.75,
        timm: Some("mobilenetv3_small_075"),
        timm_tf: Some("tf_mobilenetv3_small_075"),
        keras: Some("MobileNetV3Small(alpha=0.75)"),
        ..SMALL_ROW
    },
    Row {
        name: "mobilenet_v3_small_minimal",
        minimal: true,
        timm_tf: Some("tf_mobilenetv3_small_minimal_100"),
        keras: Some("MobileNetV3Small(alpha=1.0,minimalistic)"),
        ..SMALL_ROW
    },
    Row {
        name: "mobilenet_v3_large",
        torchvision: Some("mobilenet_v3_large"),
        timm: Some("mobilenetv3_large_100"),
        timm_tf: Some("tf_mobilenetv3_large_100"),
        keras: Some("MobileNetV3Large(alpha=1.0)"),
        ..LARGE_ROW
    },
    Row {
        name: "mobilenet_v3_large_075",
        width: 0.75,
        timm: Some("mobilenetv3_large_075"),
        timm_tf: Some("tf_mobilenetv3_large_075"),
        keras: Some("MobileNetV3Large(alpha=0.75)"),
        timm_filter: Filter::Bilinear,
        ..LARGE_ROW
    },
    Row {
        name: "mobilenet_v3_large_minimal",
        minimal: true,
        timm_tf: Some("tf_mobilenetv3_large_minimal_100"),
        keras: Some("MobileNetV3Large(alpha=1.0,minimalistic)"),
        ..LARGE_ROW
    },
];
