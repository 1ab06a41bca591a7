"""The networks that are timed against each other, and one step of each: training, inference, convolutions alone."""

import torch
import torch.nn.functional as F
import torchvision
from harness import in_turns, ratios, spread, summarise
from meter import meter_for
from torch import nn

from densenet_course import models
from densenet_course.training.precision import BF16, FP32, FP32_CHANNELS_LAST

aten = torch.ops.aten
OURS = {"efficient": True, "native": "native"}  # name → the argument ``efficient``
KINDS = {"fp32 contiguous": FP32, "fp32 channels-last": FP32_CHANNELS_LAST, "bf16 channels-last": BF16}
REFERENCES = {"against torchvision": None, "against torchvision in fp32 contiguous": "torchvision fp32 contiguous"}


def torchvision_small(growth_rate, block_layers, init_channels, *, stride=1):
    """Build a DenseNet-BC from torchvision's parts, with a stem for small grey images."""
    model = torchvision.models.DenseNet(growth_rate, block_layers, init_channels, num_classes=10)
    model.features.conv0 = nn.Conv2d(1, init_channels, kernel_size=3, stride=stride, padding=1, bias=False)
    del model.features.norm0, model.features.relu0, model.features.pool0
    return model


def torchvision_bc100():
    return torchvision_small(12, (16, 16, 16), 24)


def bc(depth=100, *, efficient):
    return models.DenseNet(models.cifar_config(depth=depth, growth_rate=12, in_channels=1, efficient=efficient))


def torchvision_121():
    return torchvision.models.densenet121(num_classes=10)


def our_121(efficient):
    return models.densenet121(10, efficient=efficient)


def our_bc100(efficient):
    return bc(efficient=efficient)


def resnet50():
    return torchvision.models.resnet50(num_classes=10)


def train_step(model, images, precision):
    """Make a function that trains on one batch, up to the gradients."""
    model.to(device=images.device, memory_format=precision.memory_format).train()
    images = images.contiguous(memory_format=precision.memory_format)
    labels = torch.arange(len(images), device=images.device) % 10

    def run():
        model.zero_grad()
        with precision.autocast(images.device):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()

    return run


def inference(model, images, precision):
    """Make a function that computes the logits of one batch."""
    model.to(device=images.device, memory_format=precision.memory_format).eval()
    images = images.contiguous(memory_format=precision.memory_format)

    def run():
        with torch.inference_mode(), precision.autocast(images.device):
            return model(images)

    return run


def convolutions(model, images, precision, *, backward):
    """Make a function that computes the convolutions of a model and nothing else, forward or forward and backward."""
    calls = []
    dtype = precision.autocast_dtype or torch.float32

    def note(module, inputs, output):
        calls.append((module, *(torch.randn(t.shape, dtype=dtype, device=images.device)
                                .contiguous(memory_format=torch.channels_last) for t in (inputs[0], output))))

    hooks = [m.register_forward_hook(note) for m in model.to(images.device).modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()

    def run():
        for i, (conv, x, grad) in enumerate(calls):
            weight = conv.weight.detach().to(dtype)
            torch.conv2d(x, weight, None, conv.stride, conv.padding)
            if backward:
                aten.convolution_backward(grad, x, weight, None, conv.stride, conv.padding, (1, 1), False, (0, 0), 1,
                                          (i > 0, True, False))

    return run


def convolution_work(model, shape):
    """Count what the convolutions of a training step cannot do without, if all else between them were for nothing.

    Each multiplies and adds three times: forward, for its input's gradient and for its weight's. Each time it reads or
    writes its input and its output, or their gradients, once. The first needs no gradient of its input.

    Args:
        model: any network.
        shape: (N, C, H, W) of the images.

    Returns:
        (operations, numbers): two for a multiply-add; numbers read or written, without the weights.
    """
    calls = []
    for conv in model.to("meta").modules():
        if isinstance(conv, nn.Conv2d):
            conv.register_forward_hook(lambda conv, inputs, output: calls.append((conv, inputs[0], output)))
    model(torch.empty(shape, device="meta"))
    times = [2 if i == 0 else 3 for i in range(len(calls))]
    operations = [2 * output.numel() * conv.weight[0].numel() for conv, _, output in calls]
    numbers = [inputs.numel() + output.numel() for _, inputs, output in calls]
    return tuple(sum(n * t for n, t in zip(each, times, strict=True)) for each in (operations, numbers))


GROUPS = {  # what an operator's name contains → the work it does; the first that fits
    "convolution": "convolution", "mm": "convolution", "densenet_course": "own passes", "batch_norm": "BatchNorm",
    "cat": "concatenation", "relu": "ReLU", "threshold": "ReLU", "clamp_min": "ReLU", "pool": "pooling",
    "copy_": "copies", "add": "sums",
}


def profile(step):
    """Tell where the time of a step goes: work → milliseconds of operators, without what they call in turn."""
    step()  # what is made once is not of interest
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        step()
    sums = {}
    for event in found.key_averages():
        work = next((work for part, work in GROUPS.items() if part in event.key), "everything else")
        sums[work] = sums.get(work, 0) + event.self_cpu_time_total / 1e3
    return {work: round(ms, 1) for work, ms in sorted(sums.items(), key=lambda item: -item[1])}


def compare(theirs, build, task, images, *, repeats, beside=()):
    """Time one task, training or inference, of torchvision's network and of ours, in every format.

    Args:
        theirs, build: build torchvision's network; and ours, from the argument ``efficient``.
        task: ``train_step`` or ``inference``.
        images: (N, C, H, W), on the device.
        repeats: rounds.
        beside: (name, build) of other networks to time in the same rounds.

    Returns:
        Seconds, and how many times faster ours is, and the convolutions alone: at equal format, and against
        torchvision's plain fp32.
    """
    tasks = {}
    for kind, precision in KINDS.items():
        tasks[f"torchvision {kind}"] = task(theirs(), images, precision)
        for name, efficient in OURS.items():
            tasks[f"{name} {kind}"] = task(build(efficient), images, precision)
        for name, other in beside:
            tasks[f"{name} {kind}"] = task(other(), images, precision)
        if precision is not FP32:  # ours compute in channels-last, whatever comes in
            tasks[f"convolutions {kind}"] = convolutions(theirs(), images, precision, backward=task is train_step)
    seconds = in_turns(tasks, repeats, untimed=True, meter=meter_for(images.device))
    names = {kind: [n for n in (*OURS, "convolutions") if f"{n} {kind}" in tasks] for kind in KINDS}
    return {
        "shape": list(images.shape),
        "seconds": {name: summarise(values) for name, values in seconds.items()},
        **{title: {kind: {n: ratios(seconds, slow or f"torchvision {kind}", f"{n} {kind}") for n in names[kind]}
                   for kind in KINDS} for title, slow in REFERENCES.items()},
    }


def report(title, result):
    for reference in REFERENCES:
        for kind, found in result[reference].items():
            values = (f"{name} {spread(ratio)}" for name, ratio in found.items())
            print(f"{title}, {reference}, {kind}:", "; ".join(values), flush=True)
