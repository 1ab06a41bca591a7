// The passes of efficient_kernels.py over maps in channels-last on a CPU, each in one loop.
//
// Maps are (N, C, H, W), perhaps some channels of wider ones; numbers are (C,), in fp32 for bf16 maps. A row is what
// belongs to one pixel. Sums are taken over BLOCK rows first, then over the blocks, which keeps them exact.

#include "kernels.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace densenet_course {

constexpr int64_t GRAIN = 32768, BLOCK = 32;  // numbers that are worth a thread; rows that are summed first

#define DISPATCH(MAPS, ...) \
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, MAPS.scalar_type(), "densenet_course", __VA_ARGS__)

template <typename T>
struct Rows {
  T* data;
  int64_t stride;
  T* operator[](int64_t i) const { return data + i * stride; }
};

template <typename T>
Rows<T> rows(const Tensor& maps) {
  const int64_t width = maps.size(3), height = maps.size(2);
  const int64_t stride = width > 1 ? maps.stride(3) : height > 1 ? maps.stride(2) : maps.stride(0);
  TORCH_CHECK(maps.dim() == 4 && (maps.size(1) == 1 || maps.stride(1) == 1), "expected maps in channels-last");
  return {maps.data_ptr<T>(), stride};
}

int64_t count_rows(const Tensor& maps) { return maps.size(0) * maps.size(2) * maps.size(3); }

Tensor empty_maps(const Tensor& like, int64_t channels) {
  return at::empty({like.size(0), like.size(2), like.size(3), channels}, like.options()).permute({0, 3, 1, 2});
}

template <typename F>
void over_rows(const Tensor& maps, const F& f) {
  at::parallel_for(0, count_rows(maps), std::max<int64_t>(1, GRAIN / std::max<int64_t>(maps.size(1), 1)), f);
}

// Adds up, for every channel, the two numbers that `add(row, first sums, second sums)` adds for each row.
template <typename A, typename F>
Tensor two_sums(const Tensor& maps, const F& add) {
  const int64_t channels = maps.size(1);
  auto options = maps.options().dtype(c10::CppTypeToScalarType<A>::value);
  auto by_thread = at::zeros({at::get_num_threads(), 2 * channels}, options);
  A* all = by_thread.template data_ptr<A>();
  over_rows(maps, [&](int64_t begin, int64_t end) {
    A* sums = all + 2 * channels * at::get_thread_num();
    std::vector<A> part(2 * channels);
    for (int64_t first = begin; first < end; first += BLOCK) {
      std::fill(part.begin(), part.end(), A(0));
      for (int64_t i = first; i < std::min(first + BLOCK, end); ++i) add(i, part.data(), part.data() + channels);
      for (int64_t c = 0; c < 2 * channels; ++c) sums[c] += part[c];
    }
  });
  return by_thread.sum(0).view({2, channels});
}

void copy_rows(const Tensor& made, const Tensor& out) {
  DISPATCH(made, [&] {
    const auto from = rows<scalar_t>(made), to = rows<scalar_t>(out);
    over_rows(made, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) std::memcpy(to[i], from[i], made.size(1) * sizeof(scalar_t));
    });
  });
}

Tensor activate(const Tensor& maps, const Tensor& scale, const Tensor& shift) {
  const int64_t channels = maps.size(1);
  auto out = empty_maps(maps, channels);
  DISPATCH(maps, [&] {
    using A = at::opmath_type<scalar_t>;
    const auto from = rows<scalar_t>(maps), to = rows<scalar_t>(out);
    const A *a = scale.const_data_ptr<A>(), *b = shift.const_data_ptr<A>();
    over_rows(maps, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const scalar_t* __restrict x = from[i];
        scalar_t* __restrict y = to[i];
        for (int64_t c = 0; c < channels; ++c) {
          const A value = A(x[c]) * a[c] + b[c];
          y[c] = scalar_t(value < 0 ? A(0) : value);
        }
      }
    });
  });
  return out;
}

template <typename T, typename A>
void add_deviation(int64_t channels, const T* __restrict x, const T* __restrict pivot, A* __restrict sum,
                   A* __restrict square) {
  for (int64_t c = 0; c < channels; ++c) {
    const A value = A(x[c]) - A(pivot[c]);  // a pivot, because squares of what is far from 0 would not be exact
    sum[c] += value;
    square[c] += value * value;
  }
}

std::tuple<Tensor, Tensor> store(const Tensor& made, const std::optional<Tensor>& out) {
  const int64_t channels = made.size(1), count = count_rows(made);
  Tensor result;
  DISPATCH(made, [&] {
    using A = at::opmath_type<scalar_t>;
    const auto from = rows<scalar_t>(made), to = rows<scalar_t>(out.value_or(made));
    result = two_sums<A>(made, [&](int64_t i, A* sum, A* square) {
      add_deviation(channels, from[i], from[0], sum, square);
      if (out) std::memcpy(to[i], from[i], channels * sizeof(scalar_t));
    });
    A* numbers = result.data_ptr<A>();
    for (int64_t c = 0; c < channels; ++c) {
      const A mean = numbers[c] / count;
      numbers[c] = A(from[0][c]) + mean;
      numbers[channels + c] = numbers[channels + c] / count - mean * mean;
    }
  });
  return {result[0], result[1]};
}

template <typename T, typename A>
void add_row(int64_t channels, const T* __restrict grad, const T* __restrict active, const T* __restrict x,
             const A* __restrict scale, const A* __restrict mean, bool is_first, T* __restrict total,
             A* __restrict sum, A* __restrict moment) {
  for (int64_t c = 0; c < channels; ++c) {
    const A all = grad[c], before = is_first ? A(0) : A(total[c]);
    const A passed = A(active[c]) > 0 ? all : A(0);
    sum[c] += passed;
    moment[c] += passed * (A(x[c]) - mean[c]);
    total[c] = T(before + passed * scale[c]);
  }
}

std::tuple<Tensor, Tensor> send_back(const Tensor& grad, const Tensor& active, const Tensor& maps, const Tensor& scale,
                                     const Tensor& mean, const Tensor& total, bool is_first) {
  Tensor result;
  DISPATCH(maps, [&] {
    using A = at::opmath_type<scalar_t>;
    const auto g = rows<scalar_t>(grad), y = rows<scalar_t>(active), x = rows<scalar_t>(maps);
    const auto t = rows<scalar_t>(total);
    const A *a = scale.const_data_ptr<A>(), *m = mean.const_data_ptr<A>();
    result = two_sums<A>(maps, [&](int64_t i, A* sum, A* moment) {
      add_row(maps.size(1), g[i], y[i], x[i], a, m, is_first, t[i], sum, moment);
    });
  });
  return {result[0], result[1]};
}

Tensor finish(const Tensor& total, const Tensor& maps, const Tensor& mean, const Tensor& slope, const Tensor& shift) {
  const int64_t channels = maps.size(1);
  auto out = empty_maps(maps, channels);
  DISPATCH(maps, [&] {
    using A = at::opmath_type<scalar_t>;
    const auto sums = rows<scalar_t>(total), from = rows<scalar_t>(maps), to = rows<scalar_t>(out);
    const A *m = mean.const_data_ptr<A>(), *a = slope.const_data_ptr<A>(), *b = shift.const_data_ptr<A>();
    over_rows(maps, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const scalar_t *__restrict t = sums[i], *__restrict x = from[i];
        scalar_t* __restrict y = to[i];
        for (int64_t c = 0; c < channels; ++c) y[c] = scalar_t(A(t[c]) - (A(x[c]) - m[c]) * a[c] - b[c]);
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
