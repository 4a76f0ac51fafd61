//! A plan as text: a line for each step.

use std::fmt;

use super::super::kernel::Tile;
use super::step::{Operation, Plan};
use crate::graph::Graph;

impl Operation {
    fn name(&self) -> &'static str {
        match self {
            Self::Rearrange => "rearrange",
            Self::Conv(_) => "conv",
            Self::Winograd(conv) => match conv.weights.tile() {
                Tile::Two => "winograd_2",
                Tile::Four => "winograd_4",
                Tile::Six => "winograd_6",
            },
            Self::Depthwise(_) => "depthwise",
            Self::Block(_) => "block",
            Self::Reduce(_) => "pool",
            Self::Blur(_) => "blur",
            Self::Map(_) => "map",
            Self::LayerNorm(_) => "layer_norm",
            Self::GroupNorm(_) => "group_norm",
            Self::Lrn(_) => "lrn",
            Self::Pad(_) => "pad",
            Self::Attention(_) => "attention",
            Self::Flatten => "flatten",
        }
    }
}

impl Plan {
    /// One line for each step: its kernel, the nodes that it computes, and the shape of its value.
    pub fn text(&self, graph: &Graph) -> String {
        let mut text = String::new();
        self.write(graph, &mut text).unwrap_or_default();
        text
    }

    fn write(&self, graph: &Graph, to: &mut impl fmt::Write) -> fmt::Result {
        for step in &self.steps {
            let nodes: Vec<&str> =
                step.nodes.iter().map(|&id| graph.node(id).name.as_str()).collect();
            let layout = step.output.layout;
            let size = [self.batch, layout.height, layout.width, layout.channels];
            let size = size.map(|size| size.to_string()).join("×");
            writeln!(to, "{:10} {} -> {size}", step.operation.name(), nodes.join(" + "))?;
        }
        let bytes = self.memory * size_of::<f32>();
        writeln!(to, "{bytes} bytes")
    }
}
