"""``make test`` leaves nothing out without saying so, and CI leaves out nothing that its system can do."""

import sys

import pytest

from tests import run_all
from tests.browser import chromium


@pytest.fixture
def everywhere(monkeypatch):
    """A Linux with a browser and a Python for which Colab's packages are built, outside CI."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(chromium, "find", lambda: "/usr/bin/chromium")
    monkeypatch.setattr(run_all, "sys", type(sys)("sys"))
    run_all.sys.platform, run_all.sys.version_info = "linux", (3, 13)
    return run_all.sys


def test_what_takes_gigabytes_waits_until_it_is_named(everywhere):
    assert set(run_all.reasons([])) == {"installs", "colab"}
    assert run_all.reasons([])["colab"].endswith("python tests/run_all.py colab")
    assert run_all.reasons(["colab", "ruff"]) == {}


def test_ci_runs_all_that_there_is(everywhere, monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(chromium, "find", lambda: None)
    assert run_all.reasons([]) == {}
    everywhere.version_info = (3, 14)
    assert set(run_all.reasons([])) == {"colab"}
    everywhere.version_info, everywhere.platform = (3, 13), "win32"
    assert set(run_all.reasons([])) == {"colab"}


def test_a_missing_browser_is_named(everywhere, monkeypatch):
    monkeypatch.setattr(chromium, "find", lambda: None)
    assert run_all.reasons(["browser"]) == {"browser": chromium.MISSING}


def test_what_is_left_out_stands_in_the_last_lines(everywhere, monkeypatch, capsys):
    monkeypatch.setattr(run_all, "run", lambda name: (1.0, 0))
    assert run_all.main([]) == 0
    printed = capsys.readouterr().out
    assert f"installs          –  NOT RUN: {run_all.BIG}installs" in printed
    with pytest.raises(SystemExit, match="expected some of ruff"):
        everywhere.exit = sys.exit
        run_all.main(["rufff"])
