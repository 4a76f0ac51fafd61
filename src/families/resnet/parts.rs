//! Parts of both post- and pre-activation networks.

use crate::graph::op::{BatchNorm, Conv, Pool, PoolKind};

/// Keras's batch norm in this family.
pub(super) const KERAS_NORM: BatchNorm = BatchNorm { eps: 1.001e-5, momentum: 0.01, scale: true };

/// The stem's 7×7 convolution, without its padding.
pub(super) fn large(out: usize) -> Conv {
    Conv { out, kernel: 7.into(), stride: 2.into(), ..Conv::default() }
}

/// The stem's pool, likewise.
pub(super) fn stem_pool() -> Pool {
    Pool { kernel: 3.into(), stride: 2.into(), ..Pool::default() }
}

/// A 3×3 convolution with padding 1.
pub(super) fn square(out: usize, stride: usize) -> Conv {
    Conv { out, kernel: 3.into(), stride: stride.into(), padding: 1.into(), ..Conv::default() }
}

pub(super) fn point(out: usize, stride: usize) -> Conv {
    Conv { out, stride: stride.into(), ..Conv::default() }
}

/// A 2×2 average pool of stride 2 that averages fewer values at the border.
pub(super) fn halving() -> Pool {
    Pool {
        kind: PoolKind::Average,
        kernel: 2.into(),
        stride: 2.into(),
        ceil: true,
        count_padding: false,
        ..Pool::default()
    }
}
