//! Batch norm as a node of libtorch's autograd: record.cpp holds the node, which calls back here.

use std::ffi::c_void;
use std::ptr::null;
use std::slice::{from_raw_parts, from_raw_parts_mut};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use super::activation::Fused;
use super::kernel::{Cotangent, Norm, NormGradients};

/// Values saved for the backward pass, beside the input.
#[derive(Debug)]
pub(super) struct Memory {
    pub norm: Norm,
    pub fused: Fused,
}

type PullBack =
    unsafe extern "C" fn(*const c_void, *const f32, *const f32, i64, *mut f32, *mut f32, *mut f32);

unsafe extern "C" {
    fn cnnzoo_record_batch_norm(
        y: *const C_tensor,
        x: *const C_tensor,
        shift: *const C_tensor,
        scale: *const C_tensor,
        memory: *mut c_void,
        pull_back: PullBack,
        forget: unsafe extern "C" fn(*mut c_void),
    ) -> i32;
}

/// Records `y` as the norm of `x`, both of the same shape in channels_last, unless no gradient is wanted.
pub(super) fn record(
    y: &Tensor,
    x: &Tensor,
    shift: &Tensor,
    scale: Option<&Tensor>,
    memory: Memory,
) -> Result<(), TchError> {
    let memory = Box::into_raw(Box::new(memory)).cast();
    // SAFETY: the tensors live until the call is over. Whoever takes over the memory calls `forget` once, and `pull_back` only
    // before that.
    let status = unsafe {
        let scale = scale.map_or(null(), Tensor::as_ptr);
        let (y, x, shift) = (y.as_ptr(), x.as_ptr(), shift.as_ptr());
        cnnzoo_record_batch_norm(y, x, shift, scale, memory, pull_back, forget)
    };
    if status == 0 { Ok(()) } else { Err(TchError::Torch("batch norm was not recorded".into())) }
}

/// The backward pass, called by record.cpp.
///
/// # Safety
/// `memory` is that of `record`, and `x` and `cotangent` are as many float32 values as were normed. `dx` is null, or `cotangent`, or
/// room for as many elsewhere; `dscale` and `dshift` have room for one of each channel. Nobody else writes to any of them.
unsafe extern "C" fn pull_back(
    memory: *const c_void,
    x: *const f32,
    cotangent: *const f32,
    values: i64,
    dx: *mut f32,
    dscale: *mut f32,
    dshift: *mut f32,
) {
    let values = values as usize;
    // SAFETY: see above.
    let (Memory { norm, fused }, x, cotangent) = unsafe {
        let cotangent = if dx.is_null() {
            Cotangent::Alone(from_raw_parts(cotangent, values))
        } else if dx.cast_const() == cotangent {
            Cotangent::InPlace(from_raw_parts_mut(dx, values))
        } else {
            let room = from_raw_parts_mut(dx.cast(), values);
            Cotangent::Apart(from_raw_parts(cotangent, values), room)
        };
        (&*memory.cast(), from_raw_parts(x, values), cotangent)
    };
    let NormGradients { scale, shift } = norm.pull_back(*fused, x, cotangent);
    // SAFETY: see above.
    unsafe {
        dscale.copy_from_nonoverlapping(scale.as_ptr(), scale.len());
        dshift.copy_from_nonoverlapping(shift.as_ptr(), shift.len());
    }
}

/// # Safety
/// The memory is that of `record`, and was not forgotten before.
unsafe extern "C" fn forget(memory: *mut c_void) {
    // SAFETY: see above.
    drop(unsafe { Box::from_raw(memory.cast::<Memory>()) });
}
