//! ResNet: a block learns what to add to its input, so that a hundred layers train as easily as ten.
//!
//! He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385.
//! ResNeXt: Xie et al., arXiv:1611.05431. Wide: Zagoruyko and Komodakis, arXiv:1605.07146.
//!
//! What varies: the block (two 3×3, or 1×1-3×3-1×1), how many of them, groups and width of the 3×3.
//!
//! Sources: torchvision (default), which puts the stride of a stage in the 3×3 ("v1.5"); the paper has it in the
//! first 1×1.

use super::{Edition, Family, Settings, Source, Variant};
use crate::blocks::{Head, pooled_head};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{Add, BatchNorm, Conv, DropPath, Function, Input, Pool};
use crate::graph::{Builder, Graph, NodeId};
use crate::weights::init::Recipe;

static RESNET: Family = Family {
    name: "ResNet",
    year: 2015,
    paper: "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385",
    idea: "A block learns what to add to its input, so that a hundred layers train as easily as ten.",
    strengths: "Trains without tricks at any depth; the backbone that most detectors and comparisons start from.",
    weaknesses: "Many parameters and multiply-adds for its accuracy beside later networks.",
};

static RESNEXT: Family = Family {
    name: "ResNeXt",
    year: 2016,
    paper: "Xie et al.: Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017, arXiv:1611.05431",
    idea: "The middle of a bottleneck splits into many narrow paths: more groups beat more depth or width.",
    strengths: "More accurate than a ResNet of the same cost.",
    weaknesses: "Grouped convolutions run below the speed that their multiply-adds promise.",
};

static WIDE: Family = Family {
    name: "Wide ResNet",
    year: 2016,
    paper: "Zagoruyko, Komodakis: Wide Residual Networks, BMVC 2016, arXiv:1605.07146",
    idea: "Wider blocks instead of more of them: the same accuracy with a fraction of the depth.",
    strengths: "Few, large operations that hardware runs near its peak.",
    weaknesses: "The most parameters of the family.",
};

#[derive(Clone, Copy)]
enum Block {
    Basic,
    Bottleneck,
}

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    family: &'static Family,
    block: Block,
    /// Blocks in each of the four stages.
    depths: [usize; 4],
    groups: usize,
    /// Channels of one group in the first stage; 64 without groups.
    group_width: usize,
    /// The short side that the source's default weights resize to.
    resize: u32,
}

const BASIC: Row = Row {
    name: "",
    family: &RESNET,
    block: Block::Basic,
    depths: [2, 2, 2, 2],
    groups: 1,
    group_width: 64,
    resize: 256,
};
const BOTTLENECK: Row =
    Row { block: Block::Bottleneck, depths: [3, 4, 6, 3], resize: 232, ..BASIC };

const ROWS: &[Row] = &[
    Row { name: "resnet18", ..BASIC },
    Row { name: "resnet34", depths: [3, 4, 6, 3], ..BASIC },
    Row { name: "resnet50", ..BOTTLENECK },
    Row { name: "resnet101", depths: [3, 4, 23, 3], ..BOTTLENECK },
    Row { name: "resnet152", depths: [3, 8, 36, 3], ..BOTTLENECK },
    Row { name: "resnext50_32x4d", family: &RESNEXT, groups: 32, group_width: 4, ..BOTTLENECK },
    Row {
        name: "resnext101_32x8d",
        family: &RESNEXT,
        depths: [3, 4, 23, 3],
        groups: 32,
        group_width: 8,
        ..BOTTLENECK
    },
    Row {
        name: "resnext101_64x4d",
        family: &RESNEXT,
        depths: [3, 4, 23, 3],
        groups: 64,
        group_width: 4,
        ..BOTTLENECK
    },
    Row { name: "wide_resnet50_2", family: &WIDE, group_width: 128, ..BOTTLENECK },
    Row {
        name: "wide_resnet101_2",
        family: &WIDE,
        depths: [3, 4, 23, 3],
        group_width: 128,
        ..BOTTLENECK
    },
];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| Variant {
        name: row.name,
        family: row.family,
        classes: 1000,
        editions: vec![Edition {
            source: Source::Torchvision,
            source_name: row.name,
            preprocess: Preprocess::imagenet(row.resize, 224, Filter::Bilinear),
            recipe: Recipe::RESNET,
            deviations: match row.block {
                Block::Basic => "none",
                Block::Bottleneck => {
                    "the stride of a stage stands in the 3×3, the paper's in the first 1×1"
                }
            },
            weights: &[],
            options: &["drop_rate", "drop_path_rate"],
            build: Box::new(|settings| graph(row, settings)),
        }],
    })
}

/// How one block differs from its neighbours.
struct Place {
    path: String,
    channels: usize,
    stride: usize,
    /// Whether the shortcut needs a projection.
    project: bool,
    drop_path: f64,
}

fn graph(row: &Row, settings: &Settings) -> Result<Graph> {
    let Settings { classes, in_channels, image_size, .. } = *settings;
    let mut g = Builder::new(
        settings.name,
        Input { channels: in_channels, height: image_size, width: image_size },
    );
    let stem =
        Conv { out: 64, kernel: 7.into(), stride: 2.into(), padding: 3.into(), ..Conv::default() };
    let x = g.add("conv1", stem, g.input());
    let x = g.add("bn1", BatchNorm::default(), x);
    let x = g.add("relu", Function::Relu, x);
    let pool = Pool { kernel: 3.into(), stride: 2.into(), padding: 1.into(), ..Pool::default() };
    let mut x = g.add("maxpool", pool, x);

    let drop_path = settings.drop_path_rate.unwrap_or(0.0);
    let blocks: usize = row.depths.iter().sum();
    let mut before: usize = 0;
    for (stage, &depth) in row.depths.iter().enumerate() {
        for index in 0..depth {
            let first = index == 0;
            let place = Place {
                path: format!("layer{}.{index}", stage + 1),
                channels: 64 << stage,
                stride: if first && stage > 0 { 2 } else { 1 },
                project: first && (stage > 0 || matches!(row.block, Block::Bottleneck)),
                drop_path: drop_path * before as f64 / (blocks - 1) as f64,
            };
            x = block(&mut g, row, &place, x);
            before += 1;
        }
    }
    let head = Head { dropout: "dropout", linear: "fc" };
    let logits = pooled_head(&mut g, head, classes, settings.drop_rate.unwrap_or(0.0), x);
    g.finish(logits)
}

fn block(g: &mut Builder, row: &Row, place: &Place, input: NodeId) -> NodeId {
    let Place { path, channels, stride, .. } = place;
    let square = |out, stride: usize, groups| Conv {
        out,
        kernel: 3.into(),
        stride: stride.into(),
        padding: 1.into(),
        groups,
        ..Conv::default()
    };
    let point = |out, stride: usize| Conv { out, stride: stride.into(), ..Conv::default() };
    let (convs, out) = match row.block {
        Block::Basic => (vec![square(*channels, *stride, 1), square(*channels, 1, 1)], *channels),
        Block::Bottleneck => {
            let width = channels * row.group_width / 64 * row.groups;
            let out = 4 * channels;
            (vec![point(width, 1), square(width, *stride, row.groups), point(out, 1)], out)
        }
    };

    let last = convs.len();
    let relu = |number: usize| match number {
        1 => format!("{path}.relu"),
        _ => format!("{path}.relu_{}", number - 1),
    };
    let mut x = input;
    for (number, conv) in (1..).zip(convs) {
        x = g.add(format!("{path}.conv{number}"), conv, x);
        x = g.add(format!("{path}.bn{number}"), BatchNorm::default(), x);
        if number < last {
            x = g.add(relu(number), Function::Relu, x);
        }
    }
    let mut shortcut = input;
    if place.project {
        shortcut = g.add(format!("{path}.downsample.0"), point(out, *stride), shortcut);
        shortcut = g.add(format!("{path}.downsample.1"), BatchNorm::default(), shortcut);
    }
    if place.drop_path > 0.0 {
        x = g.add(format!("{path}.drop_path"), DropPath { rate: place.drop_path }, x);
    }
    x = g.add(format!("{path}.add"), Add {}, [x, shortcut]);
    g.add(relu(last), Function::Relu, x)
}
