//! Plans: a graph made ready to run on images of one shape. Batch norm, biases, activations and sums are fused into the
//! steps before them, concatenations are written in place, weights are packed, and every value has its place in memory.

mod arrange;
mod build;
mod choose;
mod fuse;
mod join;
mod place;
mod run;
mod step;
mod text;

pub use build::Packed;
pub(super) use build::build;
pub(super) use choose::Algorithm;
pub use choose::{Accuracy, Choices, Layer, candidates};
pub use step::Plan;
pub(super) use step::Workspace;
pub use text::Described;
