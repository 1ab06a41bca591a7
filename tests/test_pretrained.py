"""Pretrained weights: fetched from a local server that stands in for torchvision's, old keys included."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torchvision

from densenet_course import models
from densenet_course.pretrained import modern_keys


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


@pytest.mark.parametrize("weights, message", [
    ("IMAGENET21K", "expected one of IMAGENET1K_V1, DEFAULT, a URL or a file, got 'IMAGENET21K'"),
    ("no/such/file.pth", "no file at no/such/file.pth"),
])
def test_unknown_weights_are_refused(weights, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        models.densenet121(weights=weights)


def test_weights_of_another_network_are_refused(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="do not fit this densenet121: published weights need num_classes=1000"):
        models.densenet121(10, weights=tmp_path / "w.pth")
