// Products of small matrices that lie in the cache, by PyTorch's brgemm, and their factors in the order that it wants.

#pragma once

#include "vectors.h"  // first: it says how wide PyTorch's vectors are

#include <ATen/Context.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/constant_pad_nd.h>
#include <c10/core/CPUAllocator.h>

#include <exception>

namespace densenet_course {

using at::BFloat16;

// Edge of the squares in which a matrix is transposed.
constexpr int64_t SQUARE = 16;

// Rows of a product's second factor that lie interleaved, because the processor takes so many numbers in one step.
template <typename T>
constexpr int64_t PAIR = sizeof(T) == 2 ? 2 : 1;

inline int64_t round_up(int64_t number, int64_t to) { return (number + to - 1) / to * to; }

#if defined(CPUBLAS_BRGEMM_F32F32F32) && defined(CPUBLAS_BRGEMM_BF16BF16F32)
// C (m, n) = A (m, k) · B (k, n), added to C if `add`; each with the way from one row to the next.
template <typename T>
void multiply(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, const T* b, int64_t b_row, float* c,
              int64_t c_row, bool add) {
  at::native::cpublas::brgemm(m, n, k, a_row, b_row, c_row, add, a, b, c, PAIR<T> == 2);
}

inline void release() { at::native::cpublas::brgemm_release(); }

// Whether this processor can, and with B in the order that is expected here: (1 2; 3 4) · (5 6; 7 8).
template <typename T>
bool can_multiply() {
  if (!at::globalContext().userEnabledMkldnn()) return false;
  static const bool can = [] {
    const T a[4] = {1, 2, 3, 4}, plain[4] = {5, 6, 7, 8}, paired[4] = {5, 7, 6, 8};
    float c[4] = {};
    try {
      multiply<T>(2, 2, 2, a, 2, PAIR<T> == 2 ? paired : plain, 2, c, 2, false);
    } catch (const std::exception&) {  // PyTorch's or oneDNN's: their only way to say that this processor has no brgemm
      return false;
    }
    release();
    return c[0] == 19 && c[1] == 22 && c[2] == 43 && c[3] == 50;
  }();
  return can;
}
#else  // an older PyTorch
template <typename T>
void multiply(int64_t, int64_t, int64_t, const T*, int64_t, const T*, int64_t, float*, int64_t, bool) {}
inline void release() {}
template <typename T>
bool can_multiply() { return false; }
#endif

// Numbers of a thread's own, 0 at first; they start where a line of the cache does.
template <typename T>
class Room {
 public:
  explicit Room(int64_t count) : memory(c10::GetCPUAllocator()->allocate(count * sizeof(T))) {
    std::memset(memory.get(), 0, count * sizeof(T));
  }
  T* data() { return static_cast<T*>(memory.get()); }

 private:
  at::DataPtr memory;
};

// Interleaves the rows of a matrix in pairs where a product wants it; a row of zeros is added to an odd number.
template <typename T>
Tensor as_second_factor(const Tensor& matrix) {
  if (PAIR<T> == 1) return matrix.contiguous();
  const auto even = matrix.size(0) % 2 ? at::constant_pad_nd(matrix, {0, 0, 0, 1}) : matrix;
  return even.reshape({-1, 2, even.size(1)}).permute({0, 2, 1}).contiguous();
}

// Turns (rows, channels) into (channels, even number of rows), in squares; all edges are whole SQUAREs but `rows`.
template <typename T>
void transpose(const T* from, int64_t row, int64_t rows, T* to, int64_t to_row) {
  for (int64_t i = 0; i < rows; i += SQUARE)
    for (int64_t c = 0; c < row; c += SQUARE)
      at::vec::transpose_mxn<T, SQUARE, SQUARE>(from + i * row + c, row, to + c * to_row + i, to_row);
  if (rows % PAIR<T>)
    for (int64_t c = 0; c < row; ++c) to[c * to_row + rows] = T(0);
}

// Interleaves rows in pairs, as `as_second_factor` does.
template <typename T>
void interleave(const T* from, int64_t row, int64_t rows, int64_t channels, T* to) {
  static_assert(sizeof(T) == sizeof(uint16_t));
  const auto* first = reinterpret_cast<const uint16_t*>(from);
  auto* pairs = reinterpret_cast<uint32_t*>(to);
  for (int64_t i = 0; i < rows; i += 2, first += 2 * row, pairs += channels)
    if (i + 1 < rows)
      for (int64_t c = 0; c < channels; ++c) pairs[c] = first[c] | uint32_t(first[row + c]) << 16;
    else
      for (int64_t c = 0; c < channels; ++c) pairs[c] = first[c];
}

}  // namespace densenet_course
