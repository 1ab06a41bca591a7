// The steps of a dense block over maps in channels-last on a CPU, without Python in between, which for small maps takes
// longer than the arithmetic: what steps.py and backward.py do.

#include "step.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/core/LegacyTypeDispatch.h>
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

// Above so many pixels a convolution of fp32 maps is faster than a product of matrices; below, it is busy with putting
// its weights into another order. Half-size maps are multiplied faster as matrices at any size.
constexpr int64_t FEW_PIXELS = 1024;

// Reads six tensors: γ, β, mean and variance of its BatchNorm, weight and bias of its convolution.
Step step_of(const Tensors& tensors, size_t first, double eps, at::IntArrayRef padding, at::ScalarType format) {
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
  return {mean, made[0], made[1], made[2], weight, bias, padding};
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
  const auto from = as_matrix(maps), by = step.weight.reshape({-1, maps.size(1)}).t();
  return as_maps(step.bias ? at::addmm(*step.bias, from, by) : at::mm(from, by), maps);
}

// Returns the gradients of maps, weight and bias, those that are wanted.
std::array<Tensor, 3> convolve_backward(const Tensor& grad, const Tensor& maps, const Step& step,
                                        std::array<bool, 3> wanted) {
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
  return grads;
}

// Calls f(first image, number of images) for a few images at a time.
template <typename F>
void over_tiles(const Tensor& maps, int64_t images, const F& f) {
  TORCH_CHECK(images > 0, "images: expected at least 1 at once, got ", images);
  for (int64_t first = 0; first < maps.size(0); first += images) f(first, std::min(images, maps.size(0) - first));
}

// Computes a dense block when nothing is learned. For each stage: six tensors; four places, which are the padding, how
// many channels of the block it reads (0: what the stage before made), and the first that it writes (-1: none); an eps.
Tensor infer(const Tensor& features, const Tensors& tensors, at::IntArrayRef places, at::ArrayRef<double> eps,
             int64_t channels, int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  check_maps(features, "features");
  TORCH_CHECK(places.size() == 4 * eps.size(), "places: expected ", 4 * eps.size(), ", got ", places.size());
  std::vector<Step> steps;
  int64_t filled = features.size(1);  // every channel is written before it is read, and none is left as it was
  for (size_t i = 0; i < eps.size(); ++i) {
    steps.push_back(step_of(tensors, 6 * i, eps[i], places.slice(4 * i, 2), features.scalar_type()));
    const int64_t reads = places[4 * i + 2], writes = places[4 * i + 3];
    TORCH_CHECK(0 <= reads && reads <= filled && (reads > 0 || i > 0), "places: stage ", i, " reads ", reads,
                " channels where ", filled, " are there");
    TORCH_CHECK(writes == -1 || writes == filled, "places: stage ", i, " writes channel ", writes, ", expected ",
                filled);
    if (writes >= 0) filled += steps[i].weight.size(0);
  }
  TORCH_CHECK(filled == channels, "channels: expected ", filled, ", which the stages fill, got ", channels);
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
  check_maps(source, "source");
  check_maps(out, "out");
  TORCH_CHECK(source.numel() > 0 && out.size(0) == source.size(0), "out: expected as many images as in the source, at ",
              "least one, got ", out.size(0), " and ", source.size(0));
  if (keep) check_like(*keep, out, "keep");
  const auto step = step_of(tensors, 0, eps, padding, source.scalar_type());
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

// Returns the gradients of γ, β, weight and bias. `wanted`: whether anything before the convolution needs one, its
// weight, its bias.
std::tuple<Tensor, Tensor, Tensor, Tensor> run_backward(
    const Tensors& tensors, double eps, at::IntArrayRef padding, bool uses_batch, const Tensors& from,
    const Tensors& to, bool is_first, const std::optional<Tensor>& keep, std::array<bool, 3> wanted, int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  Gradient above(from), below(to);
  TORCH_CHECK(below.maps && below.maps->numel() > 0, "to: expected maps with values");
  TORCH_CHECK(below.mean || !uses_batch, "to: expected a mean, slope and shift where the batch's statistics are used");
  const auto maps = *below.maps;
  const auto step = step_of(tensors, 0, eps, padding, maps.scalar_type());
  const auto& kernel = step.weight;
  const std::array<int64_t, 4> made{maps.size(0), kernel.size(0), maps.size(2) + 2 * padding[0] - kernel.size(2) + 1,
                                    maps.size(3) + 2 * padding[1] - kernel.size(3) + 1};
  TORCH_CHECK(above.total.sizes() == at::IntArrayRef(made) && above.total.scalar_type() == maps.scalar_type(),
              "from: expected ", at::IntArrayRef(made), " in ", maps.scalar_type(), ", got ", above.total.sizes(),
              " in ", above.total.scalar_type());
  if (keep) check_like(*keep, above.total, "keep");
  if (fits_fused(maps, step)) {
    const auto grads = run_backward_fused(step, above, below, is_first, keep, wanted);
    if (wanted[0] && uses_batch) below.add_statistics(step, grads[0], grads[1]);
    return {grads[0], grads[1], grads[2], grads[3]};
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
  return {sums[0], sums[1], sums[2], sums[3]};
}

TORCH_LIBRARY_FRAGMENT(densenet_course, library) {
  library.def("infer", infer);
  library.def("run", run);
  library.def("run_backward", run_backward);
}

}  // namespace densenet_course
