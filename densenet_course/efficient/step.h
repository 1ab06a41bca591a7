// What a step of a dense block is computed from, and the gradients of maps on their way back.

#pragma once

#include "checks.h"
#include "kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/List.h>

#include <algorithm>
#include <array>

namespace densenet_course {

using Tensors = c10::List<std::optional<Tensor>>;

struct Step {
  Tensor mean, r, scale, shift, weight;  // r = 1 / √(variance + ε)
  std::optional<Tensor> bias;
  at::IntArrayRef padding;
  int64_t pool = 1;  // edge of the squares that are averaged before the convolution
};

// Takes a tensor out of a list: one that must be there.
inline Tensor taken(const Tensors& list, size_t i, const char* name) {
  TORCH_CHECK(i < list.size(), name, ": expected a list of more than ", i, " tensors, got ", list.size());
  const std::optional<Tensor> found = list.get(i);
  TORCH_CHECK(found, name, ": expected a tensor, got none");
  check_plain(*found, name);
  return *found;
}

// And one that may be missing.
inline std::optional<Tensor> taken_if_any(const Tensors& list, size_t i, const char* name) {
  TORCH_CHECK(i < list.size(), name, ": expected a list of more than ", i, " tensors, got ", list.size());
  const std::optional<Tensor> found = list.get(i);
  if (found) check_plain(*found, name);
  return found;
}

// As backward.Gradient.
struct Gradient {
  Tensor total;
  std::optional<Tensor> maps, mean, slope, shift;

  explicit Gradient(const Tensors& list)
      : Gradient(taken(list, 0, "total"), taken_if_any(list, 1, "maps"), taken_if_any(list, 2, "mean"),
                 taken_if_any(list, 3, "slope"), taken_if_any(list, 4, "shift")) {}

  Gradient(const Tensor& total, const std::optional<Tensor>& maps, const std::optional<Tensor>& mean,
           const std::optional<Tensor>& slope, const std::optional<Tensor>& shift)
      : total(total), maps(maps), mean(mean), slope(slope), shift(shift) {
    check_maps(total, "total");
    if (maps) check_like(*maps, total, "maps");
    if (!mean) return;
    TORCH_CHECK(maps && slope && shift, "expected maps, slope and shift beside a mean");
    check_numbers(*mean, total, "mean");
    check_numbers(*slope, total, "slope");
    check_numbers(*shift, total, "shift");
  }

  // Some of the channels.
  Gradient part(int64_t first, int64_t count) const {
    const auto of = [&](const std::optional<Tensor>& numbers) {
      return numbers ? std::optional<Tensor>(numbers->narrow(0, first, count)) : std::nullopt;
    };
    return {total.narrow(1, first, count), maps->narrow(1, first, count), of(mean), of(slope), of(shift)};
  }

  Tensor finished(int64_t first, int64_t count) const {
    const auto part = total.narrow(0, first, count);
    if (!mean) return part.contiguous(at::MemoryFormat::ChannelsLast);
    return finish(part, maps->narrow(0, first, count), *mean, *slope, *shift);
  }

  void add_statistics(const Step& step, const Tensor& grad_gamma, const Tensor& grad_beta) const {
    const auto scale = step.scale / double(count_rows(total));
    shift->addcmul_(scale, grad_beta);
    slope->addcmul_(scale.mul_(step.r), grad_gamma);
  }
};

// Reads six tensors: γ, β, mean and variance of its BatchNorm, weight and bias of its convolution.
Step step_of(const Tensors& tensors, size_t first, double eps, at::IntArrayRef padding, at::ScalarType format,
             int64_t pool = 1);

Tensor convolve(const Tensor& maps, const Step& step);

// Calls f(first image, number of images) for a few images at a time.
template <typename F>
void over_tiles(const Tensor& maps, int64_t images, const F& f) {
  TORCH_CHECK(images > 0, "images: expected at least 1 at once, got ", images);
  for (int64_t first = 0; first < maps.size(0); first += images) f(first, std::min(images, maps.size(0) - first));
}

// Computes one step, so many images at a time where it is not fused. Returns mean and variance of `out` if `measured`.
std::tuple<Tensor, Tensor> step_forward(const Tensor& source, const Step& step, const Tensor& out, bool measured,
                                        const std::optional<Tensor>& keep, int64_t images);

// Returns the gradients of γ, β, weight and bias. `wanted`: whether anything before the convolution needs one, its
// weight, its bias.
std::array<Tensor, 4> step_backward(const Step& step, bool uses_batch, const Gradient& above, const Gradient& below,
                                    bool is_first, const std::optional<Tensor>& keep, std::array<bool, 3> wanted,
                                    int64_t images);

// The same over a few images at a time, which stay in the cache: see fused_forward.cpp.
bool fits_fused(const Tensor& source, const Step& step);
std::tuple<Tensor, Tensor> run_fused(const Tensor& source, const Step& step, const Tensor& out, bool measured,
                                     const std::optional<Tensor>& keep);
std::array<Tensor, 4> run_backward_fused(const Step& step, const Gradient& above, const Gradient& below, bool is_first,
                                         const std::optional<Tensor>& keep, std::array<bool, 3> wanted);

}  // namespace densenet_course
