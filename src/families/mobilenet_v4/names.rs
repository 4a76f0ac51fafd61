//! How timm names the layers.

use crate::blocks::Layer;

/// The names inside one block.
pub(super) struct Names {
    path: String,
}

impl Names {
    pub(super) fn new(stage: usize, index: usize) -> Self {
        Self { path: format!("blocks.{stage}.{index}") }
    }

    pub(super) fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.path)
    }

    /// Of a block that is one convolution.
    pub(super) fn only(&self) -> Layer {
        self.numbered("conv", 1)
    }

    /// Of a block whose norms are numbered.
    pub(super) fn numbered(&self, conv: &str, number: usize) -> Layer {
        Layer {
            conv: self.part(conv),
            norm: self.part(&format!("bn{number}")),
            activation: self.part(&format!("act{number}")),
        }
    }

    /// Of a block whose layers have parts of their own.
    pub(super) fn inner(&self, layer: &str) -> Layer {
        let name = |part: &str| self.part(&format!("{layer}.{part}"));
        Layer { conv: name("conv"), norm: name("bn"), activation: name("act") }
    }
}
