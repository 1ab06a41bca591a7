// The steps of a dense block over maps in channels-last on a CPU, without Python in between, which for small maps takes
// longer than the arithmetic: what steps.py and backward.py do.

#include "kernels.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/List.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace densenet_course {

using Tensors = c10::List<std::optional<Tensor>>;

// Above so many pixels a convolution of fp32 maps is faster than a product of matrices; below, it is busy with putting
// its weights into another order. Half-size maps are multiplied faster as matrices at any size.
constexpr int64_t FEW_PIXELS = 1024;

struct Step {
  Tensor mean, r, scale, shift, weight;  // r = 1 / √(variance + ε)
  std::optional<Tensor> bias;
  at::IntArrayRef padding;
};

// Reads six tensors: γ, β, mean and variance of its BatchNorm, weight and bias of its convolution.
Step step_of(const Tensors& tensors, size_t first, double eps, at::IntArrayRef padding, at::ScalarType format) {
  const auto type = at::toOpMathType(format);
  const auto tensor = [&](size_t i) -> std::optional<Tensor> { return tensors.get(first + i); };
  const auto gamma = tensor(0)->to(type), beta = tensor(1)->to(type);
  const auto mean = tensor(2)->to(type), var = tensor(3)->to(type);
  const int64_t channels = gamma.numel();
  auto made = at::empty({3, channels}, gamma.options());
  AT_DISPATCH_FLOATING_TYPES(type, "step_of", [&] {
    scalar_t *r = made.data_ptr<scalar_t>(), *scale = r + channels, *shift = scale + channels;
    const auto *g = gamma.const_data_ptr<scalar_t>(), *b = beta.const_data_ptr<scalar_t>();
    const auto *m = mean.const_data_ptr<scalar_t>(), *v = var.const_data_ptr<scalar_t>();
    for (int64_t c = 0; c < channels; ++c) {
      r[c] = 1 / std::sqrt(v[c] + scalar_t(eps));
      scale[c] = g[c] * r[c];
      shift[c] = b[c] - m[c] * scale[c];
    }
  });
  auto bias = tensor(5);
  if (bias) bias = bias->to(format);
  return {mean, made[0], made[1], made[2], tensor(4)->to(format), bias, padding};
}

bool is_product(const Tensor& maps, const Step& step) {
  const bool is_pointwise = step.weight.size(2) * step.weight.size(3) == 1 && step.padding[0] + step.padding[1] == 0;
  return is_pointwise && (maps.scalar_type() != at::kFloat || count_rows(maps) < FEW_PIXELS);
}

Tensor as_matrix(const Tensor& maps) { return maps.permute({0, 2, 3, 1}).reshape({-1, maps.size(1)}); }

Tensor as_maps(const Tensor& matrix, const Tensor& like) {
  return matrix.view({like.size(0), like.size(2), like.size(3), matrix.size(1)}).permute({0, 3, 1, 2});
}

Tensor convolve(const Tensor& maps, const Step& step) {
  if (!is_product(maps, step))
    return at::convolution(maps, step.weight, step.bias, {1, 1}, step.padding, {1, 1}, false, {0, 0}, 1);
  const auto from = as_matrix(maps), by = step.weight.view({-1, maps.size(1)}).t();
  return as_maps(step.bias ? at::addmm(*step.bias, from, by) : at::mm(from, by), maps);
}

// Returns the gradients of maps, weight and bias, those that are wanted.
std::array<Tensor, 3> convolve_backward(const Tensor& grad, const Tensor& maps, const Step& step,
                                        std::array<bool, 3> wanted) {
  std::array<Tensor, 3> grads;
  if (is_product(maps, step)) {
    const auto made = as_matrix(grad);
    if (wanted[0]) grads[0] = as_maps(at::mm(made, step.weight.view({-1, maps.size(1)})), maps);
    if (wanted[1]) grads[1] = at::mm(made.t(), as_matrix(maps)).view(step.weight.sizes());
    if (wanted[2]) grads[2] = made.sum(0);
  } else {
    at::OptionalIntArrayRef bias_sizes;
    if (step.bias) bias_sizes = step.bias->sizes();
    std::tie(grads[0], grads[1], grads[2]) = at::convolution_backward(
        grad, maps, step.weight, bias_sizes, {1, 1}, step.padding, {1, 1}, false, {0, 0}, 1, wanted);
  }
  return grads;
}

// Calls f(first image, number of images) for a few images at a time.
template <typename F>
void over_tiles(const Tensor& maps, int64_t images, const F& f) {
  for (int64_t first = 0; first < maps.size(0); first += images) f(first, std::min(images, maps.size(0) - first));
}

// Computes a dense block when nothing is learned. For each stage: six tensors; four places, which are the padding, how
// many channels of the block it reads (0: what the stage before made), and the first that it writes (-1: none); an eps.
Tensor infer(const Tensor& features, const Tensors& tensors, at::IntArrayRef places, at::ArrayRef<double> eps,
             int64_t channels, int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  std::vector<Step> steps;
  for (size_t i = 0; i < eps.size(); ++i)
    steps.push_back(step_of(tensors, 6 * i, eps[i], places.slice(4 * i, 2), features.scalar_type()));
  auto maps = empty_maps(features, channels);
  maps.narrow(1, 0, features.size(1)).copy_(features);
  over_tiles(maps, images, [&](int64_t first, int64_t count) {
    const auto block = maps.narrow(0, first, count);
    Tensor made;
    for (size_t i = 0; i < steps.size(); ++i) {
      const int64_t reads = places[4 * i + 2], writes = places[4 * i + 3];
      made = convolve(activate(reads ? block.narrow(1, 0, reads) : made, steps[i].scale, steps[i].shift), steps[i]);
      if (writes >= 0) copy_rows(made, block.narrow(1, writes, made.size(1)));
    }
  });
  return maps;
}

// Combines mean and biased variance of the parts of a batch, given the number of images in each.
std::tuple<Tensor, Tensor> join(const std::vector<std::tuple<Tensor, Tensor>>& parts,
                                const std::vector<double>& images, int64_t all_images) {
  if (parts.size() == 1) return parts[0];
  auto mean = at::zeros_like(std::get<0>(parts[0])), var = at::zeros_like(mean);
  for (size_t i = 0; i < parts.size(); ++i) mean.add_(std::get<0>(parts[i]), images[i] / all_images);
  for (size_t i = 0; i < parts.size(); ++i)
    var.add_(std::get<1>(parts[i]) + (std::get<0>(parts[i]) - mean).square(), images[i] / all_images);
  return {mean, var};
}

std::tuple<Tensor, Tensor> run(const Tensor& source, const Tensors& tensors, double eps, at::IntArrayRef padding,
                               const Tensor& out, bool measured, const std::optional<Tensor>& keep, int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  const auto step = step_of(tensors, 0, eps, padding, source.scalar_type());
  std::vector<std::tuple<Tensor, Tensor>> parts;
  std::vector<double> counts;
  over_tiles(source, images, [&](int64_t first, int64_t count) {
    const auto made = convolve(activate(source.narrow(0, first, count), step.scale, step.shift), step);
    if (keep) made.mul_(keep->narrow(0, first, count));
    const auto place = out.narrow(0, first, count);
    if (!measured) return copy_rows(made, place);
    parts.push_back(store(made, place));
    counts.push_back(count);
  });
  return measured ? join(parts, counts, source.size(0)) : std::tuple<Tensor, Tensor>();
}

// As backward.Gradient.
struct Gradient {
  Tensor total, maps;
  std::optional<Tensor> mean, slope, shift;
  explicit Gradient(const Tensors& list)
      : total(*list.get(0)), maps(*list.get(1)), mean(list.get(2)), slope(list.get(3)), shift(list.get(4)) {}

  Tensor finished(int64_t first, int64_t count) const {
    const auto part = total.narrow(0, first, count);
    if (!mean) return part.contiguous(at::MemoryFormat::ChannelsLast);
    return finish(part, maps.narrow(0, first, count), *mean, *slope, *shift);
  }

  void add_statistics(const Step& step, const Tensor& grad_gamma, const Tensor& grad_beta) {
    const auto scale = step.scale / double(count_rows(maps));
    shift->addcmul_(scale, grad_beta);
    slope->addcmul_(scale.mul_(step.r), grad_gamma);
  }
};

// Returns the gradients of γ, β, weight and bias. `wanted`: whether anything before the convolution needs one, its
// weight, its bias.
std::tuple<Tensor, Tensor, Tensor, Tensor> run_backward(
    const Tensors& tensors, double eps, at::IntArrayRef padding, bool uses_batch, const Tensors& from,
    const Tensors& to, bool is_first, const std::optional<Tensor>& keep, std::array<bool, 3> wanted, int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  Gradient above(from), below(to);
  const auto step = step_of(tensors, 0, eps, padding, below.maps.scalar_type());
  std::array<Tensor, 4> sums;
  const auto add = [&](size_t i, const Tensor& part) {
    if (part.defined()) sums[i] = sums[i].defined() ? sums[i].add_(part) : part.to(step.scale.scalar_type());
  };
  over_tiles(below.maps, images, [&](int64_t first, int64_t count) {
    const auto source = below.maps.narrow(0, first, count);
    const auto active = activate(source, step.scale, step.shift);
    auto grad = above.finished(first, count);
    if (keep) grad = grad * keep->narrow(0, first, count);
    const auto grads = convolve_backward(grad, active, step, wanted);
    add(2, grads[1]);
    add(3, grads[2]);
    if (!wanted[0]) return;
    const auto total = below.total.narrow(0, first, count);
    const auto [beta, moments] = send_back(grads[0], active, source, step.scale, step.mean, total, is_first);
    add(0, moments * step.r);
    add(1, beta);
  });
  if (wanted[0] && uses_batch) below.add_statistics(step, sums[0], sums[1]);
  return {sums[0], sums[1], sums[2], sums[3]};
}

TORCH_LIBRARY_FRAGMENT(densenet_course, library) {
  library.def("infer", infer);
  library.def("run", run);
  library.def("run_backward", run_backward);
}

}  // namespace densenet_course
