"""Tables of what was measured, written from benchmarks/results: bench.py prints them, readme.py fills them in."""

import statistics

from harness import spread

from densenet_course.results import read


def result_table():
    """List what was measured, each line with its file."""
    rows = ["| measured | result | file in `benchmarks/results` |", "|---|---|---|"]
    parts = (("class_training", training_rows), ("time_to_accuracy", sooner_rows), ("accuracy_for_size", size_rows),
             ("loader", loader_rows), ("efficient", efficient_rows))
    for name, make in parts:
        rows += [f"| {measured} | {result} | `{name}.json` |" for measured, result in make(read(name))]
    return rows


def percent(accuracies):
    """Write accuracies of several seeds in words: their mean, smallest and largest; one alone as it is."""
    mean, few = f"{100 * statistics.mean(accuracies):.2f} %", len(accuracies) < 2
    return mean if few else f"{mean} ({100 * min(accuracies):.2f} to {100 * max(accuracies):.2f})"


def training_rows(found):
    """Set out what the class network reaches with the lesson's recipe."""
    for precision, runs in found["precisions"].items():
        accuracy, seconds = list(runs["accuracy"].values()), list(runs["seconds"].values())
        yield (f"class network, 141,130 parameters, 6 epochs of 60,000 images, {precision}: test accuracy, "
               f"{len(accuracy)} seed{'s' if len(accuracy) > 1 else ''}", percent(accuracy))
        yield ("the same: seconds of training, median; cold, with imports and data",
               f"{statistics.median(seconds):.0f}; {runs['cold_seconds']:.0f}")


def sooner_rows(found):
    """Set out how soon the class network reaches an accuracy, cold, and against d2l's recipe."""
    for goal, precisions in found["course"].items():
        recipe = found["recipes"][goal]
        how = (f"{recipe['epochs']} epochs{' with Muon' if recipe.get('optimizer') == 'muon' else ''}, "
               f"batches of {recipe.get('batch_size', 128)}")
        for precision, runs in precisions.items():
            accuracy, seconds = list(runs["accuracy"].values()), list(runs["seconds"].values())
            yield (f"class network, {how}, {precision}, cold, {len(accuracy)} seed{'s' if len(accuracy) > 1 else ''}: "
                   f"seconds to a test accuracy above {goal}, median",
                   f"{statistics.median(seconds):.0f} s, to {percent(accuracy)}")
    d2l = found["d2l seconds"]
    yield (f"d2l's recipe to 0.91, {d2l['steps_timed']:.0f} steps and an evaluation timed, the rest extrapolated, "
           "against ours, cold", f"{d2l['whole'] / 3600:.1f} hours, {found['times faster']:.0f} times as long")
    yield ("the same, taken apart", ", ".join(f"{name} {factor:g}" for name, factor in found["factors"].items()))


def size_rows(found):
    """Set out the best accuracy of at most 0.8 million parameters."""
    runs = found["runs"].values()
    accuracy, minutes = [one["accuracy"] for one in runs], statistics.median(one["seconds"] for one in runs) / 60
    yield (f"DenseNet-BC, {found['parameters']:,} parameters, {found['epochs']} epochs with Muon, "
           f"{minutes:.0f} minutes a seed, {found['precision']}: test accuracy, {len(accuracy)} seeds",
           percent(accuracy))


def loader_rows(found):
    """Set out how much faster resident batches are than a DataLoader."""
    for case, name in (("plain", "plain"), ("augmented", "flipped and shifted")):
        for loader, workers in (("dataloader", "no workers"), ("dataloader with workers", "a worker for each core")):
            ratio = found[case]["ratio"][loader]
            yield (f"resident batches against a per-image DataLoader, {workers}, {name}",
                   f"{ratio['median']:.0f} times as fast ({ratio['min']:.0f} to {ratio['max']:.0f})")


def efficient_rows(found):
    """Set out how many bytes the efficient block keeps, and torchvision's."""
    kept = found["memory"]
    yield (f"bytes kept for the backward pass, BC-100-12, batch {kept['batch']}: torchvision's against efficient",
           f"{kept['BC-100-12 times fewer']} times fewer")
    yield ("the same by depth, 40 to 250 layers: exponent plain, efficient",
           f"{kept['slope']['plain']}, {kept['slope']['efficient']}")
    peaks = {name: size - kept["peak bytes"]["nothing"] for name, size in kept["peak bytes"].items()}
    yield ("the same in a fresh process: peak memory above one that trains nothing, times lower",
           f"{peaks['torchvision'] / peaks['efficient']:.1f}")


def speed_table():
    """Set the speed of ``native`` beside torchvision's, format by format; the convolutions alone are the bound."""
    found = read("efficient")
    plain, last, bf16 = found["training"]["BC-100-12 28², batch 64"]["against torchvision"]
    heads = ["times as fast", plain, last, bf16, f"{bf16} against {plain}"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for part in ("training", "inference"):
        for case, result in found[part].items():
            equal, across = result["against torchvision"], result["against torchvision in fp32 contiguous"]
            ours = [equal[plain]["native"], equal[last]["native"], equal[bf16]["native"], across[bf16]["native"]]
            rows.append(f"| {part}, {case} | {' | '.join(map(spread, ours))} |")
            bound = [across[last], equal[last], equal[bf16], across[bf16]]  # ours compute in channels-last
            rows.append(f"| its convolutions alone | {' | '.join(spread(b['convolutions']) for b in bound)} |")
    return rows


def headlines():
    """List what a passer-by wants to know, in five lines, each with its file."""
    trained, sooner, efficient = read("class_training"), read("time_to_accuracy"), read("efficient")
    runs = next(iter(trained["precisions"].values()))
    cores, seconds = runs["provenance"]["machine"]["cores"], statistics.median(runs["seconds"].values())
    cold = {goal: statistics.median(next(iter(precisions.values()))["seconds"].values())
            for goal, precisions in sooner["course"].items()}
    first, second = next(iter(cold)), f"{sooner['d2l recipe']['accuracy']:.2f}"  # d2l's recipe ends at the second
    steps = [speed["native"]["median"] for kinds in efficient["training"].values()
             for kind, speed in kinds["against torchvision"].items() if kind == "fp32 contiguous"]
    return [
        f"- The class network reaches {percent(list(runs['accuracy'].values()))} test accuracy on FashionMNIST in "
        f"{seconds:.0f} s of training on {cores} CPU cores (`class_training.json`).",
        f"- It passes {100 * float(first):.0f} % after {cold[first]:.0f} s and {100 * float(second):.0f} % after "
        f"{cold[second]:.0f} s, imports and data included (`time_to_accuracy.json`).",
        f"- d2l's recipe needs {sooner['times faster']:.0f} times as long to {100 * float(second):.0f} %, extrapolated "
        f"from {sooner['d2l seconds']['steps_timed']:.0f} timed steps (`time_to_accuracy.json`).",
        f"- The efficient block keeps {efficient['memory']['BC-100-12 times fewer']:.1f} times fewer bytes for the "
        "backward pass than torchvision's (`efficient.json`).",
        f"- Its compiled form does {min(steps):.1f} to {max(steps):.1f} times as many training steps a second as "
        "torchvision's, in fp32 (`efficient.json`).",
    ]
