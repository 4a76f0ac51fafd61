//! EfficientNet: depth, width and resolution grow together, from a base network that was searched for.
//!
//! Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, arXiv:1905.11946.
//! V2: Tan, Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021, arXiv:2104.00298.
//! Lite: Renjie Liu, 2020, the same networks for phones: no squeeze-and-excite, ReLU6, ends unscaled.
//!
//! What varies: the stages, how depth and width scale, the image size, squeeze-and-excite and the activation.
//!
//! Sources: torchvision (default for B0–B7 and V2) pads symmetrically where TensorFlow's originals pad `same`. timm
//! (default for Lite) has two of each: `efficientnet_lite*` symmetric, `tf_efficientnet_lite*` as the originals.

mod names;
mod rows;

use super::{Edition, Settings, Source, Variant};
use crate::blocks::{SqueezeExcite, conv_norm, conv_norm_act, pooled_head, squeeze_excite};
use crate::error::Result;
use crate::graph::op::{Add, Conv, DropPath, Function, Input, Padding};
use crate::graph::{Builder, Graph, NodeId};
use crate::weights::init::Recipe;
use names::Dialect;
use rows::{Block, ROWS, Row, Stage};

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| Variant {
        name: row.name,
        family: row.family,
        classes: 1000,
        editions: vec![Edition {
            source: match row.dialect {
                Dialect::Torchvision => Source::Torchvision,
                Dialect::Timm => Source::Timm,
            },
            source_name: row.name,
            preprocess: row.preprocess,
            recipe: match row.dialect {
                Dialect::Torchvision => Recipe::EFFICIENTNET,
                Dialect::Timm => Recipe::TIMM_EFFICIENTNET,
            },
            deviations: if row.same_padding {
                "none"
            } else {
                "pads symmetrically, the original at the bottom and right; BN epsilon may differ from its 1e-3"
            },
            weights: row.weights,
            options: &["drop_rate", "drop_path_rate"],
            build: Box::new(|settings| graph(row, settings)),
        }],
    })
}

impl Row {
    fn padding(&self, kernel: usize) -> Padding {
        if self.same_padding { Padding::Same } else { ((kernel - 1) / 2).into() }
    }

    fn repeats(&self, stage: usize) -> usize {
        let repeats = self.stages[stage].repeats;
        let end = stage == 0 || stage + 1 == self.stages.len();
        if end && !self.scale_ends {
            repeats
        } else {
            (repeats as f64 * self.depth).ceil() as usize
        }
    }

    fn channels(&self, channels: usize) -> usize {
        divisible(channels as f64 * self.width)
    }
}

/// The multiple of 8 nearest to `channels`, but never less than nine tenths of it.
fn divisible(channels: f64) -> usize {
    let nearest = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}

fn graph(row: &Row, settings: &Settings) -> Result<Graph> {
    let Settings { classes, in_channels, image_size, .. } = *settings;
    let mut g = Builder::new(
        settings.name,
        Input { channels: in_channels, height: image_size, width: image_size },
    );
    let stem = if row.scale_ends { row.channels(row.stem) } else { row.stem };
    let conv = Conv {
        out: stem,
        kernel: 3.into(),
        stride: 2.into(),
        padding: row.padding(3),
        ..Conv::default()
    };
    let input = g.input();
    let mut x = conv_norm_act(&mut g, &row.dialect.stem(), conv, row.norm, row.function, input);

    let drop_path = settings.drop_path_rate.unwrap_or(row.drop_path_rate);
    let blocks: usize = (0..row.stages.len()).map(|stage| row.repeats(stage)).sum();
    let (mut before, mut channels) = (0_usize, stem);
    for (number, stage) in row.stages.iter().enumerate() {
        for index in 0..row.repeats(number) {
            let place = Place {
                path: row.dialect.block(number, index),
                channels,
                out: row.channels(stage.channels),
                stride: if index == 0 { stage.stride } else { 1 },
                drop_path: drop_path * before as f64 / blocks as f64,
            };
            x = block(&mut g, row, stage, &place, x);
            channels = place.out;
            before += 1;
        }
    }

    let conv = Conv { out: row.head.unwrap_or(4 * channels), ..Conv::default() };
    let head = row.dialect.last(row.stages.len());
    let x = conv_norm_act(&mut g, &head, conv, row.norm, row.function, x);
    let drop_rate = settings.drop_rate.unwrap_or(row.drop_rate);
    let logits = pooled_head(&mut g, row.dialect.classifier(), classes, drop_rate, x);
    g.finish(logits)
}

/// How one block differs from its neighbours.
struct Place {
    path: String,
    channels: usize,
    out: usize,
    stride: usize,
    drop_path: f64,
}

fn block(g: &mut Builder, row: &Row, stage: &Stage, place: &Place, input: NodeId) -> NodeId {
    let Place { path, channels, out, stride, drop_path } = place;
    let wide = channels * stage.expand;
    let square = |out: usize, groups: usize| Conv {
        out,
        kernel: stage.kernel.into(),
        stride: (*stride).into(),
        padding: row.padding(stage.kernel),
        groups,
        ..Conv::default()
    };
    let point = |out: usize| Conv { out, ..Conv::default() };
    let mut names = row.dialect.layers(path);

    let mut x = input;
    match stage.block {
        Block::Fused if stage.expand == 1 => {
            x = conv_norm_act(g, &names.next("conv"), square(*out, 1), row.norm, row.function, x);
        }
        Block::Fused => {
            x = conv_norm_act(
                g,
                &names.next("conv_exp"),
                square(wide, 1),
                row.norm,
                row.function,
                x,
            );
            x = conv_norm(g, &names.next("conv_pwl"), point(*out), row.norm, x);
        }
        Block::Inverted => {
            if stage.expand != 1 {
                x = conv_norm_act(
                    g,
                    &names.next("conv_pw"),
                    point(wide),
                    row.norm,
                    row.function,
                    x,
                );
            }
            x = conv_norm_act(
                g,
                &names.next("conv_dw"),
                square(wide, wide),
                row.norm,
                row.function,
                x,
            );
            if row.squeeze_excite {
                let squeezed = (channels / 4).max(1);
                let se = SqueezeExcite {
                    channels: wide,
                    squeezed,
                    inner: row.function,
                    gate: Function::Sigmoid,
                };
                x = squeeze_excite(g, &names.squeeze(), se, x);
            }
            let project = if stage.expand == 1 { "conv_pw" } else { "conv_pwl" };
            x = conv_norm(g, &names.next(project), point(*out), row.norm, x);
        }
    }
    if *stride != 1 || channels != out {
        return x;
    }
    if *drop_path > 0.0 {
        x = g.add(format!("{path}.drop_path"), DropPath { rate: *drop_path }, x);
    }
    g.add(format!("{path}.add"), Add {}, [x, input])
}
