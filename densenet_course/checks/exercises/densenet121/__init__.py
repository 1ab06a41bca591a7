"""Exercise densenet121: the ImageNet network, held against torchvision's."""

import copy
from math import prod

import torch
from torch import nn

from densenet_course.checks.engine.expect import close, expect, expect_close, expect_parameters, rehearse
from densenet_course.checks.engine.explain import NETWORK, Explaining
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.densenet121.mistakes import SLIPS, cause, count
from densenet_course.checks.exercises.densenet121.probe import play
from densenet_course.checks.kinds import modules
from densenet_course.checks.kinds.modules import DROPOUT, MISFIT

EXERCISE = Exercise("densenet121", names=["densenet121"], title="DenseNet-121", lesson="08_densenet121",
                    refused=["densenet_course", "torchvision", "timm", "keras", "torch.jit", "torch.fx"])
APART = 0.05  # of a gradient's length; one detached layer in 58 makes 0.2
SECONDS = 8.0


def torchvision_network(draw, num_classes):
    """Build torchvision's network with random weights and random BatchNorm, γ, β and statistics."""
    from torchvision.models import densenet121

    torch.manual_seed(draw.integer(0, 10**6))
    model = densenet121(num_classes=num_classes)
    with torch.no_grad():
        model.classifier.bias.copy_(draw.normal(num_classes))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                shape = module.weight.shape
                module.weight.copy_(draw.normal(*shape, scale=0.2, shift=1.0))
                module.bias.copy_(draw.normal(*shape, scale=0.2))
                module.running_mean.copy_(draw.normal(*shape, scale=0.2))
                module.running_var.copy_(draw.normal(*shape, scale=0.2).exp())
    return model


def weights_of(model):
    """List a network's parameters and its buffers, in order of registration."""
    return {"parameters": [p.detach() for p in model.parameters()],
            "buffers": [b for b in model.buffers() if b.is_floating_point()]}


def asked(answer, arguments, script, weights=None):
    """Ask for a network's replies."""
    return Explaining(answer, NETWORK).ask(
        play, name="densenet121", arguments=arguments, script=script, weights=weights, cpu_seconds=SECONDS,
    )


def drawn_classes(draw):
    """Return a number of classes, the same one for all findings: a class's grading has one list of operations each."""
    if "classes" not in draw.shared:
        draw.shared["classes"] = draw.integer(3, 20)
    return draw.shared["classes"]


def hold(answer, draw, num_classes, steps):
    """Give both networks the same weights, play the same steps, and compare the outputs.

    Args:
        answer: the answer.
        draw: fresh numbers.
        num_classes: None for the default.
        steps: pairs (what the output is, step of the script).
    """
    oracle = torchvision_network(draw, num_classes or 1000)
    script = [step for _, step in steps]
    reply = asked(answer, [num_classes] if num_classes else [], script, weights_of(oracle))
    if reply["misfits"]:
        raise Wrong(f"{steps[0][0]}", cause=MISFIT)
    expected = rehearse(copy.deepcopy(oracle), script)
    for i, (what, _) in enumerate(steps):
        right, got = expected[i]["output"], reply["replies"][i]["output"]
        if got.shape == right.shape and torch.isfinite(got).all() and not close(right, got):
            name_chance(answer, num_classes, script[i])
            name_slip(what, oracle, script[:i + 1], got)
            name_order(what, oracle, reply["parameters"])
        expect_close(what, right, got)


def name_chance(answer, num_classes, step):
    """Raise ``Wrong`` where the same step gives two different outputs."""
    first, second = asked(answer, [num_classes] if num_classes else [], [step, step])["replies"]
    if step.get("train") and not torch.equal(first["output"], second["output"]):
        raise Wrong("logits in train mode", cause=DROPOUT)


def name_slip(what, oracle, script, got):
    """Raise ``Wrong`` with the name of the mistake, where a known wrong network gives the same output."""
    for change, message in SLIPS:
        model = copy.deepcopy(oracle)
        change(model)
        try:
            output = rehearse(model, script)[-1]["output"]
        except RuntimeError:  # images of this size are too small for it
            continue
        if close(output, got):
            raise Wrong(what, cause=message)


def name_order(what, oracle, parameters):
    """Raise ``Wrong`` where the parameters are registered in another order than torchvision's."""
    for (theirs, value), (name, shape, _) in zip(oracle.named_parameters(), parameters, strict=False):
        if tuple(value.shape) != shape:
            raise Wrong(what, cause=f"the weights are loaded in order of registration, but your {name} {shape} stands "
                        f"where torchvision has {theirs} {tuple(value.shape)}. Make the parts in the forward's order.")


def run(images, **options):
    """Make a step that runs images."""
    return {"do": "run", "images": images} | options


@EXERCISE.finding("shape", points=1)
def shape(answer, draw):
    """The logits have shape (N, num_classes), 1000 by default, for several sizes of image."""
    for arguments, num_classes in (([], 1000), ([chosen := drawn_classes(draw)], chosen)):
        steps = [run(draw.normal(2, 3, 64, 64)), run(draw.normal(1, 3, 96, 64))]
        replies = asked(answer, arguments, steps)["replies"]
        for step, reply in zip(steps, replies, strict=True):
            rows, height, width = (step["images"].shape[axis] for axis in (0, 2, 3))
            suspects = (((rows, 1024), "The classifier is missing."), ((rows, 1024, height // 32, width // 32),
                        "Average and classifier are missing."), ((rows, 1000), "num_classes is not used."))
            expect(f"output shape of densenet121({', '.join(map(str, arguments))}) for {height}×{width} pixels",
                   (rows, num_classes), tuple(reply["output"].shape), suspects=suspects)


@EXERCISE.finding("parameters", points=2)
def parameters(answer, draw):
    """The parameters are as many as torchvision's, and have the same shapes."""
    from torchvision.models import densenet121

    for arguments, num_classes in (([], 1000), ([chosen := drawn_classes(draw)], chosen)):
        got = asked(answer, arguments, [])["parameters"]
        number, right = sum(prod(shape) for _, shape, _ in got), count(num_classes)
        call = f"parameters of densenet121({', '.join(map(str, arguments))})"
        if number != right:
            why = cause(number, num_classes) or "The table of lesson 08 says how many each part has."
            raise Wrong(call, cause=f"expected {right:,}, got {number:,} ({number - right:+,}). {why}")
        with torch.device("meta"):
            expected = [(name, tuple(p.shape), True) for name, p in
                        densenet121(num_classes=num_classes).named_parameters()]
        expect_parameters(expected, got)
        frozen = [name for name, _, trained in got if not trained]
        if frozen:
            raise Wrong("parameters",
                        cause=f"expected all of them to be trained, but {', '.join(frozen[:3])} are frozen.")


@EXERCISE.finding("eval mode", points=3)
def eval_mode(answer, draw):
    """With torchvision's weights the logits are torchvision's, also where maps of odd size are halved."""
    hold(answer, draw, None, [
        ("logits in eval mode", run(draw.normal(2, 3, 64, 64))),
        ("logits in eval mode, 96×64 pixels", run(draw.normal(1, 3, 96, 64))),
        ("logits in eval mode, 72×72 pixels", run(draw.normal(1, 3, 72, 72))),  # 72 → 36 → 18 → 9 → 4 → 2
    ])


@EXERCISE.finding("train mode", points=2.5)
def train_mode(answer, draw):
    """In train mode they are too, and what BatchNorm has remembered shows afterwards in eval mode."""
    images = [draw.normal(4, 3, 64, 64, shift=0.5) for _ in range(2)]
    hold(answer, draw, drawn_classes(draw), [
        ("logits in train mode", run(images[0], train=True)),
        ("logits in eval mode after a training step", run(images[1])),
    ])


@EXERCISE.finding("gradients and side effects", points=1.5)
def clean(answer, draw):
    """Gradients reach the images and all parameters, the images are left alone, calls and networks are independent."""
    chosen = drawn_classes(draw)
    first, other = draw.normal(2, 3, 64, 64), draw.normal(3, 3, 64, 64)
    oracle = torchvision_network(draw, chosen)
    upstream = draw.normal(2, chosen)
    script = [run(first, upstream=upstream), run(other), run(first)]
    script.append(run(first, train=True, upstream=upstream))  # the probe refuses statistics that move once more there
    reply = asked(answer, [chosen], script, weights_of(oracle))
    if reply["misfits"]:
        reply = asked(answer, [chosen], script)
    _gradients(rehearse(oracle, script[:1])[0], reply["replies"][0])
    if any(one["input_changed"] for one in reply["replies"]):
        raise Wrong("images", cause="the call changed the caller's tensor. Is there an in-place operation on them?")
    if not close(reply["replies"][0]["output"], reply["replies"][2]["output"], tolerance=1e-5):
        raise Wrong("second call",
                    cause="the same images gave other logits. Is something kept on self between calls, or "
                          "random in eval mode?")
    shared, equal = answer.ask(modules.build_twice, name="densenet121", arguments=[chosen], images=first,
                               cpu_seconds=SECONDS)
    if shared:
        raise Wrong(f"two networks share the parameter {shared}. Build new layers in each call.")
    if equal:
        raise Wrong(f"two fresh networks start with equal weights in {equal}. Set no seed inside.")


def _gradients(expected, got):
    if not got["requires_grad"] or got["input_gradient"] is None:
        raise Wrong("gradients",
                    cause="none comes back to the images. Is there a detach(), no_grad() or .data on the way?")
    if not close(expected["output"], got["output"]):
        return  # another finding's business
    for shape, value in expected["gradients"].items():
        if shape not in got["gradients"]:
            raise Wrong("gradients",
                        cause=f"none reaches the parameters of shape {shape}. Are they used, and not detached?")
        _near(f"gradient of the parameters of shape {shape}", value, got["gradients"][shape])
    _near("gradient of the images", expected["input_gradient"], got["input_gradient"])


def _near(what, expected, got):
    """Compare two gradients as a whole: rounding may switch a ReLU, which changes a few of their values a lot."""
    apart = ((expected - got).norm() / expected.norm()).item()
    if not apart < APART:
        raise Wrong(what, cause=f"it is {apart:.0%} away from the right one. Is there a detach(), no_grad() or .data?")
