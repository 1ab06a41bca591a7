// The loop over the steps of a dense block, for maps in channels-last on a CPU: what efficient_functions.py does, without
// Python in between, which for small maps takes longer than the arithmetic.

#include "kernels.h"

#include <ATen/Dispatch.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/List.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace densenet_course {

// Above so many pixels a convolution of fp32 maps is faster than a product of matrices; below, it is busy with putting
// its weights into another order. Half-size maps are multiplied faster as matrices at any size.
constexpr int64_t FEW_PIXELS = 1024;

struct Stage {
  Tensor scale, shift, weight;
  std::optional<Tensor> bias;
  at::IntArrayRef padding;
  int64_t reads, writes;  // channels of the block it reads, 0: what the stage before made; its first channel there, or -1
};

std::tuple<Tensor, Tensor> scale_and_shift(const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                                           const Tensor& var, double eps) {
  const auto type = c10::promoteTypes(var.scalar_type(), at::kFloat);
  const auto g = gamma.to(type), b = beta.to(type), m = mean.to(type), v = var.to(type);
  auto scale = at::empty_like(g), shift = at::empty_like(g);
  AT_DISPATCH_FLOATING_TYPES(type, "scale_and_shift", [&] {
    scalar_t *to = scale.data_ptr<scalar_t>(), *to_shift = shift.data_ptr<scalar_t>();
    const auto *from = g.const_data_ptr<scalar_t>(), *from_shift = b.const_data_ptr<scalar_t>();
    const auto *mu = m.const_data_ptr<scalar_t>(), *square = v.const_data_ptr<scalar_t>();
    for (int64_t c = 0; c < g.numel(); ++c) {
      to[c] = from[c] / std::sqrt(square[c] + scalar_t(eps));
      to_shift[c] = from_shift[c] - mu[c] * to[c];
    }
  });
  return {scale, shift};
}

Tensor convolve(const Tensor& maps, const Tensor& weight, const std::optional<Tensor>& bias, at::IntArrayRef padding) {
  const int64_t channels = maps.size(1), pixels = count_rows(maps);
  const bool is_pointwise = weight.size(2) == 1 && weight.size(3) == 1 && padding[0] == 0 && padding[1] == 0;
  if (!is_pointwise || (maps.scalar_type() == at::kFloat && pixels >= FEW_PIXELS))
    return at::convolution(maps, weight, bias, {1, 1}, padding, {1, 1}, false, {0, 0}, 1);
  const auto from = maps.permute({0, 2, 3, 1}).reshape({pixels, channels}), by = weight.view({-1, channels}).t();
  const auto made = bias ? at::addmm(*bias, from, by) : at::mm(from, by);
  return made.view({maps.size(0), maps.size(2), maps.size(3), -1}).permute({0, 3, 1, 2});
}

void infer_tile(const Tensor& block, const std::vector<Stage>& stages) {
  Tensor made;
  for (const auto& stage : stages) {
    const auto source = stage.reads ? block.narrow(1, 0, stage.reads) : made;
    made = convolve(activate(source, stage.scale, stage.shift), stage.weight, stage.bias, stage.padding);
    if (stage.writes >= 0) copy_rows(made, block.narrow(1, stage.writes, made.size(1)));
  }
}

// Computes a dense block when nothing is learned. For each stage there are six tensors: γ, β, running mean and variance,
// weight and bias of the convolution; four places: the padding, `reads` and `writes` as in Stage; and an eps.
Tensor infer(const Tensor& features, const c10::List<std::optional<Tensor>>& tensors, at::IntArrayRef places,
             at::ArrayRef<double> eps, int64_t channels, int64_t images_at_once) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  std::vector<Stage> stages;
  for (size_t i = 0; i < eps.size(); ++i) {
    const auto tensor = [&](size_t j) -> std::optional<Tensor> { return tensors.get(6 * i + j); };
    auto [scale, shift] = scale_and_shift(*tensor(0), *tensor(1), *tensor(2), *tensor(3), eps[i]);
    auto bias = tensor(5);
    if (bias) bias = bias->to(features.scalar_type());
    const auto place = places.slice(4 * i, 4);
    stages.push_back({scale, shift, tensor(4)->to(features.scalar_type()), bias, place.slice(0, 2), place[2], place[3]});
  }
  auto maps = empty_maps(features, channels);
  maps.narrow(1, 0, features.size(1)).copy_(features);
  for (int64_t first = 0; first < maps.size(0); first += images_at_once)
    infer_tile(maps.narrow(0, first, std::min(images_at_once, maps.size(0) - first)), stages);
  return maps;
}

TORCH_LIBRARY_FRAGMENT(densenet_course, library) { library.def("infer", infer); }

}  // namespace densenet_course
