//! The classic image-classification networks as data, and what reads that data: running, training, counting,
//! printing. ARCHITECTURE.md says which room holds what and who may import whom.

pub mod bindings;
pub mod blocks;
pub mod data;
pub mod engine;
pub mod error;
pub mod families;
pub mod file;
pub mod graph;
pub mod infer;
pub mod memory;
pub mod model;
pub mod onnx;
#[cfg(feature = "torch")]
pub mod torch;
#[cfg(feature = "torch")]
pub mod train;
pub mod weights;

pub use error::{Error, Result};
