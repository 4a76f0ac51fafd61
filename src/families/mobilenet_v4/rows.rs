//! The tables: what the blocks of each network are, and the variants.

use crate::graph::op::Function;
use Block::{Fused, Plain, Universal};

pub(super) enum Block {
    /// One convolution.
    Plain {
        kernel: usize,
        channels: usize,
        stride: usize,
    },
    /// A 3×3 convolution that widens, and a 1×1 that narrows.
    Fused {
        expand: usize,
        stride: usize,
    },
    Universal(Bottleneck),
}

/// The universal inverted bottleneck: a 1×1 convolution that widens and one that narrows, and depthwise ones before and
/// between them.
#[derive(Clone, Copy)]
pub(super) struct Bottleneck {
    /// The window of the depthwise convolution before the widening.
    pub start: Option<usize>,
    /// The window of the one after it.
    pub middle: Option<usize>,
    pub expand: usize,
    pub stride: usize,
}

/// Both: the "extra depthwise" block of the paper.
const EXTRA: Bottleneck = Bottleneck { start: Some(3), middle: Some(3), expand: 4, stride: 1 };

/// As in MobileNetV2.
const INVERTED: Bottleneck = Bottleneck { start: None, ..EXTRA };

/// As in ConvNeXt.
const NEXT: Bottleneck = Bottleneck { middle: None, ..EXTRA };

const FEED_FORWARD: Bottleneck = Bottleneck { start: None, ..NEXT };

pub(super) struct Stage {
    pub channels: usize,
    pub blocks: &'static [Block],
}

/// What keeps a step of two from aliasing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Smooth {
    Not,
    /// The mean of 2×2 pixels.
    Average,
    /// The binomial mean of 3×3 pixels.
    Blur,
}

pub(super) struct Row {
    pub name: &'static str,
    pub timm: &'static str,
    pub stages: &'static [Stage],
    /// Channels of the first convolution, at every width.
    pub stem: usize,
    pub width: f64,
    pub function: Function,
    pub smooth: Smooth,
    pub image_size: u32,
    /// To which timm resizes.
    pub resize: u32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

const SMALL_ROW: Row = Row {
    name: "",
    timm: "",
    stages: SMALL,
    stem: 32,
    width: 1.0,
    function: Function::Relu,
    smooth: Smooth::Not,
    image_size: 224,
    resize: 256,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
};

const HALVES: [f32; 3] = [0.5; 3];

const MEDIUM_ROW: Row = Row { stages: MEDIUM, image_size: 256, resize: 269, ..SMALL_ROW };

const LARGE_ROW: Row = Row { stages: LARGE, stem: 24, image_size: 384, resize: 404, ..SMALL_ROW };

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row { name: "mobilenet_v4_conv_small", timm: "mobilenetv4_conv_small", ..SMALL_ROW },
    Row { name: "mobilenet_v4_conv_small_035", timm: "mobilenetv4_conv_small_035", width: 0.35, mean: HALVES, std: HALVES, ..SMALL_ROW },
    Row { name: "mobilenet_v4_conv_small_050", timm: "mobilenetv4_conv_small_050", width: 0.5, mean: HALVES, std: HALVES, ..SMALL_ROW },
    Row { name: "mobilenet_v4_conv_medium", timm: "mobilenetv4_conv_medium", ..MEDIUM_ROW },
    Row { name: "mobilenet_v4_conv_aa_medium", timm: "mobilenetv4_conv_aa_medium", smooth: Smooth::Average, ..MEDIUM_ROW },
    Row { name: "mobilenet_v4_conv_blur_medium", timm: "mobilenetv4_conv_blur_medium", smooth: Smooth::Blur, image_size: 224, resize: 235, ..MEDIUM_ROW },
    Row { name: "mobilenet_v4_conv_large", timm: "mobilenetv4_conv_large", ..LARGE_ROW },
    Row { name: "mobilenet_v4_conv_aa_large", timm: "mobilenetv4_conv_aa_large", smooth: Smooth::Average, image_size: 448, resize: 471, ..LARGE_ROW },
];

#[rustfmt::skip]
const SMALL: &[Stage] = &[
    Stage {
        channels: 32,
        blocks: &[
            Plain { kernel: 3, channels: 32, stride: 2 },
            Plain { kernel: 1, channels: 32, stride: 1 },
        ],
    },
    Stage {
        channels: 64,
        blocks: &[
            Plain { kernel: 3, channels: 96, stride: 2 },
            Plain { kernel: 1, channels: 64, stride: 1 },
        ],
    },
    Stage {
        channels: 96,
        blocks: &[
            Universal(Bottleneck { start: Some(5), middle: Some(5), expand: 3, stride: 2 }),
            Universal(Bottleneck { expand: 2, ..INVERTED }),
            Universal(Bottleneck { expand: 2, ..INVERTED }),
            Universal(Bottleneck { expand: 2, ..INVERTED }),
            Universal(Bottleneck { expand: 2, ..INVERTED }),
            Universal(NEXT),
        ],
    },
    Stage {
        channels: 128,
        blocks: &[
            Universal(Bottleneck { expand: 6, stride: 2, ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { middle: Some(5), ..INVERTED }),
            Universal(Bottleneck { middle: Some(5), expand: 3, ..INVERTED }),
            Universal(INVERTED),
            Universal(INVERTED),
        ],
    },
];

#[rustfmt::skip]
const MEDIUM: &[Stage] = &[
    Stage {
        channels: 48,
        blocks: &[
            Fused { expand: 4, stride: 2 },
        ],
    },
    Stage {
        channels: 80,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), stride: 2, ..EXTRA }),
            Universal(Bottleneck { expand: 2, ..EXTRA }),
        ],
    },
    Stage {
        channels: 160,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), expand: 6, stride: 2, ..EXTRA }),
            Universal(EXTRA),
            Universal(EXTRA),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(EXTRA),
            Universal(NEXT),
            Universal(Bottleneck { expand: 2, ..FEED_FORWARD }),
            Universal(NEXT),
        ],
    },
    Stage {
        channels: 256,
        blocks: &[
            Universal(Bottleneck { start: Some(5), middle: Some(5), expand: 6, stride: 2 }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(FEED_FORWARD),
            Universal(NEXT),
            Universal(Bottleneck { middle: Some(5), expand: 2, ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(FEED_FORWARD),
            Universal(FEED_FORWARD),
            Universal(Bottleneck { start: Some(5), expand: 2, ..NEXT }),
        ],
    },
];

#[rustfmt::skip]
const LARGE: &[Stage] = &[
    Stage {
        channels: 48,
        blocks: &[
            Fused { expand: 4, stride: 2 },
        ],
    },
    Stage {
        channels: 96,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), stride: 2, ..EXTRA }),
            Universal(EXTRA),
        ],
    },
    Stage {
        channels: 192,
        blocks: &[
            Universal(Bottleneck { middle: Some(5), stride: 2, ..EXTRA }),
            Universal(EXTRA),
            Universal(EXTRA),
            Universal(EXTRA),
            Universal(Bottleneck { middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(NEXT),
        ],
    },
    Stage {
        channels: 512,
        blocks: &[
            Universal(Bottleneck { start: Some(5), middle: Some(5), stride: 2, ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), middle: Some(5), ..EXTRA }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
            Universal(Bottleneck { start: Some(5), ..NEXT }),
        ],
    },
];
