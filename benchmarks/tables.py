"""Tables of what was measured, written from benchmarks/results: bench.py prints them, readme.py fills them in."""

import statistics

from harness import spread

from densenet_course.results import read


def result_table():
    """List what was measured, each line with its file."""
    rows = ["| measured | result | file in `benchmarks/results`, processor |", "|---|---|---|"]
    parts = (("class_training", training_rows), ("time_to_accuracy", sooner_rows), ("d2l_accuracy", d2l_rows),
             ("accuracy_for_size", size_rows), ("loader", loader_rows), ("efficient", efficient_rows),
             ("grading", grading_rows))
    for name, make in parts:
        found = read(name)
        rows += [f"| {measured} | {result} | `{name}.json`, {processor(found)} |" for measured, result in make(found)]
    return rows


def processor(found):
    """Name the maker of the processor on which results were measured."""
    while "provenance" not in found:  # some files hold several runs
        found = found.get("precisions", found)
        found = next(iter(found.values()))
    return found["provenance"]["machine"]["processor"].partition("(")[0].split()[0]


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
        yield ("the same: seconds of training; of one whole run, from the start of Python",
               f"{statistics.median(seconds):.0f}; {runs['cold_seconds']:.0f}")


def sooner_rows(found):
    """Set out how soon the class network reaches an accuracy, cold, and against d2l's recipe."""
    for goal, precisions in found["course"].items():
        recipe = found["recipes"][goal]
        how = (f"{counted(recipe['epochs'])}{' with Muon' if recipe.get('optimizer') == 'muon' else ''}, "
               f"batches of {recipe.get('batch_size', 128)}{small_first(recipe)}")
        for precision, runs in precisions.items():
            accuracy, seconds = list(runs["accuracy"].values()), list(runs["seconds"].values())
            yield (f"class network, {how}, {precision}: seconds of a whole run that aims at a test accuracy of "
                   f"{100 * float(goal):.0f} %, {len(accuracy)} seed{'s' if len(accuracy) > 1 else ''}",
                   f"{statistics.median(seconds):.0f} s, to {percent(accuracy)}")
    if found.get("seconds before"):
        yield ("before these runs, once on a machine: seconds in which the kernels of the native blocks are compiled",
               f"{found['seconds before']['compiling']:.0f}")
    d2l = found["d2l seconds"]
    yield (f"d2l's recipe, 10 epochs: {d2l['steps_timed']:.0f} steps and an evaluation timed, the rest extrapolated; "
           f"the best of its epochs reaches {100 * found['d2l accuracy']:.2f} % (`d2l_accuracy.json`, one seed); "
           f"against the {d2l['whole'] / found['times faster']:.0f} s of the recipe for "
           f"{100 * float(found['goal']):.0f} %",
           f"{d2l['whole'] / 3600:.1f} hours, {found['times faster']:.0f} times as long")
    yield (f"the same, taken apart, one exchange after the other, into factors whose product is "
           f"{found['times faster']:.0f}",
           ", ".join(f"{name} {factor:g}" for name, factor in found["factors"].items()))


def d2l_rows(found):
    """Set out what d2l's recipe reaches, epoch by epoch."""
    yield (f"d2l's recipe: test accuracy after each of its {found['recipe']['epochs']} epochs, one seed",
           f"{', '.join(f'{100 * accuracy:.1f}' for accuracy in found['accuracies'])} %")


def counted(epochs):
    """Write a number of epochs."""
    return f"{epochs} epoch{'s' if epochs > 1 else ''}"


def small_first(recipe):
    """Say, where it is so, that a recipe begins with smaller images."""
    if "small" not in recipe:
        return ""
    side, share = recipe["small"]
    return f", the first {100 * share:.0f} % of them at {side}×{side}"


def lead_table():
    """Set beside its base what shortens the class training: accuracy of held-out images, seconds of the processor."""
    rows = ["| change | seeds | held-out accuracy | processor's seconds |", "|---|---|---|---|"]
    for base, leads in read("leads")["leads"].items():
        for lead, runs in leads.items():
            accuracy, seconds = list(runs["accuracy"].values()), statistics.mean(runs["cpu_seconds"].values())
            rows.append(f"| {base}: {lead} | {len(accuracy)} | {percent(accuracy)} | {seconds:.0f} |")
    return rows


def size_rows(found):
    """Set out the best accuracy of at most 0.8 million parameters."""
    runs = found["runs"].values()
    accuracy, minutes = [one["accuracy"] for one in runs], statistics.median(one["seconds"] for one in runs) / 60
    yield (f"DenseNet-BC, {found['parameters']:,} parameters, {found['epochs']} epochs with Muon, "
           f"{minutes:.0f} minutes a seed, {found['precision']}: test accuracy, {len(accuracy)} seeds",
           percent(accuracy))


def loader_rows(found):
    """Set out how much faster resident batches are than a DataLoader."""
    for case, name in (("plain", "images as they are"), ("augmented", "flipped and shifted")):
        for loader, workers in (("dataloader", "no workers"), ("dataloader with workers", "a worker for each core")):
            ratio = found[case]["ratio"][loader]
            yield (f"batches cut from one tensor in memory, against a DataLoader of single images, {workers}; {name}",
                   f"{ratio['median']:.0f} times as fast ({ratio['min']:.0f} to {ratio['max']:.0f})")


def efficient_rows(found):
    """Set out how many bytes the efficient block keeps, and torchvision's."""
    kept = found["memory"]
    depths, slope = kept["depths"], kept["slope"]
    yield (f"bytes kept for the backward pass, BC-100-12, batch {kept['batch']}: torchvision's against efficient",
           f"{kept['BC-100-12 times fewer']} times as many")
    yield (f"these bytes grow with the depth L ({depths[0]} to {depths[-1]} layers) as a power of L: plain block; "
           "efficient block", f"L^{slope['plain']:.2f}; L^{slope['efficient']:.2f}")
    yield ("peak memory of a training in a fresh process, less that of a process that trains nothing: torchvision's "
           "against efficient", f"{1 / peak_share(kept):.1f} times as much")


def grading_rows(found):
    """Set out how quickly a class is graded."""
    for exercise, run in found.items():
        yield (f"{run['students']:,} right answers to the exercise `{exercise}`, each judged in a sandbox, by "
               f"{run['workers']} workers: verdicts a minute; seconds of a verdict", f"{run['verdicts a minute']}; "
               f"{spread(run['seconds of a verdict'])}")


def peak_share(kept):
    """Return the efficient block's share of the peak memory that torchvision's needs, idle processes left out."""
    peaks = {name: size - kept["peak bytes"]["nothing"] for name, size in kept["peak bytes"].items()}
    return peaks["efficient"] / peaks["torchvision"]


def machine_line():
    """Say on what the times of these tables were taken."""
    runs = [*read("class_training")["precisions"].values(),
            *map(read, ("time_to_accuracy", "accuracy_for_size", "loader", "efficient")), *read("grading").values()]
    made = [one["provenance"] for one in runs]
    machines = {f"{one['machine']['cores']} cores of an {one['machine']['processor']}" for one in made}
    versions = {one["torch"].split("+")[0] for one in made}
    return [f"Times were taken on {' or '.join(sorted(machines))}, with PyTorch {' and '.join(sorted(versions))}."]


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


PEERS = ("plain", "efficient", "native", "torch.compile", "ONNX Runtime", "OpenVINO")


def peer_table():
    """Set out how many times as fast as torchvision's network each peer is; the fastest of a row is bold."""
    rows = [f"| times as fast as torchvision's | {' | '.join(PEERS)} |", "|---" * (1 + len(PEERS)) + "|"]
    for name, row in read("peers")["rows"].items():
        found = row["against torchvision"]
        best = max(found, key=lambda peer: found[peer]["median"])
        cells = [f"{found[peer]['median']:.2f}" if peer in found else "–" for peer in PEERS]
        cells = [f"**{cell}**" if peer == best else cell for peer, cell in zip(PEERS, cells, strict=True)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def compile_line():
    """Say how long torch.compile compiles, which the table of peers leaves out."""
    rows = read("peers")["rows"]
    firsts = {task: [row["seconds of the first call"]["torch.compile"] for name, row in rows.items()
                     if name.startswith(task)] for task in ("training", "inference")}
    told = (f"{min(found):.0f} to {max(found):.0f} s before the first {what}" for found, what in zip(
        firsts.values(), ("training step", "logits"), strict=True))
    return [f"torch.compile compiles for {' and '.join(told)}; the table leaves that out."]


def peer_line():
    """Say on what the peers were measured, and how busy it was."""
    found = read("peers")
    made, loads = found["provenance"], [row["machine"]["load_per_core"] for row in found["rows"].values()]
    versions = [f"{name} {made[key]}" for name, key in (("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"))]
    return [f"Measured on {made['machine']['cores']} cores of an {made['machine']['processor']}, with PyTorch "
            f"{made['torch'].split('+')[0]}, {', '.join(versions)}; a load of {min(loads):.1f} to {max(loads):.1f} "
            "programs a core at the start of a row."]


def export_line():
    """Say what an exported network gains in inference, and by which runtime."""
    rows = read("peers")["rows"]
    told = []
    for format_, peer in (("fp32", "ONNX Runtime"), ("bf16", "OpenVINO")):
        found = [row["against torchvision"] for name, row in rows.items()
                 if name.startswith("inference") and name.endswith(format_)]
        against = [one[peer]["median"] for one in found]
        first = sum(max(one, key=lambda name: one[name]["median"]) == peer for one in found)
        told.append(f"in {format_} {peer} is {min(against):.2f} to {max(against):.2f} times as fast as torchvision's "
                    f"network in PyTorch, and the fastest in {first} of {len(found)} cases")
    return [f"For inference on a CPU, export: {'; '.join(told)} (`peers.json`)."]


def headlines():
    """List what a passer-by wants to know, in five lines, each with its file."""
    trained, sooner, efficient = read("class_training"), read("time_to_accuracy"), read("efficient")
    half, full = trained["precisions"].values()
    machine, kept, d2l = half["provenance"]["machine"], efficient["memory"], sooner["d2l seconds"]
    seconds = [statistics.median(runs["seconds"].values()) for runs in (half, full)]
    peers = read("peers")
    there = peers["provenance"]["machine"]
    ours = [row["against torchvision"] for name, row in peers["rows"].items() if name.startswith("training")]
    ends = read("d2l_accuracy")["accuracies"]
    early, later = (statistics.median(sooner["course"][goal][sooner["precision"]]["seconds"].values())
                    for goal in ("0.90", "0.91"))
    quick, reached = sooner["provenance"]["machine"], sooner["course"]["0.90"][sooner["precision"]]["accuracy"].values()
    return [
        f"- The class network reaches {percent(list(half['accuracy'].values()))} test accuracy on FashionMNIST in "
        f"{seconds[0]:.0f} s of training in bf16 on {machine['cores']} cores of an {machine['processor']}; in fp32 the "
        f"training takes {seconds[1]:.0f} s (`class_training.json`).",
        f"- On {quick['cores']} cores of an {quick['processor']}, with compiled blocks, a training of "
        f"{counted(sooner['recipes']['0.90']['epochs'])} takes {early:.0f} s, imports and data included, and reaches "
        f"{percent(list(reached))} (`time_to_accuracy.json`).",
        f"- d2l's ten epochs would take {d2l['whole'] / 3600:.1f} hours there, {sooner['times faster']:.0f} times as "
        f"long as the recipe for {100 * float(sooner['goal']):.0f} %, {d2l['whole'] / later:.0f} times as long as that "
        f"for 91 %: extrapolated from {d2l['steps_timed']:.0f} timed steps. Their test accuracy jumps: "
        f"{100 * max(ends):.1f} % after the best epoch, {100 * ends[-1]:.1f} % after the last "
        "(`d2l_accuracy.json`, one seed).",
        f"- The efficient dense block keeps {100 / kept['BC-100-12 times fewer']:.0f} % of the bytes that "
        f"torchvision's keeps for the backward pass; a training adds {100 * peak_share(kept):.0f} % of the memory that "
        "torchvision's adds to an idle process (`efficient.json`).",
        f"- Compiled, it trains {_span(ours, 'native')} times as fast as torchvision's network, both in channels-last; "
        f"torch.compile, {_span(ours, 'torch.compile')} times. That was on {there['cores']} cores of an "
        f"{there['processor']} (`peers.json`).",
    ]


def _span(rows, peer):
    """Write the smallest and the largest median of a peer."""
    found = [row[peer]["median"] for row in rows]
    return f"{min(found):.2f} to {max(found):.2f}"
