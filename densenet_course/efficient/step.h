// What a step of a dense block is computed from, and the gradients of maps on their way back.

#pragma once

#include "checks.h"
#include "kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/List.h>

#include <array>

namespace densenet_course {

using Tensors = c10::List<std::optional<Tensor>>;

struct Step {
  Tensor mean, r, scale, shift, weight;  // r = 1 / √(variance + ε)
  std::optional<Tensor> bias;
  at::IntArrayRef padding;
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
      : total(taken(list, 0, "total")), maps(taken_if_any(list, 1, "maps")), mean(taken_if_any(list, 2, "mean")),
        slope(taken_if_any(list, 3, "slope")), shift(taken_if_any(list, 4, "shift")) {
    check_maps(total, "total");
    if (maps) check_like(*maps, total, "maps");
    if (!mean) return;
    TORCH_CHECK(maps && slope && shift, "expected maps, slope and shift beside a mean");
    check_numbers(*mean, total, "mean");
    check_numbers(*slope, total, "slope");
    check_numbers(*shift, total, "shift");
  }

  Tensor finished(int64_t first, int64_t count) const {
    const auto part = total.narrow(0, first, count);
    if (!mean) return part.contiguous(at::MemoryFormat::ChannelsLast);
    return finish(part, maps->narrow(0, first, count), *mean, *slope, *shift);
  }

  void add_statistics(const Step& step, const Tensor& grad_gamma, const Tensor& grad_beta) {
    const auto scale = step.scale / double(count_rows(total));
    shift->addcmul_(scale, grad_beta);
    slope->addcmul_(scale.mul_(step.r), grad_gamma);
  }
};

// The same steps over a few images at a time, which stay in the cache: see fused.cpp.
bool fits_fused(const Tensor& source, const Step& step);
std::tuple<Tensor, Tensor> run_fused(const Tensor& source, const Step& step, const Tensor& out, bool measured,
                                     const std::optional<Tensor>& keep);
std::array<Tensor, 4> run_backward_fused(const Step& step, const Gradient& above, const Gradient& below, bool is_first,
                                         const std::optional<Tensor>& keep, std::array<bool, 3> wanted);

}  // namespace densenet_course
