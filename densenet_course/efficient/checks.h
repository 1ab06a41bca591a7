// Refuse, with a name in the message, tensors that the loops would read wrongly or past their end.

#pragma once

#include <ATen/EmptyTensor.h>
#include <ATen/OpMathType.h>
#include <ATen/core/Tensor.h>

namespace densenet_course {

using at::Tensor;

// Dense, on the CPU, and its memory there.
inline void check_plain(const Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.defined() && tensor.layout() == at::kStrided && tensor.device().is_cpu(), name,
              ": expected a dense tensor on the CPU");
  TORCH_CHECK(tensor.has_storage() && !tensor.key_set().has(c10::DispatchKey::Python) && !tensor.is_neg(), name,
              ": expected a tensor with numbers of its own, got a stand-in or a view that negates");
  const auto end = at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), tensor.element_size(),
                                                    tensor.storage_offset());
  TORCH_CHECK(end <= tensor.storage().nbytes(), name, ": expected ", end, " bytes of memory, got ",
              tensor.storage().nbytes());
}

// Of the same sizes and in the same format.
inline void check_like(const Tensor& maps, const Tensor& like, const char* name) {
  TORCH_CHECK(maps.defined() && maps.sizes() == like.sizes() && maps.scalar_type() == like.scalar_type(), name,
              ": expected ", like.sizes(), " in ", like.scalar_type(), ", got ", maps.sizes(), " in ",
              maps.scalar_type());
}

// (C,), one for each channel, in the format in which numbers are kept.
inline void check_numbers(const Tensor& numbers, const Tensor& maps, const char* name) {
  check_plain(numbers, name);
  const auto type = at::toOpMathType(maps.scalar_type());
  TORCH_CHECK(numbers.dim() == 1 && numbers.numel() == maps.size(1) && numbers.scalar_type() == type &&
                  numbers.is_contiguous(), name, ": expected ", maps.size(1), " contiguous numbers in ", type, ", got ",
              numbers.sizes(), " in ", numbers.scalar_type());
}

// (N, C, H, W).
inline void check_maps(const Tensor& maps, const char* name) {
  check_plain(maps, name);
  TORCH_CHECK(maps.dim() == 4, name, ": expected maps (N, C, H, W), got ", maps.sizes());
}

// Returns the way from one row to the next, which must be the same everywhere.
inline int64_t row_stride(const Tensor& maps, const char* name) {
  const int64_t images = maps.size(0), channels = maps.size(1), height = maps.size(2), width = maps.size(3);
  const int64_t stride = width > 1    ? maps.stride(3)
                         : height > 1 ? maps.stride(2)
                         : images > 1 ? maps.stride(0)
                                      : channels;
  const bool is_even = (channels < 2 || maps.stride(1) == 1) && (height < 2 || maps.stride(2) == width * stride) &&
                       (images < 2 || maps.stride(0) == height * width * stride);
  TORCH_CHECK(maps.numel() == 0 || is_even, name, ": expected maps in channels-last, or some channels of such; got ",
              maps.sizes(), " with strides ", maps.strides());
  return stride;
}

}  // namespace densenet_course
