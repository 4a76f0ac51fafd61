//! The only module that uses tch: parameters as libtorch tensors, eager runs of a graph, and gradients, on CPU or CUDA.

mod accumulated;
mod among;
mod average;
mod batch_norm;
mod bridge;
mod device;
mod dispatch;
mod engine;
mod explain;
mod finite;
mod floats;
mod forward;
mod gradients;
mod layout;
mod loss;
mod lower;
mod memory;
mod node;
mod norm;
mod optimizer;
mod patches;
mod precision;
mod rule;
mod run;
mod store;
#[cfg(test)]
mod testing;
mod threads;
mod train;
mod walk;

pub use among::Among;
pub use bridge::{Handle, Modes, outside_modes};
pub use device::{device, device_name};
pub use explain::{ExplainOptions, Explanation, Score, explain};
pub use finite::has_finite_outputs;
pub use forward::{Forward, Segments, Watched, forward};
pub use gradients::{GradientOptions, Pullback, pull_back};
pub use layout::Layout;
pub use loss::{Loss, LossResult, Objective, Targets};
pub use optimizer::{Memory, Optimizer};
pub use rule::{Rate, Rule};
pub use run::infer;
pub use store::Store;
pub use threads::set_threads;
pub use train::{Assessment, Clip, Outcome, Task, Update, apply, assess, flush, train_step};
pub use walk::Mode;

use std::fmt::Display;

use tch::TchError;

use crate::error::Error;

/// An error for where libtorch failed, with the first line of its message; what follows there is a C++ backtrace.
pub(crate) fn failed(at: impl Display) -> impl FnOnce(TchError) -> Error {
    move |error| {
        let text = match &error {
            TchError::Torch(message) => message.clone(),
            other => other.to_string(),
        };
        let message = text.lines().next().unwrap_or_default().trim().to_owned();
        let at = at.to_string();
        if message.contains("out of memory")
            || message.contains("not enough memory")
            || message.contains("can't allocate memory")
        {
            Error::OutOfMemory { at, message }
        } else {
            Error::Torch { at, message }
        }
    }
}
