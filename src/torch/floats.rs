//! The float32 values of a tensor on the CPU as a slice, in the order in which they lie in memory, for loops of ours.

use std::mem::MaybeUninit;
use std::slice::{from_raw_parts, from_raw_parts_mut};

use tch::{Device, Kind, Tensor};

use super::layout::is_dense;

/// None of another tensor, or of one with gaps.
pub(super) fn floats(tensor: &Tensor) -> Option<&[f32]> {
    // SAFETY: the strides of a dense tensor span exactly its values from its first on, and every bit pattern is a float. The
    // tensor lives as long as the slice. Whoever writes to it meanwhile has it by `&mut`, or has the store so.
    fits(tensor).then(|| unsafe { from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) })
}

/// To be written to, whatever else shares the memory: the caller has that to itself.
pub(super) fn floats_mut(tensor: &mut Tensor) -> Option<&mut [f32]> {
    // SAFETY: as above.
    fits(tensor).then(|| unsafe { from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) })
}

/// Of a tensor that has no values yet.
pub(super) fn room(tensor: &mut Tensor) -> Option<&mut [MaybeUninit<f32>]> {
    // SAFETY: as above.
    fits(tensor).then(|| unsafe { from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) })
}

fn fits(tensor: &Tensor) -> bool {
    let float = tensor.device() == Device::Cpu && matches!(tensor.f_kind(), Ok(Kind::Float));
    float && tensor.numel() > 0 && is_dense(tensor)
}
