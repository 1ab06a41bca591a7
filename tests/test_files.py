"""A JSON file is written whole or not at all."""

import json

import pytest

from densenet_course.files import write_json


def test_a_file_and_its_folder_are_made(tmp_path):
    path = tmp_path / "new" / "θ.json"
    write_json(path, {"θ": 0.5})
    assert json.loads(path.read_text(encoding="utf-8")) == {"θ": 0.5}
    assert [p.name for p in path.parent.iterdir()] == ["θ.json"]


@pytest.mark.parametrize("data", [{"a": object()}, {"a": "\ud800"}])
def test_the_old_file_stays_whole_when_the_new_one_fails(tmp_path, data):
    path = tmp_path / "kept.json"
    write_json(path, [1])
    with pytest.raises((TypeError, UnicodeEncodeError)):
        write_json(path, data)
    assert json.loads(path.read_text()) == [1]
    assert list(tmp_path.iterdir()) == [path]
