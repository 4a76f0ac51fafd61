//! The sources' names for the layers.

use super::super::Source;
use super::{Branch, Step};
use crate::blocks::Layer;
use crate::graph::op::PoolKind;

/// A source's naming scheme for a convolution, its norm and its ReLU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Also for the paper's network.
    Torchvision,
    Timm,
    /// Layers of each kind are numbered through the network.
    Keras,
}

impl From<Source> for Dialect {
    fn from(source: Source) -> Self {
        match source {
            Source::Torchvision | Source::Paper => Self::Torchvision,
            Source::Timm => Self::Timm,
            Source::Keras => Self::Keras,
        }
    }
}

/// The numbering of the steps in a branch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// By convolutions, from 1: `branch5x5_2`.
    Convolutions,
    /// By steps, from 0: `branch1.0`.
    Steps,
}

pub(super) struct Names {
    dialect: Dialect,
    numbers: Numbers,
    convs: usize,
    max_pools: usize,
    average_pools: usize,
}

impl Names {
    pub(super) fn new(dialect: Dialect, numbers: Numbers) -> Self {
        Self { dialect, numbers, convs: 0, max_pools: 0, average_pools: 0 }
    }

    /// The names of the next convolution.
    pub(super) fn layer(&mut self, path: &str) -> Layer {
        let (conv, norm) = (format!("{path}.conv"), format!("{path}.bn"));
        match self.dialect {
            Dialect::Torchvision => Layer { conv, norm, activation: format!("{path}.relu") },
            Dialect::Timm => Layer { conv, activation: format!("{norm}.act"), norm },
            Dialect::Keras => {
                let number = counted(&mut self.convs);
                Layer {
                    conv: format!("conv2d{number}"),
                    norm: format!("batch_normalization{number}"),
                    activation: format!("activation{number}"),
                }
            }
        }
    }

    /// The name of the next pool.
    pub(super) fn pool(&mut self, path: &str, kind: PoolKind) -> String {
        match (self.dialect, kind) {
            (Dialect::Torchvision | Dialect::Timm, _) => path.into(),
            (Dialect::Keras, PoolKind::Max) => {
                format!("max_pooling2d{}", counted(&mut self.max_pools))
            }
            (Dialect::Keras, PoolKind::Average) => {
                format!("average_pooling2d{}", counted(&mut self.average_pools))
            }
        }
    }

    /// The path of a step of a branch of the module at `path`.
    pub(super) fn step(&self, path: &str, branch: &Branch, index: usize) -> String {
        let Branch { name, steps } = branch;
        let is_pool = |step: &Step| matches!(step, Step::Pool(_));
        match (self.numbers, &steps[index]) {
            (Numbers::Convolutions, Step::Pool(pool)) => match pool.kind {
                PoolKind::Max => format!("{path}.max_pool2d"),
                PoolKind::Average => format!("{path}.avg_pool2d"),
            },
            (Numbers::Convolutions, _) => {
                let before = steps[..index].iter().filter(|step| !is_pool(step)).count();
                let alone = steps.iter().filter(|step| !is_pool(step)).count() == 1;
                if alone {
                    format!("{path}.{name}")
                } else {
                    format!("{path}.{name}_{}", before + 1)
                }
            }
            (Numbers::Steps, _) if steps.len() == 1 => format!("{path}.{name}"),
            (Numbers::Steps, _) => {
                let twins = steps.iter().any(|step| matches!(step, Step::Twins(_)));
                let separator = if twins { '_' } else { '.' };
                format!("{path}.{name}{separator}{index}")
            }
        }
    }
}

/// The names of a module's concatenations in PyTorch, where `twins` of its branches end in two convolutions.
pub(super) fn joins(path: &str, twins: usize) -> Vec<String> {
    let name = |number: usize| match number {
        0 => format!("{path}.cat"),
        _ => format!("{path}.cat_{number}"),
    };
    (0..=twins).map(name).collect()
}

/// The suffix of Keras's next layer of a kind.
fn counted(count: &mut usize) -> String {
    *count += 1;
    if *count == 1 { String::new() } else { format!("_{}", *count - 1) }
}
