// A step of BatchNorm → ReLU → convolution over maps in channels-last on a CPU: what steps.py and backward.py do.

#include "step.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/avg_pool2d_backward.h>
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

// Above so many pixels a convolution of fp32 maps is faster than a product of matrices; below, it is busy with putting
// its weights into another order. Half-size maps are multiplied faster as matrices at any size.
constexpr int64_t FEW_PIXELS = 1024;

// Reads six tensors: γ, β, mean and variance of its BatchNorm, weight and bias of its convolution.
Step step_of(const Tensors& tensors, size_t first, double eps, at::IntArrayRef padding, at::ScalarType format,
             int64_t pool) {
  TORCH_CHECK(pool > 0, "pool: expected at least 1, got ", pool);
  const auto type = at::toOpMathType(format);
  auto weight = taken(tensors, first + 4, "weight").to(format);
  TORCH_CHECK(weight.dim() == 4 && weight.numel() > 0, "weight: expected (k, C, height, width), got ", weight.sizes());
  const int64_t channels = weight.size(1);
  const auto numbers = [&](size_t i, const char* name) {
    const auto found = taken(tensors, first + i, name).to(type).contiguous();
    TORCH_CHECK(found.dim() == 1 && found.numel() == channels, name, ": expected ", channels, " numbers, got ",
                found.sizes());
    return found;
  };
  const auto gamma = numbers(0, "gamma"), beta = numbers(1, "beta"), mean = numbers(2, "mean"), var = numbers(3, "var");
  TORCH_CHECK(padding.size() == 2 && padding[0] >= 0 && padding[1] >= 0, "padding: expected two numbers, got ",
              padding);
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
  auto bias = taken_if_any(tensors, first + 5, "bias");
  if (bias) {
    TORCH_CHECK(bias->dim() == 1 && bias->numel() == weight.size(0), "bias: expected ", weight.size(0),
                " numbers, got ", bias->sizes());
    bias = bias->to(format);
  }
  return {mean, made[0], made[1], made[2], weight, bias, padding, pool};
}

bool is_product(const Tensor& maps, const Step& step) {
  const bool is_pointwise = step.weight.size(2) * step.weight.size(3) == 1 && step.padding[0] + step.padding[1] == 0;
  return is_pointwise && (maps.scalar_type() != at::kFloat || count_rows(maps) < FEW_PIXELS);
}

Tensor as_matrix(const Tensor& maps) { return maps.permute({0, 2, 3, 1}).reshape({-1, maps.size(1)}); }

Tensor as_maps(const Tensor& matrix, const Tensor& like) {
  return matrix.view({like.size(0), like.size(2), like.size(3), matrix.size(1)}).permute({0, 3, 1, 2});
}

// Averages before the convolution: the order does not matter to the result of a 1×1 one, and this one is cheaper.
Tensor pooled(const Tensor& active, const Step& step) {
  return step.pool > 1 ? at::avg_pool2d(active, {step.pool, step.pool}) : active;
}

Tensor convolve(const Tensor& active, const Step& step) {
  const auto maps = pooled(active, step);
  if (!is_product(maps, step))
    return at::convolution(maps, step.weight, step.bias, {1, 1}, step.padding, {1, 1}, false, {0, 0}, 1);
  const auto from = as_matrix(maps), by = step.weight.reshape({-1, maps.size(1)}).t();
  return as_maps(step.bias ? at::addmm(*step.bias, from, by) : at::mm(from, by), maps);
}

// Returns the gradients of maps, weight and bias, those that are wanted.
std::array<Tensor, 3> convolve_backward(const Tensor& grad, const Tensor& active, const Step& step,
                                        std::array<bool, 3> wanted) {
  const auto maps = pooled(active, step);
  std::array<Tensor, 3> grads;
  if (is_product(maps, step)) {
    const auto made = as_matrix(grad);
    if (wanted[0]) grads[0] = as_maps(at::mm(made, step.weight.reshape({-1, maps.size(1)})), maps);
    if (wanted[1]) grads[1] = at::mm(made.t(), as_matrix(maps)).view(step.weight.sizes());
    if (wanted[2]) grads[2] = made.sum(0);
  } else {
    at::OptionalIntArrayRef bias_sizes;
    if (step.bias) bias_sizes = step.bias->sizes();
    std::tie(grads[0], grads[1], grads[2]) = at::convolution_backward(
        grad, maps, step.weight, bias_sizes, {1, 1}, step.padding, {1, 1}, false, {0, 0}, 1, wanted);
  }
  const std::array<int64_t, 2> square{step.pool, step.pool};
  if (wanted[0] && step.pool > 1)
    grads[0] = at::avg_pool2d_backward(grads[0], active, square, square, {0, 0}, false, true, std::nullopt);
  return grads;
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

std::tuple<Tensor, Tensor> step_forward(const Tensor& source, const Step& step, const Tensor& out, bool measured,
                                        const std::optional<Tensor>& keep, int64_t images) {
  check_maps(source, "source");
  check_maps(out, "out");
  TORCH_CHECK(source.numel() > 0 && out.size(0) == source.size(0), "out: expected as many images as in the source, at ",
              "least one, got ", out.size(0), " and ", source.size(0));
  if (keep) check_like(*keep, out, "keep");
  if (fits_fused(source, step)) return run_fused(source, step, out, measured, keep);
  std::vector<std::tuple<Tensor, Tensor>> parts;
  std::vector<double> counts;
  over_tiles(source, images, [&](int64_t first, int64_t count) {
    const auto made = convolve(activate(source.narrow(0, first, count), step.scale, step.shift), step);
    const auto place = out.narrow(0, first, count);
    check_like(place, made, "out");
    if (keep) made.mul_(keep->narrow(0, first, count));
    if (!measured) return copy_rows(made, place);
    parts.push_back(store(made, place));
    counts.push_back(count);
  });
  return measured ? join(parts, counts, source.size(0)) : std::tuple<Tensor, Tensor>();
}

std::array<Tensor, 4> step_backward(const Step& step, bool uses_batch, const Gradient& above, const Gradient& below,
                                    bool is_first, const std::optional<Tensor>& keep, std::array<bool, 3> wanted,
                                    int64_t images) {
  const auto padding = step.padding;
  TORCH_CHECK(below.maps && below.maps->numel() > 0, "to: expected maps with values");
  TORCH_CHECK(below.mean || !uses_batch, "to: expected a mean, slope and shift where the batch's statistics are used");
  const auto maps = *below.maps;
  const auto& kernel = step.weight;
  const std::array<int64_t, 4> made{maps.size(0), kernel.size(0),
                                    maps.size(2) / step.pool + 2 * padding[0] - kernel.size(2) + 1,
                                    maps.size(3) / step.pool + 2 * padding[1] - kernel.size(3) + 1};
  TORCH_CHECK(above.total.sizes() == at::IntArrayRef(made) && above.total.scalar_type() == maps.scalar_type(),
              "from: expected ", at::IntArrayRef(made), " in ", maps.scalar_type(), ", got ", above.total.sizes(),
              " in ", above.total.scalar_type());
  if (keep) check_like(*keep, above.total, "keep");
  if (fits_fused(maps, step)) {
    const auto grads = run_backward_fused(step, above, below, is_first, keep, wanted);
    if (wanted[0] && uses_batch) below.add_statistics(step, grads[0], grads[1]);
    return grads;
  }
  std::array<Tensor, 4> sums;
  const auto add = [&](size_t i, const Tensor& part) {
    if (part.defined()) sums[i] = sums[i].defined() ? sums[i].add_(part) : part.to(step.scale.scalar_type());
  };
  over_tiles(maps, images, [&](int64_t first, int64_t count) {
    const auto source = maps.narrow(0, first, count);
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
  return sums;
}

// Computes one step; γ, β, mean, variance, weight and bias are `tensors`. Returns mean and variance of `out`.
std::tuple<Tensor, Tensor> run(const Tensor& source, const Tensors& tensors, double eps, at::IntArrayRef padding,
                               int64_t pool, const Tensor& out, bool measured, const std::optional<Tensor>& keep,
                               int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  check_maps(source, "source");
  const auto step = step_of(tensors, 0, eps, padding, source.scalar_type(), pool);
  return step_forward(source, step, out, measured, keep, images);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> run_backward(
    const Tensors& tensors, double eps, at::IntArrayRef padding, int64_t pool, bool uses_batch, const Tensors& from,
    const Tensors& to, bool is_first, const std::optional<Tensor>& keep, std::array<bool, 3> wanted, int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  const Gradient above(from), below(to);
  const auto step = step_of(tensors, 0, eps, padding, below.total.scalar_type(), pool);
  const auto grads = step_backward(step, uses_batch, above, below, is_first, keep, wanted, images);
  return {grads[0], grads[1], grads[2], grads[3]};
}

TORCH_LIBRARY_FRAGMENT(densenet_course, library) {
  library.def("run", run);
  library.def("run_backward", run_backward);
}

}  // namespace densenet_course
