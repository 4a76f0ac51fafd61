//! timm's names for the layers.

use crate::blocks::Layer;

/// The names in one block.
pub(super) struct Names {
    path: String,
}

impl Names {
    pub(super) fn new(stage: usize, index: usize) -> Self {
        Self { path: format!("blocks.{stage}.{index}") }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.path)
    }

    /// The names in a block of a single convolution.
    pub(super) fn only(&self) -> Layer {
        self.numbered("conv", 1)
    }

    /// The names in a block whose norms are numbered.
    pub(super) fn numbered(&self, conv: &str, number: usize) -> Layer {
        Layer {
            conv: self.part(conv),
            norm: self.part(&format!("bn{number}")),
            activation: self.part(&format!("act{number}")),
        }
    }

    /// The names in a block whose layers have submodules.
    pub(super) fn inner(&self, layer: &str) -> Layer {
        let name = |part: &str| self.part(&format!("{layer}.{part}"));
        Layer { conv: name("conv"), norm: name("bn"), activation: name("act") }
    }
}
