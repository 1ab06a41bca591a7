// A step of BatchNorm → ReLU → convolution over a few images at a time, which stay in the processor's cache.
//
// A convolution is a product of matrices here. Forward, every pixel makes what it sends to each of its neighbours, one
// for each number of the kernel's square (a tap), and what was sent to a pixel is summed. Backward, the gradients of
// those neighbours are put side by side first. PyTorch's brgemm multiplies: oneDNN's product of matrices that lie in
// the cache already, in whatever units the processor has.

#include "fused.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

namespace densenet_course {

bool fits_fused(const Tensor& source, const Step& step) {
  const auto format = source.scalar_type();
  const int64_t high = step.weight.size(2), wide = step.weight.size(3);
  const bool keeps_size = high % 2 == 1 && wide % 2 == 1 && step.padding[0] == high / 2 && step.padding[1] == wide / 2;
  return keeps_size && (step.pool == 1 || high * wide == 1) && std::min(source.size(2), source.size(3)) >= step.pool &&
         (high * wide * step.pool == 1 || source.size(2) * source.size(3) <= MOST_PIXELS) &&
         ((format == at::kFloat && can_multiply<float>()) || (format == at::kBFloat16 && can_multiply<BFloat16>()));
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

}  // namespace densenet_course
