//! Building post-activation networks: the activation comes after the sum.

use super::super::{Settings, Source};
use super::names::{BlockNames, Dialect};
use super::parts::{KERAS_NORM, halving, large, point, square, stem_pool};
use super::rows::{Block, Form, Order, Row};
use crate::blocks::{
    Head, SqueezeExcite, conv_norm, conv_norm_act, gated, keras_head, nearest_multiple,
    pooled_head, stage_name,
};
use crate::error::Result;
use crate::graph::op::{Add, BatchNorm, Conv, DropPath, Function, Pad, Pool};
use crate::graph::{Builder, Graph, NodeId, PartKind};

/// Builds one graph.
pub(super) struct NetworkBuilder<'a> {
    g: Builder,
    row: &'a Row,
    dialect: Dialect,
    source: Source,
    norm: BatchNorm,
    drop_rate: f64,
    drop_path_rate: f64,
}

/// The settings that differ between blocks.
struct BlockSettings {
    names: BlockNames,
    channels: usize,
    stride: usize,
    /// Whether the shortcut has to change the number of channels.
    widens: bool,
    drop_path: f64,
}

impl<'a> NetworkBuilder<'a> {
    pub(super) fn new(row: &'a Row, source: Source, settings: &Settings) -> Self {
        Self {
            g: settings.builder(),
            row,
            dialect: Dialect::of(row, source),
            source,
            norm: match source {
                Source::Keras => KERAS_NORM,
                Source::Torchvision | Source::Timm | Source::Paper => BatchNorm::default(),
            },
            drop_rate: settings.drop_rate.unwrap_or(if row.legacy { 0.2 } else { 0.0 }),
            drop_path_rate: settings.drop_path_rate.unwrap_or(0.0),
        }
    }

    pub(super) fn build(mut self, classes: usize) -> Result<Graph> {
        let begin = self.g.mark();
        let mut x = self.stem();
        self.g.part(PartKind::Stem, "stem", begin);
        let mut before: usize = 0;
        for (stage, &depth) in self.row.depths.iter().enumerate() {
            let begin = self.g.mark();
            for index in 0..depth {
                let first = index == 0;
                let share = before as f64 / (self.row.blocks() - 1) as f64;
                let block = BlockSettings {
                    names: self.dialect.block(stage, index),
                    channels: self.row.channels(stage),
                    stride: if first && stage > 0 { 2 } else { 1 },
                    widens: first && (stage > 0 || self.row.block == Block::Bottleneck),
                    drop_path: self.drop_path_rate * share,
                };
                x = self.block(&block, x);
                before += 1;
            }
            self.g.part(PartKind::Stage, stage_name(stage), begin);
        }
        let (g, drop_rate) = (&mut self.g, self.drop_rate);
        let head = |linear| Head { dropout: "dropout", linear };
        let logits = match self.dialect {
            Dialect::Torchvision | Dialect::Timm => {
                pooled_head(g, head("fc"), classes, drop_rate, x)
            }
            Dialect::Legacy => pooled_head(g, head("last_linear"), classes, drop_rate, x),
            Dialect::Keras => keras_head(g, classes, drop_rate, x),
        };
        self.g.finish(logits)
    }

    fn stem(&mut self) -> NodeId {
        if self.dialect == Dialect::Keras {
            return self.keras_stem();
        }
        let out = self.row.channels(0);
        let convs = match self.row.form {
            Form::Original => vec![Conv { padding: 3.into(), ..large(out) }],
            Form::D => vec![square(out / 2, 2), square(out / 2, 1), square(out, 1)],
            Form::Small => vec![square(out, 1)],
        };
        let mut x = self.g.input();
        for (number, conv) in convs.into_iter().enumerate() {
            let names = self.dialect.stem(self.row.form, number);
            x = conv_norm_act(&mut self.g, &names, conv, self.norm, Function::Relu, x);
        }
        if self.row.form == Form::Small {
            return x;
        }
        let pool = if self.row.legacy {
            Pool { ceil: true, ..stem_pool() }
        } else {
            Pool { padding: 1.into(), ..stem_pool() }
        };
        self.g.add(self.dialect.stem_pool(), pool, x)
    }

    fn keras_stem(&mut self) -> NodeId {
        let input = self.g.input();
        let x = self.g.add("conv1_pad", Pad::around(3), input);
        let names = self.dialect.stem(self.row.form, 0);
        let conv = Conv { bias: true, ..large(self.row.channels(0)) };
        let x = conv_norm_act(&mut self.g, &names, conv, self.norm, Function::Relu, x);
        let x = self.g.add("pool1_pad", Pad::around(1), x);
        self.g.add(self.dialect.stem_pool(), stem_pool(), x)
    }

    fn block(&mut self, block: &BlockSettings, input: NodeId) -> NodeId {
        let (names, begin) = (&block.names, self.g.mark());
        let (convs, out) = self.convolutions(block);
        let last = convs.len();
        let mut activations = 0;
        let mut x = input;
        for (number, conv) in (1..).zip(convs) {
            let conv = Conv { bias: self.biases(), ..conv };
            x = conv_norm(&mut self.g, &names.layer(number), conv, self.norm, x);
            let early = self.row.legacy && self.row.block == Block::Basic;
            if number < last || early {
                activations += 1;
                x = self.g.add(names.activation(activations), Function::Relu, x);
            }
        }
        if self.row.squeeze {
            let gate = self.gate(out);
            x = gated(&mut self.g, &names.gate(), gate, x);
        }
        if self.row.order != Order::Plain {
            let shortcut = self.shortcut(block, out, input);
            if block.drop_path > 0.0 {
                x = self.g.add(names.part("drop_path"), DropPath { rate: block.drop_path }, x);
            }
            x = self.g.add(names.part("add"), Add {}, [x, shortcut]);
        }
        let x = self.g.add(names.out(activations), Function::Relu, x);
        self.g.part(PartKind::Block, &names.path, begin);
        x
    }

    fn biases(&self) -> bool {
        self.dialect == Dialect::Keras
    }

    /// The convolutions of a block, and the output channels of the last one.
    fn convolutions(&self, block: &BlockSettings) -> (Vec<Conv>, usize) {
        let BlockSettings { channels, stride, .. } = *block;
        match self.row.block {
            Block::Basic => (vec![square(channels, stride), square(channels, 1)], channels),
            Block::Bottleneck => {
                let width = channels * self.row.group_width / 64 * self.row.groups;
                let out = 4 * channels;
                let in_point =
                    self.row.legacy || matches!(self.source, Source::Paper | Source::Keras);
                let (first, middle) = if in_point { (stride, 1) } else { (1, stride) };
                let square = Conv { groups: self.row.groups, ..square(width, middle) };
                (vec![point(width, first), square, point(out, 1)], out)
            }
        }
    }

    fn gate(&self, channels: usize) -> SqueezeExcite {
        let squeezed =
            if self.row.legacy { channels / 16 } else { nearest_multiple(channels as f64 / 16.0) };
        SqueezeExcite { channels, squeezed, inner: Function::Relu, gate: Function::Sigmoid }
    }

    /// The shortcut: the input as it is, or converted to the block's output channels.
    fn shortcut(&mut self, block: &BlockSettings, out: usize, input: NodeId) -> NodeId {
        if !block.widens {
            return input;
        }
        if self.source == Source::Paper && self.row.block == Block::Basic {
            return self.padded(block, input);
        }
        let (conv, norm) = block.names.projection(self.row.form);
        let mut x = input;
        let mut stride = block.stride;
        if self.row.form == Form::D && stride > 1 {
            x = self.g.add(block.names.shortcut_pool(), halving(), x);
            stride = 1;
        }
        x = self.g.add(conv, Conv { bias: self.biases(), ..point(out, stride) }, x);
        self.g.add(norm, self.norm, x)
    }

    /// The paper's option A: every second pixel of every second row, and zeros for the additional channels.
    fn padded(&mut self, block: &BlockSettings, input: NodeId) -> NodeId {
        let (pool, pad) = block.names.padding();
        let x = self.g.add(pool, Pool { stride: block.stride.into(), ..Pool::default() }, input);
        self.g.add(pad, Pad { channels: block.channels / 2, ..Pad::default() }, x)
    }
}
