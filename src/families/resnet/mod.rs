//! ResNet: blocks learn a residual that is added to their input, so that networks of a hundred layers train well.
//!
//! He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385.
//! ResNeXt: Xie et al., arXiv:1611.05431. Wide: Zagoruyko and Komodakis, arXiv:1605.07146.
//! v2: He, Zhang, Ren, Sun, arXiv:1603.05027. D: He et al., arXiv:1812.01187. Squeeze-and-excite: Hu et al.,
//! arXiv:1709.01507.
//!
//! Variants differ in the block (basic: two 3×3; bottleneck: 1×1, 3×3, 1×1), their number, groups and width of the 3×3,
//! the stem, the shortcuts (projection, average pool, padding or none), and squeeze-and-excite.
//!
//! Sources: torchvision (default where it has the network) and timm put the stride of a stage in the 3×3 ("v1.5"); the
//! paper has it in the first 1×1, and so have Keras, whose convolutions have biases, and timm's older definition,
//! `legacy_`. timm starts the scale of the last norm of every block at zero. Keras's published weights are for
//! blue, green and red, and are turned around when they are loaded. The paper's networks of 18 and 34 layers have shortcuts without parameters where channels double (its
//! option A). Its networks for CIFAR (section 4.2) and those without shortcuts are in no library; they have
//! torchvision's names. For v2, timm (default) is like its ResNet, with a 1×1 convolution as classifier; Keras has the
//! stride in the last block of a stage.

mod about;
mod names;
mod parts;
mod preactivated;
mod preactivated_names;
mod residual;
mod rows;

use super::{Definition, Settings, Source, Variant};
use crate::weights::init::{Recipe, Rule};
use rows::{Block, Order, ROWS, Row};

/// He, Zhang, Ren, Sun (2015), who initialise all weights as in their arXiv:1502.01852.
const PAPER_RECIPE: Recipe = Recipe {
    conv: Rule::NormalIn { gain: 2.0 },
    linear: Rule::NormalIn { gain: 2.0 },
    bias: Rule::ZERO,
    ..Recipe::PYTORCH
};

/// timm's ResNet of basic blocks: every block starts as its shortcut.
const TIMM_BASIC_RECIPE: Recipe =
    Recipe { exceptions: &[("layer*.bn2.weight", Rule::ZERO)], ..Recipe::RESNET };

/// timm's ResNet of bottlenecks, likewise.
const TIMM_BOTTLENECK_RECIPE: Recipe =
    Recipe { exceptions: &[("layer*.bn3.weight", Rule::ZERO)], ..Recipe::RESNET };

/// timm's ResNet-v2, whose blocks do not end in a norm.
const TIMM_V2_RECIPE: Recipe =
    Recipe { exceptions: &[("head.fc.weight", Rule::Normal(0.01))], ..Recipe::VGG };

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        let definitions: Vec<_> = row.definitions.iter().map(|&it| completed(row, it)).collect();
        let draw = |definition: &Definition, settings: &Settings| {
            let (source, classes) = (definition.source, settings.classes);
            match row.order {
                Order::Residual | Order::Plain => {
                    residual::NetworkBuilder::new(row, source, settings).build(classes)
                }
                Order::Preactivated => {
                    preactivated::NetworkBuilder::new(row, source, settings).build(classes)
                }
            }
        };
        let variant = Variant::new(row.name, row.family, &definitions, draw);
        Variant { classes: row.classes, ..variant }
    })
}

fn completed(row: &Row, definition: Definition) -> Definition {
    Definition {
        recipe: match (definition.source, row.order, row.block) {
            (Source::Torchvision, ..) => Recipe::RESNET,
            (Source::Timm, Order::Preactivated, _) => TIMM_V2_RECIPE,
            (Source::Timm, ..) if row.legacy => Recipe::RESNET,
            (Source::Timm, _, Block::Basic) => TIMM_BASIC_RECIPE,
            (Source::Timm, _, Block::Bottleneck) => TIMM_BOTTLENECK_RECIPE,
            (Source::Paper, ..) => PAPER_RECIPE,
            (Source::Keras, ..) => Recipe::KERAS,
        },
        deviations: row.deviations(definition.source),
        options: match row.order {
            Order::Plain => &["drop_rate"],
            Order::Residual | Order::Preactivated => &["drop_rate", "drop_path_rate"],
        },
        ..definition
    }
}
