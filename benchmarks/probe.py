"""Measure what a linear probe reads at every depth of the class network: ``python benchmarks/probe.py``.

Two questions: the ten classes, and the quarter of edge density, computed from the pixels. Two networks: the package's
trained class network, and for each seed an untrained one whose BatchNorm statistics were measured on training images.
Each seed draws its own 5,000 training images for the probe; it is judged on 10,000 other training images, which the
network saw while it was trained, and on the whole test set, which it did not. Maps are averaged over all pixels, the
penalty is the default, nothing is tuned. Beside the networks stands the same probe on the 784 raw pixels;
``--pixels-only`` measures that alone and leaves the rest of the file as it is. ``--quick`` is for CI: one seed, a few
hundred images, written to runs/quick.
"""

import argparse
import json
import statistics

import torch
from harness import REPOSITORY, provenance
from torch import nn

from densenet_course.data import load, normalise, prepare
from densenet_course.files import write_json
from densenet_course.models import class_densenet
from densenet_course.studies.features import (
    accuracy,
    edge_density,
    linear_probe,
    pooled_by_depth,
    quartile_of,
)

FIT, HELD_OUT, SETTLE = 5000, 10_000, 2000  # images


def untrained(images, seed):
    """Build the network without training: first weights, and BN statistics that fit them."""
    torch.manual_seed(seed)
    model = class_densenet().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over all batches
    with torch.no_grad():
        for batch in images[:SETTLE].split(500):
            model(normalise(batch))
    return model.eval()


def answers(images, labels, reference):
    """Answer the two questions for some images; the quartiles are those of the whole training set."""
    return {"classes": labels, "edge density": quartile_of(edge_density(images), reference)}


def probe(model, parts, fit):
    """Fit a probe at every depth for both questions.

    Args:
        model: the network whose features are read.
        parts: name → (images, answers); a probe is fitted on the part "fit" and judged on the others.
        fit: how many of the part "fit" to use.

    Returns:
        question → judged part → place → accuracy.
    """
    features = {name: pooled_by_depth(model, normalise(images)) for name, (images, _) in parts.items()}
    judged = [name for name in parts if name != "fit"]
    found = {question: {name: {} for name in judged} for question in parts["fit"][1]}
    for question, results in found.items():
        for place, known in features["fit"].items():
            head = linear_probe(known[:fit], parts["fit"][1][question][:fit])
            for name in judged:
                score = accuracy(head, features[name][place], parts[name][1][question])
                results[name][place] = round(score, 5)
    return found


def on_pixels(parts, fit):
    """Fit the same probes to the pixels themselves; arguments as for ``probe``.

    Returns:
        question → judged part → accuracy.
    """
    flat = {name: normalise(images).flatten(1) for name, (images, _) in parts.items()}  # (N, 784)
    found = {}
    for question, known in parts["fit"][1].items():
        head = linear_probe(flat["fit"][:fit], known[:fit])
        found[question] = {name: round(accuracy(head, flat[name], parts[name][1][question]), 5)
                           for name in parts if name != "fit"}
    return found


def best_place(runs, question, judged="test"):
    """Name the place with the best mean over the seeds."""
    places = runs[0][question][judged]
    return max(places, key=lambda place: statistics.mean(run[question][judged][place] for run in runs))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one seed, a few hundred images, for CI")
    parser.add_argument("--pixels-only", action="store_true", help="keep the file's networks, measure the raw pixels")
    options = parser.parse_args()
    out, seeds, fit, held_out = REPOSITORY / "benchmarks/results/probe.json", range(options.seeds), FIT, HELD_OUT
    location = prepare()
    (images, labels), test = load("train", location), load("test", location)
    reference = edge_density(images)
    if options.quick:
        out, seeds, fit, held_out = REPOSITORY / "runs/quick/probe.json", range(1), 300, 100
        test = [part[:200] for part in test]
    elif location.is_sample:
        raise SystemExit("the probes are judged on the full set, which is not on this machine")
    before = json.loads(out.read_text(encoding="utf-8")) if options.pixels_only else {}
    trained, runs, pixels = class_densenet(weights="DEFAULT").eval(), {"trained": [], "untrained": []}, []
    for seed in seeds:
        drawn = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:fit + held_out]
        splits = {"fit": (images[drawn[:fit]], labels[drawn[:fit]]),
                  "seen": (images[drawn[fit:]], labels[drawn[fit:]]), "test": test}
        parts = {name: (part[0], answers(*part, reference)) for name, part in splits.items()}
        pixels.append(on_pixels(parts, fit))
        print(f"seed {seed}, raw pixels: {pixels[-1]}", flush=True)
        for name, model in () if before else (("trained", trained), ("untrained", untrained(images, seed))):
            runs[name].append(probe(model, parts, fit))
            told = (f"{question} best at {best_place(runs[name][-1:], question)}" for question in parts["fit"][1])
            print(f"seed {seed}, {name}: {', '.join(told)}", flush=True)
    here = provenance(seeds=list(seeds))
    write_json(out, {
        "provenance": here, "fit_images": fit, "seen_images": held_out, "test_images": len(test[1]),
        "pooling": "average over all pixels", "seeds": list(seeds),
        "data": "sample" if location.is_sample else "full", "networks": runs,
        **before, "raw pixels": {"provenance": here, "runs": pixels},
    })
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
