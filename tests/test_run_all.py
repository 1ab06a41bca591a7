"""``make test`` leaves nothing out without saying so."""

import pytest

from tests import run_all
from tests.browser import chromium


@pytest.fixture(autouse=True)
def browser(monkeypatch):
    """A machine outside CI, with a browser."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(chromium, "find", lambda: "/usr/bin/chromium")


def test_what_takes_gigabytes_waits_until_it_is_named():
    assert run_all.reasons([]) == {"installs": run_all.INSTALLS, "colab": run_all.COLAB}
    assert run_all.reasons(["colab", "installs", "ruff"]) == {}


def test_ci_needs_a_browser_and_leaves_other_environments_to_jobs_of_their_own(monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(chromium, "find", lambda: None)
    assert run_all.reasons([]) == {"installs": run_all.INSTALLS, "colab": run_all.COLAB}


def test_a_missing_browser_is_named(monkeypatch):
    monkeypatch.setattr(chromium, "find", lambda: None)
    assert run_all.reasons(["browser"]) == {"browser": chromium.MISSING}
    assert "browser" in run_all.reasons([])


def test_what_is_left_out_stands_in_the_last_lines(monkeypatch, capsys):
    monkeypatch.setattr(run_all, "run", lambda name: (1.0, 0))
    assert run_all.main([]) == 0
    printed = capsys.readouterr().out
    assert f"installs          –  NOT RUN: {run_all.INSTALLS}" in printed
    with pytest.raises(SystemExit, match="expected some of ruff"):
        run_all.main(["rufff"])
