"""Probe every layer of a DenseNet-121: ``python benchmarks/densenet121_layers.py``.

DenseNet-121 (one channel, ten classes) is trained on FashionMNIST, enlarged to 64×64 pixels: one epoch of the seven
classes that are no tops with long sleeves. Then a copy is fine-tuned on the three tops, 300 labelled images of each.
At each of its 62 places linear probes answer five questions: which of the seven classes, which of the three tops, the
quarter of edge density; and, at single pixels, whether an edge runs there, and what stands there (background or one of
ten classes: a small segmentation, by a 1×1 convolution). Beside them stand an untrained network, whose BatchNorm
statistics were measured on training images, and the raw pixels. The probes are fitted on training images that the
fine-tuning does not use, and judged on test images. Nothing is tuned: the probes' weight decay is the one that frozen
features chose in ``transfer.py`` with 300 images of each top. One training and one draw.

``--weights imagenet`` probes torchvision's ImageNet weights instead, which takes a network. Everything finished is kept
in runs/densenet121_layers, the trained weights too, so a stopped script goes on where it was. ``--quick`` is for CI.
"""

import argparse
import shutil

import torch
from densenet121_networks import CPU, SEVEN, TOPS, Enlarged, Plan, networks
from harness import REPOSITORY, kept, provenance

from densenet_course.data import CLASS_NAMES, ResidentBatches, load, normalise, prepare
from densenet_course.files import write_json
from densenet_course.studies import pixels
from densenet_course.studies.features import (
    accuracy,
    edge_density,
    gradient_length,
    linear_probe,
    maps_by_depth,
    quartile_of,
)
from densenet_course.studies.transfer import draw_per_class, select_classes
from densenet_course.training import choose_precision, evaluate

DECAY = 0.01  # of the probes


def split(location, plan):
    """Cut the training images into those to train on, to fine-tune on and to fit the probes on; none in two parts."""
    images, labels = load("train", location)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    fit_rows, rest = order[:plan.fit_images], order[plan.fit_images:].sort().values
    seven = rest[torch.isin(labels[rest], torch.tensor(SEVEN))][:plan.train_images]
    tops = draw_per_class(*select_classes(images[rest], labels[rest], TOPS), plan.per_class, seed=0)
    return {"seven": (images[seven], labels[seven]), "tops": tops, "fit": (images[fit_rows], labels[fit_rows]),
            "test": tuple(part[:plan.test_images] for part in load("test", location)),
            "density": edge_density(images), "border": gradient_length(images[:2000]).quantile(0.75).item()}


def questions(part, where, data):
    """Answer the five questions for a part of the images.

    Returns:
        A dict: question → (rows that have an answer, the answers int64). Rows are images, or drawn pixels.
    """
    images, labels = part
    found = {}
    for name, classes in (("seven classes", SEVEN), ("three tops", TOPS)):
        rows = torch.isin(labels, torch.tensor(classes))
        found[name] = rows, select_classes(images, labels, classes)[1]
    found["edge density"] = slice(None), quartile_of(edge_density(images), data["density"])
    found["edge pixels"] = slice(None), pixels.edge_at(images, where, data["border"])
    found["pixel classes"] = slice(None), pixels.class_at(images, labels, where)
    return found


@torch.no_grad()
def read(network, images, where, plan):
    """Read all maps at every place: averaged over each image, and at the drawn pixels.

    Returns:
        A dict: place → (float16 (N, C), float16 (N·P, C)).
    """
    precision, found = choose_precision(CPU), {}
    for batch, drawn in zip(images.split(100), where.split(100), strict=True):
        inputs = Enlarged(network, plan).prepare(normalise(batch)).contiguous(memory_format=precision.memory_format)
        with precision.autocast(CPU):
            for place, maps in maps_by_depth(network, inputs):
                maps = maps.float()
                found.setdefault(place, []).append((maps.mean(dim=(2, 3)).half(),
                                                    pixels.maps_at(maps, drawn, images.shape[-1]).half()))
    return {place: tuple(map(torch.cat, zip(*parts, strict=True))) for place, parts in found.items()}


def raw(images, where):
    """Give the probes the images themselves: (N, 784) for questions about an image, (N·P, 1) about a pixel."""
    images = normalise(images)  # (N, 1, 28, 28)
    return {"raw pixels": (images.flatten(1), pixels.values_at(images[:, 0], where)[:, None])}


def probe(features, asked):
    """Fit a probe at every place for every question.

    Args:
        features: "fit" and "test" → what ``read`` returns.
        asked: "fit" and "test" → what ``questions`` returns.

    Returns:
        question → place → accuracy.
    """
    found = {question: {} for question in asked["fit"]}
    for question, results in found.items():
        for place in features["fit"]:
            known, judged = ((features[part][place]["pixel" in question].float()[asked[part][question][0]],
                              asked[part][question][1]) for part in ("fit", "test"))
            results[place] = round(accuracy(linear_probe(*known, decay=DECAY), *judged), 5)
    return found


def guesses(asked):
    """Measure how often the commonest answer of the images to fit on is right."""
    return {question: round((asked["test"][question][1] == answers.mode().values).float().mean().item(), 5)
            for question, (_, answers) in asked["fit"].items()}


def trained_for(models, data, plan):
    """Measure the networks' own classifiers on test images of the classes they were trained for."""
    found = {}
    for name, classes in (("pretrained", SEVEN), ("fine-tuned", TOPS)):
        images, labels = select_classes(*data["test"], classes)
        labels = torch.tensor(SEVEN)[labels] if name == "pretrained" else labels  # ten outputs, three of them unused
        batches = ResidentBatches(images, labels, batch_size=100)
        if plan.weights == "fashion" or name == "fine-tuned":
            found[name] = round(evaluate(Enlarged(models[name], plan), batches, precision=choose_precision(CPU))[1], 5)
    return found


def measure(data, plan):
    """Train, fine-tune and probe; what was finished before is read from the folder."""
    drawn = {part: pixels.draw_pixels(len(data[part][1]), plan.per_image, size=28, seed=seed)
             for seed, part in enumerate(("fit", "test"))}
    asked = {part: questions(data[part], drawn[part], data) for part in drawn}
    models = networks(data, plan)
    found = {"raw pixels": probe({part: raw(data[part][0], drawn[part]) for part in drawn}, asked)}
    for name, network in models.items():
        found[name] = kept(plan.folder, name, lambda network=network: probe(
            {part: read(network, data[part][0], drawn[part], plan) for part in drawn}, asked))
    return {"guessing": guesses(asked), "classifiers": trained_for(models, data, plan), "networks": found,
            "parameters": sum(p.numel() for p in models["pretrained"].parameters())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", choices=["fashion", "imagenet"], default="fashion",
                        help="train on FashionMNIST (default), or take torchvision's weights")
    parser.add_argument("--quick", action="store_true", help="a small network and a few images, for CI")
    options = parser.parse_args()
    name = "densenet121_layers" + ("_imagenet" if options.weights == "imagenet" else "")
    location, out = prepare(), REPOSITORY / f"benchmarks/results/{name}.json"
    plan = Plan(weights=options.weights, folder=REPOSITORY / "runs" / name)
    if options.quick:
        out = REPOSITORY / f"runs/quick/{name}.json"
        plan = Plan(train_images=256, parts=2, per_class=10, steps=2, fit_images=150, test_images=200, settle=50,
                    small=True, folder=REPOSITORY / "runs/quick" / name)
        shutil.rmtree(plan.folder, ignore_errors=True)
    elif location.is_sample:
        raise SystemExit("the layers are probed on the full set, which is not on this machine")
    data = split(location, plan)
    write_json(out, {
        "provenance": provenance(seeds=[0]), "weights": plan.weights, "side": plan.side,
        "data": "sample" if location.is_sample else "full", "epochs": 1, "train_images": len(data["seven"][1]),
        "seven classes": [CLASS_NAMES[i] for i in SEVEN], "three tops": [CLASS_NAMES[i] for i in TOPS],
        "fine_tuning": {"per_class": plan.per_class, "steps": plan.steps, "rate": plan.rate},
        "fit_images": plan.fit_images, "test_images": len(data["test"][1]), "pixels_per_image": plan.per_image,
        "decay": DECAY,
        **measure(data, plan),
    })
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
