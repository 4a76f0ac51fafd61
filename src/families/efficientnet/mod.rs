//! EfficientNet: compound scaling of depth, width and resolution, from a base network found by architecture search.
//!
//! Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, arXiv:1905.11946.
//! V2: Tan, Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021, arXiv:2104.00298.
//! Lite: Renjie Liu, 2020, the same networks for phones: no squeeze-and-excite, ReLU6, ends unscaled.
//!
//! Variants differ in the stages, depth and width multipliers, the image size, squeeze-and-excite and the activation.
//!
//! Sources: torchvision (default where it has the network) and half of timm's pad symmetrically where TensorFlow's
//! originals pad `same`; timm's `tf_…` and Keras pad like the originals, whatever the size of the image, and have their
//! epsilon.

mod names;
mod rows;
mod stages;

use super::{Definition, Edition, Settings, Variant};
use crate::blocks::{
    Head, InvertedResidual, SqueezeExcite, add_again, conv_norm, conv_norm_act, inverted_residual,
    keras_head, pooled_head, stage_name,
};
use crate::error::Result;
use crate::graph::op::{Conv, Function, Padding};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use names::Dialect;
use rows::{Last, ROWS, Row, Version};
use stages::{Block, Stage};

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| Variant {
        name: row.name,
        family: row.family,
        classes: 1000,
        editions: row.versions.iter().map(|version| edition(row, version)).collect(),
    })
}

fn edition(row: &'static Row, version: &'static Version) -> Edition {
    let deviations = match (version.same_padding, version.norm.eps < 1e-3) {
        (true, _) => "none",
        (false, false) => "pads symmetrically, the original at the bottom and right",
        (false, true) => {
            "pads symmetrically, the original at the bottom and right; BN epsilon 1e-5, the original 1e-3"
        }
    };
    let definition = Definition { deviations, ..version.definition };
    definition
        .edition(row.name, |settings| NetworkBuilder::new(row, version, settings).build(settings))
}

/// Builds one graph.
struct NetworkBuilder<'a> {
    g: Builder,
    row: &'a Row,
    version: &'a Version,
    width: f64,
    depth: f64,
}

/// The settings that differ between blocks.
struct BlockSettings {
    stage: usize,
    index: usize,
    channels: usize,
    out: usize,
    stride: usize,
    drop_path: f64,
}

impl<'a> NetworkBuilder<'a> {
    fn new(row: &'a Row, version: &'a Version, settings: &Settings) -> Self {
        Self {
            g: settings.builder(),
            row,
            version,
            width: settings.width.unwrap_or(row.width),
            depth: settings.depth.unwrap_or(row.depth),
        }
    }

    fn scaled(&self, channels: usize) -> usize {
        (self.version.round)(channels as f64 * self.width)
    }

    fn repeats(&self, stage: usize) -> usize {
        let repeats = self.row.stages[stage].repeats;
        let end = stage == 0 || stage + 1 == self.row.stages.len();
        if end && !self.row.scale_ends {
            repeats
        } else {
            (repeats as f64 * self.depth).ceil() as usize
        }
    }

    fn padding(&self, kernel: usize) -> Padding {
        if self.version.same_padding { Padding::Same } else { ((kernel - 1) / 2).into() }
    }

    fn square(&self, out: usize, kernel: usize, stride: usize) -> Conv {
        let padding = self.padding(kernel);
        Conv { out, kernel: kernel.into(), stride: stride.into(), padding, ..Conv::default() }
    }

    fn build(mut self, settings: &Settings) -> Result<Graph> {
        let Version { dialect, norm, .. } = *self.version;
        let (row, function) = (self.row, self.row.function);
        let stem = if row.scale_ends { self.scaled(row.stem) } else { row.stem };
        let conv = self.square(stem, 3, 2);
        let (input, begin) = (self.g.input(), self.g.mark());
        let x = conv_norm_act(&mut self.g, &dialect.stem(), conv, norm, function, input);
        self.g.part(PartKind::Stem, "stem", begin);
        let (x, channels) = self.blocks(settings.drop_path_rate, stem, x);

        let out = match self.version.last {
            Last::Quadruple => 4 * channels,
            Last::Scaled(last) => self.scaled(last),
            Last::Fixed(last) => last,
        };
        let conv = Conv { out, ..Conv::default() };
        let last = dialect.last(row.stages.len());
        let x = conv_norm_act(&mut self.g, &last, conv, norm, function, x);
        let drop_rate = settings.drop_rate.unwrap_or(self.version.drop_rate);
        let (g, classes) = (&mut self.g, settings.classes);
        let logits = match dialect {
            Dialect::Torchvision => {
                let head = Head { dropout: "classifier.0", linear: "classifier.1" };
                pooled_head(g, head, classes, drop_rate, x)
            }
            Dialect::Timm => {
                let head = Head { dropout: "dropout", linear: "classifier" };
                pooled_head(g, head, classes, drop_rate, x)
            }
            Dialect::Keras | Dialect::KerasV2 => keras_head(g, classes, drop_rate, x),
        };
        self.g.finish(logits)
    }

    /// Adds all stages. Returns also the number of channels of the last.
    fn blocks(
        &mut self,
        drop_path: Option<f64>,
        mut channels: usize,
        mut x: NodeId,
    ) -> (NodeId, usize) {
        let stages = self.row.stages;
        let blocks: usize = match (self.version.dialect, drop_path) {
            // Keras's V2 counts the blocks of the unscaled network.
            (Dialect::KerasV2, None) => stages.iter().map(|stage| stage.repeats).sum(),
            _ => (0..stages.len()).map(|stage| self.repeats(stage)).sum(),
        };
        let drop_path = drop_path.unwrap_or(self.version.drop_path_rate);
        let mut before: usize = 0;
        for (number, stage) in stages.iter().enumerate() {
            let begin = self.g.mark();
            for index in 0..self.repeats(number) {
                let block = BlockSettings {
                    stage: number,
                    index,
                    channels,
                    out: self.scaled(stage.channels),
                    stride: if index == 0 { stage.stride } else { 1 },
                    drop_path: drop_path * before as f64 / blocks as f64,
                };
                x = match stage.block {
                    Block::Fused => self.fused(stage, &block, x),
                    Block::Inverted => self.inverted(stage, &block, x),
                };
                channels = block.out;
                before += 1;
            }
            self.g.part(PartKind::Stage, stage_name(number), begin);
        }
        (x, channels)
    }

    fn inverted(&mut self, stage: &Stage, block: &BlockSettings, x: NodeId) -> NodeId {
        let BlockSettings { channels, out, stride, drop_path, .. } = *block;
        let (wide, function) = (channels * stage.expand, self.row.function);
        let squeeze = SqueezeExcite {
            channels: wide,
            squeezed: (channels / 4).max(1),
            inner: function,
            gate: Function::Sigmoid,
        };
        let residual = InvertedResidual {
            channels,
            wide,
            out,
            kernel: stage.kernel,
            stride,
            padding: self.padding(stage.kernel),
            norm: self.version.norm,
            function,
            expands: stage.expand != 1,
            squeeze: self.row.squeeze_excite.then_some(squeeze),
            drop_path,
        };
        let dialect = self.version.dialect;
        let names =
            dialect.inverted(block.stage, block.index, residual.expands, self.row.squeeze_excite);
        inverted_residual(&mut self.g, &names, &residual, x)
    }

    fn fused(&mut self, stage: &Stage, block: &BlockSettings, input: NodeId) -> NodeId {
        let BlockSettings { channels, out, stride, drop_path, .. } = *block;
        let Version { dialect, norm, .. } = *self.version;
        let expands = stage.expand != 1;
        let names = dialect.fused(block.stage, block.index, expands);
        let wide = if expands { channels * stage.expand } else { out };
        let conv = self.square(wide, stage.kernel, stride);
        let begin = self.g.mark();
        let g = &mut self.g;
        let mut x = conv_norm_act(g, &names.square, conv, norm, self.row.function, input);
        if expands {
            x = conv_norm(g, &names.project, Conv { out, ..Conv::default() }, norm, x);
        }
        if stride == 1 && channels == out {
            x = add_again(g, &names.drop_path, &names.add, drop_path, x, input);
        }
        let path = dialect.block(block.stage, block.index);
        g.part(PartKind::Block, path.trim_end_matches('_'), begin);
        x
    }
}
