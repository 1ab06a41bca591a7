"""The command line: what each command prints, writes and returns."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from densenet_course import cli, data, doctor, fetching
from densenet_course.cli import job, train
from densenet_course.data import Location
from densenet_course.training import loop as training

FIGURES = Path(__file__).resolve().parent.parent / "figures"


@pytest.fixture
def few_images(monkeypatch, tmp_path):
    """Let the commands see 256 training and 64 test images of the real set or the sample."""
    location = data.prepare()
    splits = {split: [part[:count] for part in data.load(split, location)] for split, count in
              (("train", 256), ("test", 64))}
    monkeypatch.setattr(data, "load", lambda split, location=None: splits[split])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_train_writes_what_it_promises(few_images, capsys):
    assert cli.main(["train", "--epochs", "2", "--batch-size", "64", "--out", "run"]) == 0
    printed = capsys.readouterr().out
    folder = few_images / "run"
    assert sorted(file.name for file in folder.iterdir()) == [
        "checkpoint.pt", "confusion_matrix.svg", "history.json", "learning_curves.svg"
    ]
    result = json.loads((folder / "history.json").read_text())
    assert [row["epoch"] for row in result["epochs"]] == [1, 2]
    assert result["test_accuracy"] == pytest.approx(result["epochs"][-1]["test_accuracy"])
    assert f"test accuracy {result['test_accuracy']:.4f} after 2 epochs" in printed
    assert "256 images" in printed
    assert "step/s" not in printed  # no progress bar where nobody watches


def test_train_resumes_refuses_other_settings_and_starts_afresh(few_images, capsys, monkeypatch):
    command = ["train", "--epochs", "1", "--batch-size", "64", "--out", "run"]
    assert cli.main(command) == 0
    calls = []
    original = training.train_one_epoch
    monkeypatch.setattr(training, "train_one_epoch", lambda *a, **k: calls.append(1) or original(*a, **k))
    assert cli.main(command) == 0 and not calls  # nothing left to train
    assert cli.main([*command, "--peak-rate", "0.1"]) == 1
    assert "peak_rate was 0.2, is 0.1" in capsys.readouterr().err
    assert cli.main([*command, "--optimizer", "muon"]) == 1
    assert "optimizer was sgd, is muon" in capsys.readouterr().err
    assert cli.main([*command, "--peak-rate", "0.1", "--fresh"]) == 0 and len(calls) == 1


@pytest.mark.parametrize("options, efficient", [
    ([], False), (["--efficient"], True), (["--efficient", "native"], "native"),
])
def test_train_builds_the_network_asked_for(options, efficient):
    parser = argparse.ArgumentParser()
    train.add_options(parser)
    options = parser.parse_args([*options, "--drop-rate", "0.1"])
    config = job.build_model(train.completed(options), 10, torch.device("cpu")).config
    assert (config.efficient, config.drop_rate) == (efficient, 0.1)


@pytest.mark.parametrize("wrong, message", [
    (["--epochs", "0"], "epochs: expected a whole number of at least 1, got 0"),
    (["--batch-size", "0"], "batch_size: expected a whole number of at least 1, got 0"),
    (["--drop-rate", "1"], "drop_rate: expected 0 ≤ p < 1, got 1.0"),
    (["--drop-rate", "nan"], "drop_rate: expected 0 ≤ p < 1, got nan"),
    (["--batch-size", "100000"], "batch_size: expected at most 256, the number of images"),
    (["--batch-size", "100000"], "got 100,000"),
    (["--peak-rate", "nan"], "peak_rate: expected a finite number above 0, got nan"),
    (["--peak-rate", "inf"], "peak_rate: expected a finite number above 0, got inf"),
    (["--peak-rate", "-0.1"], "peak_rate: expected a finite number above 0, got -0.1"),
    (["--weight-decay", "nan"], "weight_decay: expected a finite number of at least 0, got nan"),
    (["--seed", "-1"], "seed: expected 0 ≤ seed < 2**63, got -1"),
    (["--seed", str(2**64)], "seed: expected 0 ≤ seed < 2**63"),
    (["--out", "file"], "expected a folder, but file is a file. Name another folder"),
    (["--out", "file/run"], "cannot write into file/run: Not a directory. Name another folder"),
    (["--fresh", "--out", "file"], "expected a folder, but file is a file. Name another folder"),
])
def test_train_refuses_bad_settings_in_one_line_before_the_first_step(few_images, capsys, wrong, message, monkeypatch):
    (few_images / "file").touch()
    monkeypatch.setattr(training, "train_one_epoch", lambda *a, **k: pytest.fail("an epoch was trained"))
    assert cli.main(["train", *wrong]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_full_disk_is_named_in_one_line(few_images, capsys, monkeypatch):
    def save(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 95552 vs 95448")

    monkeypatch.setattr(torch, "save", save)  # what it raises where the disk is full
    assert cli.main(["train", "--epochs", "1", "--batch-size", "64", "--out", "run"]) == 1
    error = capsys.readouterr().err
    assert "could not write run/checkpoint.pt" in error and "MB are free there" in error and error.count("\n") == 1


def test_options_are_read_without_torch():
    line = "import sys, densenet_course.cli as c; c._parser().parse_args(['train']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line]).returncode == 0


def test_data_says_where_it_came_from(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(data, "prepare", lambda: Location(tmp_path, "a test", False))
    assert cli.main(["data"]) == 0
    assert capsys.readouterr().out == f"FashionMNIST: a test, in {tmp_path}\n"


def test_figures_writes_every_picture(tmp_path, capsys):
    assert cli.main(["figures", "--out", str(tmp_path)]) == 0
    written = {file.name for file in tmp_path.iterdir()}
    assert len(written) >= 10 and written == {file.name for file in FIGURES.glob("*.svg")}
    assert len(capsys.readouterr().out.splitlines()) == len(written)


def test_doctor_is_content_here(capsys):
    data.prepare()
    status = cli.main(["doctor"])
    printed = capsys.readouterr().out
    assert "✓ Python" in printed and "✓ packages" in printed and "torch 2." in printed and "jupyterlab 4." in printed
    assert len(printed.splitlines()) < 10
    assert "training uses" in printed and "device" in printed
    assert status == (0 if "all four files, verified" in printed else 1)


def test_doctor_names_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DENSENET_COURSE_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4))
    original = doctor.importlib.metadata.version

    def version(name):
        if name == "d2l":
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "numpy" else original(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    assert cli.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    marked = [line.split()[1] for line in lines if line.startswith("!")]
    assert marked == ["Python", "numpy", "d2l", "FashionMNIST"]
    assert lines[0].startswith("!"), "problems come first"
    assert sum("→" in line for line in lines) == 4
    assert lines[-1] == "4 things to mend, marked with !."
    assert not (tmp_path / "empty").exists()  # it looks, and changes nothing


def test_doctor_finds_the_data_where_prepare_does(monkeypatch, tmp_path):
    whole, here = tmp_path / "cache", tmp_path / "not" / "near"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)  # a folder near the current one would be written as seen from there
    monkeypatch.setenv("DENSENET_COURSE_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(fetching, "user_cache", lambda: whole)
    monkeypatch.setattr(fetching, "problems", lambda root, files: {} if root == whole else {"a file": "is missing"})
    (finding,) = [finding for finding in doctor.examine() if finding.name == "FashionMNIST"]
    assert (finding.remedy, str(whole) in finding.value) == ("", True)


def numpy_is_old(monkeypatch):
    original = doctor.importlib.metadata.version
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "1.0" if name == "numpy" else original(name))


@pytest.mark.parametrize("stamp, pip, remedy", [
    (True, False, "then make lab"), (False, True, "python -m pip install"), (False, False, "uv pip install"),
])
def test_doctor_advises_what_is_possible_in_its_environment(monkeypatch, tmp_path, stamp, pip, remedy):
    numpy_is_old(monkeypatch)
    find_spec = doctor.importlib.util.find_spec
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: pip or None if name == "pip" else find_spec(
        name))
    monkeypatch.setattr(doctor.sys, "prefix", str(tmp_path))
    if stamp:
        (tmp_path / "densenet-course.json").write_text("{}")
    (finding,) = [finding for finding in doctor.examine() if finding.name == "numpy"]
    assert remedy in finding.remedy


@pytest.mark.parametrize("colab", [True, False])
def test_doctor_leaves_colabs_own_widgets_to_colab(monkeypatch, colab):
    original = doctor.importlib.metadata.version
    monkeypatch.setattr(doctor.importlib.metadata, "version",
                        lambda name: "7.7.1" if name == "ipywidgets" else original(name))
    if colab:
        monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    assert ("ipywidgets" in [finding.name for finding in doctor.examine()]) == (not colab)


def test_the_module_runs_as_a_command():
    result = subprocess.run([sys.executable, "-m", "densenet_course.cli", "nonsense"], capture_output=True, text=True)
    assert result.returncode == 2 and "invalid choice: 'nonsense'" in result.stderr


CHECK = """
from torch import nn
from densenet_course.checks import check, finish
def conv_block(i, o): return nn.Sequential(nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, o, 3, padding=1, bias=False))
check("conv_block", conv_block)
finish("conv_block", conv_block)"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("command", [
    ["-m", "densenet_course.cli", "doctor"], ["-m", "densenet_course.cli", "train", "--help"], ["-c", CHECK],
], ids=lambda command: command[-1].split()[0])
def test_any_code_page_will_do(command, encoding):
    done = subprocess.run([sys.executable, *command], env=os.environ | {"PYTHONIOENCODING": encoding},
                          capture_output=True, encoding=encoding)
    assert "Error" not in done.stderr
    assert "usage: " in done.stdout or "+ " in done.stdout


def test_a_sign_that_the_code_page_has_is_printed_as_it_is():
    code = "from densenet_course.terminal import print_anything; print_anything(); print('✓ 3 × 4 → θ 漢')"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": "cp1252"},
                          capture_output=True)
    assert done.stdout.decode("cp1252").strip() == "+ 3 × 4 -> theta ?"
