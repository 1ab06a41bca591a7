"""Write the generated tables of README.md and docs/: ``python benchmarks/readme.py``."""

import re

from harness import REPOSITORY
from recommendations import recommendation_list
from tables import (
    compile_line,
    export_line,
    headlines,
    lead_table,
    machine_line,
    peer_line,
    peer_table,
    result_table,
    speed_table,
)

from densenet_course.files import replacing
from densenet_course.results import read

PAGES = ("README.md", "docs/index.md", "docs/exercises.md", "docs/measured.md", "docs/recommendations.md",
         "docs/train.md")
LESSONS = {
    "00_start_here": "check machine, device and data; know how predict → run → read works",
    "01_why_dense_connections": "count the links of a dense block; measure gradients by depth in three wirings",
    "02_conv_block": "build BN → ReLU → 3×3 conv and say why in this order, with padding 1 and no bias",
    "03_dense_block": "build a dense block; say who reads whose maps; keep its channel ledger",
    "04_transition": "shrink maps and channels between blocks; say how average and maximum pooling differ",
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


def title(stem):
    """Read a lesson's title from its text, without the number."""
    text = (REPOSITORY / "notebooks/source" / f"{stem}.py").read_text(encoding="utf-8")
    heading = next(line for line in text.splitlines() if line.startswith("# # "))
    return heading.split("·", 1)[1].strip()


def lesson_table(root):
    """List the lessons: number and title, what one can do afterwards, run time."""
    seconds = read("lessons")["seconds"]
    rows = ["| lesson | afterwards you can | runs in |", "|---|---|---|"]
    for stem, afterwards in LESSONS.items():
        link = f"[{stem[:2]} {title(stem)}]({root}notebooks/{stem}.ipynb)"
        time = f"{seconds[stem]:.0f} s" if stem in seconds else "not timed yet"
        rows.append(f"| {link} | {afterwards} | {time} |")
    return rows


def exercise_table(root):
    """List the exercises: number and title, difficulty and time, the lesson before."""
    rows, totals = ["| exercise | difficulty, minutes | points | after |", "|---|---|---|---|"], [0, 0]
    for path in sorted((REPOSITORY / "notebooks/source/exercises").glob("[0-9]*.py")):
        text = path.read_text(encoding="utf-8")
        link = f"[{path.stem[:2]} {title(f'exercises/{path.stem}')}]({root}notebooks/exercises/{path.stem}.ipynb)"
        level, minutes, points = re.search(r"\*(\w+) · (\d+) minutes · .* · (\d+) points\*", text).groups()
        lesson = re.search(r"· after [^·]*?(\d\d)", text)[1]
        rows.append(f"| {link} | {level.lower()}, {minutes} | {points} | lesson {lesson} |")
        totals = [totals[0] + int(minutes), totals[1] + int(points)]
    return [*rows, f"| all | {totals[0]} | {totals[1]} | |"]


PARTS = {
    "lessons": lesson_table,
    "exercises": exercise_table,
    "headlines": lambda root: headlines(),
    "machine": lambda root: machine_line(),
    "results": lambda root: result_table(),
    "leads": lambda root: lead_table(),
    "speed": lambda root: speed_table(),
    "peers": lambda root: peer_table(),
    "compiling": lambda root: compile_line(),
    "peering": lambda root: peer_line(),
    "export": lambda root: export_line(),
    "recommendations": recommendation_list,
}


def fill(text, root):
    """Return a page's text with its generated parts written anew.

    Args:
        text: of the page; a part stands between ``<!-- NAME: written by benchmarks/readme.py -->`` and
            ``<!-- end of NAME -->``.
        root: from the page to the repository's root, "" or "../", before every link.

    Raises:
        ValueError: a part is unknown or has no end.
    """
    def write(match):
        name, end = match[1], f"<!-- end of {match[1]} -->"
        if name not in PARTS or end not in match[0]:
            raise ValueError(f"expected one of {', '.join(PARTS)}, closed by {end}; got {name}")
        return "\n".join([match[0].split("\n", 1)[0], *PARTS[name](root), end])

    return re.sub(r"<!-- (\w+): written by benchmarks/readme.py -->.*?(?:<!-- end of \1 -->|\Z)", write, text,
                  flags=re.DOTALL)


def main():
    for name in PAGES:
        path = REPOSITORY / name
        with replacing(path) as draft:
            draft.write_text(fill(path.read_text(encoding="utf-8"), "../" * name.count("/")), encoding="utf-8")


if __name__ == "__main__":
    main()
