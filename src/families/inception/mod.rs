//! The Inception networks: modules of parallel branches whose outputs are concatenated. This file has the parts that
//! they share; each network has a file of its own.

mod googlenet;
mod names;
mod resnet_v2;
mod v3;
mod v4;

use super::{Settings, Variant};
use crate::blocks::Layer;
use crate::error::{Error, Result};
use crate::graph::op::{Affine, BatchNorm, Concat, Conv, Function, Padding, Pair, Pool, PoolKind};
use crate::graph::{Builder, NodeId, PartKind};
use names::Names;

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    googlenet::variants().chain(v3::variants()).chain(v4::variants()).chain(resnet_v2::variants())
}

/// Their batch norm, unless a source has another momentum or no scale.
const NORM: BatchNorm = BatchNorm { eps: 1e-3, momentum: 0.1, scale: true };

/// One step of a branch. A convolution includes its norm and ReLU.
enum Step {
    Conv(Conv),
    /// Two convolutions of the same input, whose outputs are concatenated.
    Twins([Conv; 2]),
    Pool(Pool),
}

/// A branch of a module.
struct Branch {
    name: &'static str,
    steps: Vec<Step>,
}

fn branch<const N: usize>(name: &'static str, steps: [Step; N]) -> Branch {
    Branch { name, steps: steps.into() }
}

/// Builds one graph.
struct NetworkBuilder {
    g: Builder,
    names: Names,
    /// None for a network whose convolutions have a bias instead.
    norm: Option<BatchNorm>,
}

impl NetworkBuilder {
    fn new(settings: &Settings, names: Names, norm: Option<BatchNorm>) -> Self {
        Self { g: settings.builder(), names, norm }
    }

    /// The image, converted from ImageNet's mean and standard deviation to values of -1 to 1 where the settings say so.
    fn input(&mut self, settings: &Settings) -> Result<NodeId> {
        let input = self.g.input();
        if !settings.transform_input {
            return Ok(input);
        }
        if settings.in_channels != 3 {
            return Err(Error::Argument {
                at: format!("`transform_input` of {}", settings.name),
                expected: "images of 3 channels".into(),
                got: settings.in_channels.to_string(),
            });
        }
        let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let affine = Affine {
            scale: deviation.iter().map(|deviation| deviation / 0.5).collect(),
            shift: mean.iter().map(|mean| (mean - 0.5) / 0.5).collect(),
        };
        Ok(self.g.add("transform_input", affine, input))
    }

    fn layer(&mut self, path: &str, conv: Conv, x: NodeId) -> NodeId {
        let names = self.names.layer(path);
        self.named_layer(&names, conv, x)
    }

    /// A convolution of a stem of several, each of which is a block.
    fn stem_layer(&mut self, path: &str, conv: Conv, x: NodeId) -> NodeId {
        let begin = self.g.mark();
        let x = self.layer(path, conv, x);
        self.g.part(PartKind::Block, path, begin);
        x
    }

    fn named_layer(&mut self, names: &Layer, conv: Conv, x: NodeId) -> NodeId {
        let conv = Conv { bias: self.norm.is_none(), ..conv };
        let mut x = self.g.add(&names.conv, conv, x);
        if let Some(norm) = self.norm {
            x = self.g.add(&names.norm, norm, x);
        }
        self.g.add(&names.activation, Function::Relu, x)
    }

    fn pool(&mut self, path: &str, pool: Pool, x: NodeId) -> NodeId {
        let name = self.names.pool(path, pool.kind);
        self.g.add(name, pool, x)
    }

    /// A block of parallel branches. `joins` names the concatenations: those of branches with twins, then that of all
    /// branches.
    fn module(
        &mut self,
        path: &str,
        joins: &[String],
        branches: &[Branch],
        input: NodeId,
    ) -> NodeId {
        let begin = self.g.mark();
        let x = self.branches(path, joins, branches, input);
        self.g.part(PartKind::Block, path, begin);
        x
    }

    fn branches(
        &mut self,
        path: &str,
        joins: &[String],
        branches: &[Branch],
        input: NodeId,
    ) -> NodeId {
        let mut joins = joins.iter();
        let mut join = |g: &mut Builder, parts: &[NodeId]| {
            let name = joins.next().cloned().unwrap_or_default();
            g.add(name, Concat {}, parts)
        };
        let mut outputs = Vec::new();
        for branch in branches {
            let mut x = input;
            for (index, step) in branch.steps.iter().enumerate() {
                let place = self.names.step(path, branch, index);
                x = match step {
                    Step::Conv(conv) => self.layer(&place, conv.clone(), x),
                    Step::Pool(pool) => self.pool(&place, pool.clone(), x),
                    Step::Twins([a, b]) => {
                        let a = self.layer(&format!("{place}a"), a.clone(), x);
                        let b = self.layer(&format!("{place}b"), b.clone(), x);
                        join(&mut self.g, &[a, b])
                    }
                };
            }
            outputs.push(x);
        }
        join(&mut self.g, &outputs)
    }
}

/// A convolution of stride 1 that keeps the size.
fn conv(out: usize, kernel: impl Into<Pair>) -> Conv {
    let kernel = kernel.into();
    let padding = Pair { height: kernel.height / 2, width: kernel.width / 2 };
    Conv { out, kernel, padding: Padding::Both(padding), ..Conv::default() }
}

/// The same as a [`Step`].
fn keep(out: usize, kernel: impl Into<Pair>) -> Step {
    Step::Conv(conv(out, kernel))
}

/// A 3×3 of stride 2 without padding.
fn reduce(out: usize) -> Step {
    Step::Conv(Conv { out, kernel: 3.into(), stride: 2.into(), ..Conv::default() })
}

fn max_pool(kernel: usize, stride: usize, padding: usize) -> Pool {
    Pool {
        kernel: kernel.into(),
        stride: stride.into(),
        padding: padding.into(),
        ..Pool::default()
    }
}

/// A 3×3 average pool that keeps the size.
fn average_pool(count_padding: bool) -> Step {
    Step::Pool(Pool { kind: PoolKind::Average, count_padding, ..max_pool(3, 1, 1) })
}
