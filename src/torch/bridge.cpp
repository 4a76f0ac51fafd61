// Tensors that this crate shares with PyTorch's Python half, and questions about them that tch does not answer, or answers slowly. The
// functions that wrap tensors in Python objects are libtorch_python's, to which nothing is linked: they are looked up once PyTorch is
// imported.

#include <ATen/ThreadLocalState.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <c10/core/DispatchKeySet.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <dlfcn.h>

#include <cstdint>
#include <optional>
#include <utility>

namespace {

using at::Tensor;
using c10::DispatchKey;

// PyObject* THPVariable_Wrap(const at::TensorBase&, PyTypeObject*), as libtorch_python of PyTorch 2.13 exports it.
using Wrap = void* (*)(const at::TensorBase&, void*);
constexpr const char* WRAP = "_Z16THPVariable_WrapRKN2at10TensorBaseEP11_typeobject";

Wrap find_wrap() {
  static Wrap found = nullptr;
  if (found == nullptr) {
    // Imported already, or not at all.
    void* library = dlopen("libtorch_python.so", RTLD_LAZY | RTLD_NOLOAD);
    found = library == nullptr ? nullptr : reinterpret_cast<Wrap>(dlsym(library, WRAP));
  }
  return found;
}

// Whether a tensor is numbers in memory, and neither a stand-in for others nor one that Python code computes with.
bool is_plain(const Tensor& tensor) {
  const auto keys = tensor.key_set();
  return tensor.defined() && tensor.layout() == at::kStrided && tensor.has_storage() && !tensor.is_meta() &&
      !tensor.is_quantized() && !tensor.is_complex() && !tensor.is_nested() && !keys.has(DispatchKey::Python) &&
      !keys.has(DispatchKey::FuncTorchBatched) && !keys.has(DispatchKey::FuncTorchGradWrapper) &&
      !keys.has(DispatchKey::Functionalize);
}

// Operators neither cast nor make tensors of inference mode while it lives. They would cast weights once and keep that until autocast
// ends, whatever an optimizer writes to the weights meanwhile.
struct Plain {
  c10::impl::ExcludeDispatchKeyGuard casts{c10::autocast_dispatch_keyset};
  std::optional<c10::InferenceMode> mode;

  Plain() {
    if (c10::InferenceMode::is_enabled()) {
      mode.emplace(false);
    }
  }
};

}  // namespace

// The Python object of a tensor, of this class if it has none yet, as a new reference; null where PyTorch is not imported, or where it
// failed, with a Python exception or without. The caller holds the GIL.
extern "C" void* cnnzoo_wrap(const Tensor* tensor, void* python_class) {
  try {
    const Wrap wrap = find_wrap();
    return wrap == nullptr ? nullptr : wrap(*tensor, python_class);
  } catch (...) {
    return nullptr;
  }
}

// A new reference to a living tensor, by the address of its implementation; null unless it is plain.
extern "C" Tensor* cnnzoo_unwrap(void* implementation) {
  try {
    using Pointer = c10::intrusive_ptr<at::TensorImpl, at::UndefinedTensorImpl>;
    Tensor tensor(Pointer::unsafe_reclaim_from_nonowning(static_cast<at::TensorImpl*>(implementation)));
    return is_plain(tensor) ? new Tensor(std::move(tensor)) : nullptr;
  } catch (...) {
    return nullptr;
  }
}

// Whether a tensor is plain, of this shape, of int64 or float32, and on this device: -1 for the CPU, otherwise the number of a GPU.
// What was made in inference mode counts no changes, so it is never like a parameter.
extern "C" int32_t cnnzoo_is_like(
    const Tensor* tensor, const int64_t* sizes, int64_t axes, int32_t is_count, int32_t device) {
  const auto kind = is_count != 0 ? at::kLong : at::kFloat;
  const auto shape = at::IntArrayRef(sizes, static_cast<size_t>(axes));
  const auto where = tensor->device();
  const bool there = device < 0 ? where.is_cpu() : where.is_cuda() && where.index() == device;
  return there && is_plain(*tensor) && !tensor->is_inference() && tensor->scalar_type() == kind &&
      tensor->sizes() == shape;
}

// Whether a tensor was made in inference mode.
extern "C" int32_t cnnzoo_is_inference(const Tensor* tensor) {
  return tensor->is_inference();
}

// The number of changes of a tensor that autograd knows of.
extern "C" uint64_t cnnzoo_version(const Tensor* tensor) {
  try {
    return static_cast<uint64_t>(tensor->_version());
  } catch (...) {
    return 0;
  }
}

// Counts a change of a tensor for autograd.
extern "C" void cnnzoo_count_change(const Tensor* tensor) {
  try {
    tensor->unsafeGetTensorImpl()->bump_version();
  } catch (...) {
    // One of inference mode has no count, and no backward pass that would read it.
  }
}

// A number that changes with every change of a tensor that PyTorch counts, when its values move to other memory, and with four of its
// values: what writes through pointers, as fused optimizers and NumPy do, is not counted.
extern "C" uint64_t cnnzoo_stamp(const Tensor* tensor) {
  try {
    constexpr uint64_t mix = 0x9E3779B97F4A7C15U;
    const auto* values = static_cast<const uint32_t*>(tensor->const_data_ptr());
    uint64_t stamp = static_cast<uint64_t>(tensor->_version()) * mix ^ reinterpret_cast<uintptr_t>(values);
    const bool readable = tensor->device().is_cpu() && tensor->scalar_type() == at::kFloat;
    const auto last = tensor->numel() - 1;
    if (readable && last >= 0 && tensor->is_non_overlapping_and_dense()) {
      for (int64_t part = 0; part <= 3; ++part) {
        stamp = (stamp ^ values[last / 3 * part + last % 3 * part / 3]) * mix;
      }
    }
    return stamp;
  } catch (...) {
    return 0;
  }
}

// Whether operators on the device of a tensor cast what they get, on this thread.
extern "C" int32_t cnnzoo_autocasts(const Tensor* tensor) {
  try {
    return at::autocast::is_autocast_enabled(tensor->device().type());
  } catch (...) {
    return 0;
  }
}

// The modes of this thread: of gradients, of autocast, and so on.
extern "C" at::ThreadLocalState* cnnzoo_modes() {
  try {
    return new at::ThreadLocalState();
  } catch (...) {
    return nullptr;
  }
}

// Makes these the modes of this thread, until what is returned is given to `cnnzoo_leave`.
extern "C" at::ThreadLocalStateGuard* cnnzoo_enter(const at::ThreadLocalState* modes) {
  try {
    return new at::ThreadLocalStateGuard(*modes);
  } catch (...) {
    return nullptr;
  }
}

extern "C" void cnnzoo_leave(at::ThreadLocalStateGuard* guard) {
  delete guard;
}

// Leaves inference mode and autocast on this thread, until what is returned is given to `cnnzoo_leave_plain`; null where that failed.
extern "C" Plain* cnnzoo_enter_plain() {
  try {
    return new Plain();
  } catch (...) {
    return nullptr;
  }
}

extern "C" void cnnzoo_leave_plain(Plain* guard) {
  delete guard;
}

extern "C" void cnnzoo_drop_modes(at::ThreadLocalState* modes) {
  delete modes;
}
