//! The table of variants.

use super::super::{Definition, Source};
use super::stages::{HYBRID_LARGE, HYBRID_MEDIUM, LARGE, MEDIUM, SMALL, Stage};
use crate::data::{Filter, Preprocess};
use crate::graph::op::Function;
use crate::weights::init::{Recipe, Rule};

/// Anti-aliasing of strides of two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Smooth {
    Not,
    /// A 2×2 average pool.
    Average,
    /// A 3×3 binomial blur.
    Blur,
}

/// timm's MobileNetV4.
const RECIPE: Recipe = Recipe {
    exceptions: &[
        ("*.gamma", Rule::Constant(1e-5)),
        ("*.attn.*.proj.weight", Rule::Glorot),
        ("*.attn.*.down_conv.weight", Rule::Glorot),
    ],
    ..Recipe::TIMM_EFFICIENTNET
};

pub(super) struct Row {
    pub name: &'static str,
    pub definition: Definition,
    pub stages: &'static [Stage],
    /// Channels of the first convolution, also at widths below 1.
    pub stem: usize,
    pub width: f64,
    pub function: Function,
    pub smooth: Smooth,
    /// Whether each block but the first ends in a layer scale: learned factors of its channels.
    pub layer_scale: bool,
}

const fn timm(resize: u32, crop: u32) -> Definition {
    Definition {
        recipe: RECIPE,
        deviations: "pads symmetrically, the original at the bottom and right; BN epsilon 1e-5, the original 1e-3",
        options: &["drop_rate", "drop_path_rate", "width"],
        ..Definition::new(Source::Timm, Preprocess::imagenet(resize, crop, Filter::Bicubic))
    }
}

const TIMM_NARROW: Definition = Definition {
    preprocess: Preprocess::inception(256, 224, Filter::Bicubic),
    deviations: "timm's own width; pads symmetrically, BN epsilon 1e-5",
    ..timm(256, 224)
};

/// With a 2×2 average pool.
const fn timm_average(resize: u32, crop: u32) -> Definition {
    Definition {
        deviations: "averages 2×2 pixels after a convolution of stride 1 where the original has stride 2; pads \
                     symmetrically, BN epsilon 1e-5",
        ..timm(resize, crop)
    }
}

const TIMM_BLUR: Definition = Definition {
    deviations: "blurs after a convolution of stride 1 where the original has stride 2; pads symmetrically, BN epsilon 1e-5",
    ..timm(235, 224)
};

const SMALL_ROW: Row = Row {
    name: "",
    definition: timm(256, 224),
    stages: SMALL,
    stem: 32,
    width: 1.0,
    function: Function::Relu,
    smooth: Smooth::Not,
    layer_scale: false,
};

const MEDIUM_ROW: Row = Row { stages: MEDIUM, ..SMALL_ROW };

const LARGE_ROW: Row = Row { stages: LARGE, stem: 24, ..SMALL_ROW };

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row { name: "mobilenet_v4_conv_small", definition: timm(256, 224).named("mobilenetv4_conv_small"), ..SMALL_ROW },
    Row { name: "mobilenet_v4_conv_small_035", definition: TIMM_NARROW.named("mobilenetv4_conv_small_035"), width: 0.35, ..SMALL_ROW },
    Row { name: "mobilenet_v4_conv_small_050", definition: TIMM_NARROW.named("mobilenetv4_conv_small_050"), width: 0.5, ..SMALL_ROW },
    Row { name: "mobilenet_v4_conv_medium", definition: timm(269, 256).named("mobilenetv4_conv_medium"), ..MEDIUM_ROW },
    Row { name: "mobilenet_v4_conv_aa_medium", definition: timm_average(269, 256).named("mobilenetv4_conv_aa_medium"), smooth: Smooth::Average, ..MEDIUM_ROW },
    Row { name: "mobilenet_v4_conv_blur_medium", definition: TIMM_BLUR.named("mobilenetv4_conv_blur_medium"), smooth: Smooth::Blur, ..MEDIUM_ROW },
    Row { name: "mobilenet_v4_conv_large", definition: timm(404, 384).named("mobilenetv4_conv_large"), ..LARGE_ROW },
    Row { name: "mobilenet_v4_conv_aa_large", definition: timm_average(471, 448).named("mobilenetv4_conv_aa_large"), smooth: Smooth::Average, ..LARGE_ROW },
    Row { name: "mobilenet_v4_hybrid_medium", definition: timm(269, 256).named("mobilenetv4_hybrid_medium"), stages: HYBRID_MEDIUM, layer_scale: true, ..MEDIUM_ROW },
    Row { name: "mobilenet_v4_hybrid_large", definition: timm(404, 384).named("mobilenetv4_hybrid_large"), stages: HYBRID_LARGE, layer_scale: true, function: Function::Gelu, ..LARGE_ROW },
];
