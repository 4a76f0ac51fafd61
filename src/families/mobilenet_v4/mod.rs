//! MobileNetV4: universal inverted bottlenecks, with two optional depthwise convolutions, for every kind of chip.
//!
//! Qin, Leichner, Delakis, Fornoni, Luo, Yang, Wang, Banbury, Ye, Akin, Aggarwal, Zhu, Moro, Howard, "MobileNetV4:
//! Universal Models for the Mobile Ecosystem", ECCV 2024, arXiv:2404.10518.
//!
//! Variants differ in the blocks (Hybrid has attention among them), the width multiplier, and anti-aliasing of strided
//! layers.
//!
//! Sources: timm (default), which pads symmetrically and has BN epsilon 1e-5. The widths below 1 and the anti-aliased
//! networks are timm's own.

mod names;
mod rows;
mod stages;

use super::{Family, Settings, Variant};
use crate::blocks::{
    Layer, add_again, classifier, conv_norm, conv_norm_act, divisible, stage_name,
};
use crate::error::Result;
use crate::graph::op::{
    AdaptivePool, BatchNorm, Blur, Border, Conv, Flatten, LayerScale, MultiQueryAttention, Pool,
    PoolKind,
};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use names::Names;
use rows::{ROWS, Row, Smooth};
use stages::{Block, Bottleneck, Queries};

static FAMILY: Family = Family {
    name: "MobileNetV4",
    year: 2024,
    paper: "Qin et al.: MobileNetV4: Universal Models for the Mobile Ecosystem, ECCV 2024, arXiv:2404.10518",
    idea: "One block covers inverted residuals, ConvNeXt's block and feed-forward layers: two places for a depthwise \
           convolution, before and after the widening, each of which may be empty.",
    strengths: "Among the fastest of its time for its accuracy on the CPUs, DSPs, GPUs and accelerators of phones alike; \
                the convolutional ones need no gates, and no activation but ReLU.",
    weaknesses: "Needs long training with strong augmentation and distillation to reach its accuracy.",
};

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        Variant::new(row.name, &FAMILY, &[row.definition], |_, settings| graph(row, settings))
    })
}

fn graph(row: &Row, settings: &Settings) -> Result<Graph> {
    let row = &Row { width: settings.width.unwrap_or(row.width), ..*row };
    let mut g = settings.builder();
    let mut builder = NetworkBuilder { g: &mut g, row, channels: 0 };
    let input = builder.g.input();
    let stem = if row.width < 1.0 { row.stem } else { row.channels(row.stem) };
    let stem = Conv { out: stem, stride: 2.into(), ..square(3) };
    let begin = builder.g.mark();
    let mut x = builder.layer(&Layer::new("conv_stem", "bn1", "act1"), stem, input);
    builder.g.part(PartKind::Stem, "stem", begin);

    let count = row.stages.iter().map(|stage| stage.blocks.len()).sum::<usize>() + 1;
    let mut before = 0_usize;
    for (number, stage) in row.stages.iter().enumerate() {
        let begin = builder.g.mark();
        for (index, block) in stage.blocks.iter().enumerate() {
            let (names, begin) = (Names::new(number, index), builder.g.mark());
            let rate = settings.drop_path_rate.unwrap_or(0.0) * before as f64 / count as f64;
            x = builder.block(&names, block, stage.channels, rate, x);
            builder.g.part(PartKind::Block, names.path(), begin);
            before += 1;
        }
        builder.g.part(PartKind::Stage, stage_name(number), begin);
    }
    let last = Conv { out: row.channels(960), ..Conv::default() };
    let (names, begin) = (Names::new(row.stages.len(), 0), builder.g.mark());
    x = builder.layer(&names.only(), last, x);
    // timm counts it as a block.
    builder.g.part(PartKind::Block, names.path(), begin);
    let logits = builder.head(settings, x);
    g.finish(logits)
}

/// A convolution that keeps the size of the image, if its stride is 1.
fn square(kernel: usize) -> Conv {
    Conv { kernel: kernel.into(), padding: (kernel / 2).into(), ..Conv::default() }
}

fn point(out: usize) -> Conv {
    Conv { out, ..Conv::default() }
}

/// The graph built so far.
struct NetworkBuilder<'a> {
    g: &'a mut Builder,
    row: &'a Row,
    /// Channels of the last image.
    channels: usize,
}

impl NetworkBuilder<'_> {
    /// Convolution, norm and activation.
    fn layer(&mut self, names: &Layer, conv: Conv, x: NodeId) -> NodeId {
        self.channels = conv.out;
        conv_norm_act(self.g, names, conv, BatchNorm::default(), self.row.function, x)
    }

    /// Convolution and norm.
    fn linear_layer(&mut self, names: &Layer, conv: Conv, x: NodeId) -> NodeId {
        self.channels = conv.out;
        conv_norm(self.g, names, conv, BatchNorm::default(), x)
    }

    /// Convolution, norm and activation; with anti-aliasing, a stride of two comes after the convolution instead of in
    /// it.
    fn stepping(
        &mut self,
        names: &Layer,
        smooth: String,
        stride: usize,
        conv: Conv,
        x: NodeId,
    ) -> NodeId {
        let smooths = stride > 1 && self.row.smooth != Smooth::Not;
        let stride = stride.into();
        let conv = if smooths { conv } else { Conv { stride, ..conv } };
        let x = self.layer(names, conv, x);
        match self.row.smooth {
            Smooth::Average if smooths => {
                let kind = PoolKind::Average;
                self.g.add(smooth, Pool { kind, kernel: stride, stride, ..Pool::default() }, x)
            }
            Smooth::Blur if smooths => {
                self.g.add(smooth, Blur { stride, border: Border::Zeros, ..Blur::default() }, x)
            }
            Smooth::Not | Smooth::Average | Smooth::Blur => x,
        }
    }

    fn depthwise(&self, kernel: usize) -> Conv {
        Conv { out: self.channels, groups: self.channels, ..square(kernel) }
    }

    fn block(
        &mut self,
        names: &Names,
        block: &Block,
        channels: usize,
        drop_path: f64,
        input: NodeId,
    ) -> NodeId {
        let (before, out) = (self.channels, self.row.channels(channels));
        let mut x = input;
        let stride = match *block {
            Block::Plain { kernel, stride, channels } => {
                let out = self.row.channels(channels);
                return self.layer(
                    &names.only(),
                    Conv { out, stride: stride.into(), ..square(kernel) },
                    x,
                );
            }
            Block::Fused { expand, stride } => {
                let wide = Conv { out: before * expand, ..square(3) };
                x = self.stepping(
                    &names.numbered("conv_exp", 1),
                    names.part("aa"),
                    stride,
                    wide,
                    x,
                );
                x = self.linear_layer(&names.numbered("conv_pwl", 2), point(out), x);
                stride
            }
            Block::Universal(Bottleneck { start, middle, expand, stride }) => {
                if let Some(kernel) = start {
                    x = self.linear_layer(&names.inner("dw_start"), self.depthwise(kernel), x);
                }
                x = self.layer(&names.inner("pw_exp"), point(before * expand), x);
                if let Some(kernel) = middle {
                    let (conv, smooth) = (self.depthwise(kernel), names.part("dw_mid.aa"));
                    x = self.stepping(&names.inner("dw_mid"), smooth, stride, conv, x);
                }
                x = self.linear_layer(&names.inner("pw_proj"), point(out), x);
                x = self.layer_scale(names, x);
                stride
            }
            Block::Attend(queries) => {
                x = self.attend(names, queries, out, x);
                x = self.layer_scale(names, x);
                1
            }
        };
        if stride != 1 || before != out {
            return x;
        }
        add_again(self.g, &names.part("drop_path"), &names.part("add"), drop_path, x, input)
    }

    fn layer_scale(&mut self, names: &Names, x: NodeId) -> NodeId {
        if self.row.layer_scale {
            self.g.add(names.part("layer_scale"), LayerScale {}, x)
        } else {
            x
        }
    }

    /// Multi-query attention; keys and values may come from an image downsampled by `step`.
    fn attend(&mut self, names: &Names, queries: Queries, out: usize, x: NodeId) -> NodeId {
        let Queries { heads, features, step } = queries;
        let x = self.g.add(names.part("norm"), BatchNorm::default(), x);
        let query = self.g.add(names.part("attn.query.proj"), point(heads * features), x);
        let shared = ["key", "value"].map(|what| {
            let name = |part: &str| names.part(&format!("attn.{what}.{part}"));
            let mut x = x;
            if step > 1 {
                let down = Conv { stride: step.into(), ..self.depthwise(3) };
                x = self.g.add(name("down_conv"), down, x);
                x = self.g.add(name("norm"), BatchNorm::default(), x);
            }
            self.g.add(name("proj"), point(features), x)
        });
        let inputs = [query, shared[0], shared[1]];
        let x = self.g.add(names.part("attn.attention"), MultiQueryAttention { heads }, inputs);
        self.channels = out;
        self.g.add(names.part("attn.output.proj"), point(out), x)
    }

    /// Pooling, a wide layer, and the classifier; without classes, the wide layer.
    fn head(&mut self, settings: &Settings, x: NodeId) -> NodeId {
        let begin = self.g.mark();
        let x = self.g.add("global_pool", AdaptivePool::default(), x);
        let names = Layer::new("conv_head", "norm_head", "norm_head.act");
        let x = self.layer(&names, point(1280), x);
        let x = self.g.add("flatten", Flatten {}, x);
        self.g.part(PartKind::Embedding, "embedding", begin);
        let rate = settings.drop_rate.unwrap_or(0.0);
        let x = classifier(self.g, "dropout", "classifier", settings.classes, rate, x);
        self.g.part(PartKind::Head, "head", begin);
        x
    }
}

impl Row {
    fn channels(&self, channels: usize) -> usize {
        divisible(channels as f64 * self.width)
    }
}
