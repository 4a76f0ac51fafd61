//! What both drawings use.

use crate::graph::op::{BatchNorm, Conv, Pool, PoolKind};

/// Keras's, in this family.
pub(super) const KERAS_NORM: BatchNorm = BatchNorm { eps: 1.001e-5, momentum: 0.01, scale: true };

/// The 7×7 of the stem, without the zeros around the image.
pub(super) fn large(out: usize) -> Conv {
    Conv { out, kernel: 7.into(), stride: 2.into(), ..Conv::default() }
}

/// The pool of the stem, likewise.
pub(super) fn stem_pool() -> Pool {
    Pool { kernel: 3.into(), stride: 2.into(), ..Pool::default() }
}

/// A 3×3 convolution that keeps the size, but for its stride.
pub(super) fn square(out: usize, stride: usize) -> Conv {
    Conv { out, kernel: 3.into(), stride: stride.into(), padding: 1.into(), ..Conv::default() }
}

pub(super) fn point(out: usize, stride: usize) -> Conv {
    Conv { out, stride: stride.into(), ..Conv::default() }
}

/// Averages of two by two, or of what is left of them at the border.
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
