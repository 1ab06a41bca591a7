"""Triton's kernels, on a CPU by its interpreter; and that a machine without Triton goes on without them."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from densenet_course.efficient import blocks, gpu
from densenet_course.efficient.kernels import Operators

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernels_in_tritons_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/triton_cases.py"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "skipped" not in done.stdout


def test_without_triton_the_operators_do_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert gpu.triton_passes.__wrapped__(torch.device("cuda")) is Operators


def test_a_gpu_is_asked_for_triton_and_only_for_native(monkeypatch):
    monkeypatch.setattr(blocks, "triton_passes", lambda device: f"Triton on {device}")
    maps = torch.empty(1, device="meta")  # stands for any device but the CPU
    assert blocks.kernels_for(maps, "native") == "Triton on meta"
    assert blocks.kernels_for(maps, "operators") is Operators
