// The way back through a step over a few images at a time: see fused_forward.cpp, backward.py.

#include "fused.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>

namespace densenet_course {

// The gradient of what a step made, as Gradient::finished returns it, but row by row.
template <typename T>
struct Above {
  int64_t channels;
  Rows<const T> total, maps, keep;
  std::vector<Wide<T>> mean, slope, shift;

  Above(const Gradient& above, const std::optional<Tensor>& kept)
      : channels(above.total.size(1)), total(rows<T>(above.total, "total")),
        maps(above.mean ? rows<T>(*above.maps, "maps") : Rows<const T>{nullptr, 0}),
        keep(kept ? rows<T>(*kept, "keep") : Rows<const T>{nullptr, 0}) {
    if (!above.mean) return;
    mean = in_vectors<T>(*above.mean, above.total, "mean");
    slope = in_vectors<T>(*above.slope, above.total, "slope");
    shift = in_vectors<T>(*above.shift, above.total, "shift");
  }

  INLINE void finish(int64_t i, T* to) const {
    if (maps.data)
      finish_row<T>(channels, total[i], maps[i], mean.data(), slope.data(), shift.data(), to);
    else
      std::memcpy(to, total[i], channels * sizeof(T));
    if (!keep.data) return;
    over_vectors<T>(channels, [&](int64_t, int64_t c, auto count) INLINE {
      save<T>(by_parts<T>([](int, Part<T> grad, Part<T> factor) INLINE { return grad * factor; },
                          load<T>(to + c, count), load<T>(keep[i] + c, count)), to + c, count);
    });
  }
};

// Puts side by side the gradients of the pixels to which the pixel (y, x) sent something; `here` is its own. Whole
// vectors are written, from left to right: what is too much is overwritten by the next.
template <typename T>
INLINE inline void collect(const Shape& s, int64_t y, int64_t x, const T* here, int64_t row, T* to, int64_t to_row) {
  for (int64_t i = 0; i < s.high; ++i)
    for (int64_t j = 0; j < s.wide; ++j, to += s.makes) {
      const int64_t down = s.high / 2 - i, right = s.wide / 2 - j;
      const bool is_inside = y + down >= 0 && y + down < s.height && x + right >= 0 && x + right < s.width;
      const T* from = here + (down * s.width + right) * row;
      for (int64_t c = 0; c < s.makes; c += LANES<T>)
        (is_inside ? Vectorized<T>::loadu(from + c) : Vectorized<T>(T(0))).store(to + c);
    }
  if (to_row > s.sent()) *to = T(0);
}

// Which of the squares of these images the pixel i is in; the last, one too many, for what is left at the edges.
INLINE inline int64_t square_of(const Shape& s, int64_t i, int64_t images) {
  const int64_t y = i % s.pixels() / s.width / s.pool, x = i % s.width / s.pool, across = s.width / s.pool;
  const bool is_inside = y < s.height / s.pool && x < across;
  return is_inside ? i / s.pixels() * s.made_pixels() + y * across + x : images * s.made_pixels();
}

// Sums of one thread.
struct Sums {
  std::vector<double> beta, moments, bias;
};

// Adds up what all threads summed, in the format of `like`.
Tensor total_of(const std::vector<Sums>& threads, std::vector<double> Sums::*which, const Tensor& like) {
  const auto result = at::zeros({int64_t((threads[0].*which).size())}, like.options());
  auto* numbers = result.data_ptr<float>();
  for (int64_t c = 0; c < result.numel(); ++c) {
    double sum = 0;
    for (const auto& own : threads) sum += (own.*which)[c];
    numbers[c] = sum;
  }
  return result;
}

template <typename T>
std::array<Tensor, 4> backward(const Step& step, const Gradient& from, const Gradient& below, bool is_first,
                               const std::optional<Tensor>& keep, std::array<bool, 3> wanted) {
  const auto& maps = *below.maps;
  const auto s = shape_of(maps, step);
  const bool has_neighbours = s.high * s.wide > 1;
  const int64_t sent = s.sent(), depth = round_up(sent, PAIR<T>), threads = at::get_num_threads();
  const int64_t active_row = round_up(s.channels, std::max(LANES<T>, SQUARE)), grad_row = round_up(s.makes, LANES<T>);
  const auto share = s.pool > 1 ? step.weight / double(s.pool * s.pool) : step.weight;
  const auto weight = as_second_factor<T>(share.permute({2, 3, 0, 1}).reshape({sent, s.channels}));
  const T* factor = weight.template const_data_ptr<T>();
  const Above<T> above(from, keep);
  const auto x = rows<T>(maps, "maps");
  const auto total = rows_to_write<T>(below.total, "total");
  const auto a = in_vectors<T>(step.scale, maps, "scale"), b = in_vectors<T>(step.shift, maps, "shift"),
             mean = in_vectors<T>(step.mean, maps, "mean");
  const auto weight_sums = at::zeros({wanted[1] ? threads : 0, s.channels, sent}, step.scale.options());
  auto* all_weight_sums = weight_sums.template data_ptr<float>();
  std::vector<Sums> sums(threads, {std::vector<double>(s.channels), std::vector<double>(s.channels),
                                   std::vector<double>(s.makes)});
  at::parallel_for(0, s.images, s.at_once(), [&](int64_t begin, int64_t end) {
    const int64_t most = std::min(s.at_once(), end - begin), most_made = most * s.made_pixels();
    const int64_t even = round_up(most_made, SQUARE);
    Room<T> active(round_up(most * s.pixels(), SQUARE) * active_row), averages(s.pool > 1 ? even * active_row : 0);
    Room<T> grads(has_neighbours ? most_made * grad_row : 0), side(most_made * depth + LANES<T>);
    Room<T> turned(wanted[1] ? active_row * even : 0), pairs(wanted[1] && PAIR<T> == 2 ? even * sent : 0);
    Room<float> inner(wanted[0] ? (most_made + 1) * active_row : 0);
    auto& own = sums[at::get_thread_num()];
    over_images(begin, end, s.at_once(), [&](int64_t first, int64_t count) {
      const int64_t source = first * s.pixels(), pixels = count * s.pixels(), base = first * s.made_pixels();
      const int64_t rows = count * s.made_pixels(), padded = round_up(rows, PAIR<T>);
      const int64_t made_row = has_neighbours ? grad_row : depth;
      T* made = has_neighbours ? grads.data() : side.data();
      for (int64_t i = 0; i < pixels; ++i) {
        PREFETCH(x[source + i + AHEAD]);
        activate_row<T>(s.channels, x[source + i], a.data(), b.data(), active.data() + i * active_row);
      }
      if (s.pool > 1) average<T>(s, active.data(), active_row, count, averages.data());
      for (int64_t i = 0; i < rows; ++i) {
        PREFETCH(above.total[base + i + AHEAD]);
        above.finish(base + i, made + i * made_row);
        if (wanted[2])
          for (int64_t c = 0; c < s.makes; ++c) own.bias[c] += float(made[i * made_row + c]);
      }
      if (has_neighbours)
        for (int64_t i = 0; i < rows;)
          for (int64_t y = 0; y < s.height; ++y)
            for (int64_t x = 0; x < s.width; ++x, ++i)
              collect<T>(s, y, x, made + i * made_row, made_row, side.data() + i * depth, depth);
      if (wanted[0]) {
        multiply<T>(rows, s.channels, depth, side.data(), depth, factor, s.channels, inner.data(), active_row, false);
        if (s.pool > 1) std::memset(inner.data() + rows * active_row, 0, active_row * sizeof(float));
        sum_rows<T>(pixels, own.beta, own.moments, [&](int64_t i, int64_t v, int64_t c, auto lanes, Wide<T>& sum,
                                                       Wide<T>& moment) INLINE {
          const int64_t grad = s.pool > 1 ? square_of(s, i, count) : i;
          send_back_vector<T>(inner.data() + grad * active_row + c, active.data() + i * active_row + c,
                              x[source + i] + c, a[v], mean[v], is_first, total[source + i] + c, lanes, sum, moment);
        });
      }
      if (!wanted[1]) return;
      transpose<T>(s.pool > 1 ? averages.data() : active.data(), active_row, rows, turned.data(), even);
      if constexpr (PAIR<T> == 2) interleave<T>(side.data(), depth, rows, sent, pairs.data());
      multiply<T>(s.channels, sent, padded, turned.data(), even, PAIR<T> == 2 ? pairs.data() : side.data(), sent,
                  all_weight_sums + at::get_thread_num() * s.channels * sent, sent, true);
    });
    release();
  });
  std::array<Tensor, 4> grads;
  if (wanted[0]) {
    grads[0] = total_of(sums, &Sums::moments, step.scale).mul_(step.r);
    grads[1] = total_of(sums, &Sums::beta, step.scale);
  }
  if (wanted[1]) grads[2] = weight_sums.sum(0).view({s.channels, s.high, s.wide, s.makes}).permute({3, 0, 1, 2});
  if (wanted[2]) grads[3] = total_of(sums, &Sums::bias, step.scale);
  return grads;
}

std::array<Tensor, 4> run_backward_fused(const Step& step, const Gradient& above, const Gradient& below, bool is_first,
                                         const std::optional<Tensor>& keep, std::array<bool, 3> wanted) {
  const auto kept = in_rows(keep);
  return below.total.scalar_type() == at::kFloat ? backward<float>(step, above, below, is_first, kept, wanted)
                                                 : backward<BFloat16>(step, above, below, is_first, kept, wanted);
}

}  // namespace densenet_course
