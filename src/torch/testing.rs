//! Helpers for tests on libtorch's tensors.

use tch::{Device, Kind, Tensor};

/// Rounding error of float32 sums of up to some thousand values, relative to the largest value of a tensor.
pub(super) const ROUNDING: f64 = 2e-6;

/// Numbers between -0.5 and 0.5 without a pattern, always the same for a shape.
pub(super) fn scattered(shape: &[i64]) -> Tensor {
    let count = shape.iter().product::<i64>();
    let line = Tensor::f_arange(count, (Kind::Double, Device::Cpu)).unwrap();
    let line = ((line + 1.0) * 12.9898).f_sin().unwrap() * 43758.5453;
    (&line - line.f_floor().unwrap() - 0.5).f_view(shape).unwrap()
}

/// Weights for the outputs, always the same for a shape.
pub(super) fn weights(like: &Tensor) -> Tensor {
    scattered(&like.size()).f_flip([0]).unwrap().f_to_kind(like.f_kind().unwrap()).unwrap()
}

pub(super) fn gradients(objective: &Tensor, of: &[&Tensor]) -> Vec<Tensor> {
    Tensor::f_run_backward(&[objective], of, false, false).unwrap()
}

#[track_caller]
pub(super) fn same(ours: &Tensor, theirs: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(ours.size(), theirs.size(), "{what}");
    let theirs = theirs.f_to_kind(Kind::Double).unwrap();
    let apart = (ours.f_to_kind(Kind::Double).unwrap() - &theirs).abs().max();
    let worst = apart.f_double_value(&[]).unwrap()
        / theirs.abs().max().f_double_value(&[]).unwrap().max(1e-3);
    assert!(worst <= tolerance, "{what}: {worst:e}");
}
