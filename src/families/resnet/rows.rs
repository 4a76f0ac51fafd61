//! The table of variants.

use super::super::{Definition, Family, Source};
use super::about::{PLAIN, RESNET, RESNET_D, RESNET_V2, RESNEXT, SE_RESNET, WIDE};
use crate::data::{Filter, Preprocess};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1 reduction, 3×3, 1×1 expansion.
    Bottleneck,
}

/// The stem, and the downsampling in shortcuts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A 7×7 convolution and a pool, both of stride 2.
    Original,
    /// ResNet-D: three 3×3 in place of the 7×7, and average pools in shortcuts.
    D,
    /// A 3×3 of stride 1, for images of 32 × 32. Stages have a quarter of the channels.
    Small,
}

/// The order of operations in a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Post-activation: convolutions, sum, activation.
    Residual,
    /// Convolutions and activations without shortcuts.
    Plain,
    /// Pre-activation: norm and activation, convolutions, sum.
    Preactivated,
}

#[derive(Clone, Copy)]
pub(super) struct Row {
    pub name: &'static str,
    pub family: &'static Family,
    pub classes: usize,
    /// The default first, without what the fields below decide: recipe, deviations and options.
    pub definitions: &'static [Definition],
    pub form: Form,
    pub block: Block,
    /// Blocks in each stage.
    pub depths: &'static [usize],
    pub groups: usize,
    /// Channels per group in the first stage; 64 without groups.
    pub group_width: usize,
    pub order: Order,
    /// Whether blocks have squeeze-and-excite.
    pub squeeze: bool,
    /// Whether it is of timm's older definition, which follows networks in Caffe.
    pub legacy: bool,
}

const fn torchvision(resize: u32) -> Definition {
    let preprocess = Preprocess::imagenet(resize, 224, Filter::Bilinear);
    Definition::new(Source::Torchvision, preprocess)
}

const fn timm(resize: u32, crop: u32, interpolation: Filter) -> Definition {
    Definition::new(Source::Timm, Preprocess::imagenet(resize, crop, interpolation))
}

const PAPER: Definition = Definition::new(Source::Paper, Preprocess::centred(256, 224));
const PAPER_CIFAR: Definition = Definition { preprocess: Preprocess::CIFAR10, ..PAPER };

const fn keras(name: &'static str) -> Definition {
    Definition::new(Source::Keras, Preprocess::centred(224, 224)).named(name)
}

const fn timm_v2(resize: u32) -> Definition {
    Definition::new(Source::Timm, Preprocess::inception(resize, 224, Filter::Bicubic))
}

const fn keras_v2(name: &'static str) -> Definition {
    Definition::new(Source::Keras, Preprocess::inception(224, 224, Filter::Bilinear)).named(name)
}

/// timm's definitions for weights that it trained itself, and for those of older origin.
const TIMM: Definition = timm(235, 224, Filter::Bicubic);
const TIMM_OLD: Definition = timm(256, 224, Filter::Bicubic);
const TIMM_OLD_BILINEAR: Definition = timm(256, 224, Filter::Bilinear);
const TIMM_LARGE: Definition = timm(269, 256, Filter::Bicubic);

const D18: &[usize] = &[2, 2, 2, 2];
const D50: &[usize] = &[3, 4, 6, 3];
const D101: &[usize] = &[3, 4, 23, 3];
const D152: &[usize] = &[3, 8, 36, 3];
const D200: &[usize] = &[3, 24, 36, 3];

const BASIC: Row = Row {
    name: "",
    family: &RESNET,
    classes: 1000,
    definitions: &[torchvision(256), TIMM, PAPER],
    form: Form::Original,
    block: Block::Basic,
    depths: D18,
    groups: 1,
    group_width: 64,
    order: Order::Residual,
    squeeze: false,
    legacy: false,
};
const BOTTLENECK: Row =
    Row { block: Block::Bottleneck, depths: D50, definitions: &[torchvision(232), TIMM], ..BASIC };

const CIFAR: Row = Row { classes: 10, definitions: &[PAPER_CIFAR], form: Form::Small, ..BASIC };
const PLAIN_CIFAR: Row = Row { family: &PLAIN, order: Order::Plain, ..CIFAR };
const PLAIN_BASIC: Row =
    Row { family: &PLAIN, order: Order::Plain, definitions: &[PAPER], ..BASIC };

const NEXT: Row = Row { family: &RESNEXT, depths: D101, groups: 32, group_width: 4, ..BOTTLENECK };
const WIDER: Row = Row { family: &WIDE, group_width: 128, ..BOTTLENECK };

const BASIC_D: Row = Row { family: &RESNET_D, form: Form::D, definitions: &[TIMM_OLD], ..BASIC };
const BOTTLENECK_D: Row = Row { block: Block::Bottleneck, depths: D50, ..BASIC_D };
const LARGE_D: Row = Row { definitions: &[TIMM_LARGE], ..BOTTLENECK_D };

const BASIC_SE: Row = Row { family: &SE_RESNET, squeeze: true, definitions: &[TIMM_OLD], ..BASIC };
const BOTTLENECK_SE: Row = Row { block: Block::Bottleneck, depths: D50, ..BASIC_SE };
const BASIC_LEGACY: Row = Row { legacy: true, ..BASIC_SE };
const BOTTLENECK_LEGACY: Row =
    Row { legacy: true, definitions: &[TIMM_OLD_BILINEAR], ..BOTTLENECK_SE };

const BASIC_V2: Row =
    Row { family: &RESNET_V2, order: Order::Preactivated, definitions: &[timm_v2(248)], ..BASIC };
const BOTTLENECK_V2: Row =
    Row { block: Block::Bottleneck, depths: D50, definitions: &[timm_v2(256)], ..BASIC_V2 };

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row { name: "resnet18", ..BASIC },
    Row { name: "resnet34", depths: D50, ..BASIC },
    Row { name: "resnet50", definitions: &[torchvision(232), TIMM, keras("ResNet50"), PAPER], ..BOTTLENECK },
    Row { name: "resnet101", definitions: &[torchvision(232), TIMM, keras("ResNet101"), PAPER], depths: D101, ..BOTTLENECK },
    Row { name: "resnet152", definitions: &[torchvision(232), TIMM, keras("ResNet152"), PAPER], depths: D152, ..BOTTLENECK },

    Row { name: "resnet20", depths: &[3; 3], ..CIFAR },
    Row { name: "resnet32", depths: &[5; 3], ..CIFAR },
    Row { name: "resnet44", depths: &[7; 3], ..CIFAR },
    Row { name: "resnet56", depths: &[9; 3], ..CIFAR },
    Row { name: "resnet110", depths: &[18; 3], ..CIFAR },

    Row { name: "plain18", ..PLAIN_BASIC },
    Row { name: "plain34", depths: D50, ..PLAIN_BASIC },
    Row { name: "plain20", depths: &[3; 3], ..PLAIN_CIFAR },
    Row { name: "plain32", depths: &[5; 3], ..PLAIN_CIFAR },
    Row { name: "plain44", depths: &[7; 3], ..PLAIN_CIFAR },
    Row { name: "plain56", depths: &[9; 3], ..PLAIN_CIFAR },
    Row { name: "plain110", depths: &[18; 3], ..PLAIN_CIFAR },

    Row { name: "resnext50_32x4d", depths: D50, ..NEXT },
    Row { name: "resnext101_32x8d", group_width: 8, definitions: &[torchvision(232), TIMM_OLD_BILINEAR], ..NEXT },
    Row { name: "resnext101_64x4d", groups: 64, ..NEXT },
    Row { name: "resnext101_32x4d", definitions: &[TIMM_OLD_BILINEAR], ..NEXT },

    Row { name: "wide_resnet50_2", definitions: &[torchvision(232), TIMM_OLD], ..WIDER },
    Row { name: "wide_resnet101_2", depths: D101, definitions: &[torchvision(232), TIMM_OLD_BILINEAR], ..WIDER },

    Row { name: "resnet18d", ..BASIC_D },
    Row { name: "resnet26d", depths: D18, ..BOTTLENECK_D },
    Row { name: "resnet34d", depths: D50, ..BASIC_D },
    Row { name: "resnet50d", ..BOTTLENECK_D },
    Row { name: "resnet101d", depths: D101, ..LARGE_D },
    Row { name: "resnet152d", depths: D152, ..LARGE_D },
    Row { name: "resnet200d", depths: D200, ..LARGE_D },

    Row { name: "seresnet18", ..BASIC_SE },
    Row { name: "seresnet34", depths: D50, ..BASIC_SE },
    Row { name: "seresnet50", definitions: &[TIMM], ..BOTTLENECK_SE },
    Row { name: "seresnet101", depths: D101, ..BOTTLENECK_SE },
    Row { name: "seresnet152", depths: D152, ..BOTTLENECK_SE },
    Row { name: "legacy_seresnet18", ..BASIC_LEGACY },
    Row { name: "legacy_seresnet34", depths: D50, definitions: &[TIMM_OLD_BILINEAR], ..BASIC_LEGACY },
    Row { name: "legacy_seresnet50", ..BOTTLENECK_LEGACY },
    Row { name: "legacy_seresnet101", depths: D101, ..BOTTLENECK_LEGACY },
    Row { name: "legacy_seresnet152", depths: D152, ..BOTTLENECK_LEGACY },

    Row { name: "resnetv2_18", ..BASIC_V2 },
    Row { name: "resnetv2_34", depths: D50, ..BASIC_V2 },
    Row { name: "resnetv2_50", definitions: &[timm_v2(235), keras_v2("ResNet50V2")], ..BOTTLENECK_V2 },
    Row { name: "resnetv2_101", depths: D101, definitions: &[timm_v2(235), keras_v2("ResNet101V2")], ..BOTTLENECK_V2 },
    Row { name: "resnetv2_152", depths: D152, definitions: &[timm_v2(256), keras_v2("ResNet152V2")], ..BOTTLENECK_V2 },
    Row { name: "resnetv2_18d", form: Form::D, ..BASIC_V2 },
    Row { name: "resnetv2_34d", form: Form::D, depths: D50, ..BASIC_V2 },
    Row { name: "resnetv2_50d", form: Form::D, ..BOTTLENECK_V2 },
    Row { name: "resnetv2_101d", form: Form::D, depths: D101, ..BOTTLENECK_V2 },
    Row { name: "resnetv2_152d", form: Form::D, depths: D152, ..BOTTLENECK_V2 },
];

impl Row {
    /// Channels of a stage, before a bottleneck's expansion.
    pub(super) fn channels(&self, stage: usize) -> usize {
        let first = match self.form {
            Form::Original | Form::D => 64,
            Form::Small => 16,
        };
        first << stage
    }

    pub(super) fn blocks(&self) -> usize {
        self.depths.iter().sum()
    }

    pub(super) fn deviations(&self, source: Source) -> &'static str {
        match (self.block, source) {
            _ if self.order == Order::Preactivated => self.deviations_of_v2(source),
            (_, Source::Paper) => "none",
            (_, Source::Keras) => "convolutions have biases",
            (Block::Basic, _) if self.legacy => {
                "a ReLU before the gate; dropout of 0.2 before the classifier"
            }
            (Block::Bottleneck, _) if self.legacy => "dropout of 0.2 before the classifier",
            (Block::Basic, _) if self.form == Form::D => {
                "basic blocks, where the paper's ResNet-50-D has bottlenecks"
            }
            (Block::Bottleneck, _) if self.form == Form::D => "none",
            (Block::Basic, _) if self.squeeze => "no gate squeezes to fewer than 8 channels",
            (Block::Basic, _) => {
                "shortcuts project where channels double (the paper's option B), its own of this depth pad with zeros"
            }
            // ResNeXt's own stride is there too (its section 5.1), and Wide ResNet was built on the same code.
            (Block::Bottleneck, _) if self.group_width != 64 => "none",
            (Block::Bottleneck, _) => {
                "the stride of a stage stands in the 3×3, the paper's in the first 1×1"
            }
        }
    }

    fn deviations_of_v2(&self, source: Source) -> &'static str {
        match (self.form, self.block, source) {
            (_, _, Source::Keras) => {
                "the last block of a stage strides, its shortcut skips pixels; some convolutions have biases"
            }
            (Form::D, Block::Basic, _) => "stem and shortcuts of ResNet-D; basic blocks",
            (Form::D, Block::Bottleneck, _) => {
                "stem and shortcuts of ResNet-D; the stride of a stage stands in the 3×3"
            }
            (_, Block::Basic, _) => {
                "basic blocks, where the paper's networks for ImageNet have bottlenecks"
            }
            (_, Block::Bottleneck, _) => {
                "the stride of a stage stands in the 3×3, the authors' in the first 1×1"
            }
        }
    }
}
