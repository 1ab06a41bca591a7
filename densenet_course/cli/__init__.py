"""The command ``densenet-course``: doctor, data, train, export, figures, release, grade, leaderboard."""

import argparse
import importlib.metadata
import os
import sys
from pathlib import Path

from densenet_course.cli import export, grade, train
from densenet_course.terminal import print_anything


def main(arguments=None):
    """Run one command; return the exit status."""
    print_anything()
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (OSError, ValueError, FloatingPointError, ModuleNotFoundError) as error:
        rank = f", rank {os.environ['RANK']}" if "TORCHELASTIC_RUN_ID" in os.environ else ""  # torchrun sets both
        print(f"densenet-course {options.command}{rank}: {error}", file=sys.stderr)
        return 1


def _parser():
    parser = argparse.ArgumentParser(prog="densenet-course", description="Helpers of the DenseNet course.")
    parser.add_argument("--version", action="version",
                        version=f"%(prog)s {importlib.metadata.version('densenet-course')}")
    commands = parser.add_subparsers(dest="command", required=True)

    doctor = commands.add_parser("doctor", help="examine Python, packages, device and data",
                                 description="Examine Python, packages, device, data and whether the grader's sandbox "
                                             "starts; say what to do about what is missing.")
    doctor.set_defaults(run=_doctor)

    data = commands.add_parser("data", help="find or fetch FashionMNIST, and verify it",
                               description="Find FashionMNIST on this machine or fetch it, and verify it by SHA-256.")
    data.set_defaults(run=_data)

    figures = commands.add_parser("figures", help="draw the pictures of README and lessons as SVG files")
    figures.add_argument("--out", type=Path, default=Path("figures"), help="folder (default: figures)")
    figures.set_defaults(run=_figures)

    release = commands.add_parser("release", help="write a folder of exercises to hand out to a class")
    place = release.add_mutually_exclusive_group(required=True)
    place.add_argument("out", type=Path, nargs="?", help="a new or empty folder")
    place.add_argument("--nbgrader", type=Path, metavar="COURSE", help="write an assignment of this nbgrader course")
    release.add_argument("--exercise", action="append", metavar="ID",
                         help="such as dense_block, the notebook's name without its number; may be repeated (default: "
                              "all)")
    release.add_argument("--assignment", metavar="NAME", help="name of nbgrader's assignment (default: densenet)")
    release.set_defaults(run=_release)

    grade.add_options(commands.add_parser(
        "grade", help="grade a class's notebooks outside the students' processes",
        description="Judge what a class handed in, each notebook in a sandbox. Run the same command again to continue "
                    "after a stop."))

    board = commands.add_parser("leaderboard", help="merge a class's leaderboards of the capstone, and draw them")
    board.add_argument("files", type=Path, nargs="+", metavar="FILE", help="leaderboard.json of a learner")
    board.add_argument("--out", type=Path, default=Path("leaderboard"), help="folder (default: leaderboard)")
    board.set_defaults(run=_leaderboard)

    train.add_options(commands.add_parser(
        "train", help="train on FashionMNIST or on a folder of images",
        description="Train a DenseNet, here or, under torchrun, in several processes: torchrun --nproc-per-node=N -m "
                    "densenet_course.cli train …"))

    export.add_options(commands.add_parser(
        "export", help="write a network as an ONNX file, checked against PyTorch",
        description="Write a network as an ONNX file that takes any number of images. The file is there only when ONNX "
                    "Runtime computes from it what PyTorch computes."))
    return parser


def _doctor(options):
    from densenet_course.doctor import print_report

    return 0 if print_report() else 1


def _data(options):
    from densenet_course.data import prepare

    location = prepare()
    print(f"FashionMNIST: {location.source}, in {location.root}")
    return 0


def _figures(options):
    from densenet_course.figures.__main__ import main as draw

    draw(options.out)
    return 0


def _release(options):
    from densenet_course.cli.release import EXERCISES, release, release_nbgrader

    chosen, out, name = options.exercise or EXERCISES, options.out, options.assignment or "densenet"
    if options.nbgrader:
        out = release_nbgrader(options.nbgrader, chosen, assignment=name)
    elif options.assignment:
        raise ValueError("--assignment is the name of nbgrader's; expected --nbgrader COURSE with it")
    else:
        release(out, chosen)
    print(f"{len(set(chosen))} exercises, README.md and requirements.txt: {out}")
    if options.nbgrader:
        print(f"Next, in {options.nbgrader}: nbgrader generate_assignment {name} --create")
    return 0


def _leaderboard(options):
    from densenet_course.checks import leaderboard as boards
    from densenet_course.figures import leaderboard, save

    entries, left_out = boards.collect(options.files)
    for message in left_out:
        print(message, file=sys.stderr)
    options.out.mkdir(parents=True, exist_ok=True)
    boards.write(entries, options.out / "leaderboard.json")
    save(leaderboard.leaderboard(entries), options.out / "leaderboard.svg")
    print(f"{boards.table(entries)}\nleaderboard.json and leaderboard.svg: {options.out}")
    return 1 if left_out else 0
