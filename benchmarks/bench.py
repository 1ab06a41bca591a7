"""Measure speed and memory on a CPU: ``make bench`` (under 5 minutes on two cores), ``make bench-full``.

Without an option: the efficient block against torchvision's in BC-100-12, bytes kept for the backward pass, and a
cold training of the class network; a table on the screen, and benchmarks/results/bench.json. ``--full`` runs the
other scripts that time something, each of which writes a file of its own, and prints README's table from them. What is
measured on a GPU stands in ``gpu.py``.
"""

import argparse
import subprocess
import sys
import time

import efficient
import tables
import time_to_accuracy
import torch
from harness import REPOSITORY, provenance, spread

from densenet_course.data import prepare
from densenet_course.files import write_json

FULL = (["loader.py"], ["efficient.py"], ["time_to_accuracy.py"], ["class_training.py"],
        ["class_training.py", "--fp32"], ["lessons.py"])
REPEATS = 5


def quick():
    """Measure what takes a few minutes; a dict for the results file."""
    torch.manual_seed(0)
    location, plan = prepare(), time_to_accuracy.Plan(seeds=1)
    time_to_accuracy.compiling()  # which a machine does once
    found = {"data": "sample" if location.is_sample else "full",
             "cold training": time_to_accuracy.course_run("0.90", 0, plan, allow_bf16=True),
             "memory": efficient.memory(64, "cpu")}
    cases = ("BC-100-12 28²",)
    found |= efficient.measure(device="cpu", quick=False, repeats=REPEATS, cases=cases, batches=(32,))
    return found | {"provenance": provenance(repeats=REPEATS, seeds=[0])}


def table(found):
    """Set out what ``quick`` found, a line for each figure."""
    cold, kept = found["cold training"], found["memory"]
    yield f"class network, cold: {cold['seconds']:.0f} s to a test accuracy of {cold['accuracy']:.4f}"
    yield (f"kept for the backward pass of BC-100-12, batch {kept['batch']}: {kept['BC-100-12 times fewer']} times "
           f"fewer bytes than torchvision's; exponents by depth {kept['slope']}")
    yield f"\n{'times as fast as torchvision, median (smallest to largest)':60} {'efficient':20} native"
    for kind in ("training", "inference"):
        for case, result in found[kind].items():
            for form, ratios in result["against torchvision"].items():
                columns = (spread(ratios[name]) for name in ("efficient", "native"))
                yield f"{f'{kind}, {case}, {form}':60} {'   '.join(columns)}"


def run_all(scripts):
    """Run other scripts one after the other; stop at the first that fails."""
    for script in scripts:
        print(f"\n== {' '.join(script)}", flush=True)
        subprocess.run([sys.executable, *script], cwd=REPOSITORY / "benchmarks", check=True)
    print("\n".join([*tables.result_table(), "", *tables.speed_table()]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every script that times something; it takes long")
    options = parser.parse_args()
    started = time.perf_counter()
    if options.full:
        run_all(FULL)
    else:
        found = quick()
        write_json(REPOSITORY / "benchmarks/results/bench.json", found)
        print("", *table(found), sep="\n")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
