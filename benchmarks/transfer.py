"""Measure transfer between classes of FashionMNIST: ``python benchmarks/transfer.py``.

The class network is pretrained on some classes and transferred to three others, with 30 or 300 labelled images of each.
Two controls use no pretraining: the features of a network with random weights, and the raw pixels. Each seed
(``--seeds``) has its own pretraining and its own labelled images, the same for all methods. All but the classifiers on
fixed features get the same steps of the same batches. Each method's peak rate, or weight decay, is the one with the
best mean over the first three seeds on held-out images of the target's training set. The test images of the target are
read once for each seed, at the end. Everything finished is kept in runs/transfer, so a stopped script goes on where it
was. ``--missing`` keeps what the results file has and measures the rest; "added" then tells where and when.
``--quick`` is for CI: one seed, a few images and steps, written to runs/quick.
"""

import argparse
import json
import shutil
import statistics

import torch
from harness import REPOSITORY, kept, provenance
from transfer_methods import (
    EPOCHS,
    GARMENTS,
    LONGER,
    NO_SHOES,
    SEVEN,
    SHOES,
    SLEEVES,
    STILL,
    Plan,
    pretrained,
    remembered,
    score,
    transfer,
)

from densenet_course.data import CLASS_NAMES, load, prepare
from densenet_course.files import write_json
from densenet_course.studies.transfer import select_classes

TASKS = ((SEVEN, SLEEVES), (GARMENTS, SLEEVES), (SHOES, SLEEVES), (NO_SHOES, SHOES))  # source and target
ON_FEATURES = ("frozen", "random, frozen", "raw pixels")  # a classifier on fixed numbers: a decay, no rate
HELD_OUT = 1000  # images of each target class, the last of the training set; labelled images are drawn from the others


def measure(method, source, target, per_class, *, data, plan, setting=None):
    """Choose the setting on held-out images, then judge it on the test images with every seed."""
    key = "-".join([method, "".join(map(str, source)), "".join(map(str, target)), str(per_class)])

    def one(setting, seed, judged):
        model, old, seconds = transfer(method, source, target, per_class, seed, setting, data=data, plan=plan)
        found = {"target": score(model, data[judged][target]), "cpu_seconds": round(seconds, 2)}
        return found if old is None else found | {"source": remembered(model, old, source, data)}

    held_out = {}
    if setting is None:
        for option in plan.decays if method in ON_FEATURES else plan.rates:
            held_out[str(option)] = [
                kept(plan.folder, f"{key}-{option}-{seed}", lambda o=option, s=seed: one(o, s, "held out"))
                for seed in range(min(plan.choose, plan.seeds))]
        setting = float(max(held_out, key=lambda o: statistics.mean(run["target"] for run in held_out[o])))
    runs = [kept(plan.folder, f"{key}-test-{setting}-{seed}", lambda s=seed: one(setting, s, "test"))
            for seed in range(plan.seeds)]
    return {"method": method, "source": names(source), "target": names(target), "per_class": per_class,
            "setting": setting, "held_out": held_out, "test": runs}


def names(classes):
    return [CLASS_NAMES[label] for label in classes]


def rows(plan):
    """List what is measured: (method, source, target, labelled images of each class)."""
    found = []
    for per_class in plan.per_class:
        few = [(method, (), target) for method in ("from scratch", "raw pixels", "random, frozen")
               for target in (SLEEVES, SHOES)]
        few.append((LONGER, (), SLEEVES))
        few += [(method, *task) for task in TASKS for method in ("frozen", "fine-tuned")]
        few += [(f"classifier, {how}", *TASKS[0]) for how in (STILL, "BN moving")]
        found += [(*row, per_class) for row in few]
    return found


def find(runs, method, source, target, per_class):
    """Pick what was measured for a row, or None."""
    wanted = {"method": method, "source": names(source), "target": names(target), "per_class": per_class}
    return next((run for run in runs if wanted.items() <= run.items()), None)


def measure_all(data, plan, before=()):
    """Run every method on every task it belongs to, but for those measured before; return all of them in order."""
    found = []
    for row in rows(plan):
        setting = find(found, "from scratch", *row[1:])["setting"] if row[0] == LONGER else None
        found.append(find(before, *row) or measure(*row, data=data, plan=plan, setting=setting))
    return found


def forgetting(data, plan):
    """Fine-tune the same networks with BatchNorm's statistics moving and still: what is left of the old classes?

    Returns:
        A list with a dict for each seed that chose the rates: "before", and for each of the two methods rate → accuracy
        on target and source.
    """
    source, target = TASKS[0]

    def one(seed):
        before = pretrained(source, seed, train=data["train"], plan=plan)
        found = {"before": score(before, data["old test"][source])}
        for method in ("fine-tuned", f"fine-tuned, {STILL}"):
            found[method] = {}
            for rate in plan.forgetting:
                model, old, _ = transfer(method, source, target, plan.per_class[0], seed, rate, data=data, plan=plan)
                found[method][str(rate)] = {"target": score(model, data["test"][target]),
                                            "source": remembered(model, old, source, data)}
        return found

    return [kept(plan.folder, f"forgetting-{seed}", lambda s=seed: one(s))
            for seed in range(min(plan.choose, plan.seeds))]


def before_transfer(data, plan):
    """Measure the pretrained networks on the test images of their own source classes."""
    return [{"source": names(source), "epochs": EPOCHS[source],
             "test": [score(pretrained(source, seed, train=data["train"], plan=plan), data["old test"][source])
                      for seed in range(plan.seeds)]} for source in EPOCHS]


def split(location, plan):
    """Load the parts: all training images, for each target the labelled and the held-out ones, the test images."""
    train, test = load("train", location), load("test", location)
    data = {"train": train, "labelled": {}, "held out": {}, "test": {}}
    for target in (SLEEVES, SHOES):
        images, labels = select_classes(*train, target)
        size = min(HELD_OUT, len(labels) // 3 // 3)
        last = torch.cat([(labels == label).nonzero()[-size:, 0] for label in labels.unique()]).sort().values
        others = torch.ones(len(labels), dtype=torch.bool).index_fill(0, last, False)
        data["labelled"][target] = images[others], labels[others]
        data["held out"][target] = images[last[:plan.judged]], labels[last[:plan.judged]]
        data["test"][target] = tuple(part[:plan.judged] for part in select_classes(*test, target))
    data["old test"] = {
        source: tuple(part[:plan.old_test] for part in select_classes(*test, source)) for source in EPOCHS
    }
    return data


def about(data, plan, location):
    """Describe the whole: what was measured, on how many images, by which settings."""
    return {
        "seeds": list(range(plan.seeds)), "data": "sample" if location.is_sample else "full", "steps": plan.steps,
        "batch_size": plan.batch_size, "per_class": list(plan.per_class),
        "held_out_images": len(data["held out"][SLEEVES][1]), "test_images": len(data["test"][SLEEVES][1]),
        "source_test_images": plan.old_test, "rates": list(plan.rates), "decays": list(plan.decays),
        "precision": str(plan.precision), "device": plan.device.type,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--missing", action="store_true", help="keep what the results file has, measure the rest")
    parser.add_argument("--quick", action="store_true", help="one seed, a few images and steps, for CI")
    options = parser.parse_args()
    location, out = prepare(), REPOSITORY / "benchmarks/results/transfer.json"
    plan, before = Plan(seeds=options.seeds), {}
    if options.quick:
        out = REPOSITORY / "runs/quick/transfer.json"
        plan = Plan(seeds=1, per_class=(4, 8), steps=2, batch_size=12, rates=(0.02, 0.08), decays=(0.1, 1.0),
                    source_images=256, judged=100, old_test=100, folder=REPOSITORY / "runs/quick/transfer")
        shutil.rmtree(plan.folder, ignore_errors=True)
    elif location.is_sample:
        raise SystemExit("transfer is measured on the full set, which is not on this machine")
    if options.missing:
        before = json.loads(out.read_text(encoding="utf-8"))
        if len(before["seeds"]) != plan.seeds:
            raise SystemExit(f"--seeds: expected {len(before['seeds'])}, as in {out.name}, got {plan.seeds}")
    data, here = split(location, plan), provenance(seeds=list(range(plan.seeds)))
    new = sorted({row[0] for row in rows(plan) if not find(before.get("runs", ()), *row)})
    new += [] if "forgetting" in before else ["forgetting"]
    write_json(out, {
        "provenance": here, **about(data, plan, location), **before,
        "added": before.get("added", []) + ([{"what": new, **here}] if before and new else []),
        "pretraining": before.get("pretraining") or before_transfer(data, plan),
        "runs": measure_all(data, plan, before.get("runs", ())),
        "forgetting": before.get("forgetting") or forgetting(data, plan),
    })
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
