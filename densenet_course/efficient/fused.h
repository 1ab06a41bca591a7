// What forward and backward have in common over a few images at a time: the shape of a step, its sums, its averages.

#pragma once

#include "products.h"

#include "step.h"

#include <algorithm>

namespace densenet_course {

// Pixels taken at once, about; and the most that an image may have, because its neighbours must be there.
constexpr int64_t PIXELS_AT_ONCE = 256, MOST_PIXELS = 1024;

struct Shape {
  int64_t images, height, width, channels, makes, high, wide, pool;  // high and wide are the kernel's
  int64_t pixels() const { return height * width; }
  int64_t made_pixels() const { return (height / pool) * (width / pool); }
  int64_t sent() const { return high * wide * makes; }  // numbers that a pixel sends, or that are sent back to it
  int64_t at_once() const { return std::max<int64_t>(1, PIXELS_AT_ONCE / pixels()); }  // images
};

inline Shape shape_of(const Tensor& source, const Step& step) {
  const auto& w = step.weight;
  if (w.size(2) * w.size(3) * step.pool == 1)  // no neighbours: a pixel is as good as an image
    return {count_rows(source), 1, 1, w.size(1), w.size(0), 1, 1, 1};
  return {source.size(0), source.size(2), source.size(3), w.size(1), w.size(0), w.size(2), w.size(3), step.pool};
}

// Calls f(first image, number of images) for a few of a thread's images at a time.
template <typename F>
void over_images(int64_t begin, int64_t end, int64_t at_once, const F& f) {
  for (int64_t first = begin; first < end; first += at_once) f(first, std::min(at_once, end - first));
}

// Adds up two numbers for every channel, as `sum_block` does: BLOCK rows first, then the blocks.
template <typename T, typename F>
void sum_rows(int64_t rows, std::vector<double>& first, std::vector<double>& second, const F& add) {
  const int64_t channels = first.size(), vectors = count_vectors<T>(channels);
  std::vector<Wide<T>> part(2 * vectors);
  for (int64_t begin = 0; begin < rows; begin += BLOCK) {
    sum_block<T>(begin, std::min(begin + BLOCK, rows), channels, part.data(), add);
    const auto* found = reinterpret_cast<const Number<T>*>(part.data());
    for (int64_t c = 0; c < channels; ++c) first[c] += found[c], second[c] += found[vectors * LANES<T> + c];
  }
}

// Averages the squares of images; rows are whole vectors.
template <typename T>
void average(const Shape& s, const T* from, int64_t row, int64_t images, T* to) {
  const int64_t across = s.width / s.pool, made = s.made_pixels();
  const Part<T> share(Number<T>(1) / (s.pool * s.pool));
  for (int64_t i = 0; i < images * made; ++i, to += row) {
    const int64_t y = i % made / across * s.pool, x = i % across * s.pool;
    const T* corner = from + (i / made * s.pixels() + y * s.width + x) * row;
    for (int64_t c = 0; c < row; c += LANES<T>) {
      auto sum = by_parts<T>([](int) INLINE { return Part<T>(0); });
      for (int64_t down = 0; down < s.pool; ++down)
        for (int64_t right = 0; right < s.pool; ++right)
          sum = by_parts<T>([](int, Part<T> all, Part<T> one) INLINE { return all + one; }, sum,
                            load<T>(corner + (down * s.width + right) * row + c, Whole<T>()));
      save<T>(by_parts<T>([=](int, Part<T> all) INLINE { return all * share; }, sum), to + c, Whole<T>());
    }
  }
}

// Dropout's factors are drawn in the order of contiguous maps.
inline std::optional<Tensor> in_rows(const std::optional<Tensor>& keep) {
  return keep ? std::optional<Tensor>(keep->contiguous(at::MemoryFormat::ChannelsLast)) : std::nullopt;
}

}  // namespace densenet_course
