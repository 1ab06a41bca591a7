"""Exercise memory: a bottleneck layer that is computed again in the backward pass."""

import torch

from densenet_course.checks.engine.answer import plain
from densenet_course.checks.engine.expect import close, expect_close
from densenet_course.checks.engine.explain import RECOMPUTING, expect_no_error
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.probes import prepare
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.memory.probes import count_bytes, describe_module, use
from densenet_course.checks.exercises.memory.wrappers import (
    NAME,
    Joined,
    OtherMode,
    Plain,
    RecomputedInEval,
    Twice,
    draw_images,
    draw_layer,
    rehearse,
    step,
)

EXERCISE = Exercise("memory", names=[NAME], title="Recompute to save memory", lesson="09_memory_and_speed",
                    given=["densenet_course.layers", "densenet_course.measure"])
LOOSE = 2e-3  # of the largest gradient; float32 sums in another order differ by some 1e-5
ENOUGH = 0.95  # of the bytes that the plain layer keeps; who keeps as many recomputes nothing


def ask(answer, layer, steps, *, fresh=True):
    """Let the answer do the steps, each with a new layer or all with one."""
    prepare(answer)
    return answer.ask(use, name=NAME, layer=layer, steps=steps, fresh=fresh)


def where(item):
    """Say in which circumstances a step is done."""
    mode = "train" if item["train"] else "eval"
    return f"{mode} mode" if item["needs"] else f"{mode} mode, input without requires_grad"


# --- findings ---------------------------------------------------------------------------------------------------------

OUTPUTS = (
    (OtherMode, "this is what the layer gives in the other mode. Leave the layer's mode alone."),
    (Joined, "this is the input joined with the new maps. Return the layer's output only."),
)


@EXERCISE.finding("outputs", points=1)
def outputs(answer, draw):
    """The outputs are the layer's own, in both modes, with and without gradients."""
    layer = draw_layer(draw)
    steps = [step(draw, layer, train=train, needs=needs, grad=grad, backward=False)
             for train in (True, False) for needs, grad in ((True, True), (False, True), (True, False))]
    wrong = [(rehearse(wrapper, layer, steps), message) for wrapper, message in OUTPUTS]
    for i, (item, got, expected) in enumerate(zip(steps, ask(answer, layer, steps), rehearse(Plain, layer, steps),
                                                  strict=True)):
        expect_no_error(got["raised"], RECOMPUTING, where(item))
        suspects = [(replies[i]["outputs"][0], message) for replies, message in wrong]
        under = "" if item["grad"] else ", under no_grad"
        expect_close(f"output in {where(item)}{under}", expected["outputs"][0], got["outputs"][0], suspects=suspects)
        if got["input_changed"]:
            raise Wrong("input", cause="the call changed the caller's tensor. Is there an in-place operation on it?")


@EXERCISE.finding("gradients", points=1.5)
def gradients(answer, draw):
    """The gradients of input and parameters are the layer's own, also where the input needs none."""
    layer = draw_layer(draw)
    steps = [step(draw, layer, train=train, needs=needs) for train in (True, False) for needs in (True, False)]
    expected, wrong = rehearse(Plain, layer, steps), rehearse(RecomputedInEval, layer, steps)
    message = "this is the gradient of eval mode. Recompute in the mode of the forward pass, only without its updates."
    for item, got, right, other in zip(steps, ask(answer, layer, steps), expected, wrong, strict=True):
        expect_no_error(got["raised"], RECOMPUTING, where(item))
        expect_gradients(where(item), item, right, got, [(other, message)] * item["train"])


def expect_gradients(what, item, expected, got, wrong=()):
    """Compare the gradients of a step."""
    if not got["requires_grad"]:
        cause = ("The parameters need theirs. use_reentrant=True looks at the input only; use_reentrant=False does not."
                 if not item["needs"] else "Is there a no_grad() or detach() on the way?")
        raise Wrong(what, cause=f"no gradient comes back through the output. {cause}")
    pairs = [(f"gradient of {key}", expected["gradients"][key], got["gradients"][key],
              [(reply["gradients"][key], message) for reply, message in wrong]) for key in expected["gradients"]]
    for i, (right, value) in enumerate(zip(expected["input_gradients"], got["input_gradients"], strict=True)):
        if right is not None:
            suspects = [(reply["input_gradients"][i], message) for reply, message in wrong]
            pairs.append(("gradient of the input", right, value, suspects))
    for name, right, value, suspects in pairs:
        if value is None:
            hint = "" if "input" in name else " Is the layer copied, or are its parameters no inputs of your Function?"
            raise Wrong(what, cause=f"no {name} arrives.{hint}")
        expect_close(f"{name} in {what}", right, value, suspects=suspects, tolerance=LOOSE)


@EXERCISE.finding("saved bytes", points=2.5)
def saved_bytes(answer, draw):
    """Fewer bytes are kept for the backward pass in train mode."""
    expect_fewer(answer, draw, train=True)


@EXERCISE.finding("saved bytes in eval mode", points=0.5)
def saved_bytes_in_eval(answer, draw):
    """Fewer bytes are kept in eval mode too, where the input needs gradients."""
    expect_fewer(answer, draw, train=False)


def bytes_kept(answer, draw, *, train):
    """Count what the answer keeps and what the plain layer keeps, and return the request too."""
    prepare(answer)
    layer = draw_layer(draw)
    (images,) = draw_images(draw, layer)
    request = {"layer": layer, "images": images, "train": train}
    got = answer.ask(count_bytes, name=NAME, **request)
    return got, plain(count_bytes({NAME: Plain}, NAME, **request)), request


def expect_recomputing(answer, draw):
    """Refuse an answer that recomputes nothing: it has not met what this finding looks at."""
    got, plainly, _ = bytes_kept(answer, draw, train=True)
    if got["saved"] >= ENOUGH * plainly["saved"]:
        raise Wrong("nothing is computed again in train mode yet, so the second pass cannot be judged.")


def expect_fewer(answer, draw, *, train):
    """Hold the bytes that an answer keeps against those of the plain layer."""
    got, plainly, request = bytes_kept(answer, draw, train=train)
    mode = "train" if train else "eval"
    if not got["reaches"]:
        raise Wrong(f"{mode} mode", cause="no gradient comes back through the layer, so there is nothing to save for.")
    if got["saved"] >= ENOUGH * plainly["saved"]:
        cause = ("Is the layer called by torch.utils.checkpoint, or in a Function of your own?" if train else
                 "The input needs gradients here too, so recompute in both modes.")
        raise Wrong(f"{mode} mode",
                    cause=f"autograd saves {got['saved']:,} bytes, the plain layer {plainly['saved']:,}; "
                          f"expected less than {ENOUGH:.0%} of that. {cause}")
    if train and got["saved"] >= 1.5 * request["images"].nbytes + _waist_bytes(request):
        raise Wrong(f"{mode} mode",
                    cause=f"autograd still saves {got['saved']:,} bytes; the input alone has "
                          f"{request['images'].nbytes:,}, and nothing else is needed. Recompute the whole layer, its "
                          "first BatchNorm too.")
    if got["alive"] >= 0.95 * plainly["alive"]:
        got = answer.ask(count_bytes, name=NAME, **request, collect=True)
    if got["alive"] >= 0.95 * plainly["alive"]:
        raise Wrong(f"{mode} mode",
                    cause=f"autograd saves less, but {got['alive']:,} bytes stay alive elsewhere (plain layer "
                          f"{plainly['alive']:,}). Is something kept on self, on ctx or in a hook?")


def _waist_bytes(request):
    """Count the bytes of the waist's maps: who recomputes each half by itself keeps them beside the input."""
    in_channels, growth_rate, factor = request["layer"]["arguments"]
    return request["images"].nbytes * growth_rate * factor // in_channels


@EXERCISE.finding("statistics", points=2.5)
def statistics(answer, draw):
    """BatchNorm's running statistics and its counter move once in a training step, and not at all in eval mode."""
    expect_recomputing(answer, draw)
    layer = draw_layer(draw)
    steps = [step(draw, layer, train=train, needs=needs) for train, needs in
             ((True, True), (True, False), (False, True))]
    replies = zip(steps, ask(answer, layer, steps), rehearse(Plain, layer, steps), rehearse(Twice, layer, steps),
                  strict=True)
    for item, got, expected, twice in replies:
        expect_no_error(got["raised"], RECOMPUTING, where(item))
        expect_statistics(where(item), layer, expected["buffers"], got["buffers"], twice["buffers"])


def expect_statistics(what, layer, expected, got, twice):
    """Compare BatchNorm's buffers after a step."""
    for key, right in expected.items():
        value, before = got[key], layer["state"][key]
        counter = right.ndim == 0
        if torch.equal(right, value) if counter else close(right, value):
            continue
        if counter:
            raise Wrong(what, cause=f"{key} went from {before} to {value}, expected {right}. {_counter(before, value)}")
        causes = [(before, "it never moves. Freeze BatchNorm while recomputing only."),
                  (twice[key], "it moved twice. The recomputation updates it once more.")]
        cause = next((message for wrong, message in causes if close(wrong, value)), None)
        if cause is None and close(right, before):
            cause = "it moved, though eval mode leaves it alone."
        raise Wrong(what, cause=f"{key} after one step: {cause or 'other values than those of one update.'}")


def _counter(before, value):
    return "Does the recomputation count too?" if value > before else "Freeze BatchNorm while recomputing only."


@EXERCISE.finding("several calls", points=1)
def several_calls(answer, draw):
    """Calls before the backward pass do not disturb each other, and one step does not feel the last."""
    expect_recomputing(answer, draw)
    layer = draw_layer(draw)
    three = step(draw, layer, calls=3)
    backwards = three | {key: three[key][::-1] for key in ("images", "upstream")}
    steps = [step(draw, layer), three, step(draw, layer, backward=False), step(draw, layer), three]
    words = ["one call", "three calls, then backward", "a call without backward", "the step after it", "a later step"]
    expected, got = rehearse(Plain, layer, steps), ask(answer, layer, steps, fresh=False)
    orders = [expected[1]["buffers"], rehearse(Plain, layer, [backwards])[0]["buffers"]]  # an update may wait
    for what, item, right, value in zip(words, steps, expected, got, strict=True):
        expect_no_error(value["raised"], RECOMPUTING, what)
        for a, b in zip(right["outputs"], value["outputs"], strict=True):
            expect_close(f"output of {what}", a, b, suspects=[
                (other, "this belongs to another call. Is an output or a graph kept between calls?")
                for other in right["outputs"] if other is not a
            ])
        if "upstream" in item:
            expect_gradients(what, item, right, value)
    if _once(expected[0], got[0]):  # else statistics has said what is wrong
        for what, right, value in ((words[3], [expected[3]["buffers"]], got[3]), (words[1], orders, got[1]),
                                   (words[4], orders, got[4])):
            if not any(_same_statistics(buffers, value["buffers"]) for buffers in right):
                raise Wrong(what,
                            cause="BatchNorm's statistics are not those of one update for each call. Is a flag or a "
                                  "saved state shared by the calls?")


def _once(expected, got):
    return _same_statistics(expected["buffers"], got["buffers"])


def _same_statistics(expected, got):
    return all(close(value, got[key]) for key, value in expected.items())


@EXERCISE.finding("a whole module", points=1)
def whole_module(answer, draw):
    """The layer is a part of the wrapper, and a step leaves its settings alone."""
    prepare(answer)
    layer = draw_layer(draw)
    made = answer.ask(describe_module, name=NAME, layer=layer)
    if made["missing"]:
        raise Wrong(f"parameters() of your module lacks the layer's own {made['missing'][0]}. Is the layer copied, or "
                    "kept where nn.Module does not see it, such as in a list?")
    if made["lost"]:
        raise Wrong(f"state_dict() of your module lacks the layer's own {made['lost'][0]}. Keep the layer itself.")
    if made["extra"]:
        raise Wrong(f"your module has a parameter of its own, {made['extra'][0]}; expected the layer's only.")
    if not all(made["modes"]):
        mode = "eval" if made["modes"][0] else "train"
        raise Wrong(f"{mode}() on your module does not reach the layer's BatchNorm. Is train() overwritten?")
    steps = [step(draw, layer, train=train) for train in (True, False)]
    for item, got, expected in zip(steps, ask(answer, layer, steps), rehearse(Plain, layer, steps), strict=True):
        expect_no_error(got["raised"], RECOMPUTING, where(item))
        _expect_settings(where(item), expected["settings"], got["settings"])


def _expect_settings(what, expected, got):
    after = {(place, key): value for place, key, value in got}
    for place, key, value in expected:
        if after.get((place, key), value) != value:
            raise Wrong(f"after a step in {what}",
                        cause=f"{key} of {place} is {after[place, key]}, before it was {value}. "
                              "Put it back, in a finally: recomputing may end early by an exception.")
