"""Training: what is decayed, what is measured, what an interrupt keeps, and that a killed run ends like a whole one."""

import json
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densenet_course.data import ResidentBatches
from densenet_course.models import class_densenet
from densenet_course.recipe import Recipe
from densenet_course.training import evaluate, fit, make_optimizer, optimizers, predict, train_one_epoch
from densenet_course.training.checkpoint import load_checkpoint, save_checkpoint
from densenet_course.training.precision import BF16, FP32, FP32_CHANNELS_LAST, choose_precision, has_bf16
from densenet_course.training.schedules import SCHEDULES, one_cycle, step_decay

CPU = torch.device("cpu")


def small_data(count=96, batch_size=32, **options):
    """Images whose class can be seen: class c has the brightness 20·c."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (count,), generator=generator)
    images = torch.randint(0, 60, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    images += (20 * labels).byte().view(-1, 1, 1, 1)
    return ResidentBatches(images, labels, batch_size=batch_size, **options)


def tiny_network():
    torch.manual_seed(0)
    return class_densenet(block_layers=(1, 1), growth_rate=4, init_channels=8, drop_rate=0.2)


def test_only_weights_of_convolutions_and_linear_layers_are_decayed():
    model = tiny_network()
    decayed, kept = make_optimizer(model, peak_rate=0.1, weight_decay=5e-4).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (5e-4, 0.0)
    expected = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)}
    assert {id(p) for p in decayed["params"]} == expected
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))
    assert decayed["nesterov"] and decayed["momentum"] == 0.9


def test_train_one_epoch_means_over_images_not_batches():
    model = tiny_network()
    data = small_data(count=40, batch_size=32)  # the second batch has 8 images
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    torch.manual_seed(1)
    loss, accuracy = train_one_epoch(model, data, optimizer)
    torch.manual_seed(1)
    model.train()
    pairs = [(model(images), labels) for images, labels in data]
    losses = [F.cross_entropy(logits, labels).item() for logits, labels in pairs]
    hits = sum((logits.argmax(1) == labels).sum().item() for logits, labels in pairs)
    assert loss == pytest.approx((32 * losses[0] + 8 * losses[1]) / 40, rel=1e-5)
    assert accuracy == pytest.approx(hits / 40)


def test_train_one_epoch_refuses_no_batches_and_a_broken_loss():
    model = tiny_network()
    with pytest.raises(ValueError, match="expected at least one batch, got none"):
        train_one_epoch(model, [], make_optimizer(model, peak_rate=0.1))
    with pytest.raises(FloatingPointError, match="lower peak_rate"):
        fit(model, small_data(), epochs=2, peak_rate=1e6, device=CPU, precision=FP32)


def test_evaluate_changes_nothing():
    model = tiny_network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (evaluate(model, small_data()) for _ in range(2))
    assert first == second  # dropout is off
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    logits, labels = predict(model, small_data())
    assert logits.dtype == torch.float32 and not logits.requires_grad
    assert torch.equal(labels, small_data().labels)


@pytest.mark.parametrize("precision", [FP32, FP32_CHANNELS_LAST, BF16, None], ids=str)
def test_fit_learns_and_reports_plain_data(precision):
    model, test = tiny_network(), small_data()
    data = small_data(count=512, shuffle=True)
    history = fit(model, data, test=test, epochs=8, peak_rate=0.1, device=CPU, precision=precision)
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert json.loads(json.dumps(history)) == history
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["test_accuracy"] > 0.5, history  # chance is 0.1; of 15 starts the worst got 0.89
    logits, labels = predict(model, test, precision=precision or choose_precision(CPU))
    hits = int((logits.numpy().argmax(1) == labels.numpy()).sum())  # counted without PyTorch
    assert history[-1]["test_accuracy"] == hits / len(labels)


def test_fit_refuses_bad_settings():
    for name, value in (("epochs", 0), ("epochs", 1.5), ("epochs", True), ("peak_rate", float("nan")), ("peak_rate", 0),
                        ("peak_rate", float("inf")), ("peak_rate", "0.1"), ("momentum", 1), ("momentum", -0.1),
                        ("weight_decay", -1), ("weight_decay", float("nan")), ("label_smoothing", 1.5),
                        ("orthogonal_momentum", 1)):
        with pytest.raises(ValueError, match=rf"^{name}: expected .*, got {value!r}$"):
            fit(tiny_network(), small_data(), **{name: value})
    with pytest.raises(ValueError, match=r"optimizer: expected one of sgd, muon, adam, got 'lbfgs'"):
        fit(tiny_network(), small_data(), optimizer="lbfgs")
    with pytest.raises(ValueError, match=r"data: expected at least one batch, got none"):
        fit(tiny_network(), [])
    with pytest.raises(ValueError, match=r"schedule: expected one of .* got 'cosine'"):
        fit(tiny_network(), small_data(), schedule="cosine")


def test_a_recipe_is_what_fit_trains_by_and_single_settings_change_it():
    recipe = Recipe(epochs=1, peak_rate=0.05, label_smoothing=0.1, momentum=0.8)
    first, second = tiny_network(), tiny_network()
    torch.manual_seed(0)
    history = fit(first, small_data(), recipe=replace(recipe, epochs=2), device=CPU)
    torch.manual_seed(0)
    fit(second, small_data(), epochs=2, peak_rate=0.05, label_smoothing=0.1, momentum=0.8, device=CPU)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    third = tiny_network()
    torch.manual_seed(0)
    changed = fit(third, small_data(), recipe=recipe, epochs=2, device=CPU)
    assert [row["train_loss"] for row in changed] == [row["train_loss"] for row in history]
    with pytest.raises(TypeError, match="unexpected keyword argument 'lr'"):
        fit(tiny_network(), small_data(), lr=0.1)


def test_a_checkpoint_keeps_the_recipe_as_plain_values(tmp_path):
    recipe = Recipe(epochs=np.int64(1), peak_rate=np.float64(0.05))
    fit(tiny_network(), small_data(), recipe=recipe, device=CPU, checkpoint=tmp_path / "run.pt")
    settings = load_checkpoint(tmp_path / "run.pt")["settings"]
    assert Recipe(**{name: settings[name] for name in asdict(recipe)}) == recipe
    assert type(settings["peak_rate"]) is float


@pytest.mark.parametrize("path, message", [
    ("file/run.pt", "expected a folder, but .*file is a file"), ("file/deep/run.pt", "cannot write into .*file/deep"),
])
def test_where_no_checkpoint_can_be_written_nothing_is_trained(tmp_path, path, message, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("densenet_course.training.loop.train_one_epoch", lambda *a, **k: pytest.fail("trained"))
    with pytest.raises(OSError, match=message):
        fit(tiny_network(), small_data(), epochs=1, device=CPU, checkpoint=tmp_path / path)


FULL_DISK = """
import resource, signal, sys, torch
from densenet_course.training.checkpoint import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as a full disk: a file cannot grow further
try:
    save_checkpoint(sys.argv[1], {"weights": torch.zeros(100_000)})
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no RLIMIT_FSIZE")
def test_a_checkpoint_that_cannot_grow_is_named_and_the_old_one_kept(tmp_path):
    path = tmp_path / "run.pt"
    save_checkpoint(path, {"value": 1})
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True)
    assert done.stdout.startswith(f"could not write {path} (") and "MB are free there" in done.stdout, done.stderr
    assert load_checkpoint(path) == {"value": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


def test_schedules():
    assert [one_cycle(s, 8) for s in range(9)] == pytest.approx([0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])
    assert [step_decay(s, 8) for s in range(9)] == pytest.approx([1] * 4 + [0.1] * 2 + [0.01] * 3)
    tenths = [1] * 300 + [0.1] * 300 + [0.01] * 300  # 90 epochs of ten steps, each at the rate of its middle
    assert [SCHEDULES["imagenet"](s + 0.5, 900) for s in range(900)] == pytest.approx(tenths)


def test_fit_follows_the_schedule(monkeypatch):
    rates = []

    class Watch(optimizers.SGD):
        def step(self, *arguments):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*arguments)

    monkeypatch.setattr(optimizers, "SGD", Watch)
    fit(tiny_network(), small_data(count=64, batch_size=8), epochs=1, peak_rate=0.4, device=CPU)
    assert rates == pytest.approx([0.4 * one_cycle(s + 0.5, 8) for s in range(8)])


def test_precision_falls_back_without_bf16_units(monkeypatch):
    monkeypatch.setattr("densenet_course.training.precision.has_bf16", lambda device: False)
    assert choose_precision(CPU) == FP32_CHANNELS_LAST
    assert choose_precision(torch.device("mps")) == FP32
    monkeypatch.setattr("densenet_course.training.precision.has_bf16", lambda device: True)
    assert choose_precision(CPU) == BF16
    assert choose_precision(CPU, allow_bf16=False) == FP32_CHANNELS_LAST
    assert str(BF16) == "bf16 autocast, channels-last" and str(FP32) == "fp32, contiguous"


def test_bf16_question_is_answered_from_the_processor(monkeypatch):
    for found, expected in (({"avx512_bf16": True}, True), ({"avx2": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert has_bf16(CPU) is expected
        assert has_bf16(torch.device("mps")) is False


def test_bf16_computes_convolutions_in_bf16():
    model, kinds = tiny_network(), []
    model.features.conv0.register_forward_hook(lambda _m, _i, output: kinds.append(output.dtype))
    fit(model, small_data(), epochs=1, peak_rate=0.01, device=CPU, precision=BF16)
    fit(model, small_data(), epochs=1, peak_rate=0.01, device=CPU, precision=FP32)
    assert kinds[0] == torch.bfloat16 and kinds[-1] == torch.float32
    assert model.features.conv0.weight.dtype == torch.float32


class Stop:
    """Batches that are interrupted in the middle, as by the stop button."""

    def __init__(self, data, epoch):
        self.data, self.epoch, self.now = data, epoch, 0

    def __len__(self):
        return len(self.data)

    def set_epoch(self, epoch):
        self.now = epoch
        self.data.set_epoch(epoch)

    def __iter__(self):
        for i, batch in enumerate(self.data):
            if self.now == self.epoch and i == 1:
                raise KeyboardInterrupt
            yield batch


def test_an_interrupt_keeps_what_was_trained():
    model = tiny_network()
    before = model.features.conv0.weight.detach().clone()
    history = fit(model, Stop(small_data(), epoch=1), epochs=3, peak_rate=0.05, device=CPU)
    assert [row["epoch"] for row in history] == [1]
    assert not torch.equal(model.features.conv0.weight, before)


def test_resume_refuses_other_settings_and_damaged_files(tmp_path):
    path = tmp_path / "run.pt"
    fit(tiny_network(), small_data(), epochs=1, peak_rate=0.05, device=CPU, checkpoint=path)
    with pytest.raises(ValueError, match=r"of another run: peak_rate was 0.05, is 0.1. Name another file, or move it"):
        fit(tiny_network(), small_data(), epochs=1, peak_rate=0.1, device=CPU, checkpoint=path)
    with pytest.raises(ValueError, match="of another run: data was"):
        fit(tiny_network(), small_data(seed=1), epochs=1, peak_rate=0.05, device=CPU, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        fit(tiny_network(), small_data(), epochs=1, peak_rate=0.05, device=CPU, checkpoint=path)


def test_a_save_replaces_the_file_and_never_writes_into_it(tmp_path):
    path, old = tmp_path / "run.pt", tmp_path / "old.pt"
    save_checkpoint(path, {"value": 1})
    old.hardlink_to(path)
    save_checkpoint(path, {"value": 2})
    assert (load_checkpoint(old), load_checkpoint(path)) == ({"value": 1}, {"value": 2})


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    save_checkpoint(path, {"value": 1})
    with pytest.raises(AttributeError):
        save_checkpoint(path, {"value": lambda: None})  # cannot be pickled
    assert load_checkpoint(path) == {"value": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


TRAIN = textwrap.dedent("""
    import sys, torch
    sys.path.insert(0, {tests!r})
    from test_training import small_data, tiny_network
    from densenet_course.training import fit
    torch.set_num_threads(1)
    model = tiny_network()
    torch.manual_seed(5)  # dropout
    data = small_data(count=320, batch_size=16, shuffle=True, augment="flip and shift", seed=3)
    fit(model, data, epochs=6, peak_rate=0.1, device=torch.device("cpu"), checkpoint=sys.argv[1])
    torch.save(model.state_dict(), sys.argv[2])
""")


def test_a_killed_run_ends_with_the_weights_of_a_whole_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAIN.format(tests=str(__import__("pathlib").Path(__file__).parent)))

    def start(name):
        return subprocess.Popen([sys.executable, script, tmp_path / f"{name}.pt", tmp_path / f"{name}.weights"])

    assert start("whole").wait() == 0
    kills = 0
    for epochs_before_kill in (1, 3):
        process, checkpoint = start("killed"), tmp_path / "killed.pt"
        while process.poll() is None:
            if checkpoint.exists() and len(load_checkpoint(checkpoint)["history"]) >= epochs_before_kill:
                process.kill()
                kills += process.wait() != 0
            time.sleep(0.01)
    assert kills == 2, "the run was too quick to be killed; make it longer"
    assert start("killed").wait() == 0
    whole, resumed = (torch.load(tmp_path / f"{name}.weights") for name in ("whole", "killed"))
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())
    history = load_checkpoint(tmp_path / "killed.pt")["history"]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]


def test_mirror_images_are_averaged_with_the_images():
    model, data = tiny_network(), small_data()
    mirrored = small_data()
    mirrored.images = mirrored.images.flip(-1)
    (plain, labels), (other, _) = predict(model, data), predict(model, mirrored)
    both, same_labels = predict(model, data, flip=True)
    torch.testing.assert_close(both, (plain + other) / 2)
    assert not torch.allclose(both, plain, atol=1e-3) and torch.equal(labels, same_labels)
    loss, accuracy = evaluate(model, data, flip=True)
    assert loss == pytest.approx(F.cross_entropy(both, labels).item(), rel=1e-5)
    assert accuracy == pytest.approx((both.argmax(1) == labels).double().mean().item())


def test_fit_calls_back_after_every_epoch_with_the_history_so_far():
    told = []
    fit(tiny_network(), small_data(count=32, batch_size=8), epochs=3, peak_rate=0.01, device=CPU, progress=False,
        after_epoch=lambda history: told.append([row["epoch"] for row in history]))
    assert told == [[1], [1, 2], [1, 2, 3]]
