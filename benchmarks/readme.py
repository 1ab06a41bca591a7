"""Write the measured tables of README.md from benchmarks/results: ``python benchmarks/readme.py``."""

import json
import re
import statistics

from harness import REPOSITORY, spread

COLAB = "https://colab.research.google.com/github/densenet-course/densenet-course/blob/main/notebooks"
RESULTS = REPOSITORY / "benchmarks/results"
LESSONS = {
    "00_start_here": "check machine, device and data; know how predict → run → read works",
    "01_why_dense_connections": "count the links of a dense block; measure gradients by depth in three wirings",
    "02_conv_block": "build BN → ReLU → 3×3 conv and say why in this order, with padding 1 and no bias",
    "03_dense_block": "build a dense block; say who reads whose maps; keep its channel ledger",
    "04_transition": "shrink maps and channels between blocks; say why by average and not by maximum",
    "05_bottleneck": "make layers cheaper; tell DenseNet, -B, -C and -BC apart by their parameters",
    "06_small_densenet": "train the network of Dive into Deep Learning through its own library",
    "07_train_fashion_mnist": "train a DenseNet-BC on all of FashionMNIST; judge curves, mistakes and ingredients",
    "08_densenet121": "build DenseNet-121 to the last parameter; swap weights with torchvision",
    "09_memory_and_speed": "count what a block keeps; recompute without harm to BatchNorm; choose by measured time",
    "10_what_the_layers_learn": "extract features anywhere; say by measurement which layer suits which question",
    "11_transfer_learning": "freeze or fine-tune a trained network; compare with training from scratch on equal terms",
    "12_relatives": "compare three families at equal parameters; swap and count the layer of a dense block",
    "13_keras": "write the same network in functional Keras 3 and copy the weights across, outputs equal",
    "14_capstone": "price a design before training it; tell a better network from a lucky one; enter the capstone",
}


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def title(stem):
    """Read a lesson's title from its text, without the number."""
    text = (REPOSITORY / "notebooks/source" / f"{stem}.py").read_text(encoding="utf-8")
    heading = next(line for line in text.splitlines() if line.startswith("# # "))
    return heading.split("·", 1)[1].strip()


def lesson_table():
    """List the lessons: number and title, what one can do afterwards, run time."""
    seconds = read("lessons")["seconds"]
    rows = ["| lesson | afterwards you can | runs in | |", "|---|---|---|---|"]
    for stem, afterwards in LESSONS.items():
        link, colab = f"[{stem[:2]} {title(stem)}](notebooks/{stem}.ipynb)", f"[Colab]({COLAB}/{stem}.ipynb)"
        time = f"{seconds[stem]:.0f} s" if stem in seconds else "not timed yet"
        rows.append(f"| {link} | {afterwards} | {time} | {colab} |")
    return rows


def exercise_table():
    """List the exercises: number and title, difficulty and time, the lesson before."""
    rows = ["| exercise | difficulty, minutes | points | after |", "|---|---|---|---|"]
    for path in sorted((REPOSITORY / "notebooks/source/exercises").glob("[0-9]*.py")):
        text = path.read_text(encoding="utf-8")
        link = f"[{path.stem[:2]} {title(f'exercises/{path.stem}')}](notebooks/exercises/{path.stem}.ipynb)"
        level, minutes, points = re.search(r"\*(\w+) · (\d+) minutes · .* · (\d+) points\*", text).groups()
        lesson = re.search(r"· after [^·]*?(\d\d)", text)[1]
        rows.append(f"| {link} | {level.lower()}, {minutes} | {points} | lesson {lesson} |")
    return rows


def result_table():
    """List what was measured, each line with its file."""
    rows = ["| measured | result | file in `benchmarks/results` |", "|---|---|---|"]
    parts = (("class_training", training_rows), ("time_to_accuracy", sooner_rows), ("accuracy_for_size", size_rows),
             ("loader", loader_rows), ("efficient", efficient_rows))
    for name, make in parts:
        if not (RESULTS / f"{name}.json").exists():  # not measured yet
            continue
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


def fill(text):
    """Return README's text with its generated parts written anew."""
    parts = {"lessons": lesson_table, "exercises": exercise_table, "results": result_table, "speed": speed_table}
    for name, make in parts.items():
        begin, end = f"<!-- {name}: written by benchmarks/readme.py -->", f"<!-- end of {name} -->"
        head, rest = text.split(begin)
        text = head + "\n".join([begin, *make(), end]) + rest.split(end, 1)[1]
    return text


def main():
    path = REPOSITORY / "README.md"
    draft = path.with_suffix(".tmp")
    draft.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    main()
