"""A file is written whole or not at all."""

import json

import pytest

from densenet_course.files import replacing, write_json


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


def test_a_block_that_fails_leaves_neither_a_draft_nor_a_new_file(tmp_path):
    path = tmp_path / "kept"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as draft:
        draft.write_text("half")
        assert path.read_text() == "old"
        1 / 0  # noqa: B018
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_draft_lies_in_the_scratch_folder(tmp_path):
    with replacing(tmp_path / "folder" / "file", scratch=tmp_path) as draft:
        draft.write_text("new")
        assert draft.parent == tmp_path
    assert (tmp_path / "folder" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
