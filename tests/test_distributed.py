"""Two ranks under the real torchrun: they train what one process trains, and end together, whatever happens."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from densenet_course import cli
from densenet_course.cli.folders import FolderBatches
from densenet_course.data import Share
from densenet_course.training import distributed, make_optimizer
from densenet_course.training import loop as training
from densenet_course.training.checkpoint import load_checkpoint
from tests import two_ranks
from tests.test_folders import make_images
from tests.two_ranks import FIT, Stop, held_out_data, network, training_data

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun was never tried on Windows here")
LIMIT = 240  # seconds; a launch takes about 10 where nothing else runs
TRAIN = ["-m", "densenet_course.cli", "train"]


def start(*arguments, gpus=0):
    """Start two ranks on CPUs, or one on each of some GPUs."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus or 2}"]
    command += [str(argument) for argument in arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({} if gpus else {"CUDA_VISIBLE_DEVICES": ""})
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process):
    """Wait for the ranks, not forever; return exit status, output and errors."""
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its ranks
        out, err = process.communicate()
        pytest.fail(f"two ranks still ran after {LIMIT} s\n{out}\n{err}")
    return process.returncode, out, err


def alone(model, **options):
    """Train in this process, like ``two_ranks.trained``."""
    history = training.fit(model, training_data(), test=held_out_data(), **(FIT | options))
    return {"weights": model.state_dict(), "history": history}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Let two ranks go through all cases of ``two_ranks``, once; a dict: case → what each rank returned."""
    folder = tmp_path_factory.mktemp("two ranks")
    data = Stop(training_data(), epoch=1)
    training.fit(network(frozen=True), data, test=held_out_data(), checkpoint=folder / "one.pt", **FIT)
    status, out, err = finish(start("-m", "tests.two_ranks", folder))
    assert status == 0, err
    return torch.load(folder / "found.pt") | {"folder": folder, "out": out}


@pytest.fixture(scope="module")
def whole():
    """One process trains the network with frozen BatchNorm from beginning to end."""
    return alone(network(frozen=True))


def figures(history):
    return [[value for name, value in row.items() if name != "seconds"] for row in history]


def assert_same(one, other):
    """The same weights and figures, up to the rounding of sums taken in another order."""
    assert len(one["history"]) == FIT["epochs"]
    assert figures(one["history"]) == [pytest.approx(row, rel=1e-5) for row in figures(other["history"])]
    torch.testing.assert_close(dict(one["weights"]), dict(other["weights"]), rtol=1e-4, atol=1e-6)


def test_two_ranks_train_what_one_process_trains(found, whole):
    first, second = found["frozen"]
    assert_same(first, whole)
    assert figures(first["history"]) == figures(second["history"])
    assert all(torch.equal(value, second["weights"][name]) for name, value in first["weights"].items())


def test_the_efficient_network_trains_the_same_in_two_ranks(found, whole):
    assert_same(found["frozen_efficient"][0], whole)


@pytest.fixture
def one_thread():
    """Take sums in the order in which a rank takes them: an activation near 0 may otherwise end on its other side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("case, efficient", [("batchnorm", False), ("batchnorm_efficient", True)])
@pytest.mark.usefixtures("one_thread")
def test_batchnorm_takes_its_statistics_from_the_images_of_a_rank(found, case, efficient):
    model = network(efficient=efficient)
    optimizer = make_optimizer(model, peak_rate=FIT["peak_rate"])
    data = training_data()
    scheduler = training.make_scheduler(optimizer, "one_cycle", FIT["epochs"] * len(data))
    buffers = dict(model.named_buffers())
    for _ in range(FIT["epochs"]):
        for images, labels in data:
            ranks = [copy.deepcopy(model).train() for _ in range(2)]
            for r, one in enumerate(ranks):
                F.cross_entropy(one(images[r::2]), labels[r::2]).backward()
            gradients = zip(model.parameters(), *(one.parameters() for one in ranks), strict=True)
            for parameter, *seen in gradients:
                parameter.grad = torch.stack([each.grad for each in seen]).mean(0)
            for name, buffer in ranks[0].named_buffers():  # the running statistics are those of rank 0
                buffers[name].copy_(buffer)
            optimizer.step()
            scheduler.step()
    weights, second = (rank["weights"] for rank in found[case])
    assert all(torch.equal(value, second[name]) for name, value in weights.items()), "running statistics too"
    torch.testing.assert_close(dict(weights), dict(model.state_dict()), rtol=1e-4, atol=1e-6)
    one = alone(network(efficient=efficient))["weights"]
    assert not torch.allclose(weights["classifier.weight"], one["classifier.weight"], atol=1e-3)


def test_resume_with_another_number_of_ranks(found, whole):
    assert found["interrupted"] == ["interrupted"] * 2
    assert len(load_checkpoint(found["folder"] / "two.pt")["history"]) == 1
    assert_same(alone(network(seed=1, frozen=True), checkpoint=found["folder"] / "two.pt"), whole)
    assert_same(found["go_on_from_one"][0], whole)


def test_resume_with_the_same_ranks_draws_the_same_dropout(found):
    at_once, resumed = found["whole_with_dropout"][0], found["resumed_with_dropout"]
    assert figures(resumed[0]["history"]) == figures(at_once["history"])
    assert all(torch.equal(value, resumed[0]["weights"][name]) for name, value in at_once["weights"].items())
    assert not torch.equal(resumed[0]["next"], resumed[1]["next"])


def test_rank_0_alone_prints_and_saves(found):
    assert found["saves"] == [FIT["epochs"], 0]
    assert found["command"] == [0, 0]
    lines = ("training class_densenet on 128 images, 2 × cpu, ", "test accuracy ", "history and checkpoint: ")
    assert [found["out"].count(words) for words in lines] == [1, 1, 1]
    result = json.loads((found["folder"] / "run/history.json").read_text())
    assert result["test_accuracy"] == pytest.approx(result["epochs"][-1]["test_accuracy"])
    assert "Confusion matrix of 33 images" in (found["folder"] / "run/confusion_matrix.svg").read_text()
    assert not list(found["folder"].glob("*.tmp"))


def test_an_error_that_concerns_all_ranks_is_raised_on_all(found):
    first, second = found["errors"]
    assert first == second
    expected = ("lower peak_rate", "not a readable checkpoint", "epochs was 3, is 4")
    assert all(words in message for words, message in zip(expected, first, strict=True)), first


def test_an_error_on_one_rank_ends_both_and_is_read_once(tmp_path):
    images = make_images(tmp_path / "images")
    second = FolderBatches(images / "train", training=True, image_size=32, batch_size=8, share=Share(1, 2))
    path, _ = second.images.samples[list(second.loader.sampler)[5]]  # rank 1 meets it in its second step
    Path(path).write_bytes(b"no image")
    status, _, errors = finish(start("-m", "tests.two_ranks", "train", "--images", images, "--network", "class",
                                     "--image-size", 32, "--batch-size", 8, "--workers", 1, "--out", tmp_path / "out"))
    assert status != 0 and "still in the group: False" in errors
    ours = [line for line in errors.splitlines() if line.startswith("densenet-course")]
    assert len(ours) == 1 and ours[0].startswith(f"densenet-course train, rank 1: {path} is not a readable image")
    assert "Connection closed" not in errors, "the other rank waits for torchrun to end it, in silence"
    assert not (tmp_path / "out/history.json").exists()


def test_an_interrupt_ends_both_ranks_and_one_process_goes_on(tmp_path, monkeypatch):
    images, out = make_images(tmp_path / "images"), tmp_path / "out"
    options = ["--images", images, "--network", "class", "--image-size", 32, "--batch-size", 8, "--epochs", 50,
               "--workers", 0, "--out", out]
    process, deadline = start(*TRAIN, *options), time.monotonic() + LIMIT
    while not (out / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    status, printed, errors = finish(process)
    assert status != 0 and printed.startswith("training class_densenet on 30 images, 2 × cpu, ")
    assert errors.count("interrupted: the same command goes on after the last finished epoch") == 1, errors
    history = load_checkpoint(out / "checkpoint.pt")["history"]
    assert 1 <= len(history) < 50
    monkeypatch.setattr("densenet_course.training.precision.choose_device", lambda: torch.device("cpu"))
    assert cli.main(["train", *map(str, options)]) == 0
    whole = json.loads((out / "history.json").read_text())["epochs"]
    assert whole[:len(history)] == history and len(whole) == 50


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_gpus_train_with_synchronised_batchnorm(tmp_path):
    images, gpus = make_images(tmp_path / "images"), min(2, torch.cuda.device_count())
    status, printed, errors = finish(start(*TRAIN, "--images", images, "--network", "class", "--image-size", 32,
                                           "--batch-size", 8, "--epochs", 2, "--workers", 0, "--sync-batchnorm",
                                           "--out", tmp_path / "out", gpus=gpus))
    assert status == 0, errors
    assert "cuda" in printed and "test accuracy" in printed


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"TORCHELASTIC_RUN_ID": "test", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="expected at most 2 processes on this machine, one for each GPU, got 4"):
        distributed.run(lambda: None)


def test_one_process_needs_no_torchrun():
    calls = []
    assert distributed.run(lambda: calls.append(1) or "done") == "done" and calls == [1]
    assert (distributed.rank(), distributed.ranks()) == (0, 1)
    assert distributed.gathered(3) == [3] and distributed.totals(1.5, 2) == (1.5, 2)
    model = two_ranks.network()
    assert distributed.data_parallel(model) is model
    with pytest.raises(KeyError, match="lost"):
        distributed.on_rank_0(lambda: {}["lost"])
