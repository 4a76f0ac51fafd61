//! Operators of libtorch that tch does not wrap, called by name through libtorch's stable C interface
//! (`torch/csrc/stable/c/shim.h`), whose tensor handles are tch's pointers.

use std::ffi::{CStr, c_char, c_void};
use std::mem::ManuallyDrop;
use std::ptr::null_mut;

use tch::{TchError, Tensor};

/// The version of the interface that this follows: libtorch 2.13.0, one byte per number from the top.
const INTERFACE: u64 = 2 << 56 | 13 << 48;

/// A number's bits, or a pointer to a list, as passed to libtorch.
type Slot = u64;

unsafe extern "C" {
    fn torch_call_dispatcher(
        operator: *const c_char,
        overload: *const c_char,
        stack: *mut Slot,
        version: u64,
    ) -> i32;
    fn torch_new_list_reserve_size(size: usize, list: *mut *mut c_void) -> i32;
    fn torch_list_push_back(list: *mut c_void, element: Slot) -> i32;
    fn torch_exception_get_what_without_backtrace() -> *const c_char;
}

/// Hyperparameters of `fused_sgd`, as PyTorch defines them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SgdStep {
    pub lr: f64,
    pub weight_decay: f64,
    pub momentum: f64,
    pub dampening: f64,
    pub nesterov: bool,
    /// Whether this is the first step, so that the momentum buffers have no value yet.
    pub first: bool,
}

/// One step of SGD for `parameters`, in place; `momenta` is empty without momentum.
pub(super) fn fused_sgd(
    parameters: &[Tensor],
    gradients: &[Tensor],
    momenta: &[Tensor],
    step: SgdStep,
) -> Result<(), TchError> {
    let stack = [
        list(parameters)?,
        list(gradients)?,
        list(momenta)?,
        step.weight_decay.to_bits(),
        step.momentum.to_bits(),
        step.lr.to_bits(),
        step.dampening.to_bits(),
        step.nesterov.into(),
        MINIMISE,
        step.first.into(),
        NOTHING,
        NOTHING,
    ];
    // SAFETY: aten::_fused_sgd_(Tensor[] self, Tensor[] grads, Tensor[] momentum_buffer_list, *, float weight_decay,
    // float momentum, float lr, float dampening, bool nesterov, bool maximize, bool is_first_step, Tensor? grad_scale,
    // Tensor? found_inf) -> (), which a test compares with the schema that libtorch has.
    unsafe { call(c"aten::_fused_sgd_", stack) }
}

/// Hyperparameters of `fused_adam`, as PyTorch defines them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AdamStep {
    pub lr: f64,
    pub weight_decay: f64,
    pub betas: [f64; 2],
    pub eps: f64,
    /// Decoupled weight decay (AdamW): subtracted from the parameters instead of added to the gradients.
    pub decoupled: bool,
}

/// One step of Adam for `parameters`, in place, with running averages of their gradients and of the squared gradients.
/// `steps`, float32 without axes, count this step already.
pub(super) fn fused_adam(
    parameters: &[Tensor],
    gradients: &[Tensor],
    averages: [&[Tensor]; 2],
    steps: &[Tensor],
    step: AdamStep,
) -> Result<(), TchError> {
    let [beta1, beta2] = step.betas;
    let stack = [
        list(parameters)?,
        list(gradients)?,
        list(averages[0])?,
        list(averages[1])?,
        list(&[])?,
        list(steps)?,
        step.lr.to_bits(),
        beta1.to_bits(),
        beta2.to_bits(),
        step.weight_decay.to_bits(),
        step.eps.to_bits(),
        WITHOUT_MAXIMA,
        MINIMISE,
        NOTHING,
        NOTHING,
    ];
    let operator = if step.decoupled { c"aten::_fused_adamw_" } else { c"aten::_fused_adam_" };
    // SAFETY: aten::_fused_adam_(Tensor[] self, Tensor[] grads, Tensor[] exp_avgs, Tensor[] exp_avg_sqs,
    // Tensor[] max_exp_avg_sqs, Tensor[] state_steps, *, float lr, float beta1, float beta2, float weight_decay,
    // float eps, bool amsgrad, bool maximize, Tensor? grad_scale, Tensor? found_inf) -> (), and _fused_adamw_ likewise,
    // which a test compares with the schemas that libtorch has.
    unsafe { call(operator, stack) }
}

/// An optional tensor that is not given.
const NOTHING: Slot = 0;
/// `maximize`: false, so the step goes down the gradient.
const MINIMISE: Slot = 0;
/// `amsgrad`: false, so no maximum of the second moments is kept.
const WITHOUT_MAXIMA: Slot = 0;

/// A list that holds references of its own to these tensors.
fn list(tensors: &[Tensor]) -> Result<Slot, TchError> {
    let mut list = null_mut();
    // SAFETY: `list` is a place for the pointer to the new list.
    check(unsafe { torch_new_list_reserve_size(tensors.len(), &raw mut list) })?;
    for tensor in tensors {
        let mut reference = ManuallyDrop::new(tensor.shallow_clone());
        // SAFETY: the list was made above; it takes over the reference, which is not dropped here.
        check(unsafe { torch_list_push_back(list, reference.as_mut_ptr() as Slot) })?;
    }
    Ok(list as Slot)
}

/// Calls an operator that returns nothing.
///
/// # Safety
/// The stack must hold one slot of the right type for each argument of the operator's schema.
unsafe fn call<const N: usize>(operator: &CStr, mut stack: [Slot; N]) -> Result<(), TchError> {
    // SAFETY: the names end in zero; of the stack see above. libtorch frees what the slots point to.
    check(unsafe {
        torch_call_dispatcher(operator.as_ptr(), c"".as_ptr(), stack.as_mut_ptr(), INTERFACE)
    })
}

/// The message of what failed.
fn check(status: i32) -> Result<(), TchError> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: libtorch keeps the message of this thread's last failure, ended by zero, until the next one.
    let message = unsafe { torch_exception_get_what_without_backtrace() };
    let message = if message.is_null() {
        "an unknown failure".into()
    } else {
        // SAFETY: not null, as above.
        unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
    };
    Err(TchError::Torch(message))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const STEP: SgdStep = SgdStep {
        lr: 0.5,
        weight_decay: 0.0,
        momentum: 0.0,
        dampening: 0.0,
        nesterov: false,
        first: false,
    };

    fn filled(value: f64) -> Tensor {
        Tensor::f_full([3], value, (Kind::Float, Device::Cpu)).unwrap()
    }

    #[test]
    fn a_step_goes_down_the_gradient_and_keeps_its_arguments() {
        let (parameters, gradients) = ([filled(1.0), filled(2.0)], [filled(4.0), filled(-2.0)]);
        for _ in 0..1000 {
            fused_sgd(&parameters, &gradients, &[], SgdStep { lr: 0.0, ..STEP }).unwrap();
        }
        fused_sgd(&parameters, &gradients, &[], STEP).unwrap();
        assert_eq!(Vec::<f32>::try_from(&parameters[0]).unwrap(), [-1.0; 3]);
        assert_eq!(Vec::<f32>::try_from(&parameters[1]).unwrap(), [3.0; 3]);
        assert_eq!(Vec::<f32>::try_from(&gradients[0]).unwrap(), [4.0; 3]);
    }

    #[test]
    fn what_libtorch_refuses_is_an_error_with_its_message() {
        let integers = [Tensor::f_zeros([3], (Kind::Int64, Device::Cpu)).unwrap()];
        let failure = fused_sgd(&integers, &integers, &[], STEP).unwrap_err();
        assert!(matches!(failure, TchError::Torch(message) if !message.is_empty()));
        // SAFETY: no operator is called, since there is none of that name.
        let failure = unsafe { call(c"aten::no_such_operator", []) }.unwrap_err();
        assert!(failure.to_string().contains("no_such_operator"));
    }
}
