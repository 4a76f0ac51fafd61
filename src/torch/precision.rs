//! Numeric precision: float32, or mixed precision as with `torch.autocast("cpu", torch.bfloat16)`.

use std::borrow::Borrow;

use tch::{Kind, TchError, Tensor};

use crate::error::{Error, Result};
use crate::graph::Op;

/// Parameters, their gradients and the loss are float32 in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    #[default]
    Float32,
    /// Convolutions and other matrix products cast inputs and weights to bfloat16; the rest computes in the type it
    /// gets.
    BFloat16,
}

impl Precision {
    /// Fails with `Error::Argument` unless it is `float32` or `bfloat16`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "float32" => Ok(Self::Float32),
            "bfloat16" => Ok(Self::BFloat16),
            _ => Err(Error::Argument {
                at: "`precision`".into(),
                expected: "\"float32\" or \"bfloat16\"".into(),
                got: format!("\"{text}\""),
            }),
        }
    }

    /// Whether an operation casts its inputs and arrays to bfloat16.
    pub(super) fn lowers(self, op: &Op) -> bool {
        if self == Self::Float32 {
            return false;
        }
        match op {
            Op::Conv(_)
            | Op::Blur(_)
            | Op::Linear(_)
            | Op::Attention(_)
            | Op::MultiQueryAttention(_) => true,
            Op::Input(_)
            | Op::Pad(_)
            | Op::BatchNorm(_)
            | Op::GroupNorm(_)
            | Op::LayerNorm(_)
            | Op::Activation(_)
            | Op::Pool(_)
            | Op::AdaptivePool(_)
            | Op::PoolUpTo(_)
            | Op::Lrn(_)
            | Op::Flatten(_)
            | Op::Add(_)
            | Op::Average(_)
            | Op::Multiply(_)
            | Op::Affine(_)
            | Op::Gate(_)
            | Op::Concat(_)
            | Op::Dropout(_)
            | Op::DropPath(_)
            | Op::Tokens(_)
            | Op::Embedding(_)
            | Op::LayerScale(_)
            | Op::SelectToken(_) => false,
        }
    }
}

/// The same values in bfloat16, recorded for autograd, so that float32 tensors get float32 gradients.
pub(super) fn lowered<T: Borrow<Tensor>>(tensors: &[T]) -> Result<Vec<Tensor>, TchError> {
    tensors.iter().map(|tensor| tensor.borrow().f_to_kind(Kind::BFloat16)).collect()
}
