//! DenseNet: every layer reads the outputs of all earlier layers of its block, so each needs few channels of its own.
//!
//! Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", CVPR 2017, arXiv:1608.06993.
//! `densenet264d` and `densenetblur121d`, by timm: the stem of ResNet-D (He et al., arXiv:1812.01187), in the latter
//! with a blur pool (Zhang, arXiv:1904.11486).
//!
//! Variants differ in layers per block, growth rate k, the stem, and bottleneck layers with compression.
//!
//! Sources: torchvision (default) and timm are the paper's network, with the same names. Keras differs in the epsilon
//! of its norms. The paper's own network of 264 layers and those for CIFAR are in no library; they have torchvision's
//! names.

mod names;
mod rows;

use super::{Settings, Source, Variant};
use crate::blocks::{Head, KERAS_HEAD, conv_norm_act, norm_act_conv, pooled, stage_name};
use crate::error::Result;
use crate::graph::op::{BatchNorm, Blur, Concat, Conv, Dropout, Function, Pad, Pool, PoolKind};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use names::Dialect;
use rows::{DENSENET, ROWS, Row, Stem};

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        let variant = Variant::new(row.name, &DENSENET, row.definitions, |definition, settings| {
            NetworkBuilder::new(row, definition.source, settings).build(settings.classes)
        });
        Variant { classes: row.classes, ..variant }
    })
}

/// Builds one graph.
struct NetworkBuilder<'a> {
    g: Builder,
    row: &'a Row,
    dialect: Dialect,
    norm: BatchNorm,
    /// Dropout after every layer of a block.
    layer_drop: f64,
    /// Dropout before the classifier.
    head_drop: f64,
}

impl<'a> NetworkBuilder<'a> {
    fn new(row: &'a Row, source: Source, settings: &Settings) -> Self {
        let dialect = Dialect::from(source);
        let drop_rate = settings.drop_rate.unwrap_or(0.0);
        // torchvision's dropout rate is that after every layer, for which timm has another name.
        let (layer_drop, head_drop) = match dialect {
            Dialect::Torchvision => (drop_rate, 0.0),
            Dialect::Timm | Dialect::Keras => (0.0, drop_rate),
        };
        Self {
            g: settings.builder(),
            row,
            dialect,
            norm: match dialect {
                Dialect::Torchvision | Dialect::Timm => BatchNorm::default(),
                Dialect::Keras => {
                    BatchNorm { eps: 1.001e-5, momentum: 0.01, ..BatchNorm::default() }
                }
            },
            layer_drop,
            head_drop,
        }
    }

    fn build(mut self, classes: usize) -> Result<Graph> {
        let begin = self.g.mark();
        let mut x = self.stem();
        self.g.part(PartKind::Stem, "stem", begin);
        let mut channels = self.row.stem_channels;
        for (block, &depth) in self.row.depths.iter().enumerate() {
            if block > 0 {
                channels = if self.row.compress { channels / 2 } else { channels };
                x = self.transition(block - 1, channels, x);
            }
            let begin = self.g.mark();
            x = self.block(block, depth, x);
            self.g.part(PartKind::Stage, stage_name(block), begin);
            channels += depth * self.row.growth;
        }
        let begin = self.g.mark();
        let (norm, activation) = self.dialect.last(self.row.depths.len());
        x = self.g.add(norm, self.norm, x);
        x = self.g.add(activation, Function::Relu, x);
        let head = Head { dropout: "head_drop", linear: "classifier" };
        let layers = match self.dialect {
            Dialect::Torchvision | Dialect::Timm => head.layers(),
            Dialect::Keras => KERAS_HEAD,
        };
        let logits = pooled(&mut self.g, begin, layers, classes, self.head_drop, x);
        self.g.finish(logits)
    }

    fn stem(&mut self) -> NodeId {
        let input = self.g.input();
        let out = self.row.stem_channels;
        match self.row.stem {
            Stem::Small => self.g.add(self.dialect.stem(0).conv, square(out, 1), input),
            Stem::Large if self.dialect == Dialect::Keras => {
                let conv = Conv { out, kernel: 7.into(), stride: 2.into(), ..Conv::default() };
                let x = self.g.add("zero_padding2d", Pad::around(3), input);
                let x = self.stem_layer(0, conv, x);
                let x = self.g.add("zero_padding2d_1", Pad::around(1), x);
                self.stem_pool(0, x)
            }
            Stem::Large => {
                let conv = Conv {
                    out,
                    kernel: 7.into(),
                    stride: 2.into(),
                    padding: 3.into(),
                    ..Conv::default()
                };
                let x = self.stem_layer(0, conv, input);
                self.stem_pool(1, x)
            }
            Stem::Deep => {
                let narrow = self.row.growth;
                let x = self.stem_layer(0, square(narrow, 2), input);
                let x = self.stem_layer(1, square(narrow, 1), x);
                let x = self.stem_layer(2, square(out, 1), x);
                self.stem_pool(1, x)
            }
        }
    }

    fn stem_layer(&mut self, number: usize, conv: Conv, x: NodeId) -> NodeId {
        let names = self.dialect.stem(number);
        conv_norm_act(&mut self.g, &names, conv, self.norm, Function::Relu, x)
    }

    fn stem_pool(&mut self, padding: usize, x: NodeId) -> NodeId {
        let pool = Pool { kernel: 3.into(), padding: padding.into(), ..Pool::default() };
        if self.row.blurs {
            let (name, blur) = Dialect::blurred_stem_pool();
            let x = self.g.add(name, pool, x);
            return self.g.add(blur, Blur::default(), x);
        }
        self.g.add(self.dialect.stem_pool(), Pool { stride: 2.into(), ..pool }, x)
    }

    /// A dense block: each layer reads the block's input and the outputs of the layers before it.
    fn block(&mut self, block: usize, depth: usize, input: NodeId) -> NodeId {
        let mut written = vec![input];
        for index in 0..depth {
            let begin = self.g.mark();
            let names = self.dialect.dense_layer(block, index);
            let x = match written[..] {
                [x] => x,
                _ => self.g.add(&names.concat, Concat {}, &written),
            };
            let new = self.dense_layer(&names, x);
            if self.dialect == Dialect::Keras {
                // Keras concatenates after a layer, the others before the next.
                written = vec![self.g.add(&names.concat, Concat {}, [x, new])];
            } else {
                written.push(new);
            }
            self.g.part(PartKind::Block, &names.path, begin);
        }
        match written[..] {
            [x] => x,
            _ => self.g.add(Dialect::block_concat(block), Concat {}, written),
        }
    }

    fn dense_layer(&mut self, names: &names::DenseLayer, input: NodeId) -> NodeId {
        let growth = self.row.growth;
        let mut x = input;
        let mut square_names = &names.squeeze;
        if self.row.compress {
            let squeeze = Conv { out: 4 * growth, ..Conv::default() };
            x = norm_act_conv(&mut self.g, &names.squeeze, self.norm, Function::Relu, squeeze, x);
            square_names = &names.square;
        }
        let conv = square(growth, 1);
        x = norm_act_conv(&mut self.g, square_names, self.norm, Function::Relu, conv, x);
        if self.layer_drop > 0.0 {
            x = self.g.add(&names.dropout, Dropout { rate: self.layer_drop }, x);
        }
        x
    }

    fn transition(&mut self, block: usize, out: usize, x: NodeId) -> NodeId {
        let (names, pool) = self.dialect.transition(block);
        let conv = Conv { out, ..Conv::default() };
        let x = norm_act_conv(&mut self.g, &names, self.norm, Function::Relu, conv, x);
        let (kernel, stride) = (2.into(), 2.into());
        self.g.add(pool, Pool { kind: PoolKind::Average, kernel, stride, ..Pool::default() }, x)
    }
}

/// A 3×3 convolution with padding 1.
fn square(out: usize, stride: usize) -> Conv {
    Conv { out, kernel: 3.into(), stride: stride.into(), padding: 1.into(), ..Conv::default() }
}
