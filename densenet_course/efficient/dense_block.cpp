// A dense block over maps in channels-last on a CPU without Python between its layers, which for small maps takes
// longer than the arithmetic: what functions.py does.

#include "step.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <cmath>
#include <vector>

namespace densenet_course {

// Every channel is written before it is read, and none is left as it was.
void check_place(size_t i, int64_t reads, int64_t writes, int64_t filled) {
  TORCH_CHECK(0 <= reads && reads <= filled && (reads > 0 || i > 0), "places: stage ", i, " reads ", reads,
              " channels where ", filled, " are there");
  TORCH_CHECK(writes == -1 || writes == filled, "places: stage ", i, " writes channel ", writes, ", expected ", filled);
}

// Computes a dense block when nothing is learned. For each stage: six tensors; four places, which are the padding, how
// many channels of the block it reads (0: what the stage before made), and the first that it writes (-1: none); an eps.
Tensor infer(const Tensor& features, const Tensors& tensors, at::IntArrayRef places, at::ArrayRef<double> eps,
             int64_t channels, int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  check_maps(features, "features");
  TORCH_CHECK(places.size() == 4 * eps.size(), "places: expected ", 4 * eps.size(), ", got ", places.size());
  std::vector<Step> steps;
  int64_t filled = features.size(1);
  for (size_t i = 0; i < eps.size(); ++i) {
    steps.push_back(step_of(tensors, 6 * i, eps[i], places.slice(4 * i, 2), features.scalar_type()));
    const int64_t reads = places[4 * i + 2], writes = places[4 * i + 3];
    check_place(i, reads, writes, filled);
    if (writes >= 0) filled += steps[i].weight.size(0);
  }
  TORCH_CHECK(filled == channels, "channels: expected ", filled, ", which the stages fill, got ", channels);
  auto maps = empty_maps(features, channels);
  maps.narrow(1, 0, features.size(1)).copy_(features);
  over_tiles(maps, images, [&](int64_t first, int64_t count) {
    const auto block = maps.narrow(0, first, count);
    Tensor made;
    for (size_t i = 0; i < steps.size(); ++i) {
      const int64_t reads = places[4 * i + 2], writes = places[4 * i + 3];
      made = convolve(activate(reads ? block.narrow(1, 0, reads) : made, steps[i].scale, steps[i].shift), steps[i]);
      if (writes >= 0) copy_rows(made, block.narrow(1, writes, made.size(1)));
    }
  });
  return maps;
}

// One stage of a block that learns, as Python describes it. Tensors: γ, β, running mean and variance, weight, bias,
// number of batches tracked. Places: the padding; how many channels of the block it reads (0: what the stage before
// made), the first that it writes (-1: none); whether it uses the batch's statistics, whether what it makes is
// measured, whether its running statistics are moved. Numbers: ε, momentum (not a number: the mean of all batches), the
// rate of dropout.
struct Stage {
  static constexpr size_t TENSORS = 7, PLACES = 7, NUMBERS = 3;
  at::IntArrayRef padding;
  int64_t reads, writes;
  bool uses_batch, measured, moves;
  double eps, momentum, drop_rate;
};

std::vector<Stage> stages_of(at::IntArrayRef places, at::ArrayRef<double> numbers) {
  const size_t count = numbers.size() / Stage::NUMBERS;
  TORCH_CHECK(count > 0 && numbers.size() == Stage::NUMBERS * count && places.size() == Stage::PLACES * count,
              "expected 7 places and 3 numbers for each stage, got ", places.size(), " and ", numbers.size());
  std::vector<Stage> stages;
  for (size_t i = 0; i < count; ++i) {
    const auto p = places.slice(Stage::PLACES * i, Stage::PLACES);
    const auto n = numbers.slice(Stage::NUMBERS * i, Stage::NUMBERS);
    stages.push_back({p.slice(0, 2), p[2], p[3], p[4] != 0, p[5] != 0, p[6] != 0, n[0], n[1], n[2]});
  }
  return stages;
}

// Draws the factors of dropout as functions.dropout does.
std::optional<Tensor> dropout(const Tensor& maps, double rate) {
  if (rate == 0) return std::nullopt;
  const auto keep = at::empty(maps.sizes(), maps.options());
  return rate < 1 ? keep.bernoulli_(1 - rate).div_(1 - rate) : keep.zero_();
}

// As Step.update_running of steps.py.
void move_running(const Stage& stage, const Tensors& tensors, size_t first, const Tensor& mean, const Tensor& var,
                  double count) {
  const auto running_mean = taken(tensors, first + 2, "running mean");
  const auto running_var = taken(tensors, first + 3, "running variance");
  const auto tracked = taken_if_any(tensors, first + 6, "batches tracked");
  double rate = stage.momentum;
  if (tracked) tracked->add_(1);
  if (std::isnan(rate)) rate = tracked ? 1 / tracked->item().toDouble() : 0;
  running_mean.lerp_(mean.to(running_mean.scalar_type()), rate);
  running_var.lerp_((var * (count / (count - 1))).to(running_var.scalar_type()), rate);  // the unbiased one
  for (const auto& changed : {tracked.value_or(running_mean), running_mean, running_var})
    if (!changed.is_inference()) changed.unsafeGetTensorImpl()->bump_version();  // or autograd would not notice
}

// Computes a dense block that learns. Returns what its backward pass reads: the maps; their means, if any; for each
// stage its source, if that is not the block, the mean and variance that it used, and its factors of dropout.
Tensors learn(const Tensor& features, const Tensors& tensors, at::IntArrayRef places, at::ArrayRef<double> numbers,
              int64_t channels, int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  check_maps(features, "features");
  TORCH_CHECK(features.numel() > 0, "features: expected values, got ", features.sizes());
  const auto stages = stages_of(places, numbers);
  TORCH_CHECK(tensors.size() == Stage::TENSORS * stages.size(), "expected 7 tensors for each stage, got ",
              tensors.size());
  const auto maps = empty_maps(features, channels), place = maps.narrow(1, 0, features.size(1));
  const auto type = at::toOpMathType(features.scalar_type());
  std::optional<Tensor> mean, var;
  if (std::any_of(stages.begin(), stages.end(), [](const Stage& s) { return s.reads && s.uses_batch; })) {
    mean = at::zeros({channels}, features.options().dtype(type)), var = at::zeros_like(*mean);
    const auto [first, second] = store(features.contiguous(at::MemoryFormat::ChannelsLast), place);
    mean->narrow(0, 0, place.size(1)).copy_(first);
    var->narrow(0, 0, place.size(1)).copy_(second);
  } else {
    place.copy_(features);
  }
  Tensors kept({maps, mean});
  int64_t filled = features.size(1);
  Tensor made, made_mean, made_var;
  for (size_t i = 0; i < stages.size(); ++i) {
    const auto& stage = stages[i];
    const size_t first = Stage::TENSORS * i;
    check_place(i, stage.reads, stage.writes, filled);
    const auto source = stage.reads ? maps.narrow(1, 0, stage.reads) : made;
    Tensor used_mean, used_var;
    if (!stage.uses_batch) {
      used_mean = taken(tensors, first + 2, "running mean").to(type, false, true);
      used_var = taken(tensors, first + 3, "running var").to(type, false, true);
    } else if (stage.reads) {
      used_mean = mean->narrow(0, 0, stage.reads), used_var = var->narrow(0, 0, stage.reads);
    } else {
      used_mean = made_mean, used_var = made_var;
      TORCH_CHECK(used_mean.defined(), "places: stage ", i, " uses statistics that stage ", i - 1, " did not measure");
    }
    const Tensors own({taken(tensors, first, "gamma"), taken(tensors, first + 1, "beta"), used_mean, used_var,
                       taken(tensors, first + 4, "weight"), taken_if_any(tensors, first + 5, "bias")});
    const auto step = step_of(own, 0, stage.eps, stage.padding, features.scalar_type());
    const int64_t makes = step.weight.size(0);
    if (stage.writes >= 0) {
      TORCH_CHECK(filled + makes <= channels, "channels: expected at least ", filled + makes, ", got ", channels);
      filled += makes;
    }
    made = stage.writes < 0 ? empty_maps(features, makes) : maps.narrow(1, stage.writes, makes);
    const auto keep = dropout(made, stage.drop_rate);
    std::tie(made_mean, made_var) = step_forward(source, step, made, stage.measured, keep, images);
    if (stage.moves) move_running(stage, tensors, first, used_mean, used_var, count_rows(maps));
    if (stage.writes >= 0 && stage.measured && mean) {
      mean->narrow(0, stage.writes, makes).copy_(made_mean);
      var->narrow(0, stage.writes, makes).copy_(made_var);
    }
    kept.push_back(stage.reads ? std::optional<Tensor>() : source);
    kept.push_back(used_mean);
    kept.push_back(used_var);
    kept.push_back(keep);
  }
  TORCH_CHECK(filled == channels, "channels: expected ", filled, ", which the stages fill, got ", channels);
  return kept;
}

// Goes back through the stages, the last first. `kept`: what `learn` returned; `parameters`: γ, β, weight and bias of
// each stage; `needs`: whether the features need a gradient, and then each of the parameters. Returns the gradients in
// the order of `needs`.
Tensors learn_backward(const Tensor& grad, const Tensors& kept, const Tensors& parameters, at::IntArrayRef places,
                       at::ArrayRef<double> numbers, at::IntArrayRef needs, int64_t images) {
  at::AutoDispatchBelowADInplaceOrView nothing_is_recorded;
  const auto stages = stages_of(places, numbers);
  const size_t count = stages.size();
  TORCH_CHECK(kept.size() == 4 * count + 2 && parameters.size() == 4 * count && needs.size() == 4 * count + 1,
              "expected 4 kept tensors, parameters and needs for each stage, got ", kept.size(), ", ",
              parameters.size(), " and ", needs.size());
  std::vector<bool> further{needs[0] != 0};  // whether anything before each stage needs a gradient
  for (size_t i = 0; i < count; ++i)
    further.push_back(further[i] || std::any_of(&needs[4 * i + 1], &needs[4 * i + 1] + 4, [](auto n) { return n; }));
  const auto gradient_of = [](const Tensor& total, const Tensor& maps, const std::optional<Tensor>& mean) {
    const auto zeros = [&] { return mean ? std::optional<Tensor>(at::zeros_like(*mean)) : std::nullopt; };
    return Gradient(total, maps, mean, zeros(), zeros());
  };
  const auto maps = taken(kept, 0, "maps");
  const Gradient block = gradient_of(grad.clone(at::MemoryFormat::ChannelsLast), maps, taken_if_any(kept, 1, "mean"));
  Gradient below = block;
  std::vector<std::optional<Tensor>> found(4 * count + 1);
  for (size_t i = count; i-- > 0 && further[i + 1];) {
    const auto& stage = stages[i];
    const auto mean = taken(kept, 4 * i + 3, "mean"), var = taken(kept, 4 * i + 4, "variance");
    const auto parameter = [&](size_t which) { return taken(parameters, 4 * i + which, "parameter"); };
    const Tensors own({parameter(0), parameter(1), mean, var, parameter(2),
                       taken_if_any(parameters, 4 * i + 3, "bias")});
    const auto step = step_of(own, 0, stage.eps, stage.padding, maps.scalar_type());
    const auto above = stage.writes < 0 ? below : block.part(stage.writes, step.weight.size(0));
    if (stage.reads) {
      below = block.part(0, stage.reads);
    } else {
      const auto source = taken(kept, 4 * i + 2, "source");
      below = gradient_of(empty_maps(source, source.size(1)), source,
                          stage.uses_batch ? std::optional<Tensor>(mean) : std::nullopt);
    }
    const auto needed = needs.slice(4 * i + 1, 4);
    const auto grads = step_backward(step, stage.uses_batch, above, below, !stage.reads,
                                     taken_if_any(kept, 4 * i + 5, "keep"),
                                     {further[i] || needed[0] || needed[1], needed[2] != 0, needed[3] != 0}, images);
    for (size_t which = 0; which < 4; ++which)
      if (grads[which].defined() && needed[which])
        found[4 * i + 1 + which] = grads[which].to(parameter(which).scalar_type());
  }
  if (needs[0]) found[0] = block.part(0, stages[0].reads).finished(0, maps.size(0));
  Tensors result;
  for (const auto& each : found) result.push_back(each);
  return result;
}

TORCH_LIBRARY_FRAGMENT(densenet_course, library) {
  library.def("infer", infer);
  library.def("learn", learn);
  library.def("learn_backward", learn_backward);
}

}  // namespace densenet_course
