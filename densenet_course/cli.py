"""The command ``densenet-course``: doctor, data, train, figures, release, leaderboard."""

import argparse
import sys
from pathlib import Path


def main(arguments=None):
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"densenet-course {options.command}: {error}", file=sys.stderr)
        return 1


def _parser():
    parser = argparse.ArgumentParser(prog="densenet-course", description="Helpers of the DenseNet course.")
    commands = parser.add_subparsers(dest="command", required=True)

    doctor = commands.add_parser("doctor", help="examine Python, packages, device and data")
    doctor.set_defaults(run=_doctor)

    data = commands.add_parser("data", help="find or fetch FashionMNIST, and verify it")
    data.set_defaults(run=_data)

    figures = commands.add_parser("figures", help="draw the pictures of README and lessons as SVG files")
    figures.add_argument("--out", type=Path, default=Path("figures"), help="folder (default: figures)")
    figures.set_defaults(run=_figures)

    release = commands.add_parser("release", help="write a folder of exercises to hand out to a class")
    release.add_argument("out", type=Path, help="a new or empty folder")
    release.add_argument("--exercise", action="append", metavar="ID", help="may be repeated (default: all)")
    release.set_defaults(run=_release)

    board = commands.add_parser("leaderboard", help="merge a class's leaderboards of the capstone, and draw them")
    board.add_argument("files", type=Path, nargs="+", metavar="FILE", help="leaderboard.json of a learner")
    board.add_argument("--out", type=Path, default=Path("leaderboard"), help="folder (default: leaderboard)")
    board.set_defaults(run=_leaderboard)

    train = commands.add_parser("train", help="train the class network on FashionMNIST")
    train.add_argument("--epochs", type=int, default=6, help="passes over the 60,000 images (default: 6)")
    train.add_argument("--batch-size", type=int, default=128, help="images a step (default: 128)")
    train.add_argument("--peak-rate", type=float, default=0.2, help="highest learning rate (default: 0.2)")
    train.add_argument("--schedule", choices=("one_cycle", "step"), default="one_cycle")
    train.add_argument("--drop-rate", type=float, default=0.0, help="dropout after each layer (default: 0)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--fp32", action="store_true", help="plain fp32 even where the device has bf16 units")
    train.add_argument("--out", type=Path, default=Path("runs/class"), help="folder (default: runs/class)")
    train.add_argument("--fresh", action="store_true", help="start afresh where a checkpoint would be resumed")
    train.set_defaults(run=_train)
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
    from densenet_course.exercises import EXERCISES, release

    chosen = options.exercise or EXERCISES
    release(options.out, chosen)
    print(f"{len(set(chosen))} exercises, README.md and requirements.txt: {options.out}")
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


def _train(options):
    import torch

    from densenet_course.data import ResidentBatches, load, prepare
    from densenet_course.models import class_densenet
    from densenet_course.precision import choose_device, choose_precision
    from densenet_course.training import fit

    torch.manual_seed(options.seed)
    device = choose_device()
    precision = choose_precision(device, allow_bf16=not options.fp32)
    location = prepare()
    train = ResidentBatches(*load("train", location), batch_size=options.batch_size, device=device, shuffle=True,
                            augment="flip", drop_last=True, seed=options.seed)
    test = ResidentBatches(*load("test", location), batch_size=1000, device=device)
    checkpoint = options.out / "checkpoint.pt"
    if options.fresh:
        checkpoint.unlink(missing_ok=True)
    model = class_densenet(drop_rate=options.drop_rate)
    print(f"training class_densenet on {train.num_images:,} images, {device.type}, {precision}; {location.source}")
    history = fit(
        model, train, test=test, epochs=options.epochs, peak_rate=options.peak_rate, schedule=options.schedule,
        device=device, precision=precision, checkpoint=checkpoint,
    )
    return _report(options.out, model, test, precision, history, location)


def _report(folder, model, test, precision, history, location):
    """Print the result and write curves, confusion matrix and history into the folder."""
    from densenet_course.data import CLASS_NAMES
    from densenet_course.figures import save
    from densenet_course.figures.results import confusion_matrix, learning_curves
    from densenet_course.files import write_json
    from densenet_course.training import predict

    if not history:
        print("no epoch was finished; run the same command again to go on")
        return 1
    logits, labels = predict(model, test, precision=precision)
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    save(learning_curves(history), folder / "learning_curves.svg")
    save(confusion_matrix(logits, labels, CLASS_NAMES), folder / "confusion_matrix.svg")
    write_json(folder / "history.json", {"data": location.source, "test_accuracy": accuracy, "epochs": history})
    seconds = sum(row["seconds"] for row in history)
    print(f"test accuracy {accuracy:.4f} after {len(history)} epochs, {seconds:.0f} s of training")
    print(f"curves, confusion matrix, history and checkpoint: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
