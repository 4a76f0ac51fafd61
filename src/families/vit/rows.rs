//! The table of variants, and the families and sizes.

use super::super::{Definition, Family, Source};
use crate::data::{Filter, Preprocess};
use crate::weights::init::{Recipe, Rule};

static VIT: Family = Family {
    name: "ViT",
    year: 2020,
    paper: "Dosovitskiy et al.: An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale, ICLR 2021, \
            arXiv:2010.11929",
    idea: "An image is a sentence of patches: a plain transformer reads it, without convolutions beyond the first.",
    strengths: "Keeps improving with more data and more parameters; large matrix products that hardware runs near its \
                peak.",
    weaknesses: "Knows nothing of neighbourhoods: from ImageNet alone it learns less than a ResNet, unless strongly \
                 regularised. Attention grows with the square of the patches.",
};

static DEIT: Family = Family {
    name: "DeiT",
    year: 2020,
    paper: "Touvron et al.: Training data-efficient image transformers & distillation through attention, ICML 2021, \
            arXiv:2012.12877",
    idea: "Strong augmentation, and a token that learns a teacher's answer, train a ViT on ImageNet alone.",
    strengths: "ViT's networks without hundreds of millions of images.",
    weaknesses: "Needs three hundred epochs and a long list of augmentations; the best form needs a teacher too.",
};

/// Width of a token, number of blocks, and heads per block.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub width: usize,
    pub depth: usize,
    pub heads: usize,
}

const TINY: Size = Size { width: 192, depth: 12, heads: 3 };
const SMALL: Size = Size { width: 384, depth: 12, heads: 6 };
const BASE: Size = Size { width: 768, depth: 12, heads: 12 };
const LARGE: Size = Size { width: 1024, depth: 24, heads: 16 };
const HUGE: Size = Size { width: 1280, depth: 32, heads: 16 };

/// torchvision's ViT. It truncates the patch embedding's normal distribution at ±2, which is far in its tails.
const RECIPE: Recipe = Recipe {
    conv: Rule::NormalIn { gain: 1.0 },
    linear: Rule::Glorot,
    bias: Rule::ZERO,
    embedding: Rule::ZERO,
    exceptions: &[
        ("heads.*", Rule::ZERO),
        ("*.out_proj.weight", Rule::UniformIn),
        ("*.mlp.*.bias", Rule::Normal(1e-6)),
    ],
};

/// timm's ViT.
const TIMM_RECIPE: Recipe = Recipe {
    linear: Rule::Normal(0.02),
    bias: Rule::ZERO,
    exceptions: &[("cls_token", Rule::Normal(1e-6)), ("patch_embed.proj.bias", Rule::UniformIn)],
    ..Recipe::PYTORCH
};

pub(super) struct Row {
    pub name: &'static str,
    pub family: &'static Family,
    pub size: Size,
    /// Height and width of a patch.
    pub patch: usize,
    /// Whether there is a distillation token with a head of its own.
    pub distilled: bool,
    pub deviations: &'static str,
    /// The default first, without the deviations.
    pub definitions: &'static [Definition],
}

const fn torchvision(resize: u32, crop: u32, interpolation: Filter) -> Definition {
    let preprocess = Preprocess::imagenet(resize, crop, interpolation);
    Definition { recipe: RECIPE, ..Definition::new(Source::Torchvision, preprocess) }
}

/// timm's definition for Google's weights, with pixels of -1 to 1: a crop of nine tenths of 248 pixels, or all of 384.
const fn timm(name: &'static str, crop: u32) -> Definition {
    let definition = timm_imagenet(name, crop);
    let preprocess = Preprocess { mean: [0.5; 3], std: [0.5; 3], ..definition.preprocess };
    Definition { preprocess, ..definition }
}

/// timm's definition for Facebook's weights, with ImageNet's mean and standard deviation.
const fn timm_imagenet(name: &'static str, crop: u32) -> Definition {
    let resize = if crop == 224 { 248 } else { crop };
    let preprocess = Preprocess::imagenet(resize, crop, Filter::Bicubic);
    Definition {
        recipe: TIMM_RECIPE,
        options: &["drop_rate", "drop_path_rate"],
        ..Definition::new(Source::Timm, preprocess).named(name)
    }
}

const ROW: Row = Row {
    name: "",
    family: &VIT,
    size: BASE,
    patch: 16,
    distilled: false,
    deviations: "none",
    definitions: &[],
};
const NOT_IN_THE_PAPER: &str =
    "of a size that the paper does not have; after Steiner et al., arXiv:2106.10270";
const VIT_TINY: Row = Row { size: TINY, deviations: NOT_IN_THE_PAPER, ..ROW };
const VIT_SMALL: Row = Row { size: SMALL, deviations: NOT_IN_THE_PAPER, ..ROW };
const DEIT_BASE: Row = Row { family: &DEIT, ..ROW };
const DISTILLED: Row = Row {
    distilled: true,
    deviations: "averages both heads in training too, where the paper gives each its own loss",
    ..DEIT_BASE
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "vit_b_16",
        definitions: &[torchvision(256, 224, Filter::Bilinear), timm("vit_base_patch16_224", 224)],
        ..ROW
    },
    Row {
        name: "vit_b_32",
        patch: 32,
        definitions: &[torchvision(256, 224, Filter::Bilinear), timm("vit_base_patch32_224", 224)],
        ..ROW
    },
    Row {
        name: "vit_l_16",
        size: LARGE,
        definitions: &[torchvision(242, 224, Filter::Bilinear), timm("vit_large_patch16_224", 224)],
        ..ROW
    },
    Row {
        name: "vit_l_32",
        size: LARGE,
        patch: 32,
        definitions: &[torchvision(256, 224, Filter::Bilinear), timm("vit_large_patch32_224", 224)],
        ..ROW
    },
    Row {
        name: "vit_h_14",
        size: HUGE,
        patch: 14,
        definitions: &[torchvision(518, 518, Filter::Bicubic), timm("vit_huge_patch14_224", 224)],
        ..ROW
    },
    Row { name: "vit_ti_16", definitions: &[timm("vit_tiny_patch16_224", 224)], ..VIT_TINY },
    Row { name: "vit_ti_16_384", definitions: &[timm("vit_tiny_patch16_384", 384)], ..VIT_TINY },
    Row {
        name: "vit_s_8",
        patch: 8,
        definitions: &[timm_imagenet("vit_small_patch8_224", 224)],
        ..VIT_SMALL
    },
    Row { name: "vit_s_16", definitions: &[timm("vit_small_patch16_224", 224)], ..VIT_SMALL },
    Row { name: "vit_s_16_384", definitions: &[timm("vit_small_patch16_384", 384)], ..VIT_SMALL },
    Row {
        name: "vit_s_32",
        patch: 32,
        definitions: &[timm("vit_small_patch32_224", 224)],
        ..VIT_SMALL
    },
    Row {
        name: "vit_s_32_384",
        patch: 32,
        definitions: &[timm("vit_small_patch32_384", 384)],
        ..VIT_SMALL
    },
    Row { name: "vit_b_8", patch: 8, definitions: &[timm("vit_base_patch8_224", 224)], ..ROW },
    Row { name: "vit_b_16_384", definitions: &[timm("vit_base_patch16_384", 384)], ..ROW },
    Row {
        name: "vit_b_32_384",
        patch: 32,
        definitions: &[timm("vit_base_patch32_384", 384)],
        ..ROW
    },
    Row {
        name: "vit_l_14",
        size: LARGE,
        patch: 14,
        definitions: &[timm("vit_large_patch14_224", 224)],
        ..ROW
    },
    Row {
        name: "vit_l_16_384",
        size: LARGE,
        definitions: &[timm("vit_large_patch16_384", 384)],
        ..ROW
    },
    Row {
        name: "vit_l_32_384",
        size: LARGE,
        patch: 32,
        definitions: &[timm("vit_large_patch32_384", 384)],
        ..ROW
    },
    Row {
        name: "deit_tiny_16",
        size: TINY,
        definitions: &[timm_imagenet("deit_tiny_patch16_224", 224)],
        ..DEIT_BASE
    },
    Row {
        name: "deit_small_16",
        size: SMALL,
        definitions: &[timm_imagenet("deit_small_patch16_224", 224)],
        ..DEIT_BASE
    },
    Row {
        name: "deit_base_16",
        definitions: &[timm_imagenet("deit_base_patch16_224", 224)],
        ..DEIT_BASE
    },
    Row {
        name: "deit_base_16_384",
        definitions: &[timm_imagenet("deit_base_patch16_384", 384)],
        ..DEIT_BASE
    },
    Row {
        name: "deit_tiny_distilled_16",
        size: TINY,
        definitions: &[timm_imagenet("deit_tiny_distilled_patch16_224", 224)],
        ..DISTILLED
    },
    Row {
        name: "deit_small_distilled_16",
        size: SMALL,
        definitions: &[timm_imagenet("deit_small_distilled_patch16_224", 224)],
        ..DISTILLED
    },
    Row {
        name: "deit_base_distilled_16",
        definitions: &[timm_imagenet("deit_base_distilled_patch16_224", 224)],
        ..DISTILLED
    },
    Row {
        name: "deit_base_distilled_16_384",
        definitions: &[timm_imagenet("deit_base_distilled_patch16_384", 384)],
        ..DISTILLED
    },
];
