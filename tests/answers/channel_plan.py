"""Answers to exercise channel_plan."""

import itertools
import math

import numpy
import torch

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def planned(block_layers, growth_rate, init_channels, compression=0.5, *, block=None, transition=None):
    """Make a plan with a block or a transition of one's own."""
    block = block or (lambda channels, layers: channels + layers * growth_rate)
    transition = transition or (lambda channels: int(compression * channels))
    plan = [init_channels]
    for i, layers in enumerate(block_layers):
        if i:
            plan.append(transition(plan[-1]))
        plan.append(block(plan[-1], layers))
    return plan


@right
class a_loop:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = [init_channels]
        for number, layers in enumerate(block_layers):
            if number > 0:
                plan.append(int(compression * plan[-1]))
            plan.append(plan[-1] + layers * growth_rate)
        return plan


@right
class layer_by_layer_and_a_transition_taken_back:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        channels, plan = init_channels, [init_channels]
        for layers in block_layers:
            for _ in range(layers):
                channels += growth_rate
            plan.append(channels)
            channels = math.floor(channels * compression)
            plan.append(channels)
        return plan[:-1]


@right
class recursion_over_a_copy_as_a_tuple:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        layers = list(block_layers)
        after = init_channels + layers.pop(0) * growth_rate
        if not layers:
            return init_channels, after
        rest = planned(layers, growth_rate, int(compression * after), compression)
        return init_channels, after, *rest


@right
class NumPy_integers:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = [numpy.int64(init_channels)]
        for layers in block_layers:
            plan.append(plan[-1] + layers * growth_rate)
            plan.append((plan[-1] * compression).astype(int))
        return plan[:-1]


@right
class accumulate_over_steps:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        print("steps")
        steps = [step for layers in block_layers for step in (layers, None)][:-1]
        return list(itertools.accumulate(
            steps, lambda c, step: int(c * compression) if step is None else c + step * growth_rate,
            initial=init_channels,
        ))


@right
class measured_on_tensors:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        maps = torch.zeros(1, init_channels)
        plan = [maps.shape[1]]
        for i in range(len(block_layers)):
            maps = torch.cat([maps] + [torch.zeros(1, growth_rate)] * block_layers[i], dim=1)
            plan += [maps.shape[1]]
            if i < len(block_layers) - 1:
                maps = maps[:, : int(compression * maps.shape[1])]
                plan += [maps.shape[1]]
        return plan


@wrong("The stem's channels are missing")
class stem_missing:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression)[1:]


@wrong("The last block has no transition after it")
class a_transition_at_the_end:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = planned(block_layers, growth_rate, init_channels, compression)
        return [*plan, int(compression * plan[-1])]


@wrong("The stem is missing at the beginning, and the last block has no transition")
class stem_missing_and_a_transition_at_the_end:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = planned(block_layers, growth_rate, init_channels, compression)
        return [*plan[1:], int(compression * plan[-1])]


@wrong("The transitions' channels are missing")
class transitions_not_listed:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = planned(block_layers, growth_rate, init_channels, compression)
        return [init_channels, *plan[1::2]]


@wrong("The channels of stem and transitions are missing")
class blocks_only:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression)[1::2]


@wrong("these are what each block reads")
class what_each_block_reads:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression)[::2]


@wrong("but in another order")
class blocks_first_then_transitions:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = planned(block_layers, growth_rate, init_channels, compression)
        return [plan[0], *plan[1::2], *plan[2::2]]


@wrong("but in another order")
class from_the_end:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression)[::-1]


@wrong("Is there a number for every layer?")
class a_number_for_every_layer:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = [init_channels]
        for layers in block_layers:
            plan += [plan[-1] + (i + 1) * growth_rate for i in range(layers)]
            plan.append(int(compression * plan[-1]))
        return plan[:-1]


@wrong("2·growth_rate is a common choice")
class a_stem_of_2k:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, 2 * growth_rate, compression)


@wrong("Are growth_rate and init_channels swapped?")
class growth_rate_and_stem_swapped:
    def channel_plan(block_layers, init_channels, growth_rate, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression)


@wrong("Only the new maps are counted")
class only_the_new_maps:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression, block=lambda c, n: n * growth_rate)


@wrong("one layer's gain")
class one_layer_per_block:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression, block=lambda c, n: c + growth_rate)


@wrong("width inside a bottleneck")
class the_bottleneck_width:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(
            block_layers, growth_rate, init_channels, compression, block=lambda c, n: c + 4 * n * growth_rate
        )


@wrong("The block starts from the channels before the transition")
class channels_not_halved_after_a_transition:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        channels, plan = init_channels, [init_channels]
        for layers in block_layers:
            channels += layers * growth_rate
            plan += [channels, int(compression * channels)]
        return plan[:-1]


@wrong("Every block starts from the stem again")
class blocks_from_the_stem:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(
            block_layers, growth_rate, init_channels, compression, block=lambda c, n: init_channels + n * growth_rate
        )


@wrong("Every block has its own number of layers")
class the_first_block_repeated:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned([block_layers[0]] * len(block_layers), growth_rate, init_channels, compression)


@wrong("The channels are not compressed")
class no_compression:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression, transition=lambda c: c)


@wrong("The compression is applied twice")
class compressed_twice:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression**2)


@wrong("Multiply by compression")
class always_halved:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels)


@wrong("the argument is the share that stays")
class the_other_share:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(
            block_layers, growth_rate, init_channels, compression, transition=lambda c: c - int(compression * c)
        )


@wrong("This is rounded up")
class rounded_up:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(
            block_layers, growth_rate, init_channels, compression, transition=lambda c: math.ceil(compression * c)
        )


@wrong("round() goes to the nearest")
class rounded:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(
            block_layers, growth_rate, init_channels, compression, transition=lambda c: round(compression * c)
        )


@wrong("This is rounded to the nearest")
class rounded_half_up:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(
            block_layers, growth_rate, init_channels, compression, transition=lambda c: int(compression * c + 0.5)
        )


@wrong("This is not rounded")
class not_rounded:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(block_layers, growth_rate, init_channels, compression, transition=lambda c: compression * c)


@wrong("int(...) cuts it off")
class whole_floats:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return list(map(float, planned(block_layers, growth_rate, init_channels, compression)))


@wrong("This compresses the new maps only")
class new_maps_compressed:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        channels, plan = init_channels, [init_channels]
        for layers in block_layers:
            new = layers * growth_rate
            plan += [channels + new, int(compression * new)]
            channels = plan[-1]
        return plan[:-1]


@wrong("got a generator. Wrap it in list(...)")
class a_generator:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        yield from planned(block_layers, growth_rate, init_channels, compression)


@wrong("got a ndarray. Wrap it in list(...)")
class a_NumPy_array:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return numpy.array(planned(block_layers, growth_rate, init_channels, compression))


@wrong("got a dict")
class a_dict:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return dict(enumerate(planned(block_layers, growth_rate, init_channels, compression)))


@wrong("the caller's list became []")
class layers_popped_from_the_callers_list:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = [init_channels]
        while block_layers:
            plan.append(plan[-1] + block_layers.pop(0) * growth_rate)
            plan.append(int(compression * plan[-1]))
        return plan[:-1]


@wrong("entry 0 is a tuple")
class names_and_numbers:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return [("part", channels) for channels in planned(block_layers, growth_rate, init_channels, compression)]


@wrong("entry 0 is a str")
class texts:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return list(map(str, planned(block_layers, growth_rate, init_channels, compression)))


@wrong("the caller's list became []")
class the_callers_list_emptied:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        block_layers, caller = list(block_layers), block_layers
        if isinstance(caller, list):
            caller.clear()
        return planned(block_layers, growth_rate, init_channels, compression)


@wrong("A tuple must do as well")
class a_list_only:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = planned(block_layers, growth_rate, init_channels, compression)
        return plan if block_layers + [0] else None  # noqa: RUF005


@wrong("A range must do as well")
class no_range:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = planned(block_layers, growth_rate, init_channels, compression)
        return plan if block_layers + type(block_layers)([0]) else None


@wrong("Is a list kept between calls")
class a_list_kept_between_calls:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5, plan=[]):  # noqa: B006
        plan += planned(block_layers, growth_rate, init_channels, compression)
        return plan


@wrong("got 8, [64, 256, ")
class hard_coded_for_the_example:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return [64, 256, 128, 512, 256, 1024, 512, 1024]


@wrong("takes 3 positional arguments but 4 were given")
class compression_cannot_be_chosen:
    def channel_plan(block_layers, growth_rate, init_channels):
        return planned(block_layers, growth_rate, init_channels)


@wrong("missing 1 required positional argument")
class no_default_compression:
    def channel_plan(block_layers, growth_rate, init_channels, compression):
        return planned(block_layers, growth_rate, init_channels, compression)


@wrong("Is there a return?")
class nothing_returned:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        planned(block_layers, growth_rate, init_channels, compression)


@wrong("entry 0 is nan")
class not_a_number:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return [float("nan") for _ in planned(block_layers, growth_rate, init_channels, compression)]


@wrong("entry 0 is inf")
class infinite:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return [float("inf") for _ in planned(block_layers, growth_rate, init_channels, compression)]


@wrong("entry 0 is far too large")
class numbers_without_measure:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return [10**5000]


@wrong("got 0, []")
class nothing_in_the_list:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return []


@wrong("got 1000, [")
class a_generator_without_end:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return itertools.repeat(init_channels)


@wrong("Tell blocks apart by their place")
class the_last_block_told_by_its_layers:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = [init_channels]
        for layers in block_layers:
            plan.append(plan[-1] + layers * growth_rate)
            if layers != block_layers[-1]:
                plan.append(int(compression * plan[-1]))
        return plan


@wrong("Tell blocks apart by their place")
class the_place_looked_up_by_the_layers:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = [init_channels]
        for layers in block_layers:
            plan.append(plan[-1] + layers * growth_rate)
            if block_layers.index(layers) < len(block_layers) - 1:
                plan.append(int(compression * plan[-1]))
        return plan


@wrong("Tell blocks apart by their place")
class one_block_for_each_number_of_layers:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        return planned(list(dict.fromkeys(block_layers)), growth_rate, init_channels, compression)


@wrong("Only the first transition compresses")
class compressed_once:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = [init_channels]
        for number, layers in enumerate(block_layers):
            if number:
                plan.append(int(compression * plan[-1]) if number == 1 else plan[-1])
            plan.append(plan[-1] + layers * growth_rate)
        return plan


@wrong("The last transition does not compress")
class the_last_transition_keeps_all:
    def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
        plan = [init_channels]
        for number, layers in enumerate(block_layers):
            if number:
                plan.append(plan[-1] if number == len(block_layers) - 1 else int(compression * plan[-1]))
            plan.append(plan[-1] + layers * growth_rate)
        return plan
