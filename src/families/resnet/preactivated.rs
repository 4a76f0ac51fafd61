//! Building pre-activation networks: blocks with norm and activation before convolutions, and none after the sum.

use super::super::{Settings, Source};
use super::parts::{KERAS_NORM, halving, large, point, square, stem_pool};
use super::preactivated_names::{BlockNames, Dialect};
use super::rows::{Block, Form, Row};
use crate::blocks::{keras_head, stage_name};
use crate::error::Result;
use crate::graph::op::{
    AdaptivePool, Add, BatchNorm, Conv, DropPath, Dropout, Flatten, Function, Pad, Pool,
};
use crate::graph::{Builder, Graph, NodeId, PartKind};

/// Builds one graph.
pub(super) struct NetworkBuilder<'a> {
    g: Builder,
    row: &'a Row,
    dialect: Dialect,
    norm: BatchNorm,
    drop_rate: f64,
    drop_path_rate: f64,
    /// The number of shortcuts so far that skip pixels, which Keras numbers.
    skips: usize,
}

/// The settings that differ between blocks.
struct BlockSettings {
    names: BlockNames,
    channels: usize,
    stride: usize,
    /// Whether the shortcut is a convolution of the block's first activation.
    projects: bool,
    drop_path: f64,
}

impl<'a> NetworkBuilder<'a> {
    pub(super) fn new(row: &'a Row, source: Source, settings: &Settings) -> Self {
        let dialect = Dialect::from(source);
        Self {
            g: settings.builder(),
            row,
            dialect,
            norm: match dialect {
                Dialect::Timm => BatchNorm::default(),
                Dialect::Keras => KERAS_NORM,
            },
            drop_rate: settings.drop_rate.unwrap_or(0.0),
            drop_path_rate: settings.drop_path_rate.unwrap_or(0.0),
            skips: 0,
        }
    }

    pub(super) fn build(mut self, classes: usize) -> Result<Graph> {
        let begin = self.g.mark();
        let mut x = match self.dialect {
            Dialect::Timm => self.stem(),
            Dialect::Keras => self.keras_stem(),
        };
        self.g.part(PartKind::Stem, "stem", begin);
        let mut before: usize = 0;
        for (stage, &depth) in self.row.depths.iter().enumerate() {
            let begin = self.g.mark();
            for index in 0..depth {
                let share = before as f64 / (self.row.blocks() - 1) as f64;
                let block = BlockSettings {
                    names: self.dialect.block(stage, index),
                    channels: self.row.channels(stage),
                    stride: if self.halves(stage, index) { 2 } else { 1 },
                    projects: index == 0 && (stage > 0 || self.row.block == Block::Bottleneck),
                    drop_path: self.drop_path_rate * share,
                };
                x = self.block(&block, x);
                before += 1;
            }
            self.g.part(PartKind::Stage, stage_name(stage), begin);
        }
        let (norm, activation) = self.dialect.last();
        x = self.norm_act((norm.into(), activation.into()), x);
        let logits = match self.dialect {
            Dialect::Timm => self.head(classes, x),
            Dialect::Keras => keras_head(&mut self.g, classes, self.drop_rate, x),
        };
        self.g.finish(logits)
    }

    /// Whether a block has the stride: in Keras the last of a stage, in the others the first.
    fn halves(&self, stage: usize, index: usize) -> bool {
        match self.dialect {
            Dialect::Timm => stage > 0 && index == 0,
            Dialect::Keras => {
                stage + 1 < self.row.depths.len() && index + 1 == self.row.depths[stage]
            }
        }
    }

    fn stem(&mut self) -> NodeId {
        let out = self.row.channels(0);
        let mut x = self.g.input();
        if self.row.form == Form::D {
            for (number, stride) in [(1, 2), (2, 1)] {
                x = self.g.add(format!("stem.conv{number}"), square(out / 2, stride), x);
                let norm = format!("stem.norm{number}");
                let activation = format!("{norm}.act");
                x = self.norm_act((norm, activation), x);
            }
            x = self.g.add("stem.conv3", square(out, 1), x);
        } else {
            x = self.g.add("stem.conv", Conv { padding: 3.into(), ..large(out) }, x);
        }
        self.g.add(self.dialect.stem_pool(), Pool { padding: 1.into(), ..stem_pool() }, x)
    }

    fn keras_stem(&mut self) -> NodeId {
        let input = self.g.input();
        let x = self.g.add("conv1_pad", Pad::around(3), input);
        let conv = Conv { bias: true, ..large(self.row.channels(0)) };
        let x = self.g.add("conv1_conv", conv, x);
        let x = self.g.add("pool1_pad", Pad::around(1), x);
        self.g.add(self.dialect.stem_pool(), stem_pool(), x)
    }

    fn block(&mut self, block: &BlockSettings, input: NodeId) -> NodeId {
        let (names, begin) = (&block.names, self.g.mark());
        let activated = self.norm_act(names.before(1), input);
        let (convs, out) = self.convolutions(block);
        let shortcut = self.shortcut(block, out, input, activated);
        let mut x = activated;
        for (number, conv) in (1..).zip(convs) {
            if number > 1 {
                x = self.norm_act(names.before(number), x);
            }
            if self.dialect == Dialect::Keras && number == 2 {
                x = self.g.add(names.part("2_pad"), Pad::around(1), x);
            }
            x = self.g.add(names.conv(number), conv, x);
        }
        if block.drop_path > 0.0 {
            x = self.g.add(names.part("drop_path"), DropPath { rate: block.drop_path }, x);
        }
        let x = self.g.add(names.add(), Add {}, [x, shortcut]);
        self.g.part(PartKind::Block, &names.path, begin);
        x
    }

    fn norm_act(&mut self, (norm, activation): (String, String), x: NodeId) -> NodeId {
        let x = self.g.add(norm, self.norm, x);
        self.g.add(activation, Function::Relu, x)
    }

    /// The convolutions of a block, and the output channels of the last one.
    fn convolutions(&self, block: &BlockSettings) -> (Vec<Conv>, usize) {
        let BlockSettings { channels, stride, .. } = *block;
        let out = match self.row.block {
            Block::Basic => channels,
            Block::Bottleneck => 4 * channels,
        };
        let convs = match (self.row.block, self.dialect) {
            (Block::Basic, _) => vec![square(channels, stride), square(channels, 1)],
            (Block::Bottleneck, Dialect::Timm) => {
                vec![point(channels, 1), square(channels, stride), point(out, 1)]
            }
            (Block::Bottleneck, Dialect::Keras) => vec![
                point(channels, 1),
                Conv { padding: 0.into(), ..square(channels, stride) },
                Conv { bias: true, ..point(out, 1) },
            ],
        };
        (convs, out)
    }

    fn shortcut(
        &mut self,
        block: &BlockSettings,
        out: usize,
        input: NodeId,
        activated: NodeId,
    ) -> NodeId {
        let mut stride = block.stride;
        if block.projects {
            let mut x = activated;
            if self.row.form == Form::D && stride > 1 {
                x = self.g.add(block.names.part("downsample.pool"), halving(), x);
                stride = 1;
            }
            let bias = self.dialect == Dialect::Keras;
            return self.g.add(block.names.projection(), Conv { bias, ..point(out, stride) }, x);
        }
        if stride == 1 {
            return input;
        }
        let name = match self.skips {
            0 => "max_pooling2d".to_owned(),
            number => format!("max_pooling2d_{number}"),
        };
        self.skips += 1;
        self.g.add(name, Pool { stride: stride.into(), ..Pool::default() }, input)
    }

    /// timm's head, whose classifier is a 1×1 convolution of the pooled image.
    fn head(&mut self, classes: usize, x: NodeId) -> NodeId {
        let begin = self.g.mark();
        let mut x = self.g.add("head.global_pool.pool", AdaptivePool::default(), x);
        let embedding = self.g.add("head.flatten", Flatten {}, x);
        self.g.part(PartKind::Embedding, "embedding", begin);
        if classes == 0 {
            self.g.part(PartKind::Head, "head", begin);
            return embedding;
        }
        let last = self.g.mark();
        if self.drop_rate > 0.0 {
            x = self.g.add("head.drop", Dropout { rate: self.drop_rate }, x);
        }
        x = self.g.add("head.fc", Conv { out: classes, bias: true, ..Conv::default() }, x);
        self.g.part(PartKind::Classifier, "classifier", last);
        x = self.g.add("logits", Flatten {}, x);
        self.g.part(PartKind::Head, "head", begin);
        x
    }
}
