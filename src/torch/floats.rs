//! The float32 values of a tensor on the CPU as a slice in memory order, for loops in Rust.

use std::mem::MaybeUninit;
use std::slice::{from_raw_parts, from_raw_parts_mut};

use tch::{Device, Kind, Tensor};

use super::layout::is_dense;

/// None for another tensor, or one with gaps.
pub(super) fn floats(tensor: &Tensor) -> Option<&[f32]> {
    // SAFETY: the strides of a dense tensor span exactly its values from its first on, and every bit pattern is a float. The
    // tensor lives as long as the slice. Whoever writes to it meanwhile has it by `&mut`, or has the store so.
    fits(tensor).then(|| unsafe { from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) })
}

/// The values as a mutable slice. The caller must have exclusive access to the memory, whatever shares it.
pub(super) fn floats_mut(tensor: &mut Tensor) -> Option<&mut [f32]> {
    // SAFETY: as above.
    fits(tensor).then(|| unsafe { from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) })
}

/// The memory of an uninitialised tensor.
pub(super) fn room(tensor: &mut Tensor) -> Option<&mut [MaybeUninit<f32>]> {
    // SAFETY: as above.
    fits(tensor).then(|| unsafe { from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) })
}

fn fits(tensor: &Tensor) -> bool {
    let float = tensor.device() == Device::Cpu && matches!(tensor.f_kind(), Ok(Kind::Float));
    float && tensor.numel() > 0 && is_dense(tensor)
}
