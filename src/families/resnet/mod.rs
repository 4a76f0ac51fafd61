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
//! `legacy_`. timm starts the scale of the last norm of every block at zero. Keras's published weights expect BGR
//! channels. The paper's networks of 18 and 34 layers have shortcuts without parameters where channels double (its
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

use super::{Edition, Source, Variant};
use crate::weights::init::Recipe;
use rows::{Block, Definition, Order, ROWS, Row};

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| Variant {
        name: row.name,
        family: row.family,
        classes: row.classes,
        editions: row.editions.iter().map(|definition| edition(row, definition)).collect(),
    })
}

fn edition(row: &'static Row, definition: &'static Definition) -> Edition {
    let source = definition.source;
    Edition {
        source,
        source_name: definition.name.unwrap_or(row.name),
        preprocess: definition.preprocess,
        recipe: match (source, row.order, row.block) {
            (Source::Torchvision, ..) => Recipe::RESNET,
            (Source::Timm, Order::Preactivated, _) => Recipe::TIMM_RESNET_V2,
            (Source::Timm, ..) if row.legacy => Recipe::RESNET,
            (Source::Timm, _, Block::Basic) => Recipe::TIMM_RESNET_BASIC,
            (Source::Timm, _, Block::Bottleneck) => Recipe::TIMM_RESNET_BOTTLENECK,
            (Source::Paper, ..) => Recipe::RESNET_2015,
            (Source::Keras, ..) => Recipe::KERAS,
        },
        deviations: row.deviations(source),
        weights: &[],
        options: match row.order {
            Order::Plain => &["drop_rate"],
            Order::Residual | Order::Preactivated => &["drop_rate", "drop_path_rate"],
        },
        build: Box::new(move |settings| {
            let classes = settings.classes;
            match row.order {
                Order::Residual | Order::Plain => {
                    residual::Drawing::new(row, source, settings).network(classes)
                }
                Order::Preactivated => {
                    preactivated::Drawing::new(row, source, settings).network(classes)
                }
            }
        }),
    }
}
