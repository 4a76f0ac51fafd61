// Records a batch norm, computed in Rust, among what libtorch's autograd goes back through. tch has no way to do that, and neither has
// libtorch's C interface. Nothing is computed here: the backward pass is Rust's again (record.rs).

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <cstdint>
#include <memory>
#include <mutex>

namespace {

using at::Tensor;
using torch::autograd::edge_list;
using torch::autograd::variable_list;

// What the norm remembers, which only Rust can read.
struct Memory;

// Writes the gradients of the norm's scale and shift, and that of its input to `dx`, which may be `cotangent`, or is null where
// that is not wanted.
using PullBack = void (*)(
    const Memory*, const float* x, const float* cotangent, int64_t values, float* dx, float* dscale, float* dshift);
using Forget = void (*)(Memory*);

struct CnnzooBatchNormBackward final : torch::autograd::Node {
  CnnzooBatchNormBackward(
      edge_list&& edges, const Tensor& x, int64_t channels, std::unique_ptr<Memory, Forget> memory, PullBack pull_back)
      : Node(std::move(edges)), x_(x, false), channels_(channels), memory_(std::move(memory)), pull_back_(pull_back) {}

  variable_list apply(variable_list&& cotangents) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    TORCH_CHECK(!at::GradMode::is_enabled(), "batch norm has no second derivative here");
    TORCH_CHECK(memory_, torch::autograd::ERR_BACKWARD_TWICE);
    variable_list gradients(3);
    Tensor cotangent = std::move(cotangents[0]);
    if (!cotangent.defined()) {
      return gradients;
    }
    const Tensor x = x_.unpack();
    cotangent = cotangent.contiguous(at::MemoryFormat::ChannelsLast);
    TORCH_CHECK(
        cotangent.sizes() == x.sizes() && cotangent.scalar_type() == at::kFloat && cotangent.device().is_cpu(),
        "the gradient of a batch norm is not like its output");

    float* dx = nullptr;
    if (task_should_compute_output(0)) {
      // A gradient that nobody else holds makes room for the next.
      const bool spare = cotangent.use_count() == 1 && cotangent.storage().use_count() == 1;
      gradients[0] = spare ? cotangent : at::empty_like(cotangent);
      dx = gradients[0].mutable_data_ptr<float>();
    }
    Tensor dscale = at::empty({channels_}, x.options());
    Tensor dshift = at::empty({channels_}, x.options());
    pull_back_(
        memory_.get(), x.const_data_ptr<float>(), cotangent.const_data_ptr<float>(), x.numel(), dx,
        dscale.mutable_data_ptr<float>(), dshift.mutable_data_ptr<float>());
    if (num_outputs() == 3 && task_should_compute_output(2)) {
      gradients[2] = std::move(dscale);
    }
    if (task_should_compute_output(1)) {
      gradients[1] = std::move(dshift);
    }
    gradients.resize(num_outputs());
    return gradients;
  }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    x_.reset_data();
    memory_.reset();
  }

  std::string name() const override {
    return "CnnzooBatchNormBackward";
  }

 private:
  torch::autograd::SavedVariable x_;
  int64_t channels_;
  std::unique_ptr<Memory, Forget> memory_;
  PullBack pull_back_;
};

}  // namespace

// Takes over `memory`. `scale` may be null. Gives 0, or 1 for a failure of libtorch.
extern "C" int32_t cnnzoo_record_batch_norm(
    const Tensor* y, const Tensor* x, const Tensor* shift, const Tensor* scale, Memory* memory, PullBack pull_back,
    Forget forget) {
  std::unique_ptr<Memory, Forget> owned(memory, forget);
  try {
    const Tensor none;
    const Tensor& factor = scale == nullptr ? none : *scale;
    if (!torch::autograd::compute_requires_grad(*x, *shift, factor)) {
      return 0;
    }
    auto edges = scale == nullptr ? torch::autograd::collect_next_edges(*x, *shift)
                                  : torch::autograd::collect_next_edges(*x, *shift, factor);
    auto node = c10::make_intrusive<CnnzooBatchNormBackward>(
        std::move(edges), *x, shift->numel(), std::move(owned), pull_back);
    torch::autograd::set_history(*y, std::move(node));
    return 0;
  } catch (...) {
    return 1;
  }
}
