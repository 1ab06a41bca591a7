"""Pretrained weights: fetched from a local server that stands in for torchvision's, old keys included."""

import enum
import hashlib
import threading
from argparse import Namespace
from collections import OrderedDict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torchvision

from densenet_course import models
from densenet_course.pretrained import load_pretrained, modern_keys


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torchvision.models.densenet121().eval()


@pytest.fixture
def server(tmp_path):
    """Serve a folder on a free port of this machine; yields (folder, address)."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """Keep downloads out of the user's cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    return tmp_path / "hub" / "hub" / "checkpoints"


def old_keys(state_dict):
    """Name keys as the published files do: ``denselayer1.norm.1.weight``."""
    renamed = {}
    for key, value in state_dict.items():
        if "denselayer" in key:
            for part in ("norm", "relu", "conv"):
                key = key.replace(f".{part}1.", f".{part}.1.").replace(f".{part}2.", f".{part}.2.")
        renamed[key] = value
    return renamed


def publish(folder, state_dict):
    """Save weights the way torchvision names them: with the first digits of the file's hash."""
    draft = folder / "weights.pth"
    torch.save(state_dict, draft)
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    return draft.rename(folder / f"densenet121-{digest[:8]}.pth")


def test_old_keys_become_modern(network):
    old = old_keys(network.state_dict())
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert list(modern_keys(old)) == list(network.state_dict())


def test_default_weights_are_fetched_and_fit(network, server, monkeypatch):
    folder, address = server
    file = publish(folder, old_keys(network.state_dict()))
    monkeypatch.setattr(torchvision.models.DenseNet121_Weights.DEFAULT.value, "url", f"{address}/{file.name}")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(models.densenet121(weights="DEFAULT").eval()(images), network(images))


def test_a_file_and_a_url_fit_too(network, server):
    folder, address = server
    file = publish(folder, network.state_dict())
    for weights in (file, str(file), f"{address}/{file.name}"):
        loaded = models.densenet121(weights=weights).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())


def test_a_damaged_download_is_refused(network, server, monkeypatch, hub):
    folder, address = server
    file = publish(folder, network.state_dict())
    file.write_bytes(file.read_bytes()[:-1000])
    monkeypatch.setattr(torchvision.models.DenseNet121_Weights.DEFAULT.value, "url", f"{address}/{file.name}")
    with pytest.raises(OSError, match="invalid hash value"):
        models.densenet121(weights="DEFAULT")
    assert not list(hub.glob("*.pth"))


def test_no_network_says_what_to_do(monkeypatch):
    nobody = "http://127.0.0.1:9/densenet121-00000000.pth"  # the discard port: refused at once
    monkeypatch.setattr(torchvision.models.DenseNet121_Weights.DEFAULT.value, "url", nobody)
    with pytest.raises(OSError, match=r"could not download .*fetch that file on a machine with a network and put it"):
        models.densenet121(weights="DEFAULT")


class Weights(enum.Enum):
    """An enumeration that is none of torchvision's."""

    DEFAULT = "DEFAULT"


@pytest.mark.parametrize("weights", [
    torchvision.models.DenseNet121_Weights.DEFAULT, torchvision.models.DenseNet121_Weights.IMAGENET1K_V1,
    "IMAGENET1K_V1", "DenseNet121_Weights.IMAGENET1K_V1", "DenseNet121_Weights.DEFAULT",
], ids=str)
def test_every_spelling_of_torchvision_is_taken(network, monkeypatch, weights):
    asked = []
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url",
                        lambda url, **options: asked.append((url, options["check_hash"])) or network.state_dict())
    models.densenet121(weights=weights)
    assert asked == [(torchvision.models.DenseNet121_Weights.DEFAULT.url, True)]


@pytest.mark.parametrize("weights, got", [
    ("IMAGENET21K", "'IMAGENET21K'"), (True, "True"), (1, "1"), (1.5, "a float"),
    (torchvision.models.ResNet18_Weights.DEFAULT, "ResNet18_Weights"),
    (torchvision.models.DenseNet169_Weights.DEFAULT, "DenseNet169_Weights"),
    (torchvision.models.DenseNet121_Weights, "a EnumType|a EnumMeta|an? Enum"), (Weights.DEFAULT, "<Weights.DEFAULT"),
    ({"conv.weight": torch.zeros(1)}, "a dict"), (OrderedDict(), "a OrderedDict"),
], ids=str)
def test_unknown_weights_are_refused_with_the_names_of_those_there_are(weights, got):
    names = "IMAGENET1K_V1, DEFAULT"
    with pytest.raises(ValueError, match=rf"^weights: expected one of {names}, a URL or a file, got ({got})"):
        models.densenet121(weights=weights)
    with pytest.raises(ValueError, match=rf"^weights: expected one of DEFAULT, a URL or a file, got ({got})"):
        models.class_densenet(weights=weights)


def test_torchvisions_weights_are_not_those_of_the_class_network():
    with pytest.raises(ValueError, match="expected one of DEFAULT, a URL or a file, got 'IMAGENET1K_V1'"):
        models.class_densenet(weights="IMAGENET1K_V1")


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(1)
    return models.class_densenet()


def in_halves(state_dict):
    return {key: value.half() if value.is_floating_point() else value for key, value in state_dict.items()}


def prefixed(prefix):
    return lambda state_dict: {f"{prefix}{key}": value for key, value in state_dict.items()}


FORMS = {
    "bare": dict,
    "DataParallel": prefixed("module."),
    "torch.compile": prefixed("_orig_mod."),
    "both": prefixed("module._orig_mod."),
    "a part in DataParallel": lambda s: {key.replace("features.", "features.module."): v for key, v in s.items()},
    "averaged": lambda s: {"n_averaged": torch.tensor(3), **prefixed("module.")(s)},
    "checkpoint": lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"state": {}, "param_groups": []}},
    "named model": lambda s: {"model": prefixed("module.")(s), "random": {"cpu": torch.ones(2)}},
    "Lightning": lambda s: {"state_dict": prefixed("model.")(s), "hyper_parameters": {"lr": 0.1}},
    "model_state_dict": lambda s: {"model_state_dict": s, "ema": s},
    "another name": lambda s: {"trained": s, "epoch": 1},
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found_however_they_were_saved(form, trained, tmp_path):
    torch.save(FORMS[form](trained.state_dict()), tmp_path / "w.pth")
    loaded = models.class_densenet(weights=tmp_path / "w.pth").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in trained.state_dict().items())


@pytest.mark.parametrize("name", ["w.pth.tar", "w.bin", "W.PTH", "weights", "w.ckpt", "w.pt"])
def test_the_name_of_a_file_says_nothing(name, trained, tmp_path, monkeypatch):
    torch.save(trained.state_dict(), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for weights in (tmp_path / name, str(tmp_path / name), name):
        loaded = models.class_densenet(weights=weights)
        assert torch.equal(loaded.classifier.weight, trained.classifier.weight)


def test_halves_and_old_formats_are_taken(trained, tmp_path):
    torch.save(in_halves(trained.state_dict()), tmp_path / "half.pth", _use_new_zipfile_serialization=False)
    loaded = models.class_densenet(weights=tmp_path / "half.pth").classifier.weight
    assert loaded.dtype == torch.float32 and torch.equal(loaded, trained.classifier.weight.half().float())


def test_a_file_that_fit_wrote_is_taken(tmp_path):
    from densenet_course.data import ResidentBatches
    from densenet_course.training import FP32, fit

    images = torch.randint(256, (8, 1, 28, 28), dtype=torch.uint8)
    model = models.class_densenet()
    fit(model, ResidentBatches(images, torch.arange(8), batch_size=8), epochs=1, checkpoint=tmp_path / "checkpoint.pt",
        device=torch.device("cpu"), precision=FP32)
    loaded = models.class_densenet(weights=tmp_path / "checkpoint.pt").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


def saved(state_dict, path, **options):
    torch.save(state_dict, path, **options)
    return path.read_bytes()


BAD_FILES = {  # what lies there: how to make its bytes, and what is said
    "nothing": (lambda s, p: b"", r"is empty.*Delete it"),
    "login page": (lambda s, p: b"\n<!DOCTYPE html><title>Sign in</title>", r"is a web page.*Delete it"),
    "git-lfs": (lambda s, p: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", r"git lfs pull"),
    "message": (lambda s, p: b'{"message": "Not Found"}', r"is text.*Delete it"),
    "words": (lambda s, p: b"Access denied: please contact the administrator", r"is text.*Delete it"),
    "safetensors": (lambda s, p: (60).to_bytes(8, "little") + b'{"classifier.bias":{"dtype":"F32"}}',
                    r"is a safetensors file.*safetensors\.torch\.load_file"),
    "Keras": (lambda s, p: b"\x89HDF\r\n\x1a\n", r"is an HDF5 file"),
    "half of it": (lambda s, p: (b := saved(s, p))[:len(b) // 2], r"is damaged, or cut off.*bytes\).*Delete it"),
    "ten bytes": (lambda s, p: saved(s, p)[:10], r"is damaged, or cut off"),
    "half of an old one": (lambda s, p: (b := saved(s, p, _use_new_zipfile_serialization=False))[:len(b) // 2],
                           r"is damaged, or cut off"),
    "noise": (lambda s, p: bytes(range(255, -1, -1)) * 8, r"is damaged, or cut off"),
    "a model": (lambda s, p: saved(torch.nn.Linear(2, 2), p), r"Python objects besides tensors.*state_dict\(\)"),
    "an old model": (lambda s, p: saved(torch.nn.Linear(2, 2), p, _use_new_zipfile_serialization=False),
                     r"Python objects besides tensors"),
    "settings": (lambda s, p: saved({"state_dict": s, "args": Namespace(lr=1)}, p), r"Python objects besides tensors"),
    "a list": (lambda s, p: saved([1, 2], p), r"expected a state_dict.*got a list"),
    "a tensor": (lambda s, p: saved(torch.zeros(2), p), r"expected a state_dict.*got a Tensor"),
    "no weights": (lambda s, p: saved({"epoch": 3, "lr": 0.1}, p), r"expected a state_dict.*got epoch, lr"),
    "an empty dict": (lambda s, p: saved({}, p), r"expected a state_dict.*got nothing"),
    "two of them": (lambda s, p: saved({"student": s, "teacher": s}, p), r"expected a state_dict.*student, teacher"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_without_weights_is_refused_by_what_it_is(kind, trained, tmp_path):
    make, message = BAD_FILES[kind]
    path = tmp_path / "w.pth"
    path.write_bytes(make(trained.state_dict(), path))
    with pytest.raises(ValueError, match=message) as caught:
        models.class_densenet(weights=path)
    assert str(path) in str(caught.value) and "weights_only`" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_torchscript_archive_is_refused_with_the_line_that_converts_it(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"is a TorchScript archive.*torch\.jit\.load"):
        models.class_densenet(weights=tmp_path / "w.pt")


@pytest.mark.parametrize("damage, message", [
    (lambda content: content[:-1000], "is damaged, or cut off"), (lambda content: b"", "is empty"),
    (lambda content: b"<html>", "is a web page"),
])
def test_a_damaged_file_in_the_cache_is_named(damage, message, network, server, monkeypatch, hub):
    folder, address = server
    file = publish(folder, network.state_dict())
    hub.mkdir(parents=True)
    (hub / file.name).write_bytes(damage(file.read_bytes()))
    monkeypatch.setattr(torchvision.models.DenseNet121_Weights.DEFAULT.value, "url", f"{address}/{file.name}")
    with pytest.raises(ValueError, match=rf"{hub / file.name} {message}.*Delete it"):
        models.densenet121(weights="DEFAULT")
    (hub / file.name).unlink()  # as the message says
    models.densenet121(weights="DEFAULT")


def test_a_page_that_a_url_answers_with_is_named(server):
    folder, address = server
    (folder / "w.pth").write_text("<html>Please sign in</html>")
    with pytest.raises(ValueError, match=r"w\.pth is a web page, perhaps a login"):
        models.class_densenet(weights=f"{address}/w.pth")


@pytest.mark.parametrize("weights, message", [
    ("no/such/file.pth", "no file at no/such/file.pth"), ("file.bin", "no file at file.bin"),
])
def test_a_missing_file_is_named(weights, message):
    with pytest.raises(FileNotFoundError, match=message):
        models.densenet121(weights=weights)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match=f"expected a file, got the folder {tmp_path}; name a file in it"):
        models.class_densenet(weights=tmp_path)


@pytest.mark.parametrize("options, message", [
    ({"num_classes": 3}, r"classifier.weight is \(10, 112\) there and \(3, 112\) here, classifier.bias is \(10,\) "
                         r"there and \(3,\) here; build it with num_classes=10, load the weights, then replace"),
    ({"in_channels": 3}, r"features.conv0.weight is \(32, 1, 3, 3\) there and \(32, 3, 3, 3\) here; "
                         r"build it with in_channels=1"),
    ({"growth_rate": 8}, r"conv1.weight is \(64, 32, 1, 1\) there and \(32, 32, 1, 1\) here, .* and \d+ more$"),
    ({"block_layers": (2, 4, 2)}, r"they hold .*denselayer3.* and \d+ more, which this network does not have"),
    ({"block_layers": (2, 4, 5)}, r"they lack features.denseblock3.denselayer5"),
])
def test_tensors_that_do_not_fit_are_named_with_both_shapes(options, message, trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=rf"{tmp_path / 'w.pth'} do not fit this class_densenet: .*{message}"):
        models.class_densenet(weights=tmp_path / "w.pth", **options)


def test_weights_that_do_not_fit_change_nothing(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    model = models.class_densenet(3)
    before = model.features.conv0.weight.clone()
    with pytest.raises(ValueError, match="do not fit"):
        load_pretrained(model, "class_densenet", tmp_path / "w.pth")
    assert torch.equal(model.features.conv0.weight, before)


def test_weights_of_another_family_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"they lack features\.conv0\.weight.*they hold conv1\.weight"):
        models.class_densenet(weights=tmp_path / "w.pth")
