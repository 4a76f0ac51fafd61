//! The table of variants.

use super::stages::{HYBRID_LARGE, HYBRID_MEDIUM, LARGE, MEDIUM, SMALL, Stage};
use crate::graph::op::Function;

/// Anti-aliasing of strides of two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Smooth {
    Not,
    /// A 2×2 average pool.
    Average,
    /// A 3×3 binomial blur.
    Blur,
}

pub(super) struct Row {
    pub name: &'static str,
    pub timm: &'static str,
    pub stages: &'static [Stage],
    /// Channels of the first convolution, also at widths below 1.
    pub stem: usize,
    pub width: f64,
    pub function: Function,
    pub smooth: Smooth,
    /// Whether each block but the first ends in a layer scale: learned factors of its channels.
    pub layer_scale: bool,
    pub image_size: u32,
    /// timm's resize before cropping.
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
    layer_scale: false,
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
    Row { name: "mobilenet_v4_hybrid_medium", timm: "mobilenetv4_hybrid_medium", stages: HYBRID_MEDIUM, layer_scale: true, ..MEDIUM_ROW },
    Row { name: "mobilenet_v4_hybrid_large", timm: "mobilenetv4_hybrid_large", stages: HYBRID_LARGE, layer_scale: true, function: Function::Gelu, ..LARGE_ROW },
];
