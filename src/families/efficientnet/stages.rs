//! The families, and the stages of their networks.

use super::super::Family;

pub(super) static EFFICIENTNET: Family = Family {
    name: "EfficientNet",
    year: 2019,
    paper: "Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019, \
            arXiv:1905.11946",
    idea: "Depth, width and resolution grow together from a searched base network, not one of them alone.",
    strengths: "High accuracy for few parameters and multiply-adds.",
    weaknesses: "Depthwise convolutions and squeeze-and-excite run far below peak speed; slow and hungry to train.",
};

pub(super) static V2: Family = Family {
    name: "EfficientNetV2",
    year: 2021,
    paper: "Tan, Le: EfficientNetV2: Smaller Models and Faster Training, ICML 2021, arXiv:2104.00298",
    idea: "Early stages use plain 3×3 convolutions again, since they run faster than depthwise ones.",
    strengths: "Trains several times faster than EfficientNet at the same accuracy.",
    weaknesses: "Its recipe needs large images and growing augmentation to reach the published accuracy.",
};

pub(super) static LITE: Family = Family {
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
    /// 1×1 expansion, depthwise convolution, 1×1 projection.
    Inverted,
    /// One dense k×k expansion, 1×1 projection.
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

/// Stages of B0, which are scaled for B0–B7 and Lite.
pub(super) const B: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 16, repeats: 1, ..INVERTED },
    Stage { channels: 24, repeats: 2, ..INVERTED },
    Stage { kernel: 5, channels: 40, repeats: 2, ..INVERTED },
    Stage { channels: 80, repeats: 3, ..INVERTED },
    Stage { kernel: 5, stride: 1, channels: 112, repeats: 3, ..INVERTED },
    Stage { kernel: 5, channels: 192, repeats: 4, ..INVERTED },
    Stage { stride: 1, channels: 320, repeats: 1, ..INVERTED },
];

/// Stages of V2's B0, which are scaled for B0–B3.
pub(super) const V2_B: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 16, repeats: 1, ..FUSED },
    Stage { channels: 32, repeats: 2, ..FUSED },
    Stage { channels: 48, repeats: 2, ..FUSED },
    Stage { expand: 4, channels: 96, repeats: 3, ..INVERTED },
    Stage { stride: 1, channels: 112, repeats: 5, ..INVERTED },
    Stage { channels: 192, repeats: 8, ..INVERTED },
];

pub(super) const V2_S: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 24, repeats: 2, ..FUSED },
    Stage { channels: 48, repeats: 4, ..FUSED },
    Stage { channels: 64, repeats: 4, ..FUSED },
    Stage { expand: 4, channels: 128, repeats: 6, ..INVERTED },
    Stage { stride: 1, channels: 160, repeats: 9, ..INVERTED },
    Stage { channels: 256, repeats: 15, ..INVERTED },
];

pub(super) const V2_M: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 24, repeats: 3, ..FUSED },
    Stage { channels: 48, repeats: 5, ..FUSED },
    Stage { channels: 80, repeats: 5, ..FUSED },
    Stage { expand: 4, channels: 160, repeats: 7, ..INVERTED },
    Stage { stride: 1, channels: 176, repeats: 14, ..INVERTED },
    Stage { channels: 304, repeats: 18, ..INVERTED },
    Stage { stride: 1, channels: 512, repeats: 5, ..INVERTED },
];

pub(super) const V2_L: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 32, repeats: 4, ..FUSED },
    Stage { channels: 64, repeats: 7, ..FUSED },
    Stage { channels: 96, repeats: 7, ..FUSED },
    Stage { expand: 4, channels: 192, repeats: 10, ..INVERTED },
    Stage { stride: 1, channels: 224, repeats: 19, ..INVERTED },
    Stage { channels: 384, repeats: 25, ..INVERTED },
    Stage { stride: 1, channels: 640, repeats: 7, ..INVERTED },
];

pub(super) const V2_XL: &[Stage] = &[
    Stage { expand: 1, stride: 1, channels: 32, repeats: 4, ..FUSED },
    Stage { channels: 64, repeats: 8, ..FUSED },
    Stage { channels: 96, repeats: 8, ..FUSED },
    Stage { expand: 4, channels: 192, repeats: 16, ..INVERTED },
    Stage { stride: 1, channels: 256, repeats: 24, ..INVERTED },
    Stage { channels: 512, repeats: 32, ..INVERTED },
    Stage { stride: 1, channels: 640, repeats: 8, ..INVERTED },
];
