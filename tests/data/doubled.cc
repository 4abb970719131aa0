#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
REGISTER_OP("SmconvertDoubled").Input("x: float").Output("y: float").SetShapeFn(
    [](tensorflow::shape_inference::InferenceContext* c) {
      c->set_output(0, c->input(0));
      return absl::OkStatus();
    });
class Doubled : public tensorflow::OpKernel {
 public:
  explicit Doubled(tensorflow::OpKernelConstruction* c) : OpKernel(c) {}
  void Compute(tensorflow::OpKernelContext* c) override {
    const auto& x = c->input(0);
    tensorflow::Tensor* y = nullptr;
    OP_REQUIRES_OK(c, c->allocate_output(0, x.shape(), &y));
    auto from = x.flat<float>();
    auto to = y->flat<float>();
    for (int i = 0; i < from.size(); ++i) to(i) = 2 * from(i);
  }
};
REGISTER_KERNEL_BUILDER(Name("SmconvertDoubled").Device(tensorflow::DEVICE_CPU), Doubled);
