//! Aligned Xception, the backbone of DeepLab: strided convolutions where Xception pools, so that outputs stay aligned
//! with the image, and more layers.
//!
//! Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
//! Segmentation", ECCV 2018, arXiv:1802.02611, after Dai et al.'s entry of COCO 2017.
//!
//! Variants differ in modules of the entry and of the middle flow, and in whether norms and activations come first.
//!
//! Sources: timm (default), whose plain ones take DeepLab's weights. Norms and activations first (`p`) are timm's idea.

use super::super::{Definition, Family, Settings, Source, Variant};
use super::depthwise;
use crate::blocks::{Head, Layer, add_again, conv_norm, conv_norm_act, pooled_head};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{BatchNorm, Conv, Function};
use crate::graph::{Builder, Graph, NodeId, PartKind};

static FAMILY: Family = Family {
    name: "Aligned Xception",
    year: 2018,
    paper: "Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic Image \
            Segmentation, ECCV 2018, arXiv:1802.02611",
    idea: "A deeper Xception whose convolutions step instead of pools, so that values stay aligned with the image.",
    strengths: "What DeepLab v3+ segments with; any stride can be traded for dilation.",
    weaknesses: "Many multiply-adds for its accuracy, most of them in convolutions that run far below peak speed.",
};

/// A module of three separable convolutions, the last one strided.
#[derive(Clone, Copy)]
struct Module {
    channels: [usize; 3],
    stride: usize,
    /// The last module has no shortcut, and its activations come after its norms.
    last: bool,
}

impl Module {
    const fn new(channels: usize, stride: usize) -> Self {
        Self { channels: [channels; 3], stride, last: false }
    }
}

const MIDDLE: Module = Module::new(728, 1);

const EXIT: [Module; 2] = [
    Module { channels: [728, 1024, 1024], stride: 2, last: false },
    Module { channels: [1536, 1536, 2048], stride: 1, last: true },
];

struct Row {
    name: &'static str,
    entry: &'static [Module],
    /// The number of modules of 728 channels that follow.
    middle: usize,
    /// Whether norms and activations come before convolutions.
    norm_first: bool,
    eps: f64,
    definition: Definition,
}

const fn timm(resize: u32) -> Definition {
    Definition {
        deviations: "no activation between the two halves of a separable convolution but in the last module, as in DeepLab's \
                     code; the paper says after each 3×3",
        options: &["drop_rate", "drop_path_rate"],
        ..Definition::new(Source::Timm, Preprocess::inception(resize, 299, Filter::Bicubic))
    }
}

const TIMM_P: Definition = Definition {
    deviations: "norms and activations before the convolutions, as in no paper; none between the two halves of a separable \
                 convolution",
    ..timm(318)
};

const ROW: Row = Row {
    name: "",
    entry: &[Module::new(128, 2), Module::new(256, 2), Module::new(728, 2)],
    middle: 16,
    norm_first: false,
    eps: 1e-3,
    definition: timm(331),
};

const LONG: &[Module] = &[
    Module::new(128, 2),
    Module::new(256, 1),
    Module::new(256, 2),
    Module::new(728, 1),
    Module::new(728, 2),
];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "xception41", middle: 8, ..ROW },
    Row { name: "xception65", definition: timm(318), ..ROW },
    Row { name: "xception71", entry: LONG, ..ROW },
    Row { name: "xception41p", middle: 8, norm_first: true, eps: 1e-5, definition: TIMM_P, ..ROW },
    Row { name: "xception65p", norm_first: true, definition: TIMM_P, ..ROW },
];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        Variant::new(row.name, &FAMILY, &[row.definition], |_, settings| {
            NetworkBuilder::new(row, settings).build(settings)
        })
    })
}

/// Builds one graph.
struct NetworkBuilder<'a> {
    g: Builder,
    row: &'a Row,
    norm: BatchNorm,
}

impl<'a> NetworkBuilder<'a> {
    fn new(row: &'a Row, settings: &Settings) -> Self {
        Self {
            g: settings.builder(),
            row,
            norm: BatchNorm { eps: row.eps, ..BatchNorm::default() },
        }
    }

    fn build(mut self, settings: &Settings) -> Result<Graph> {
        let begin = self.g.mark();
        let mut x = self.stem();
        self.g.part(PartKind::Stem, "stem", begin);
        let middle = std::iter::repeat_n(MIDDLE, self.row.middle);
        let modules: Vec<Module> =
            self.row.entry.iter().copied().chain(middle).chain(EXIT).collect();
        let drop_path = settings.drop_path_rate.unwrap_or(0.0);
        let mut channels = 64;
        for (index, module) in modules.iter().enumerate() {
            let path = format!("blocks.{index}");
            let begin = self.g.mark();
            let rate = drop_path * index as f64 / (modules.len() - 1) as f64;
            x = if self.row.norm_first {
                self.norm_first(&path, module, channels, rate, x)
            } else {
                self.norm_last(&path, module, channels, rate, x)
            };
            self.g.part(PartKind::Block, path, begin);
            channels = module.channels[2];
        }
        if self.row.norm_first {
            x = self.g.add("act", Function::Relu, x);
        }
        let head = Head { dropout: "head.drop", linear: "head.fc" };
        let drop_rate = settings.drop_rate.unwrap_or(0.0);
        let logits = pooled_head(&mut self.g, head, settings.classes, drop_rate, x);
        self.g.finish(logits)
    }

    fn stem(&mut self) -> NodeId {
        let square = |out: usize, stride: usize| Conv {
            out,
            kernel: 3.into(),
            stride: stride.into(),
            padding: 1.into(),
            ..Conv::default()
        };
        let (input, norm, relu) = (self.g.input(), self.norm, Function::Relu);
        let x = conv_norm_act(&mut self.g, &fused("stem.0"), square(32, 2), norm, relu, input);
        if self.row.norm_first {
            return self.g.add("stem.1", square(64, 1), x);
        }
        conv_norm_act(&mut self.g, &fused("stem.1"), square(64, 1), norm, relu, x)
    }

    /// Every convolution is followed by a norm; activations come before the separable ones, or, in the last module,
    /// after each norm.
    fn norm_last(
        &mut self,
        path: &str,
        module: &Module,
        mut channels: usize,
        drop_path: f64,
        input: NodeId,
    ) -> NodeId {
        let shortcut = widens(module, channels).map(|conv| {
            conv_norm(&mut self.g, &fused(&format!("{path}.shortcut")), conv, self.norm, input)
        });
        let mut x = input;
        for (index, &out) in module.channels.iter().enumerate() {
            let name = |part: &str| format!("{path}.stack.{part}{}", index + 1);
            if !module.last {
                x = self.g.add(name("act"), Function::Relu, x);
            }
            for (part, conv) in halves(module, index, channels, out) {
                let name = |layer: &str| format!("{}.{layer}_{part}", name("conv"));
                let layer = Layer::new(&name("conv"), &name("bn"), &name("act"));
                x = conv_norm(&mut self.g, &layer, conv, self.norm, x);
                if module.last {
                    x = self.g.add(&layer.activation, Function::Relu, x);
                }
            }
            channels = out;
        }
        self.end(path, module, drop_path, x, shortcut.unwrap_or(input))
    }

    /// A norm and an activation before every separable convolution. The shortcut is around the convolutions only.
    fn norm_first(
        &mut self,
        path: &str,
        module: &Module,
        mut channels: usize,
        drop_path: f64,
        input: NodeId,
    ) -> NodeId {
        let input = self.norm_act(&format!("{path}.norm"), input);
        let shortcut = widens(module, channels)
            .map(|conv| self.g.add(format!("{path}.shortcut"), conv, input));
        let mut x = input;
        for (index, &out) in module.channels.iter().enumerate() {
            let path = format!("{path}.stack.conv{}", index + 1);
            if index > 0 {
                x = self.norm_act(&format!("{path}.norm"), x);
            }
            for (part, conv) in halves(module, index, channels, out) {
                x = self.g.add(format!("{path}.conv_{part}"), conv, x);
            }
            channels = out;
        }
        self.end(path, module, drop_path, x, shortcut.unwrap_or(input))
    }

    fn norm_act(&mut self, name: &str, x: NodeId) -> NodeId {
        let x = self.g.add(name, self.norm, x);
        self.g.add(format!("{name}.act"), Function::Relu, x)
    }

    fn end(
        &mut self,
        path: &str,
        module: &Module,
        drop_path: f64,
        x: NodeId,
        skip: NodeId,
    ) -> NodeId {
        if module.last {
            return x;
        }
        let (drop, add) = (format!("{path}.drop_path"), format!("{path}.add"));
        add_again(&mut self.g, &drop, &add, drop_path, x, skip)
    }
}

/// The 1×1 convolution of the shortcut around a module that changes the shape.
fn widens(module: &Module, channels: usize) -> Option<Conv> {
    let out = module.channels[2];
    let changes = module.stride != 1 || channels != out;
    let conv = Conv { out, stride: module.stride.into(), ..Conv::default() };
    (changes && !module.last).then_some(conv)
}

/// The depthwise and pointwise convolution of the separable convolution `index` of a module, with timm's names.
fn halves(module: &Module, index: usize, channels: usize, out: usize) -> [(&'static str, Conv); 2] {
    let stride = if index == 2 { module.stride } else { 1 };
    [("dw", depthwise(channels, stride)), ("pw", Conv { out, ..Conv::default() })]
}

/// timm's activations are part of the norms.
fn fused(path: &str) -> Layer {
    let name = |part: &str| format!("{path}.{part}");
    Layer { conv: name("conv"), norm: name("bn"), activation: name("bn.act") }
}
