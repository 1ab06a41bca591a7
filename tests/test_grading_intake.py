"""What platforms and people make of a class's files, and what an archive must not do."""

import io
import json
import stat
import zipfile
from pathlib import Path

import nbformat
import pytest

from densenet_course.cli.masters import STUDENT, stem
from densenet_course.grading import archives, notebook
from densenet_course.grading.intake import collect
from densenet_course.grading.people import Person, read_roster
from densenet_course.grading.platforms import due_date, lateness, moment
from tests import classroom
from tests.classroom import pack

STEMS = {"connections": "01_connections", "conv_block": "02_conv_block"}
WORK = classroom.notebook("connections")
OTHER = classroom.notebook("conv_block")
METADATA = """
submission_1:
  :submitters:
  - :name: Jane Doe
    :sid: '77'
    :email: jane@uni.example
  - :name: Max Li
    :sid: '78'
    :email: max@uni.example
  :created_at: 2026-03-02 09:00:00.000000000 Z
"""


@pytest.fixture
def take(tmp_path):
    """Return a function: paths and bytes → what intake makes of them, written as a folder."""

    def written(entries, **options):
        for name, data in entries.items():
            path = tmp_path / "class" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return collect(tmp_path / "class", STEMS, kept.setdefault, **options)

    kept = {}
    written.kept = kept
    return written


def who(found):
    return {key: work.file for key, work in found.works.items()}


@pytest.mark.parametrize("entries, student, name", [
    ({"submitted/jane/densenet/01_connections.ipynb": WORK, "submitted/max/densenet/a.ipynb": WORK}, "jane", ""),
    ({"jane/densenet/01_connections.ipynb": WORK}, "jane", ""),
    ({"jane/01_connections.ipynb": WORK, "max/01_connections.ipynb": WORK}, "jane", ""),
    ({"doejane_123_456_01_connections.ipynb": WORK}, "123", "doejane"),
    ({"Jane Doe_9_assignsubmission_file_/01_connections.ipynb": WORK}, "9", "Jane Doe"),
    ({"Jane Doe_9_assignsubmission_file_01_connections.ipynb": WORK}, "9", "Jane Doe"),
    ({"x/submission_1/a.ipynb": WORK, "x/submission_metadata.yml": METADATA.encode()}, "77", "Jane Doe"),
    ({"jane_01_connections.ipynb": WORK}, "jane", ""),
    ({"connections-jane.ipynb": WORK}, "jane", ""),
    ({"jane_2026_01_connections.ipynb": WORK}, "jane_2026", ""),
])
def test_each_platforms_tree_names_the_student(take, entries, student, name):
    found = take(entries)
    assert (student, "connections") in found.works and not found.strays
    assert found.people[student].name == name


def test_the_same_trees_are_read_from_a_zip_file(tmp_path):
    entries = {"submitted/jane/ps/a.ipynb": WORK, "submitted/max/ps/b.ipynb": OTHER}
    found = collect(pack(tmp_path / "class.zip", entries), STEMS, dict().setdefault)
    assert who(found) == {("jane", "connections"): "submitted/jane/ps/a.ipynb",
                          ("max", "conv_block"): "submitted/max/ps/b.ipynb"}


def test_a_student_may_hand_in_a_zip_file(take, tmp_path):
    inner = pack(tmp_path / "inner.zip", {"work/01_connections.ipynb": WORK, "__MACOSX/._x.ipynb": b"x"}).read_bytes()
    found = take({"doejane_LATE_123_456_work.zip": inner, "max.zip": inner})
    assert set(found.works) == {("123", "connections"), ("max", "connections")} and not found.strays
    assert found.works["123", "connections"].late == "marked late by the platform"


def test_a_group_shares_its_submission_and_its_time(take):
    found = take({"submission_1/a.ipynb": WORK, "submission_metadata.yml": METADATA.encode()},
                 due=due_date("2026-03-01T23:00:00+00:00"))
    assert set(found.works) == {("77", "connections"), ("78", "connections")}
    assert {work.late for work in found.works.values()} == {"10 h"}


def test_the_cells_and_not_the_name_say_which_exercise(take):
    work = take({"jane/02_conv_block.ipynb": WORK}).works["jane", "connections"]
    assert work.notes == ("the file is called 02_conv_block.ipynb; its cells say that it is connections",)


def test_without_grade_ids_the_name_says_which_exercise(take):
    book = nbformat.reads(WORK.decode(), as_version=4)
    for cell in book.cells:
        cell.metadata.clear()
    assert ("jane", "conv_block") in take({"jane/my conv_block.ipynb": nbformat.writes(book).encode()}).works


def test_of_two_files_the_newer_counts_and_the_other_is_named(take):
    found = take({"doejane_1_20_01_connections.ipynb": WORK, "doejane_1_9_01_connections.ipynb": WORK + b" "})
    work = found.works["1", "connections"]
    assert work.file.startswith("doejane_1_20_") and "doejane_1_9_" in work.notes[0]


def test_of_two_files_the_one_that_can_be_read_counts(take):
    found = take({"jane/01_connections (2).ipynb": b"{", "jane/01_connections (1).ipynb": WORK})
    assert found.works["jane", "connections"].file.endswith("(1).ipynb")


@pytest.mark.parametrize("data, why", [
    (b"", "no notebook, or damaged"), (b"{", "no notebook, or damaged"), (b"[]", "no notebook, or damaged"),
    (b"\xff\xfe", "no notebook, or damaged"), (b'{"nbformat": 4, "nbformat_minor": 5, "cells": 3}', "no notebook"),
    (b"[" * 100_000, "nested too deep"), (b" " * (archives.MAX_FILE + 1), "larger than 5 MB"),
    (b'{"nbformat": 99, "nbformat_minor": 0, "metadata": {}, "cells": []}', "no notebook"),
    (json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
        {"cell_type": "code", "source": "", "metadata": {}, "outputs": []}] * 501}).encode(), "has 501 cells"),
    (json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
        {"cell_type": "code", "source": {"a": 1}, "metadata": {}}]}).encode(), "no notebook"),
])
def test_an_unreadable_notebook_is_told_and_no_crash(take, data, why):
    work = take({"jane/01_connections.ipynb": data}).works["jane", "connections"]
    assert work.sha == "" and why in work.problem


@pytest.mark.parametrize("metadata", [None, 3, {"nbgrader": 3}, {"nbgrader": {"grade_id": 3}}])
def test_odd_metadata_do_no_harm(metadata):
    book = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
        {"cell_type": "code", "source": "\ud800", "metadata": metadata, "outputs": []}]}
    try:
        cells = notebook.read(json.dumps(book).encode())
    except notebook.UnreadableNotebook:
        return
    assert cells[0].grade_id == "" and cells[0].source.encode()


def bomb(size=archives.MAX_FILE + 1):
    return pack(io.BytesIO(), {"01_connections.ipynb": b"0" * size}).getvalue()


def test_a_zip_bomb_is_refused(take):
    work = take({"jane.zip": bomb()}).works["jane", "connections"]
    assert "larger than 5 MB" in work.problem


def test_many_files_and_much_altogether_are_refused(take, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)
    many = pack(io.BytesIO(), {f"{n}.ipynb": b"0" for n in range(4)}).getvalue()
    monkeypatch.setattr(archives, "MAX_UNPACKED", 100)
    much = pack(io.BytesIO(), {"a_connections.ipynb": b"0" * 60, "b_conv_block.ipynb": b"0" * 60}).getvalue()
    found = take({"jane.zip": many, "max.zip": much})
    assert [why for file, why, student in found.strays if student == "jane"] == [
        "is an archive of 4 files; at most 3 are read"]
    assert "unpacks to more than" in found.works["max", "conv_block"].problem


def test_archives_in_archives_end(take):
    data = bomb(10)
    for depth in range(5):
        data = pack(io.BytesIO(), {f"{depth}.zip": data}).getvalue()
    assert any("others; at most" in why for _, why, _ in take({"jane.zip": data}).strays)


@pytest.mark.parametrize("name", ["../../etc/connections.ipynb", "/etc/connections.ipynb", "C:/connections.ipynb",
                                  "a\\connections.ipynb", "a//connections.ipynb"])
def test_a_path_that_leads_out_is_refused(take, tmp_path, name):
    found = take({"jane.zip": pack(io.BytesIO(), {name: WORK}).getvalue()})
    problems = [work.problem for work in found.works.values()] + [why for _, why, _ in found.strays]
    assert problems == ["has a path that leads out of its archive"]


def test_a_whole_course_of_nbgrader_is_no_folder_of_submissions(take):
    with pytest.raises(ValueError, match=r"give its folder of submissions, .*submitted"):
        take({"source/densenet/01_connections.ipynb": WORK, "submitted/jane/densenet/01_connections.ipynb": WORK})


def test_links_are_not_followed(take, tmp_path):
    secret = tmp_path / "secret.ipynb"
    secret.write_bytes(WORK)
    entry = zipfile.ZipInfo("01_connections.ipynb")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(entry, str(secret))
    (tmp_path / "class" / "max").mkdir(parents=True)
    (tmp_path / "class" / "max" / "01_connections.ipynb").symlink_to(secret)
    (tmp_path / "class" / "whole").symlink_to(tmp_path)
    found = take({"jane.zip": stream.getvalue()})
    assert {work.problem for work in found.works.values()} == {"is a link, which is not followed"}
    assert len(found.works) == 2 and not take.kept


def test_encrypted_and_damaged_archives_are_told(take):
    whole = pack(io.BytesIO(), {"01_connections.ipynb": WORK}).getvalue()
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 0xFF
    found = take({"jane.zip": bytes(damaged), "max.zip": b"PK\x05\x06", "tim.zip": whole[:-30]})
    assert "could not be read" in found.works["jane", "connections"].problem
    assert {student for _, why, student in found.strays if "no zip file" in why} == {"max", "tim"}


def test_other_files_are_named_and_noise_is_not(take):
    found = take({"jane/answer.pdf": b"x", "jane/.ipynb_checkpoints/01_connections.ipynb": WORK,
                  "lonely.txt": b"x", "max/01_connections.ipynb": WORK})
    assert found.strays == [("jane/answer.pdf", "is no notebook", "jane"), ("lonely.txt", "is no notebook", "")]
    assert {"jane", "max"} <= set(found.people)


def test_a_roster_joins_platforms_names_to_students(take, tmp_path):
    roster = tmp_path / "roster.csv"
    roster.write_text('Student,ID,SIS User ID,SIS Login ID,Section\n    Points Possible,,,,\n"Doe, Jane",123,u1,jd,1\n'
                      '"Li, Max",124,u2,ml,1\n')
    people = read_roster(roster)
    found = take({"doejane_123_1_01_connections.ipynb": WORK, "ml/01_connections.ipynb": WORK,
                  "guest/01_connections.ipynb": WORK}, roster=people)
    assert {student for student, _ in found.works} == {"123", "124", "guest"}
    assert found.listed == {"123", "124"} and found.people["123"].row["SIS Login ID"] == "jd"


@pytest.mark.parametrize("text, why", [
    ("", "found no student"), ("colour\nred\n", "found no student"), ("id\n1\n1\n", "row 3: '1' is there twice")])
def test_a_useless_roster_is_refused(tmp_path, text, why):
    path = tmp_path / "roster.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        read_roster(path)


def test_times_are_read_as_platforms_write_them():
    assert moment("2026-02-02 15:58:23.948203 America/Los_Angeles\n").utcoffset().total_seconds() == -8 * 3600
    assert moment("2026-02-02 15:58:23 UTC") == moment("2026-02-02T15:58:23+00:00")
    assert moment("yesterday") is None and moment("2026-02-02 15:58:23 Nowhere/Land") is None
    late = moment("2026-03-03 01:30:00 UTC")
    assert lateness(late, moment("2026-03-02T00:00:00+00:00")) == "1 d 1 h"
    assert lateness(late, late) == lateness(None, late) == ""
    assert due_date("2026-03-01").hour == 23
    with pytest.raises(ValueError, match=r"due: expected a date such as .*, got 'soon'"):
        due_date("soon")


def test_only_chosen_exercises_are_taken(take):
    found = take({"jane/01_connections.ipynb": WORK, "jane/02_conv_block.ipynb": OTHER}, chosen=("conv_block",))
    assert set(found.works) == {("jane", "conv_block")}


def test_a_missing_source_and_one_of_another_kind_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="found nothing"):
        list(archives.files(tmp_path / "nowhere"))
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ValueError, match="this is neither"):
        list(archives.files(tmp_path / "x.txt"))


def test_locked_cells_are_run_as_they_were_released():
    released = notebook.read((STUDENT / f"{stem('connections')}.ipynb").read_bytes())
    whole = notebook.to_run(notebook.read(WORK), released)
    edited = notebook.to_run(notebook.read(classroom.notebook("connections", "edited")), released)
    assert whole.notes == () and None not in whole.places
    assert edited.notes == ("the locked cell connections-check was missing; the released one was run",
                            "the locked cell connections-score was changed; the released one was run")
    assert sorted(edited.cells) == sorted(whole.cells) and edited.places[-1] is None


def test_a_locked_cell_that_is_there_twice_runs_once():
    released = notebook.read((STUDENT / f"{stem('connections')}.ipynb").read_bytes())
    cells = notebook.read(WORK)
    work = notebook.to_run((*cells, cells[-1]), released)
    assert work.cells == notebook.to_run(cells, released).cells
    assert work.notes == ("a second cell connections-score was left out",)


def test_people_are_compared_without_case_and_composition():
    from densenet_course.grading.people import Roster

    roster = Roster([Person("1", "Žofie", ("1", "Žofie"))])
    assert roster.find(Person("z\u030cofie".upper())).id == "1"
    assert roster.find(Person("nobody")).id == "nobody"


def test_the_class_of_the_other_tests_is_read_whole(tmp_path):
    pupils = classroom.make(tmp_path, 20)
    found = collect(tmp_path, STEMS, dict().setdefault, due=due_date(classroom.DUE))
    assert set(found.people) == {pupil.name for pupil in pupils} and not found.strays
    late = {student for (student, _), work in found.works.items() if work.late}
    assert late == {pupil.name for pupil in pupils if pupil.kind == "late"}
    assert Path(found.works["con", "connections"].file).parts[0] == "con"
