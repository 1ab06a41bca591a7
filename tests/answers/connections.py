"""Answers to exercise connections."""

import functools

import numpy
import torch

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def links(num_layers):
    return num_layers * (num_layers + 1) // 2


def channels(in_channels, num_layers, growth_rate):
    return in_channels + num_layers * growth_rate


@right
class closed_formulas:
    def count_connections(num_layers):
        return num_layers * (num_layers + 1) // 2

    def channels_after(in_channels, num_layers, growth_rate):
        return in_channels + num_layers * growth_rate


@right
class loops_over_pairs_and_layers:
    def count_connections(num_layers):
        return len([(source, target) for target in range(1, num_layers + 1) for source in range(target)])

    def channels_after(in_channels, num_layers, growth_rate):
        features = [in_channels]
        for _ in range(num_layers):
            features.append(growth_rate)
        return sum(features)


@right
class NumPy_integers_and_a_0_dim_tensor:
    def count_connections(num_layers):
        return numpy.arange(num_layers + 1).sum()

    def channels_after(in_channels, num_layers, growth_rate):
        return torch.tensor(in_channels) + num_layers * growth_rate


@functools.cache
def recursive(num_layers):
    return num_layers and num_layers + recursive(num_layers - 1)


@right
class recursion_with_a_cache_and_a_lambda:
    count_connections = recursive
    channels_after = lambda c, n, k: c if n == 0 else sum([c, *[k] * n])  # noqa: E731


@right
class division_made_whole_and_a_tensor_that_is_joined:
    def count_connections(num_layers):
        return int(num_layers * (num_layers + 1) / 2)

    def channels_after(in_channels, num_layers, growth_rate):
        print("joining")
        features = torch.zeros(1, in_channels)
        for _ in range(num_layers):
            features = torch.cat([features, torch.zeros(1, growth_rate)], dim=1)
        return features.shape[1]


@wrong("Are the links from the block's input missing?")
class the_input_forgotten:
    def count_connections(num_layers):
        return sum(range(num_layers))

    channels_after = channels


@wrong("Where the block's output goes is not counted")
class the_output_counted:
    def count_connections(num_layers):
        return sum(range(num_layers + 2))

    channels_after = channels


@wrong("counted from both ends")
class not_halved:
    def count_connections(num_layers):
        return num_layers * (num_layers + 1)

    channels_after = channels


@wrong("as in a plain chain")
class a_chain:
    def count_connections(num_layers):
        return num_layers

    channels_after = channels


@wrong("This is L·L.")
class every_layer_reads_every_layer:
    def count_connections(num_layers):
        return num_layers**2

    channels_after = channels


@wrong("This is L·L + 1/2")
class brackets_forgotten:
    def count_connections(num_layers):
        return num_layers * num_layers + 1 / 2

    channels_after = channels


@wrong("so even L are wrong")
class halved_too_early:
    def count_connections(num_layers):
        return num_layers * ((num_layers + 1) // 2)

    channels_after = channels


@wrong("so odd L are wrong")
class halved_too_early_the_other_way:
    def count_connections(num_layers):
        return num_layers // 2 * (num_layers + 1)

    channels_after = channels


@wrong("doubles with each layer")
class counted_as_paths:
    def count_connections(num_layers):
        return 2**num_layers - 1

    channels_after = channels


@wrong("Use // where you divide")
class a_whole_float:
    def count_connections(num_layers):
        return num_layers * (num_layers + 1) / 2

    channels_after = channels


@wrong("All inputs that were tried gave the same")
class hard_coded_for_the_example:
    def count_connections(num_layers):
        return 15

    def channels_after(in_channels, num_layers, growth_rate):
        return 23


@wrong("= 1 + … + ")
class right_for_small_blocks_only:
    def count_connections(num_layers):
        return links(min(num_layers, 12))

    channels_after = channels


@wrong("Is something kept between calls?")
class a_count_kept_between_calls:
    def count_connections(num_layers, seen=[]):  # noqa: B006
        seen += [None] * links(num_layers)
        return len(seen)

    channels_after = channels


@wrong("Did you return only the new maps?")
class only_the_new_maps:
    count_connections = links

    def channels_after(in_channels, num_layers, growth_rate):
        return num_layers * growth_rate


@wrong("one layer's gain")
class one_layer_only:
    count_connections = links

    def channels_after(in_channels, num_layers, growth_rate):
        return in_channels + growth_rate


@wrong("what the last layer reads")
class the_last_layer_forgotten:
    count_connections = links

    def channels_after(in_channels, num_layers, growth_rate):
        return [in_channels + i * growth_rate for i in range(num_layers)][-1]


@wrong("a bracket too many")
class brackets_too_many:
    count_connections = links

    def channels_after(in_channels, num_layers, growth_rate):
        return (in_channels + growth_rate) * num_layers


@wrong("A sum keeps their number")
class added_as_in_ResNet:
    count_connections = links

    def channels_after(in_channels, num_layers, growth_rate):
        return in_channels


@wrong("the width inside a bottleneck")
class the_bottleneck_width:
    count_connections = links

    def channels_after(in_channels, num_layers, growth_rate):
        return in_channels + num_layers * 4 * growth_rate


@wrong("not once for every link")
class maps_made_for_every_link:
    count_connections = links

    def channels_after(in_channels, num_layers, growth_rate):
        return in_channels + links(num_layers) * growth_rate


@wrong("Are the arguments mixed up?")
class arguments_mixed_up:
    count_connections = links

    def channels_after(num_layers, in_channels, growth_rate):
        return in_channels + num_layers * growth_rate


@wrong("Is there a return?")
class printed_instead_of_returned:
    def count_connections(num_layers):
        print(links(num_layers))

    channels_after = channels


@wrong("expected a whole number (int), got '")
class a_text:
    count_connections = links

    def channels_after(in_channels, num_layers, growth_rate):
        return f"{channels(in_channels, num_layers, growth_rate)}"


@wrong("= 1 + 2 + 3 + 4 + 5, got nan")
class not_a_number:
    def count_connections(num_layers):
        return float("nan")

    channels_after = channels


@wrong("got inf")
class infinite:
    def count_connections(num_layers):
        return float("inf")

    channels_after = channels


@wrong("it raised ZeroDivisionError")
class an_exception:
    count_connections = links

    def channels_after(in_channels, num_layers, growth_rate):
        return in_channels + num_layers / 0 * growth_rate


@wrong("is there a loop that never ends?")
class an_endless_loop:
    def count_connections(num_layers):
        while num_layers:
            pass

    channels_after = channels


@right
class asks_a_live_block_without_memory:
    def count_connections(num_layers):
        return int(torch.ones(num_layers, num_layers, dtype=torch.long).tril().sum())

    def channels_after(in_channels, num_layers, growth_rate):
        from densenet_course.layers import DenseBlock

        with torch.device("meta"):
            block = DenseBlock(num_layers, in_channels, growth_rate).eval()
            return block(torch.empty(1, in_channels, 2, 2)).shape[1]
