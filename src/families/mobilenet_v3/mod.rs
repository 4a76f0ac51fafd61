//! MobileNetV3: MobileNetV2's blocks, found by architecture search for phones, with squeeze-and-excite and hard-swish;
//! the last expansion comes after pooling.
//!
//! Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam, "Searching for MobileNetV3", ICCV 2019,
//! arXiv:1905.02244.
//!
//! Variants differ in the size, Large or Small (tables 1 and 2), in the width multiplier, and in whether
//! squeeze-and-excite, 5×5 kernels and hard-swish are left out (`minimal`).
//!
//! Sources: torchvision (default at width 1) and timm pad symmetrically, timm with BN epsilon 1e-5. Keras and timm's
//! `tf_` pad like the original (`same`, whatever the size of the image) and have its epsilon of 1e-3.

mod names;
mod rows;
mod widths;

use super::{Family, Settings, Variant};
use crate::blocks::{
    InvertedResidual, SqueezeExcite, classifier, conv_norm_act, divisible, inverted_residual,
    stage_name,
};
use crate::error::Result;
use crate::graph::op::{AdaptivePool, BatchNorm, Conv, Flatten, Function, Linear, Padding};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use names::Dialect;
use rows::{ROWS, Row, Size};
use widths::STEM;

static FAMILY: Family = Family {
    name: "MobileNetV3",
    year: 2019,
    paper: "Howard et al.: Searching for MobileNetV3, ICCV 2019, arXiv:1905.02244",
    idea: "The inverted residual of MobileNetV2 in a layout searched for phones, with squeeze-and-excite and \
           hard-swish; the widest layer runs after pooling, on one pixel.",
    strengths: "Fast on phones for its accuracy, and small.",
    weaknesses: "Gates and hard-swish are slow where no kernel fuses them, and hard to quantise; `minimal` leaves \
                 them out.",
};

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        Variant::new(row.name, &FAMILY, row.definitions, |definition, settings| {
            graph(row, Dialect::of(definition), settings)
        })
    })
}

impl Dialect {
    fn padding(self, kernel: usize) -> Padding {
        match self {
            Self::Torchvision | Self::Timm => ((kernel - 1) / 2).into(),
            Self::TimmTf | Self::Keras => Padding::Same,
        }
    }

    fn norm(self) -> BatchNorm {
        match self {
            Self::Torchvision => BatchNorm { eps: 1e-3, momentum: 0.01, scale: true },
            Self::Timm => BatchNorm::default(),
            Self::TimmTf => BatchNorm { eps: 1e-3, ..BatchNorm::default() },
            Self::Keras => BatchNorm { eps: 1e-3, momentum: 0.001, scale: true },
        }
    }

    /// The source's dropout rate before the classifier.
    fn drop_rate(self) -> f64 {
        match self {
            Self::Torchvision | Self::Keras => 0.2,
            Self::Timm | Self::TimmTf => 0.0,
        }
    }
}

fn graph(row: &Row, dialect: Dialect, settings: &Settings) -> Result<Graph> {
    let row = &Row { width: settings.width.unwrap_or(row.width), ..*row };
    let mut g = settings.builder();
    let function = row.function(Function::HardSwish);
    let channels = dialect.stem_channels(row.width);
    let conv = Conv {
        out: channels,
        kernel: 3.into(),
        stride: 2.into(),
        padding: dialect.padding(3),
        ..Conv::default()
    };
    let (input, begin) = (g.input(), g.mark());
    let x = conv_norm_act(&mut g, &dialect.stem(), conv, dialect.norm(), function, input);
    g.part(PartKind::Stem, "stem", begin);
    let drop_path = settings.drop_path_rate.unwrap_or(0.0);
    let (x, last) = blocks(&mut g, row, dialect, drop_path, channels, x);

    let last = Conv { out: last, ..Conv::default() };
    let names = dialect.last(row.size.stages());
    let begin = g.mark();
    let x = conv_norm_act(&mut g, &names, last, dialect.norm(), function, x);
    // timm counts it as a block.
    g.part(PartKind::Block, &names.conv, begin);
    let logits = head(&mut g, row, dialect, settings, x);
    g.finish(logits)
}

/// Adds all blocks. Returns also the number of output channels of the convolution after them.
fn blocks(
    g: &mut Builder,
    row: &Row,
    dialect: Dialect,
    drop_path: f64,
    mut channels: usize,
    mut x: NodeId,
) -> (NodeId, usize) {
    let stages = row.size.stages();
    // timm numbers the convolution after the blocks as one of them.
    let count = stages.iter().map(|stage| stage.len()).sum::<usize>() + 1;
    let (mut before, mut whole) = (0_usize, STEM);
    for (number, stage) in stages.iter().enumerate() {
        let begin = g.mark();
        for (index, block) in stage.iter().enumerate() {
            let kernel = if row.minimal { 3 } else { block.kernel };
            let wide = dialect.wide_channels(block.expand, whole, row.width, channels);
            let squeezes = block.squeeze && !row.minimal;
            let inverted = InvertedResidual {
                channels,
                wide,
                out: divisible(block.channels as f64 * row.width),
                kernel,
                stride: block.stride,
                padding: dialect.padding(kernel),
                norm: dialect.norm(),
                function: row.function(block.function),
                expands: wide != channels,
                squeeze: squeezes.then(|| SqueezeExcite {
                    channels: wide,
                    squeezed: divisible(wide as f64 / 4.0),
                    inner: Function::Relu,
                    gate: Function::HardSigmoid,
                }),
                drop_path: drop_path * before as f64 / count as f64,
            };
            let names = dialect.block(number, index, before, &inverted);
            x = inverted_residual(g, &names, &inverted, x);
            (channels, whole) = (inverted.out, block.channels);
            before += 1;
        }
        g.part(PartKind::Stage, stage_name(number), begin);
    }
    (x, dialect.last_channels(whole, row.width, channels))
}

/// Pooling, a wide layer, and the classifier; without classes, the wide layer.
fn head(g: &mut Builder, row: &Row, dialect: Dialect, settings: &Settings, x: NodeId) -> NodeId {
    let names = dialect.head();
    let function = row.function(Function::HardSwish);
    let whole = match row.size {
        Size::Small => 1024,
        Size::Large => 1280,
    };
    let out = dialect.head_channels(whole, row.width);
    let begin = g.mark();
    let x = g.add(names.pool, AdaptivePool::default(), x);
    let x = if names.convolves {
        let x = g.add(names.wide, Conv { out, bias: true, ..Conv::default() }, x);
        let x = g.add(names.activation, function, x);
        g.add("flatten", Flatten {}, x)
    } else {
        let x = g.add("flatten", Flatten {}, x);
        let x = g.add(names.wide, Linear { out, ..Linear::default() }, x);
        g.add(names.activation, function, x)
    };
    g.part(PartKind::Embedding, "embedding", begin);
    let rate = settings.drop_rate.unwrap_or(dialect.drop_rate());
    let x = classifier(g, names.dropout, names.classifier, settings.classes, rate, x);
    g.part(PartKind::Head, "head", begin);
    x
}
