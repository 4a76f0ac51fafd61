//! Xception: every 3×3 convolution is depthwise separable: a depthwise one per channel, then a 1×1 across the channels.
//!
//! Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, arXiv:1610.02357.
//!
//! There is one variant; the aligned networks derived from it have a file of their own.
//!
//! Sources: timm (default) has Keras's weights in a network that pads the pools on both sides and has BN epsilon 1e-5.
//! Keras's is the author's own: figure 5 of the paper, where only the dropout before the classifier is left out.

mod aligned;

use super::{Definition, Family, Settings, Source, Variant};
use crate::blocks::{Head, Layer, conv_norm, conv_norm_act, keras_head, pooled_head};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{Add, BatchNorm, Conv, Function, Padding, Pool};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use crate::weights::init::Recipe;

static FAMILY: Family = Family {
    name: "Xception",
    year: 2016,
    paper: "Chollet: Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017, arXiv:1610.02357",
    idea: "Every 3×3 falls apart into one of each channel by itself and a 1×1 across the channels, with a skip around \
           every two or three.",
    strengths: "More accurate than Inception v3 with as many parameters, and simpler: one kind of module.",
    weaknesses: "Depthwise convolutions run far below peak speed; large images and many multiply-adds.",
};

/// Separable convolutions with a shortcut around them.
struct Module {
    /// Channels of each convolution.
    channels: &'static [usize],
    stride: usize,
}

const MIDDLE: Module = Module { channels: &[728, 728, 728], stride: 1 };

/// Modules 2 to 13; the first and the last have no shortcut.
const MODULES: &[Module] = &[
    Module { channels: &[128, 128], stride: 2 },
    Module { channels: &[256, 256], stride: 2 },
    Module { channels: &[728, 728], stride: 2 },
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    Module { channels: &[728, 1024], stride: 2 },
];

/// Channels of the convolutions before and after those modules.
const STEM: [usize; 2] = [32, 64];
const LAST: [usize; 2] = [1536, 2048];

const DEFINITIONS: &[Definition] = &[
    Definition {
        recipe: Recipe::RESNET,
        deviations: "pads its pools on both sides, the original at the bottom and right where one pixel is enough; BN epsilon \
                     1e-5, the original 1e-3; no dropout before the classifier, the paper's rate 0.5",
        ..Definition::new(Source::Timm, Preprocess::inception(333, 299, Filter::Bicubic))
            .named("legacy_xception")
    },
    Definition {
        deviations: "no dropout before the classifier, the paper's rate 0.5",
        ..Definition::new(Source::Keras, Preprocess::inception(299, 299, Filter::Bilinear))
            .named("Xception")
    },
];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    let draw = |definition: &Definition, settings: &Settings| {
        NetworkBuilder::new(definition.source.into(), settings).build(settings)
    };
    let xception = Variant::new("xception", &FAMILY, DEFINITIONS, draw);
    std::iter::once(xception).chain(aligned::variants())
}

/// A source's naming scheme, padding and norm.
#[derive(Clone, Copy)]
enum Dialect {
    Timm,
    Keras,
}

impl From<Source> for Dialect {
    fn from(source: Source) -> Self {
        match source {
            Source::Timm => Self::Timm,
            Source::Keras | Source::Torchvision | Source::Paper => Self::Keras,
        }
    }
}

/// The names of a separable convolution, its norm, and an activation before or after it.
struct Separable {
    depthwise: String,
    pointwise: String,
    norm: String,
    activation: String,
}

impl Dialect {
    fn stem(self, number: usize) -> Layer {
        match self {
            Self::Timm => {
                let name = |part: &str| format!("{part}{number}");
                Layer { conv: name("conv"), norm: name("bn"), activation: name("act") }
            }
            Self::Keras => {
                let name = |part: &str| format!("block1_conv{number}{part}");
                Layer { conv: name(""), norm: name("_bn"), activation: name("_act") }
            }
        }
    }

    fn module(self, number: usize) -> String {
        match self {
            Self::Timm => format!("block{}", number - 1),
            Self::Keras => format!("block{number}"),
        }
    }

    /// The names of the separable convolution `index` of a module; `activated`: the module begins with its activation.
    fn separable(self, module: usize, index: usize, activated: bool) -> Separable {
        match self {
            Self::Timm => {
                // The parts of a module are numbered: activation, convolution, norm, and so on.
                let part = 3 * index + usize::from(activated);
                let name = |part: usize| format!("block{}.rep.{part}", module - 1);
                Separable {
                    depthwise: format!("{}.conv1", name(part)),
                    pointwise: format!("{}.pointwise", name(part)),
                    norm: name(part + 1),
                    activation: name(part.saturating_sub(1)),
                }
            }
            Self::Keras => Separable::keras(module, index),
        }
    }

    /// The names of one of the last two separable convolutions, which come before their activations.
    fn last(self, index: usize) -> Separable {
        match self {
            Self::Timm => {
                let number = index + STEM.len() + 1;
                Separable {
                    depthwise: format!("conv{number}.conv1"),
                    pointwise: format!("conv{number}.pointwise"),
                    norm: format!("bn{number}"),
                    activation: format!("act{number}"),
                }
            }
            Self::Keras => Separable::keras(MODULES.len() + 2, index),
        }
    }

    /// Convolution and norm of a module's shortcut, before which there are `before` others.
    fn skip(self, module: usize, before: usize) -> Layer {
        match self {
            Self::Timm => {
                let name = |part: &str| format!("block{}.{part}", module - 1);
                Layer::new(&name("skip"), &name("skipbn"), "")
            }
            Self::Keras => {
                let (conv, norm) = ("conv2d", "batch_normalization");
                Layer::new(&counted(conv, before), &counted(norm, before), "")
            }
        }
    }

    /// The names of the pool of a module with so many convolutions, and of its sum.
    fn end(self, module: usize, convolutions: usize, activated: bool) -> (String, String) {
        match self {
            Self::Timm => {
                let path = format!("block{}", module - 1);
                let pool = 3 * convolutions - usize::from(!activated);
                (format!("{path}.rep.{pool}"), format!("{path}.add"))
            }
            Self::Keras => (format!("block{module}_pool"), counted("add", module - 2)),
        }
    }
}

impl Separable {
    fn keras(module: usize, index: usize) -> Self {
        let path = format!("block{module}_sepconv{}", index + 1);
        Self {
            depthwise: format!("{path}.depthwise"),
            pointwise: format!("{path}.pointwise"),
            norm: format!("{path}_bn"),
            activation: format!("{path}_act"),
        }
    }
}

/// Keras's default name of a layer, before which there are `before` others of its kind.
fn counted(kind: &str, before: usize) -> String {
    if before == 0 { kind.to_owned() } else { format!("{kind}_{before}") }
}

/// A 3×3 depthwise convolution with padding 1.
fn depthwise(channels: usize, stride: usize) -> Conv {
    Conv {
        out: channels,
        kernel: 3.into(),
        stride: stride.into(),
        padding: 1.into(),
        groups: channels,
        ..Conv::default()
    }
}

/// Builds one graph.
struct NetworkBuilder {
    g: Builder,
    dialect: Dialect,
    norm: BatchNorm,
}

impl NetworkBuilder {
    fn new(dialect: Dialect, settings: &Settings) -> Self {
        Self {
            g: settings.builder(),
            dialect,
            norm: match dialect {
                Dialect::Timm => BatchNorm::default(),
                Dialect::Keras => BatchNorm { eps: 1e-3, momentum: 0.01, scale: true },
            },
        }
    }

    fn build(mut self, settings: &Settings) -> Result<Graph> {
        let begin = self.g.mark();
        let mut x = self.g.input();
        for (index, out) in STEM.into_iter().enumerate() {
            let stride = if index == 0 { 2 } else { 1 };
            let conv = Conv { out, kernel: 3.into(), stride: stride.into(), ..Conv::default() };
            let names = self.dialect.stem(index + 1);
            x = conv_norm_act(&mut self.g, &names, conv, self.norm, Function::Relu, x);
        }
        self.g.part(PartKind::Stem, "stem", begin);
        let (mut channels, mut skips) = (STEM[1], 0);
        for (index, module) in MODULES.iter().enumerate() {
            let begin = self.g.mark();
            x = self.module(index + 2, module, &mut channels, &mut skips, x);
            self.g.part(PartKind::Block, self.dialect.module(index + 2), begin);
        }
        for (index, out) in LAST.into_iter().enumerate() {
            let names = self.dialect.last(index);
            let begin = self.g.mark();
            x = self.separable(&names, channels, out, x);
            x = self.g.add(&names.activation, Function::Relu, x);
            // timm has both halves of such a convolution below one path, Keras in one layer.
            self.g.part(PartKind::Block, names.depthwise.trim_end_matches(".conv1"), begin);
            channels = out;
        }
        let (classes, drop_rate) = (settings.classes, settings.drop_rate.unwrap_or(0.0));
        let head = Head { dropout: "dropout", linear: "fc" };
        let logits = match self.dialect {
            Dialect::Timm => pooled_head(&mut self.g, head, classes, drop_rate, x),
            Dialect::Keras => keras_head(&mut self.g, classes, drop_rate, x),
        };
        self.g.finish(logits)
    }

    fn module(
        &mut self,
        number: usize,
        module: &Module,
        channels: &mut usize,
        skips: &mut usize,
        input: NodeId,
    ) -> NodeId {
        let mut skip = input;
        if module.stride != 1 {
            let out = module.channels[module.channels.len() - 1];
            let conv = Conv { out, stride: module.stride.into(), ..Conv::default() };
            let names = self.dialect.skip(number, *skips);
            skip = conv_norm(&mut self.g, &names, conv, self.norm, input);
            *skips += 1;
        }
        // The input of the first of them is the output of an activation.
        let activated = number > 2;
        let mut x = input;
        for (index, &out) in module.channels.iter().enumerate() {
            let names = self.dialect.separable(number, index, activated);
            if activated || index > 0 {
                x = self.g.add(&names.activation, Function::Relu, x);
            }
            x = self.separable(&names, *channels, out, x);
            *channels = out;
        }
        let (pool, add) = self.dialect.end(number, module.channels.len(), activated);
        if module.stride != 1 {
            let padding = match self.dialect {
                Dialect::Timm => 1.into(),
                Dialect::Keras => Padding::Same,
            };
            let (kernel, stride) = (3.into(), module.stride.into());
            x = self.g.add(pool, Pool { kernel, stride, padding, ..Pool::default() }, x);
        }
        self.g.add(add, Add {}, [x, skip])
    }

    fn separable(
        &mut self,
        names: &Separable,
        channels: usize,
        out: usize,
        mut x: NodeId,
    ) -> NodeId {
        x = self.g.add(&names.depthwise, depthwise(channels, 1), x);
        x = self.g.add(&names.pointwise, Conv { out, ..Conv::default() }, x);
        self.g.add(&names.norm, self.norm, x)
    }
}
