//! The graph of every variant, and the plans of some, as text under tests/snapshots. After a change that is meant, write
//! them anew with `INSTA_UPDATE=always cargo test --release --test snapshots`.

#![allow(clippy::unwrap_used, reason = "helpers are part of the tests")]

use cnnzoo::Result;
use cnnzoo::families::{Options, find, variants};
use cnnzoo::graph::{Graph, Parameter, Role};
use cnnzoo::infer::{Choices, Instructions, Packed, Pool, Prepared};
use cnnzoo::weights::init::Recipe;
use cnnzoo::weights::{Parameters, Stored};

fn settings(folder: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn every_variant_draws_what_it_drew_before() {
    settings("snapshots").bind(|| {
        for variant in variants() {
            for (position, edition) in variant.editions.iter().enumerate() {
                let graph = variant.graph(edition, &Options::default()).unwrap();
                // Several sources may use one name.
                let name = match position {
                    0 => edition.source_name.to_owned(),
                    _ => format!("{}-{}", edition.source, edition.source_name),
                };
                insta::assert_snapshot!(name, graph.to_string());
            }
        }
    });
}

/// Those that benchmarks measure, one for each family or more.
const PLANNED: [&str; 13] = [
    "alexnet",
    "vgg16",
    "googlenet",
    "inception_v3",
    "resnet18",
    "resnet50",
    "densenet121",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "xception",
    "efficientnet_b0",
    "vit_b_16",
];

#[test]
fn plans_are_what_they_were_before() {
    settings("snapshots/plans").bind(|| {
        for name in PLANNED {
            let (variant, edition) = find(name, None).unwrap();
            let graph = variant.graph(edition, &Options::default()).unwrap();
            let input = graph.input();
            let shape = [1, input.channels, input.height, input.width];
            // Of those that every machine has, though all have the same plan.
            let (wanted, rules) = ([graph.output()], Choices::from(Instructions::PORTABLE));
            let zeros = Zeros(graph.parameters());
            let (mut packed, pool) = (Packed::default(), Pool::new(2));
            let packing = (&mut packed, &pool);
            let plan = Prepared::new(&graph, &zeros, &shape, &wanted, &rules, packing);
            insta::assert_snapshot!(name, plan.unwrap().plan().text(&graph));
        }
    });
}

/// Parameters that are all zero, which need no time to be drawn.
struct Zeros(Vec<Parameter>);

impl Parameters for Zeros {
    fn parameters(&self) -> &[Parameter] {
        &self.0
    }

    fn read(&self, index: usize) -> Result<Stored> {
        let parameter = &self.0[index];
        Ok(match parameter.role {
            Role::BatchCount => Stored::Count(0),
            _ => Stored::Floats(vec![0.0; parameter.elements()]),
        })
    }

    fn write_floats(&mut self, _: usize, _: &[f32]) -> Result<()> {
        Ok(())
    }

    fn write_count(&mut self, _: usize, _: i64) -> Result<()> {
        Ok(())
    }

    fn redraw(&mut self, graph: &Graph, _: Recipe, _: u64) -> Result<()> {
        self.0 = graph.parameters();
        Ok(())
    }
}
