// The passes of kernels.py over maps in channels-last on a CPU, each in one loop.
//
// Maps are (N, C, H, W), perhaps some channels of wider ones; numbers are (C,), in fp32 for bf16 maps. A row is what
// belongs to one pixel. Sums are taken over BLOCK rows first, then over the blocks, which keeps them exact.

#include "vectors.h"  // first: it says how wide PyTorch's vectors are

#include "kernels.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace densenet_course {

#define DISPATCH(MAPS, ...) \
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, MAPS.scalar_type(), "densenet_course", __VA_ARGS__)

int64_t count_rows(const Tensor& maps) { return maps.size(0) * maps.size(2) * maps.size(3); }

Tensor empty_maps(const Tensor& like, int64_t channels) {
  return at::empty({like.size(0), like.size(2), like.size(3), channels}, like.options()).permute({0, 3, 1, 2});
}

template <typename F>
void over_rows(const Tensor& maps, const F& f) {
  at::parallel_for(0, count_rows(maps), std::max<int64_t>(1, GRAIN / std::max<int64_t>(maps.size(1), 1)), f);
}

// Adds up two numbers for every channel, as `sum_block` does.
template <typename T, typename F>
Tensor two_sums(const Tensor& maps, const F& add) {
  using A = Number<T>;
  const int64_t vectors = count_vectors<T>(maps.size(1)), numbers = vectors * LANES<T>;
  const auto options = maps.options().dtype(c10::CppTypeToScalarType<A>::value);
  const auto by_thread = at::zeros({at::get_num_threads(), 2 * numbers}, options);
  A* all = by_thread.template data_ptr<A>();
  over_rows(maps, [&](int64_t begin, int64_t end) {
    A* sums = all + 2 * numbers * at::get_thread_num();
    std::vector<Wide<T>> part(2 * vectors);
    for (int64_t first = begin; first < end; first += BLOCK) {
      sum_block<T>(first, std::min(first + BLOCK, end), maps.size(1), part.data(), add);
      const A* found = reinterpret_cast<const A*>(part.data());
      for (int64_t c = 0; c < 2 * numbers; ++c) sums[c] += found[c];
    }
  });
  return by_thread.sum(0).view({2, numbers}).narrow(1, 0, maps.size(1));
}

void copy_rows(const Tensor& made, const Tensor& out) {
  check_like(out, made, "out");
  DISPATCH(made, [&] {
    const auto from = rows<scalar_t>(made, "made");
    const auto to = rows_to_write<scalar_t>(out, "out");
    over_rows(made, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) std::memmove(to[i], from[i], made.size(1) * sizeof(scalar_t));
    });
  });
}

Tensor activate(const Tensor& maps, const Tensor& scale, const Tensor& shift) {
  check_maps(maps, "maps");
  auto out = empty_maps(maps, maps.size(1));
  DISPATCH(maps, [&] {
    using T = scalar_t;
    const auto from = rows<T>(maps, "maps");
    const auto to = rows_to_write<T>(out, "out");
    const auto a = in_vectors<T>(scale, maps, "scale"), b = in_vectors<T>(shift, maps, "shift");
    over_rows(maps, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        PREFETCH(from[i + AHEAD]);
        activate_row<T>(maps.size(1), from[i], a.data(), b.data(), to[i]);
      }
    });
  });
  return out;
}

std::tuple<Tensor, Tensor> store(const Tensor& made, const std::optional<Tensor>& out) {
  check_maps(made, "made");
  TORCH_CHECK(made.numel() > 0, "made: expected values to measure, got ", made.sizes());
  if (out) check_like(*out, made, "out");
  const int64_t channels = made.size(1), count = count_rows(made);
  Tensor result;
  DISPATCH(made, [&] {
    using T = scalar_t;
    using A = Number<T>;
    const auto from = rows<T>(made, "made");
    const auto to = out ? rows_to_write<T>(*out, "out") : Rows<T>{nullptr, 0};
    result = two_sums<T>(made, [&](int64_t i, int64_t, int64_t c, auto count, Wide<T>& sum, Wide<T>& square) INLINE {
      add_deviation<T>(from[i] + c, from[0] + c, count, sum, square);
      if (out) copy<T>(from[i] + c, to[i] + c, count);
    });
    A *sums = result[0].data_ptr<A>(), *squares = result[1].data_ptr<A>();
    for (int64_t c = 0; c < channels; ++c) {
      const A mean = sums[c] / count;
      sums[c] = A(from[0][c]) + mean;
      squares[c] = squares[c] / count - mean * mean;
    }
  });
  return {result[0], result[1]};
}

std::tuple<Tensor, Tensor> send_back(const Tensor& grad, const Tensor& active, const Tensor& maps, const Tensor& scale,
                                     const Tensor& mean, const Tensor& total, bool is_first) {
  check_maps(maps, "maps");
  check_like(grad, maps, "grad");
  check_like(active, maps, "active");
  check_like(total, maps, "total");
  Tensor result;
  DISPATCH(maps, [&] {
    using T = scalar_t;
    const auto g = rows<T>(grad, "grad"), y = rows<T>(active, "active"), x = rows<T>(maps, "maps");
    const auto t = rows_to_write<T>(total, "total");
    const auto a = in_vectors<T>(scale, maps, "scale"), m = in_vectors<T>(mean, maps, "mean");
    result = two_sums<T>(maps, [&](int64_t i, int64_t v, int64_t c, auto count, Wide<T>& sum, Wide<T>& moment) INLINE {
      send_back_vector<T>(g[i] + c, y[i] + c, x[i] + c, a[v], m[v], is_first, t[i] + c, count, sum, moment);
    });
  });
  return {result[0], result[1]};
}

Tensor finish(const Tensor& total, const Tensor& maps, const Tensor& mean, const Tensor& slope, const Tensor& shift) {
  check_maps(maps, "maps");
  check_like(total, maps, "total");
  auto out = empty_maps(maps, maps.size(1));
  DISPATCH(maps, [&] {
    using T = scalar_t;
    const auto sums = rows<T>(total, "total"), from = rows<T>(maps, "maps");
    const auto to = rows_to_write<T>(out, "out");
    const auto m = in_vectors<T>(mean, maps, "mean"), a = in_vectors<T>(slope, maps, "slope"),
               b = in_vectors<T>(shift, maps, "shift");
    over_rows(maps, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        PREFETCH(sums[i + AHEAD]);
        PREFETCH(from[i + AHEAD]);
        finish_row<T>(maps.size(1), sums[i], from[i], m.data(), a.data(), b.data(), to[i]);
      }
    });
  });
  return out;
}

TORCH_LIBRARY(densenet_course, library) {
  library.def("activate", activate);
  library.def("store", store);
  library.def("send_back", send_back);
  library.def("finish", finish);
}

}  // namespace densenet_course
