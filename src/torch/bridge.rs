//! Tensors that PyTorch's Python half and this crate share: the same tensor on both sides, with one memory and one place in
//! autograd. Nothing here names Python: its objects are addresses.

use std::ffi::c_void;
use std::ptr::NonNull;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::error::{Error, Result};

unsafe extern "C" {
    fn cnnzoo_wrap(tensor: *const C_tensor, class: *mut c_void) -> *mut c_void;
    fn cnnzoo_unwrap(implementation: *mut c_void) -> *mut C_tensor;
    fn cnnzoo_is_like(
        tensor: *const C_tensor,
        sizes: *const i64,
        axes: i64,
        is_count: i32,
        device: i32,
    ) -> i32;
    fn cnnzoo_is_inference(tensor: *const C_tensor) -> i32;
    fn cnnzoo_version(tensor: *const C_tensor) -> u64;
    fn cnnzoo_count_change(tensor: *const C_tensor);
    fn cnnzoo_stamp(tensor: *const C_tensor) -> u64;
    fn cnnzoo_autocasts(tensor: *const C_tensor) -> i32;
    fn cnnzoo_modes() -> *mut c_void;
    fn cnnzoo_enter(modes: *const c_void) -> *mut c_void;
    fn cnnzoo_leave(guard: *mut c_void);
    fn cnnzoo_enter_plain() -> *mut c_void;
    fn cnnzoo_leave_plain(guard: *mut c_void);
    fn cnnzoo_drop_modes(modes: *mut c_void);
}

/// A tensor on its way to or from Python.
#[derive(Debug)]
pub struct Handle(pub(super) Tensor);

impl Handle {
    /// The tensor whose implementation is at this address, where `torch.Tensor._cdata` says it is.
    ///
    /// Fails with `Error::ElementType` unless it is numbers in memory: not sparse, quantized or complex, on no device
    /// `meta`, and nothing that only stands for other tensors, as under `torch.func`.
    ///
    /// # Safety
    /// There is a tensor at the address, which lives until the call is over.
    pub unsafe fn of_implementation(address: usize, at: &str) -> Result<Self> {
        // SAFETY: see above. What is returned is null, or a tensor that is handed over.
        let tensor = unsafe {
            NonNull::new(cnnzoo_unwrap(address as *mut c_void))
                .map(|tensor| Tensor::from_ptr(tensor.as_ptr()))
        };
        tensor.map(Self).ok_or_else(|| Error::ElementType {
            at: at.to_owned(),
            expected: "a dense tensor of real numbers in memory".into(),
            got: "one that is sparse, quantized, complex, on `meta`, or of torch.func or a tracer"
                .into(),
        })
    }

    /// The tensor's object in Python, as a new reference to it; one of this class is made where there is none yet. None
    /// where PyTorch was not imported or failed.
    ///
    /// # Safety
    /// The caller holds the GIL, and `class` is `torch.Tensor` or a class derived from it.
    pub unsafe fn wrap(&self, class: *mut c_void) -> Option<NonNull<c_void>> {
        // SAFETY: see above; the tensor lives until the call is over.
        NonNull::new(unsafe { cnnzoo_wrap(self.0.as_ptr(), class) })
    }
}

/// Whether a tensor is numbers in memory, of this shape, on this device, and int64 if it is a count, float32 if not, and was not
/// made in inference mode.
pub(super) fn is_like(tensor: &Tensor, shape: &[usize], is_count: bool, device: Device) -> bool {
    let mut sizes = [0_i64; 8];
    let Some(sizes) = sizes.get_mut(..shape.len()) else { return false };
    sizes.iter_mut().zip(shape).for_each(|(size, &of)| *size = of as i64);
    let device = if let Device::Cuda(index) = device { index as i32 } else { -1 };
    let (at, axes, is_count) = (sizes.as_ptr(), sizes.len() as i64, i32::from(is_count));
    // SAFETY: the sizes and the tensor live until the call is over.
    unsafe { cnnzoo_is_like(tensor.as_ptr(), at, axes, is_count, device) != 0 }
}

/// A number that changes with every change of the tensors that PyTorch counts, and when their values move.
pub(super) fn stamp<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> u64 {
    let mix = |sum: u64, tensor: &Tensor| {
        // SAFETY: the tensor lives until the call is over.
        (sum ^ unsafe { cnnzoo_stamp(tensor.as_ptr()) }).wrapping_mul(0x0000_0100_0000_01B3)
    };
    tensors.fold(0xCBF2_9CE4_8422_2325, mix)
}

/// Whether a tensor was made in `torch.inference_mode`.
pub(super) fn is_inference(tensor: &Tensor) -> bool {
    // SAFETY: the tensor lives until the call is over.
    unsafe { cnnzoo_is_inference(tensor.as_ptr()) != 0 }
}

/// The number of changes of a tensor that autograd knows of: those of libtorch's operators, and those that are told.
pub(super) fn version(tensor: &Tensor) -> u64 {
    // SAFETY: the tensor lives until the call is over.
    unsafe { cnnzoo_version(tensor.as_ptr()) }
}

/// Counts a change of a tensor that was, or will be, written to through a pointer, past autograd: a backward pass that needs
/// the value before is refused then.
pub(super) fn count_change(tensor: &Tensor) {
    // SAFETY: the tensor lives until the call is over.
    unsafe { cnnzoo_count_change(tensor.as_ptr()) }
}

/// Does work outside of `torch.inference_mode` and `torch.autocast`, also where the caller is in them. Tensors that are made in
/// the former count no changes and can never be trained, and nothing is recorded for a backward pass. The latter keeps casts of
/// weights until it ends, and so would train with those of its first step.
pub fn outside_modes<T>(work: impl FnOnce() -> T) -> T {
    struct Guard(*mut c_void);
    impl Drop for Guard {
        fn drop(&mut self) {
            // SAFETY: it is null, or that of `cnnzoo_enter_plain` on this thread, and is given back once.
            unsafe { cnnzoo_leave_plain(self.0) }
        }
    }
    // SAFETY: what is returned is null, or belongs to the caller.
    let _guard = Guard(unsafe { cnnzoo_enter_plain() });
    work()
}

/// Whether `torch.autocast` is on, on this thread, for the device of a tensor.
pub(super) fn autocasts(tensor: &Tensor) -> bool {
    // SAFETY: the tensor lives until the call is over.
    unsafe { cnnzoo_autocasts(tensor.as_ptr()) != 0 }
}

/// The modes of a thread, such as whether it records gradients, for another one that works on its behalf.
#[derive(Debug)]
pub struct Modes(NonNull<c_void>);

// SAFETY: they are values, which any thread may read.
unsafe impl Send for Modes {}
// SAFETY: as above.
unsafe impl Sync for Modes {}

impl Modes {
    /// Those of this thread.
    pub fn here() -> Option<Self> {
        // SAFETY: what is returned is null, or belongs to the caller.
        NonNull::new(unsafe { cnnzoo_modes() }).map(Self)
    }

    /// Does work in these modes.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Guard(*mut c_void);
        impl Drop for Guard {
            fn drop(&mut self) {
                // SAFETY: it is null, or that of `cnnzoo_enter` on this thread, and is left once.
                unsafe { cnnzoo_leave(self.0) }
            }
        }
        // SAFETY: the modes live as long as `self`.
        let _guard = Guard(unsafe { cnnzoo_enter(self.0.as_ptr()) });
        work()
    }
}

impl Drop for Modes {
    fn drop(&mut self) {
        // SAFETY: they are those of `cnnzoo_modes`, and are dropped once.
        unsafe { cnnzoo_drop_modes(self.0.as_ptr()) }
    }
}
