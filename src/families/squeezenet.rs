//! SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters, from modules that squeeze the channels before they expand them.
//!
//! Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
//! <0.5MB model size", arXiv:1602.07360.
//!
//! Variants differ in the first convolution and in where the pools stand: 1.1 pools earlier and takes 2.4 times fewer
//! multiply-adds.
//!
//! Source: torchvision. The classifier is a 1×1 convolution, and the logits are the average of its activated outputs.

use super::{Definition, Family, Settings, Source, Variant};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{AdaptivePool, Concat, Conv, Dropout, Flatten, Function, Pool};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use crate::weights::init::{Recipe, Rule};

static SQUEEZENET: Family = Family {
    name: "SqueezeNet",
    year: 2016,
    paper: "Iandola et al.: SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size, arXiv:1602.07360",
    idea: "Fire modules: a 1×1 convolution squeezes the channels, then 1×1 and 3×3 convolutions side by side expand them; no fully connected layer.",
    strengths: "A ninth of the parameters of ResNet-18, 5 MB on disk, and no norms.",
    weaknesses: "Less accurate than any later network of its cost; without norms it needs a small learning rate.",
};

#[derive(Clone, Copy)]
enum Layer {
    /// A module by its squeezed channels, which it expands to eight times as many, half of them by each convolution.
    Fire(usize),
    Max,
}

use Layer::{Fire, Max};

/// torchvision's SqueezeNet.
const RECIPE: Recipe = Recipe {
    conv: Rule::HeUniform,
    bias: Rule::ZERO,
    exceptions: &[("classifier.1.weight", Rule::Normal(0.01))],
    ..Recipe::PYTORCH
};

struct Row {
    name: &'static str,
    /// Channels and kernel of the first convolution, of stride 2.
    first: (usize, usize),
    layers: [Layer; 10],
    deviations: &'static str,
}

const TORCHVISION: Definition = Definition {
    recipe: RECIPE,
    ..Definition::new(Source::Torchvision, Preprocess::imagenet(256, 224, Filter::Bilinear))
};

const ROWS: &[Row] = &[
    Row {
        name: "squeezenet1_0",
        first: (96, 7),
        layers: [
            Fire(16),
            Fire(16),
            Fire(32),
            Max,
            Fire(32),
            Fire(48),
            Fire(48),
            Fire(64),
            Max,
            Fire(64),
        ],
        deviations: "pools hang over the border; all convolutions are initialised uniformly",
    },
    Row {
        name: "squeezenet1_1",
        first: (64, 3),
        layers: [
            Fire(16),
            Fire(16),
            Max,
            Fire(32),
            Fire(32),
            Max,
            Fire(48),
            Fire(48),
            Fire(64),
            Fire(64),
        ],
        deviations: "the authors' version 1.1, published after the paper: a smaller first convolution and earlier pools",
    },
];

/// The pool of every resolution: its last window may hang over the border.
fn max_pool() -> Pool {
    Pool { kernel: 3.into(), stride: 2.into(), ceil: true, ..Pool::default() }
}

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        let definition = Definition { deviations: row.deviations, ..TORCHVISION };
        Variant::new(row.name, &SQUEEZENET, &[definition], |_, settings| graph(row, settings))
    })
}

fn graph(row: &Row, settings: &Settings) -> Result<Graph> {
    let mut g = settings.builder();
    let (begin, (out, kernel)) = (g.mark(), row.first);
    let mut x = g.input();
    x = convolution(
        &mut g,
        "features.0",
        "features.1",
        Conv { stride: 2.into(), padding: 0.into(), ..conv(out, kernel) },
        x,
    );
    x = g.add("features.2", max_pool(), x);
    g.part(PartKind::Stem, "stem", begin);
    for (index, layer) in (3..).zip(row.layers) {
        let path = format!("features.{index}");
        x = match layer {
            Max => g.add(path, max_pool(), x),
            Fire(squeezed) => fire(&mut g, &path, squeezed, x),
        };
    }
    let logits = head(&mut g, settings.classes, settings.drop_rate.unwrap_or(0.5), x);
    g.finish(logits)
}

fn conv(out: usize, kernel: usize) -> Conv {
    Conv { out, kernel: kernel.into(), padding: (kernel / 2).into(), bias: true, ..Conv::default() }
}

/// A convolution and its ReLU.
fn convolution(g: &mut Builder, name: &str, activation: &str, conv: Conv, x: NodeId) -> NodeId {
    let x = g.add(name, conv, x);
    g.add(activation, Function::Relu, x)
}

fn fire(g: &mut Builder, path: &str, squeezed: usize, x: NodeId) -> NodeId {
    let begin = g.mark();
    let mut layer = |name: &str, out, kernel, x| {
        let name = format!("{path}.{name}");
        convolution(g, &name, &format!("{name}_activation"), conv(out, kernel), x)
    };
    let x = layer("squeeze", squeezed, 1, x);
    let branches = [layer("expand1x1", 4 * squeezed, 1, x), layer("expand3x3", 4 * squeezed, 3, x)];
    let x = g.add(format!("{path}.cat"), Concat {}, branches);
    g.part(PartKind::Block, path, begin);
    x
}

/// The classifier, a convolution whose activated outputs are averaged; the embedding, which it does not read, is the
/// average of the same channels.
fn head(g: &mut Builder, classes: usize, drop_rate: f64, features: NodeId) -> NodeId {
    let begin = g.mark();
    let pooled = g.add("avgpool", AdaptivePool::default(), features);
    let embedding = g.add("embedding", Flatten {}, pooled);
    g.part(PartKind::Embedding, "embedding", begin);
    let (last, mut x) = (g.mark(), features);
    if classes == 0 {
        g.part(PartKind::Head, "head", begin);
        return embedding;
    }
    if drop_rate > 0.0 {
        x = g.add("classifier.0", Dropout { rate: drop_rate }, x);
    }
    x = g.add("classifier.1", conv(classes, 1), x);
    g.part(PartKind::Classifier, "classifier", last);
    x = g.add("classifier.2", Function::Relu, x);
    x = g.add("classifier.3", AdaptivePool::default(), x);
    x = g.add("flatten", Flatten {}, x);
    g.part(PartKind::Head, "head", begin);
    x
}
