// The passes of kernels.py over maps in channels-last on a CPU, each in one loop.
//
// Maps are (N, C, H, W), perhaps some channels of wider ones; numbers are (C,), in fp32 for bf16 maps. A row is what
// belongs to one pixel. Sums are taken over BLOCK rows first, then over the blocks, which keeps them exact.
//
// The loops are written with PyTorch's vectors: left to itself a compiler takes the channels that are left after whole
// vectors one by one, and with k = 12 most rows of a DenseNet end so.

// PyTorch's headers ask for the width of their vectors by these names; without them a vector is an array, and slow.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define CPU_CAPABILITY AVX512
#define CPU_CAPABILITY_AVX512
#elif defined(__AVX2__) && (defined(__FMA__) || defined(_MSC_VER))
#define CPU_CAPABILITY AVX2
#define CPU_CAPABILITY_AVX2
#endif

#include "checks.h"
#include "kernels.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <vector>

namespace densenet_course {

using at::vec::Vectorized;

// Numbers that are worth a thread; rows that are summed first; rows between the one at work and the one fetched in
// advance, because where a few channels of wide maps are read the processor does not guess what comes next.
constexpr int64_t GRAIN = 32768, BLOCK = 32, AHEAD = 8;

#ifdef _MSC_VER
#define INLINE
#define PREFETCH(PLACE) static_cast<void>(PLACE)
#else
#define INLINE __attribute__((always_inline))  // or the vectors that are handed around go through memory
#define PREFETCH(PLACE) __builtin_prefetch(PLACE)
#endif

#define DISPATCH(MAPS, ...) \
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, MAPS.scalar_type(), "densenet_course", __VA_ARGS__)

template <typename T>
struct Rows {
  T* data;
  int64_t stride;
  T* operator[](int64_t i) const { return data + i * stride; }
};

// The loops trust sizes and strides, so every tensor is checked on its way into them: the next two functions and
// `in_vectors` are the only places that ask for a pointer.

template <typename T>
Rows<const T> rows(const Tensor& maps, const char* name) {
  check_maps(maps, name);
  return {maps.const_data_ptr<T>(), row_stride(maps, name)};
}

// Rows to be written must not lie on one another, as those of expanded maps do.
template <typename T>
Rows<T> rows_to_write(const Tensor& maps, const char* name) {
  check_maps(maps, name);
  const int64_t stride = row_stride(maps, name);
  TORCH_CHECK(stride >= maps.size(1), name, ": expected rows of their own to write, got strides ", maps.strides());
  return {maps.mutable_data_ptr<T>(), stride};
}

int64_t count_rows(const Tensor& maps) { return maps.size(0) * maps.size(2) * maps.size(3); }

Tensor empty_maps(const Tensor& like, int64_t channels) {
  return at::empty({like.size(0), like.size(2), like.size(3), channels}, like.options()).permute({0, 3, 1, 2});
}

// A vector of T holds LANES numbers; they are computed in PARTS vectors of the wider format.
template <typename T>
using Number = at::opmath_type<T>;
template <typename T>
using Part = Vectorized<Number<T>>;
template <typename T>
constexpr int64_t LANES = Vectorized<T>::size();
template <typename T>
constexpr int64_t PARTS = LANES<T> / Part<T>::size();
template <typename T>
using Wide = std::array<Part<T>, PARTS<T>>;
template <typename T>
using Whole = std::integral_constant<int64_t, LANES<T>>;

// Makes a vector from f(part, that part of each vector given).
template <typename T, typename F, typename... W>
INLINE inline Wide<T> by_parts(const F& f, const W&... wide) {
  if constexpr (PARTS<T> == 1)
    return {f(0, wide[0]...)};
  else
    return {f(0, wide[0]...), f(1, wide[1]...)};
}

// Reads so many numbers, a constant for a whole vector; the rest is 0.
template <typename T, typename C>
INLINE inline Wide<T> load(const T* from, C count) {
  Vectorized<T> values;
  if constexpr (std::is_same_v<C, Whole<T>>)
    values = Vectorized<T>::loadu(from);
  else
    values = Vectorized<T>::loadu(from, count);
  if constexpr (PARTS<T> == 1) {
    return {values};
  } else {
    const auto [first, second] = at::vec::convert_to_float<T>(values);
    return {first, second};
  }
}

template <typename T, typename C>
INLINE inline void save(const Wide<T>& wide, T* to, C count) {
  Vectorized<T> values;
  if constexpr (PARTS<T> == 1)
    values = wide[0];
  else
    values = at::vec::convert_from_float<T>(wide[0], wide[1]);
  if constexpr (std::is_same_v<C, Whole<T>>)
    values.store(to);
  else
    values.store(to, count);
}

template <typename T>
int64_t count_vectors(int64_t channels) {
  return (channels + LANES<T> - 1) / LANES<T>;
}

// Puts numbers into vectors, the last one filled up with zeros.
template <typename T>
std::vector<Wide<T>> in_vectors(const Tensor& numbers, const Tensor& maps, const char* name) {
  check_numbers(numbers, maps, name);
  std::vector<Wide<T>> result(count_vectors<T>(numbers.numel()));
  for (auto& wide : result) wide.fill(Part<T>(0));
  std::memcpy(static_cast<void*>(result.data()), numbers.const_data_ptr(), numbers.nbytes());
  return result;
}

// Calls f(vector, its first channel, number of its channels).
template <typename T, typename F>
INLINE inline void over_vectors(int64_t channels, const F& f) {
  const int64_t whole = channels / LANES<T>, rest = channels - whole * LANES<T>;
  for (int64_t v = 0; v < whole; ++v) f(v, v * LANES<T>, Whole<T>());
  if (rest > 0) f(whole, whole * LANES<T>, rest);
}

template <typename F>
void over_rows(const Tensor& maps, const F& f) {
  at::parallel_for(0, count_rows(maps), std::max<int64_t>(1, GRAIN / std::max<int64_t>(maps.size(1), 1)), f);
}

// Adds up, for every channel, the two numbers that `add(row, first sums, second sums)` adds for each row.
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
      for (auto& wide : part) wide.fill(Part<T>(0));
      for (int64_t i = first; i < std::min(first + BLOCK, end); ++i) add(i, part.data(), part.data() + vectors);
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

template <typename T>
INLINE inline void activate_row(int64_t channels, const T* x, const Wide<T>* scale, const Wide<T>* shift, T* y) {
  over_vectors<T>(channels, [=](int64_t v, int64_t c, auto count) INLINE {
    const auto active = by_parts<T>([=](int p, Part<T> value) INLINE {
      return at::vec::clamp_min(at::vec::fmadd(value, scale[v][p], shift[v][p]), Part<T>(0));
    }, load<T>(x + c, count));
    save<T>(active, y + c, count);
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

template <typename T>
INLINE inline void add_deviation(int64_t channels, const T* x, const T* pivot, Wide<T>* sum, Wide<T>* square) {
  over_vectors<T>(channels, [=](int64_t v, int64_t c, auto count) INLINE {
    by_parts<T>([=](int p, Part<T> value, Part<T> about) INLINE {
      value = value - about;  // because squares of what is far from 0 would not be exact
      sum[v][p] = sum[v][p] + value;
      square[v][p] = at::vec::fmadd(value, value, square[v][p]);
      return value;
    }, load<T>(x + c, count), load<T>(pivot + c, count));
  });
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
    result = two_sums<T>(made, [&](int64_t i, Wide<T>* sum, Wide<T>* square) {
      if (out) PREFETCH(to[i + AHEAD]);
      add_deviation<T>(channels, from[i], from[0], sum, square);
      if (out) std::memmove(to[i], from[i], channels * sizeof(T));
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

template <typename T>
INLINE inline void send_back_row(int64_t channels, const T* grad, const T* active, const T* x, const Wide<T>* scale,
                                 const Wide<T>* mean, bool is_first, T* total, Wide<T>* sum, Wide<T>* moment) {
  over_vectors<T>(channels, [=](int64_t v, int64_t c, auto count) INLINE {
    const auto sums = by_parts<T>([=](int p, Part<T> all, Part<T> on, Part<T> value, Part<T> before) INLINE {
      const auto passed = all & (on > Part<T>(0));
      sum[v][p] = sum[v][p] + passed;
      moment[v][p] = at::vec::fmadd(passed, value - mean[v][p], moment[v][p]);
      return at::vec::fmadd(passed, scale[v][p], before);
    }, load<T>(grad + c, count), load<T>(active + c, count), load<T>(x + c, count),
       is_first ? by_parts<T>([](int) INLINE { return Part<T>(0); }) : load<T>(total + c, count));
    save<T>(sums, total + c, count);
  });
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
    result = two_sums<T>(maps, [&](int64_t i, Wide<T>* sum, Wide<T>* moment) {
      PREFETCH(x[i + AHEAD]);
      PREFETCH(t[i + AHEAD]);
      send_back_row<T>(maps.size(1), g[i], y[i], x[i], a.data(), m.data(), is_first, t[i], sum, moment);
    });
  });
  return {result[0], result[1]};
}

template <typename T>
INLINE inline void finish_row(int64_t channels, const T* total, const T* x, const Wide<T>* mean, const Wide<T>* slope,
                              const Wide<T>* shift, T* y) {
  over_vectors<T>(channels, [=](int64_t v, int64_t c, auto count) INLINE {
    const auto grad = by_parts<T>([=](int p, Part<T> all, Part<T> value) INLINE {
      return all - at::vec::fmadd(value - mean[v][p], slope[v][p], shift[v][p]);
    }, load<T>(total + c, count), load<T>(x + c, count));
    save<T>(grad, y + c, count);
  });
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
