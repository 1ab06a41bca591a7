"""The leaderboard: entered from the judge's own measurement, never fatal, merged for a class."""

import json

import pytest

from densenet_course import checks, cli
from densenet_course.checks import leaderboard as boards
from densenet_course.figures.leaderboard import leaderboard
from densenet_course.studies.design_space import unbeaten


def entry(accuracy, parameters=80_000, sample=False):
    return {"accuracy": accuracy, "parameters": parameters, "reference_steps": 600.3, "images_seen": 34_048,
            "held_back": 5000, "sample": sample}


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Work in an empty folder; the function sets what the last check measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "_last", {})

    def measure(*values):
        checks._last["capstone"] = checks.Report("capstone", (), entry(*values))

    return measure


def test_without_a_result_or_a_name_nothing_is_entered(measured, tmp_path, capsys):
    boards.enter("Ada")
    assert "Nothing to enter yet" in capsys.readouterr().out
    measured(0.8796)
    boards.enter(...)
    printed = capsys.readouterr().out
    assert "Accuracy 88.0% on 5,000 of the test images; 80,000 parameters, 34,048 images seen in the time" in printed
    assert "write your name" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_name_keeps_its_best_and_learns_its_place(measured, tmp_path, capsys):
    for name, *values in (("Ada", 0.86), ("Grace", 0.88), ("Ada", 0.89), ("  Ada ", 0.80), ("Grace", 0.88, 70_000)):
        measured(*values)
        boards.enter(name)
    printed = capsys.readouterr().out
    assert "Grace: place 1 of 2" in printed and "Ada: place 1 of 2" in printed
    assert "Your best stays 89.0%." in printed
    kept = json.loads((tmp_path / "leaderboard.json").read_text())
    assert kept == {"Ada": entry(0.89), "Grace": entry(0.88, 70_000)}
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboard.json"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "a\x07b", 3, None])
def test_a_bad_name_is_told_and_not_fatal(measured, tmp_path, capsys, name):
    measured(0.88)
    boards.enter(name)
    assert "Not entered: name: expected" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


DAMAGED = ["", "{", "[]", '{"Ada": 3}', '{"Ada": {"accuracy": 0.9}}', json.dumps({"Ada": entry(1.5)}),
           json.dumps({"Ada": entry(float("nan"))}), json.dumps({"Ada": entry(0.9, 100_001)}),
           json.dumps({"Ada": entry(0.9, True)}), json.dumps({"": entry(0.9)}), "\x00"]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_set_aside(measured, tmp_path, capsys, damage):
    (tmp_path / "leaderboard.json").write_text(damage)
    measured(0.88)
    boards.enter("Grace")
    assert "was set aside as leaderboard.damaged" in capsys.readouterr().out
    assert (tmp_path / "leaderboard.damaged").read_text() == damage
    assert boards.load() == ({"Grace": entry(0.88)}, "")


def test_a_folder_that_cannot_be_written_is_told_and_not_fatal(measured, tmp_path, capsys):
    measured(0.88)
    (tmp_path / "a file").touch()
    boards.enter("Ada", tmp_path / "a file" / "board.json")
    assert "Not entered: " in capsys.readouterr().out


def test_the_command_merges_ranks_and_draws(tmp_path, capsys):
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    boards.write({"Ada": entry(0.86), "Alan": entry(0.95, 9_000, True)}, files[0])
    boards.write({"Ada": entry(0.88), "Grace": entry(0.87, 5_000)}, files[1])
    out = tmp_path / "class"
    assert cli.main(["leaderboard", *files, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [["1", "Ada", "88.0%"], ["2", "Grace", "87.0%"],
                                                         ["3", "Alan", "95.0%"]]
    assert lines[3].endswith("sample") and "not to be compared" in lines[4]
    assert list(boards.read(out / "leaderboard.json")) == ["Ada", "Grace", "Alan"]
    assert "First: Ada, 88.0 % with 80,000 parameters" in (out / "leaderboard.svg").read_text()
    assert sorted(path.name for path in out.iterdir()) == ["leaderboard.json", "leaderboard.svg"]


def test_the_command_leaves_damaged_files_where_they_are_and_says_so(tmp_path, capsys):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    boards.write({"Ada": entry(0.86)}, good)
    bad.write_text("{")
    assert cli.main(["leaderboard", str(good), str(bad), "--out", str(tmp_path / "class")]) == 1
    printed = capsys.readouterr()
    assert f"left out: {bad} could not be read as a leaderboard" in printed.err
    assert "1  Ada" in printed.out and bad.read_text() == "{"
    assert cli.main(["leaderboard", str(bad), str(tmp_path / "none"), "--out", str(tmp_path / "other")]) == 1
    assert "there is no entry in any file" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_picture_numbers_all_and_names_the_best():
    entries = boards.ranked({f"N{i} $x$": entry(0.80 + i / 1000, 10_000 + 1000 * (i % 7)) for i in range(20)})
    figure = leaderboard(entries)
    panel, names = figure.axes
    assert {text.get_text() for text in panel.texts} == {*map(str, range(1, 21)), "budget"}
    listed = [text.get_text() for text in names.texts]
    assert listed[0] == "1  N19 $x$" and listed[-1] == "and 8 more" and len(listed) == 13
    assert len({line.get_marker() for line in panel.lines} - {"None"}) == 2  # never by colour alone
    with pytest.raises(ValueError, match="expected at least one, got none"):
        leaderboard({})


def test_unbeaten_points_are_smaller_or_better_than_every_other():
    assert unbeaten([(5, 90), (3, 90), (3, 85), (1, 80), (2, 80)]) == {1, 3}
