//! Inference on CPU without a tensor library: a graph becomes a plan of fused steps for images of one shape, and kernels
//! for the instructions that the processor has run it on threads of their own.

#![allow(
    clippy::inline_always,
    reason = "code that is not inlined is not compiled for the instructions of its caller"
)]

mod form;
#[cfg(test)]
mod fuzz;
mod kernel;
mod layout;
mod memory;
mod native;
mod peak;
mod plan;
mod pool;
mod prepared;
mod quantize;
#[cfg(all(test, sanitized))]
mod sanitizer;
mod simd;
mod tune;

pub use native::Native;
pub use plan::{Accuracy, Choices, Described, Layer, Packed, Plan, candidates};
pub use pool::{MOST_THREADS, Pool};
pub use prepared::{Prepared, Times};
pub use quantize::{Calibrator, Quantization, layers};
pub use simd::Instructions;
pub use tune::{Measured, Tuner};
