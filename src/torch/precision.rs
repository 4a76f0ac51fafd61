//! Mixed precision: which operations cast to bfloat16.

use std::borrow::Borrow;

use tch::{Kind, TchError, Tensor};

use crate::engine::Precision;
use crate::graph::Op;

impl Precision {
    /// Whether an operation casts its inputs and arrays to bfloat16.
    pub(super) fn lowers(self, op: &Op) -> bool {
        if self != Self::BFloat16 {
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
