// A step of BatchNorm → ReLU → convolution over a few images at a time, which stay in the processor's cache.
//
// A convolution is a product of matrices here. Forward, every pixel makes what it sends to each of its neighbours, one
// for each number of the kernel's square (a tap), and what was sent to a pixel is summed. Backward, the gradients of
// those neighbours are put side by side first. PyTorch's brgemm multiplies: oneDNN's product of matrices that lie in
// the cache already, in whatever units the processor has.

#include "vectors.h"  // first: it says how wide PyTorch's vectors are

#include "step.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>

namespace densenet_course {

using at::BFloat16;

// Pixels taken at once, about; and the most that an image may have, because its neighbours must be there.
constexpr int64_t PIXELS_AT_ONCE = 256, MOST_PIXELS = 1024;

// Edge of the squares in which a matrix is transposed.
constexpr int64_t SQUARE = 16;

// Rows of a product's second factor that lie interleaved, because the processor takes so many numbers in one step.
template <typename T>
constexpr int64_t PAIR = sizeof(T) == 2 ? 2 : 1;

int64_t round_up(int64_t number, int64_t to) { return (number + to - 1) / to * to; }

#if defined(CPUBLAS_BRGEMM_F32F32F32) && defined(CPUBLAS_BRGEMM_BF16BF16F32)
// C (m, n) = A (m, k) · B (k, n), added to C if `add`; each with the way from one row to the next.
template <typename T>
void multiply(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, const T* b, int64_t b_row, float* c,
              int64_t c_row, bool add) {
  at::native::cpublas::brgemm(m, n, k, a_row, b_row, c_row, add, a, b, c, PAIR<T> == 2);
}

void release() { at::native::cpublas::brgemm_release(); }

// Whether this processor can, and with B in the order that is expected here: (1 2; 3 4) · (5 6; 7 8).
template <typename T>
bool can_multiply() {
  if (!at::globalContext().userEnabledMkldnn()) return false;
  static const bool can = [] {
    const T a[4] = {1, 2, 3, 4}, plain[4] = {5, 6, 7, 8}, paired[4] = {5, 7, 6, 8};
    float c[4] = {};
    try {
      multiply<T>(2, 2, 2, a, 2, PAIR<T> == 2 ? paired : plain, 2, c, 2, false);
    } catch (const c10::Error&) {  // brgemm's only way to say that it is not made for this processor
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
void release() {}
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

struct Shape {
  int64_t images, height, width, channels, makes, high, wide, pool;  // high and wide are the kernel's
  int64_t pixels() const { return height * width; }
  int64_t made_pixels() const { return (height / pool) * (width / pool); }
  int64_t sent() const { return high * wide * makes; }  // numbers that a pixel sends, or that are sent back to it
  int64_t at_once() const { return std::max<int64_t>(1, PIXELS_AT_ONCE / pixels()); }  // images
};

Shape shape_of(const Tensor& source, const Step& step) {
  const auto& w = step.weight;
  if (w.size(2) * w.size(3) * step.pool == 1)  // no neighbours: a pixel is as good as an image
    return {count_rows(source), 1, 1, w.size(1), w.size(0), 1, 1, 1};
  return {source.size(0), source.size(2), source.size(3), w.size(1), w.size(0), w.size(2), w.size(3), step.pool};
}

bool fits_fused(const Tensor& source, const Step& step) {
  const auto format = source.scalar_type();
  const int64_t high = step.weight.size(2), wide = step.weight.size(3);
  const bool keeps_size = high % 2 == 1 && wide % 2 == 1 && step.padding[0] == high / 2 && step.padding[1] == wide / 2;
  return keeps_size && (step.pool == 1 || high * wide == 1) && std::min(source.size(2), source.size(3)) >= step.pool &&
         (high * wide * step.pool == 1 || source.size(2) * source.size(3) <= MOST_PIXELS) &&
         ((format == at::kFloat && can_multiply<float>()) || (format == at::kBFloat16 && can_multiply<BFloat16>()));
}

// Gives each thread its images, and calls f(first image, number of images) for a few at a time.
template <typename F>
void over_images(int64_t begin, int64_t end, int64_t at_once, const F& f) {
  for (int64_t first = begin; first < end; first += at_once) f(first, std::min(at_once, end - first));
}

// Interleaves the rows of a matrix in pairs where a product wants it; a row of zeros is added to an odd number.
template <typename T>
Tensor as_second_factor(const Tensor& matrix) {
  if (PAIR<T> == 1) return matrix.contiguous();
  const auto even = matrix.size(0) % 2 ? at::constant_pad_nd(matrix, {0, 0, 0, 1}) : matrix;
  return even.reshape({-1, 2, even.size(1)}).permute({0, 2, 1}).contiguous();
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

// Number of values of each channel, their mean, and the sum of their squared distances from it.
struct Moments {
  double count = 0;
  std::vector<double> mean, squares;

  void add(double n, int64_t c, double other_mean, double other_squares) {
    const double away = other_mean - mean[c], all = count + n;
    mean[c] += away * n / all;
    squares[c] += other_squares + away * away * count * n / all;
  }
};

// Source: Chan, Golub and LeVeque 1979 (joining the moments of two parts).
Moments join(const std::vector<Moments>& parts, int64_t channels) {
  Moments all{0, std::vector<double>(channels), std::vector<double>(channels)};
  for (const auto& part : parts) {
    if (part.count == 0) continue;
    for (int64_t c = 0; c < channels; ++c) all.add(part.count, c, part.mean[c], part.squares[c]);
    all.count += part.count;
  }
  return all;
}

template <typename T>
void measure(const Rows<T>& made, int64_t begin, int64_t rows, Moments& moments) {
  const int64_t channels = moments.mean.size();
  std::vector<double> sum(channels), square(channels);
  sum_rows<T>(rows, sum, square, [&](int64_t i, int64_t, int64_t c, auto count, Wide<T>& one, Wide<T>& other) INLINE {
    add_deviation<T>(made[begin + i] + c, made[begin] + c, count, one, other);
  });
  for (int64_t c = 0; c < channels; ++c) {
    const double mean = sum[c] / rows;
    moments.add(rows, c, double(made[begin][c]) + mean, square[c] - mean * sum[c]);
  }
  moments.count += rows;
}

// Which taps of a pixel have a neighbour: those from `first` to before `last`, along one edge.
struct Taps {
  int64_t first, last;
  Taps(int64_t place, int64_t edge, int64_t taps)
      : first(std::max<int64_t>(0, taps / 2 - place)), last(std::min(taps, edge + taps / 2 - place)) {}
};

// Sums what was sent to each pixel of an image, whose rows start at `made`; `base`: the image's first row of all.
template <typename T>
void receive(const Shape& s, const Number<T>* made, const std::vector<Wide<T>>& bias, const Rows<const T>& keep,
             const Rows<T>& to, int64_t base) {
  const int64_t height = s.height / s.pool, width = s.width / s.pool, sent = s.sent();
  const int64_t down = width * sent + s.wide * s.makes, right = sent + s.makes;  // from one tap to the next
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x, ++base, made += sent) {
      const Taps high(y, height, s.high), wide(x, width, s.wide);
      const auto* first = made + (high.first - s.high / 2) * width * sent + (wide.first - s.wide / 2) * sent +
                          (high.first * s.wide + wide.first) * s.makes;
      over_vectors<T>(s.makes, [&](int64_t v, int64_t c, auto count) INLINE {
        auto sum = bias[v];
        const auto* row = first + c;
        for (int64_t i = high.first; i < high.last; ++i, row += down) {
          const auto* from = row;
          for (int64_t j = wide.first; j < wide.last; ++j, from += right)
            sum = by_parts<T>([=](int p, Part<T> all) INLINE {
              return all + Part<T>::loadu(from + p * Part<T>::size());
            }, sum);
        }
        if (keep.data)
          sum = by_parts<T>([](int, Part<T> all, Part<T> factor) INLINE { return all * factor; }, sum,
                            load<T>(keep[base] + c, count));
        save<T>(sum, to[base] + c, count);
      });
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

// Which of the squares of these images the pixel i is in; the last, one too many, for what is left at the edges.
INLINE inline int64_t square_of(const Shape& s, int64_t i, int64_t images) {
  const int64_t y = i % s.pixels() / s.width / s.pool, x = i % s.width / s.pool, across = s.width / s.pool;
  const bool is_inside = y < s.height / s.pool && x < across;
  return is_inside ? i / s.pixels() * s.made_pixels() + y * across + x : images * s.made_pixels();
}

template <typename T>
std::tuple<Tensor, Tensor> forward(const Tensor& source, const Step& step, const Tensor& out, bool measured,
                                   const std::optional<Tensor>& keep) {
  const auto s = shape_of(source, step);
  const int64_t depth = round_up(s.channels, PAIR<T>), active_row = round_up(s.channels, LANES<T>);
  const auto weight = as_second_factor<T>(step.weight.permute({1, 2, 3, 0}).reshape({s.channels, s.sent()}));
  const T* factor = weight.template const_data_ptr<T>();
  const auto from = rows<T>(source, "source");
  const auto to = rows_to_write<T>(out, "out");
  const auto kept = keep ? rows<T>(*keep, "keep") : Rows<const T>{nullptr, 0};
  const auto a = in_vectors<T>(step.scale, source, "scale"), b = in_vectors<T>(step.shift, source, "shift");
  const auto bias = in_vectors<T>(step.bias ? step.bias->to(step.scale.scalar_type()).contiguous()
                                            : at::zeros({s.makes}, step.scale.options()), out, "bias");
  std::vector<Moments> found(at::get_num_threads(), {0, std::vector<double>(s.makes), std::vector<double>(s.makes)});
  at::parallel_for(0, s.images, s.at_once(), [&](int64_t begin, int64_t end) {
    const int64_t most = std::min(s.at_once(), end - begin), most_made = most * s.made_pixels();
    Room<T> active(most * s.pixels() * active_row), averages(s.pool > 1 ? most_made * active_row : 0);
    Room<float> made(most_made * s.sent() + LANES<T>);  // because whole vectors are read
    over_images(begin, end, s.at_once(), [&](int64_t first, int64_t count) {
      const int64_t source = first * s.pixels(), base = first * s.made_pixels(), rows = count * s.made_pixels();
      for (int64_t i = 0; i < count * s.pixels(); ++i) {
        PREFETCH(from[source + i + AHEAD]);
        activate_row<T>(s.channels, from[source + i], a.data(), b.data(), active.data() + i * active_row);
      }
      if (s.pool > 1) average<T>(s, active.data(), active_row, count, averages.data());
      multiply<T>(rows, s.sent(), depth, s.pool > 1 ? averages.data() : active.data(), active_row, factor, s.sent(),
                  made.data(), s.sent(), false);
      for (int64_t i = 0; i < count; ++i)
        receive<T>(s, made.data() + i * s.made_pixels() * s.sent(), bias, kept, to, base + i * s.made_pixels());
      if (measured) measure<T>(to, base, rows, found[at::get_thread_num()]);
    });
    release();
  });
  if (!measured) return {};
  const auto all = join(found, s.makes);
  const auto result = at::empty({2, s.makes}, step.scale.options());
  auto* numbers = result.template data_ptr<float>();
  for (int64_t c = 0; c < s.makes; ++c) {
    numbers[c] = all.mean[c];
    numbers[s.makes + c] = all.squares[c] / all.count;
  }
  return {result[0], result[1]};
}

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

// Sums of one thread.
struct Sums {
  std::vector<double> beta, moments, bias;
};

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
  const auto total_of = [&](std::vector<double> Sums::*which) {
    const auto result = at::zeros({int64_t((sums[0].*which).size())}, step.scale.options());
    auto* numbers = result.template data_ptr<float>();
    for (int64_t c = 0; c < result.numel(); ++c) {
      double sum = 0;
      for (const auto& own : sums) sum += (own.*which)[c];
      numbers[c] = sum;
    }
    return result;
  };
  std::array<Tensor, 4> grads;
  if (wanted[0]) grads[0] = total_of(&Sums::moments).mul_(step.r), grads[1] = total_of(&Sums::beta);
  if (wanted[1]) grads[2] = weight_sums.sum(0).view({s.channels, s.high, s.wide, s.makes}).permute({3, 0, 1, 2});
  if (wanted[2]) grads[3] = total_of(&Sums::bias);
  return grads;
}

// Dropout's factors are drawn in the order of contiguous maps.
std::optional<Tensor> in_rows(const std::optional<Tensor>& keep) {
  return keep ? std::optional<Tensor>(keep->contiguous(at::MemoryFormat::ChannelsLast)) : std::nullopt;
}

std::tuple<Tensor, Tensor> run_fused(const Tensor& source, const Step& step, const Tensor& out, bool measured,
                                     const std::optional<Tensor>& keep) {
  const std::array<int64_t, 4> sizes{source.size(0), step.weight.size(0), source.size(2) / step.pool,
                                     source.size(3) / step.pool};
  TORCH_CHECK(out.sizes() == at::IntArrayRef(sizes) && out.scalar_type() == source.scalar_type(), "out: expected ",
              at::IntArrayRef(sizes), " in ", source.scalar_type(), ", got ", out.sizes(), " in ", out.scalar_type());
  const auto kept = in_rows(keep);
  return source.scalar_type() == at::kFloat ? forward<float>(source, step, out, measured, kept)
                                            : forward<BFloat16>(source, step, out, measured, kept);
}

std::array<Tensor, 4> run_backward_fused(const Step& step, const Gradient& above, const Gradient& below, bool is_first,
                                         const std::optional<Tensor>& keep, std::array<bool, 3> wanted) {
  const auto kept = in_rows(keep);
  return below.total.scalar_type() == at::kFloat ? backward<float>(step, above, below, is_first, kept, wanted)
                                                 : backward<BFloat16>(step, above, below, is_first, kept, wanted);
}

}  // namespace densenet_course
