// Rows of maps, vectors of their channels, and what the passes do with one row.
//
// The loops are written with PyTorch's vectors: left to itself a compiler takes the channels that are left after whole
// vectors one by one, and with k = 12 most rows of a DenseNet end so.

#pragma once

// PyTorch's headers ask for the width of their vectors by these names; without them a vector is an array, and slow.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define CPU_CAPABILITY AVX512
#define CPU_CAPABILITY_AVX512
#elif defined(__AVX2__) && (defined(__FMA__) || defined(_MSC_VER))
#define CPU_CAPABILITY AVX2
#define CPU_CAPABILITY_AVX2
#endif

#include "checks.h"

#include <ATen/OpMathType.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

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
  if constexpr (PARTS<T> == 1) {
    values = wide[0];
  } else {
#if defined(CPU_CAPABILITY_AVX512) && defined(__AVX512BF16__)
    if constexpr (std::is_same_v<T, at::BFloat16>)  // one instruction, where PyTorch takes some twenty
      values = Vectorized<T>((__m512i)_mm512_cvtne2ps_pbh(wide[1], wide[0]));
    else
#endif
      values = at::vec::convert_from_float<T>(wide[0], wide[1]);
  }
  if constexpr (std::is_same_v<C, Whole<T>>)
    values.store(to);
  else
    values.store(to, count);
}

template <typename T, typename C>
INLINE inline void copy(const T* from, T* to, C count) {
  if constexpr (std::is_same_v<C, Whole<T>>)
    Vectorized<T>::loadu(from).store(to);
  else
    Vectorized<T>::loadu(from, count).store(to, count);
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

template <typename T>
INLINE inline void activate_row(int64_t channels, const T* x, const Wide<T>* scale, const Wide<T>* shift, T* y) {
  over_vectors<T>(channels, [=](int64_t v, int64_t c, auto count) INLINE {
    const auto active = by_parts<T>([=](int p, Part<T> value) INLINE {
      return at::vec::clamp_min(at::vec::fmadd(value, scale[v][p], shift[v][p]), Part<T>(0));
    }, load<T>(x + c, count));
    save<T>(active, y + c, count);
  });
}

// Adds up two numbers for every channel over the rows from `begin` to before `end`, which are BLOCK at most: first for
// one vector, then for the next. `add(row, vector, its first channel, number of its channels, first sum, second sum)`.
template <typename T, typename F>
INLINE inline void sum_block(int64_t begin, int64_t end, int64_t channels, Wide<T>* sums, const F& add) {
  const int64_t vectors = count_vectors<T>(channels);
  over_vectors<T>(channels, [&](int64_t v, int64_t c, auto count) INLINE {
    auto first = by_parts<T>([](int) INLINE { return Part<T>(0); }), second = first;
    for (int64_t i = begin; i < end; ++i) add(i, v, c, count, first, second);
    sums[v] = first, sums[vectors + v] = second;
  });
}

template <typename T, typename C>
INLINE inline void add_deviation(const T* x, const T* pivot, C count, Wide<T>& sum, Wide<T>& square) {
  by_parts<T>([&](int p, Part<T> value, Part<T> about) INLINE {
    value = value - about;  // because squares of what is far from 0 would not be exact
    sum[p] = sum[p] + value;
    square[p] = at::vec::fmadd(value, value, square[p]);
    return value;
  }, load<T>(x, count), load<T>(pivot, count));
}

// Reads numbers that are kept in the wider format, from a row that is filled up to whole vectors.
template <typename T, typename C>
INLINE inline Wide<T> load_wide(const Number<T>* from, C count) {
  if constexpr (PARTS<T> == 1)
    return load<T>(from, count);
  else
    return {Part<T>::loadu(from), Part<T>::loadu(from + Part<T>::size())};
}

template <typename T, typename G, typename C>
INLINE inline Wide<T> load_either(const G* from, C count) {
  if constexpr (std::is_same_v<G, T>)
    return load<T>(from, count);
  else
    return load_wide<T>(from, count);
}

// The gradient is in the format of the maps, or in the wider one as `load_wide` takes it.
template <typename T, typename G, typename C>
INLINE inline void send_back_vector(const G* grad, const T* active, const T* x, const Wide<T>& scale,
                                    const Wide<T>& mean, bool is_first, T* total, C count, Wide<T>& sum,
                                    Wide<T>& moment) {
  const auto sums = by_parts<T>([&](int p, Part<T> all, Part<T> on, Part<T> value, Part<T> before) INLINE {
    const auto passed = all & (on > Part<T>(0));
    sum[p] = sum[p] + passed;
    moment[p] = at::vec::fmadd(passed, value - mean[p], moment[p]);
    return at::vec::fmadd(passed, scale[p], before);
  }, load_either<T>(grad, count), load<T>(active, count), load<T>(x, count),
     is_first ? by_parts<T>([](int) INLINE { return Part<T>(0); }) : load<T>(total, count));
  save<T>(sums, total, count);
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

}  // namespace densenet_course
