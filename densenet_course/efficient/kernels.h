// The passes of kernels.cpp, for what calls them from C++. kernels.Operators says what each does.

#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace densenet_course {

using at::Tensor;

int64_t count_rows(const Tensor& maps);  // pixels of all images
Tensor empty_maps(const Tensor& like, int64_t channels);
void copy_rows(const Tensor& made, const Tensor& out);
Tensor activate(const Tensor& maps, const Tensor& scale, const Tensor& shift);
std::tuple<Tensor, Tensor> store(const Tensor& made, const std::optional<Tensor>& out);
std::tuple<Tensor, Tensor> send_back(const Tensor& grad, const Tensor& active, const Tensor& maps, const Tensor& scale,
                                     const Tensor& mean, const Tensor& total, bool is_first);
Tensor finish(const Tensor& total, const Tensor& maps, const Tensor& mean, const Tensor& slope, const Tensor& shift);

}  // namespace densenet_course
