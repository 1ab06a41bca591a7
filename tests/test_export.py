"""The exported file computes what PyTorch computes; what cannot be exported is refused, and leaves nothing behind."""

import contextlib
import io
import subprocess
import sys

import onnxruntime
import pytest
import torch
from torch import nn

from densenet_course import cli, export, models
from densenet_course.training.checkpoint import save_checkpoint
from tests.test_models import randomise


def computed(path, images):
    """Compute logits from a file with ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def assert_computes(path, model, *shape):
    """Compare a file with a network for batches of one and of three."""
    for count in (1, 3):
        images = torch.randn(count, *shape)
        with torch.no_grad():
            torch.testing.assert_close(computed(path, images), model.eval()(images), rtol=1e-4, atol=1e-4)


def command(folder, *options):
    """Run the command; return its status, its output and its errors."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = cli.main(["export", "--out", str(folder / "network.onnx"), *options])
    return status, out.getvalue(), err.getvalue()


def test_the_class_network_goes_out_with_its_weights(tmp_path):
    status, printed, _ = command(tmp_path)
    assert status == 0 and "images (N, 1, 28, 28) → logits (N, 10), fp32, any N" in printed
    assert "batches of 1, 2, 5: the largest difference is" in printed
    assert_computes(tmp_path / "network.onnx", models.class_densenet(weights="DEFAULT"), 1, 28, 28)
    assert [file.name for file in tmp_path.iterdir()] == ["network.onnx"]


def test_a_checkpoint_says_for_how_many_classes_and_channels(tmp_path):
    model = randomise(models.class_densenet(4, in_channels=3), 0)
    save_checkpoint(tmp_path / "checkpoint.pt", {"model": model.state_dict(), "history": []})
    status, printed, _ = command(tmp_path, "--weights", str(tmp_path / "checkpoint.pt"), "--image-size", "8")
    assert status == 0 and "images (N, 3, 8, 8) → logits (N, 4)" in printed
    assert_computes(tmp_path / "network.onnx", model, 3, 8, 8)


@pytest.mark.parametrize("efficient", [True, "native"])
def test_efficient_blocks_go_out_as_the_plain_ones(tmp_path, efficient):
    model = randomise(models.DenseNet(models.cifar_config(depth=16, growth_rate=4, efficient=efficient)), 1).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert export.export_onnx(model, tmp_path / "small.onnx", 3, 8, 8) <= export.TOLERANCE
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    plain = models.DenseNet(models.cifar_config(depth=16, growth_rate=4))
    plain.load_state_dict(model.state_dict())
    assert_computes(tmp_path / "small.onnx", plain, 3, 8, 8)


class Network(nn.Module):
    """Make logits of a few pixels, in a way of its own."""

    def __init__(self, forward):
        super().__init__()
        self.forward = forward


def pixels(images):
    return images.flatten(1)[:, :3]


FOLLOWED_NOWHERE = {
    "by the values": lambda images: pixels(images) if images.sum() > 0 else -pixels(images),
    "by the number": lambda images: pixels(images) if len(images) == 5 else -pixels(images),
}


@pytest.fixture
def earlier(tmp_path):
    """A file of an earlier export, which no failure may touch."""
    path = tmp_path / "network.onnx"
    path.write_bytes(b"an earlier export")
    yield path
    assert path.read_bytes() == b"an earlier export"
    assert list(tmp_path.iterdir()) == [path], "a failure leaves nothing behind"


@pytest.mark.parametrize("kind", FOLLOWED_NOWHERE)
def test_what_pytorch_cannot_follow_is_refused(earlier, kind):
    with pytest.raises(ValueError, match=r"cannot export this Network: .+ must not depend on the values"):
        export.export_onnx(Network(FOLLOWED_NOWHERE[kind]), earlier, 1, 2, 2)


def test_a_file_that_computes_something_else_never_takes_its_place(earlier, monkeypatch):
    original = export.program_of
    monkeypatch.setattr(export, "program_of", lambda _, images: original(Network(lambda x: 1.001 * pixels(x)), images))
    with pytest.raises(ValueError, match=r"other logits than PyTorch: they differ by 1\.0e-03 of the largest"):
        export.export_onnx(Network(pixels), earlier, 1, 2, 2)


def test_a_file_that_onnx_runtime_cannot_read_never_takes_its_place(earlier, monkeypatch):
    class Damaged:
        def save(self, path, **_):
            path.write_bytes(b"cut off")

    monkeypatch.setattr(export, "program_of", lambda *_: Damaged())
    with pytest.raises(ValueError, match="ONNX Runtime refuses the exported file: "):
        export.export_onnx(Network(pixels), earlier, 1, 2, 2)


@pytest.mark.parametrize("expected, got, message", [
    (torch.ones(2, 3), torch.ones(2, 4), r"logits \(2, 4\), PyTorch \(2, 3\)"),
    (torch.ones(2, 3), torch.full((2, 3), float("nan")), "other logits than PyTorch: they differ by nan"),
    (torch.full((2, 3), 1e-3), torch.full((2, 3), 1.01e-3), "other logits"),
])
def test_logits_that_differ_are_refused(expected, got, message):
    assert export.difference(expected, expected) == 0 == export.difference(0 * expected, 0 * expected)
    with pytest.raises(ValueError, match=message):
        export.difference(got, expected)


@pytest.mark.parametrize("model, shape, message", [
    (Network(lambda images: pixels(images) / 0), (1, 2, 2), "logits are not finite, as after a training that diverged"),
    (Network(lambda images: (images, images)), (1, 2, 2), "expected a tensor of logits, got a tuple"),
    (nn.Conv2d(3, 4, 3), (1, 5, 5), r"does not take images of shape \(1, 1, 5, 5\)"),
    (models.class_densenet(), (1, 4, 4), "images of 4×4 pixels are too small"),
    (models.class_densenet(), (1, 28), r"expected channels, height and width of an image, at least 1 each, got \(1, 2"),
    (models.class_densenet(), (1, 0, 0), r"at least 1 each, got \(1, 0, 0\)"),
])
def test_a_network_or_a_shape_that_makes_no_sense_is_refused(earlier, model, shape, message):
    with pytest.raises(ValueError, match=message):
        export.export_onnx(model, earlier, *shape)


@pytest.mark.parametrize("options, message", [
    (["--out", "checkpoint.pt"], "expected a file whose name ends in .onnx, got checkpoint.pt"),
    (["--out", "folder.onnx"], "expected a file whose name ends in .onnx, got the folder folder.onnx"),
    (["--out", "checkpoint.pt/a.onnx"], "expected a folder, but checkpoint.pt is a file"),
    (["--weights", "nowhere.pt"], "weights: no file at nowhere.pt"),
    (["--weights", "nothing"], "weights: expected one of DEFAULT, a URL or a file, got 'nothing'"),
    (["--weights", "checkpoint.pt"], "checkpoint.pt is empty"),
    (["--network", "densenet121", "--weights", "words.txt"], "expected a file that torch.save has written; words"),
    (["--image-size", "0"], "at least 1 each, got (1, 0, 0)"),
    (["--image-size", "6"], "images of 6×6 pixels are too small"),
])
def test_the_command_refuses_in_one_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint.pt").touch()
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "words.txt").write_text("words instead of numbers, more than a few of them")
    monkeypatch.setattr(export, "program_of", lambda *_: pytest.fail("something was exported"))
    assert cli.main(["export", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("densenet-course export: ") and message in error and error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "folder.onnx", "words.txt"]


def test_weights_of_another_network_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_checkpoint("checkpoint.pt", {"model": models.class_densenet().state_dict()})
    assert cli.main(["export", "--network", "densenet121", "--weights", "checkpoint.pt"]) == 1
    assert "the weights checkpoint.pt do not fit this densenet121" in capsys.readouterr().err


def test_what_is_not_installed_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, "NEEDED", ("onnx", "no_such_package"))
    assert cli.main(["export"]) == 1
    error = capsys.readouterr().err
    assert "export needs onnx, no_such_package; there is no no_such_package. Install them" in error
    assert "python -m pip install no_such_package" in error and error.count("\n") == 1


def test_the_options_are_read_without_torch():
    line = "import sys, densenet_course.cli as c; c._parser().parse_args(['export']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line]).returncode == 0
