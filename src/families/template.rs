//! Template: TODO, the idea in a sentence.
//!
//! TODO, "Title", venue and year, arXiv:0000.00000.
//!
//! Variants differ in TODO.
//!
//! Source: torchvision. TODO, where it deviates from the paper.

use super::{Definition, Family, Settings, Source, Variant};
use crate::blocks::{Head, pooled_head};
use crate::data::{Filter, Preprocess};
use crate::error::Result;
use crate::graph::op::{Conv, Function};
use crate::graph::{Graph, PartKind};
use crate::weights::init::Recipe;

static TEMPLATE: Family = Family {
    name: "Template",
    year: 2000,
    paper: "TODO: Title, venue and year, arXiv:0000.00000",
    idea: "TODO: a sentence.",
    strengths: "TODO: a sentence.",
    weaknesses: "TODO: a sentence.",
};

/// The numbers in which variants differ.
struct Row {
    name: &'static str,
    /// Channels of each 3×3 convolution.
    channels: &'static [usize],
    /// The definitions of the sources, the default first.
    definitions: &'static [Definition],
}

const TORCHVISION: Definition = Definition {
    recipe: Recipe::PYTORCH,
    deviations: "TODO, or none",
    ..Definition::new(Source::Torchvision, Preprocess::imagenet(256, 224, Filter::Bilinear))
};

const ROWS: &[Row] = &[
    Row { name: "template", channels: &[16, 32, 64], definitions: &[TORCHVISION] },
    Row {
        name: "template_wide",
        channels: &[32, 64, 128],
        definitions: &[TORCHVISION.named("wide_template")],
    },
];

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        Variant::new(row.name, &TEMPLATE, row.definitions, |_, settings| graph(row, settings))
    })
}

/// A node's name is the layer's name in the source's state dict.
fn graph(row: &Row, settings: &Settings) -> Result<Graph> {
    let mut g = settings.builder();
    let mut x = g.input();
    for (index, &out) in row.channels.iter().enumerate() {
        let (begin, path) = (g.mark(), format!("features.{index}"));
        let conv =
            Conv { out, kernel: 3.into(), stride: 2.into(), padding: 1.into(), ..Conv::default() };
        x = g.add(format!("{path}.conv"), conv, x);
        x = g.add(format!("{path}.relu"), Function::Relu, x);
        g.part(if index == 0 { PartKind::Stem } else { PartKind::Block }, path, begin);
    }
    let head = Head { dropout: "dropout", linear: "classifier" };
    let drop_rate = settings.drop_rate.unwrap_or(0.0);
    let logits = pooled_head(&mut g, head, settings.classes, drop_rate, x);
    g.finish(logits)
}
