"""The learner's progress: kept beside the notebooks, never fatal."""

import json

import pytest

from densenet_course.checks import EXERCISES, check
from densenet_course.checks.engine import progress
from densenet_course.checks.engine.report import Finding, Report
from tests.test_dialogue import BLOCK as conv_block


def report(points):
    return Report("conv_block", (Finding("all", points == 10, points, 10.0, "" if points == 10 else "no"),))


def test_the_best_result_is_kept(tmp_path):
    file = tmp_path / "progress.json"
    for points in (4.0, 9.0, 2.0):
        assert progress.record(report(points), file) == ""
    assert progress.load(file) == ({"conv_block": {"points": 9.0, "max_points": 10.0}}, "")
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"conv_block": 3}', '{"conv_block": {"points": "x"}}', "\x00",
                                    "[" * 200_000, '{"conv_block": {"points": 1e308, "max_points": 1e308}}',
                                    '{"conv_block": {"points": 11, "max_points": 10}}',
                                    '{"conv_block": {"points": NaN, "max_points": 10}}',
                                    '{"conv_block": {"points": true, "max_points": 10}}',
                                    '{"conv_block": {"points": -1, "max_points": 10}}',
                                    '{"conv_block": {"points": 1' + "0" * 400 + ', "max_points": 10}}'])
def test_a_damaged_file_is_set_aside(tmp_path, damage):
    file = tmp_path / "progress.json"
    file.write_text(damage)
    assert "set aside as" in progress.record(report(5.0), file)
    assert (tmp_path / "progress.damaged").read_text() == damage
    assert progress.load(file)[0]["conv_block"]["points"] == 5.0


def test_a_folder_that_cannot_be_written_is_told_and_not_fatal(tmp_path):
    (tmp_path / "a file").touch()
    assert "progress is not kept" in progress.record(report(5.0), tmp_path / "a file" / "progress.json")


def test_check_without_arguments_shows_all_exercises(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    check("conv_block", conv_block)
    capsys.readouterr()
    check()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(EXERCISES) + 1
    assert lines[1].split()[:4] == ["✓", "conv_block", "10", "of"]
    assert lines[0].split()[:2] == ["connections", "–"]
    assert lines[-1] == f"solved: 1 of {len(EXERCISES)}"
    assert json.loads((tmp_path / "progress.json").read_text())["conv_block"]["points"] == 10
