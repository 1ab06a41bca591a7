"""The ledger: what is written stays, whole or not at all, and nobody foresees a seed."""

import sqlite3

import pytest

from densenet_course.grading.intake import ClassFiles, HandedIn
from densenet_course.grading.ledger import Ledger, LedgerError
from densenet_course.grading.people import Person
from densenet_course.grading.verdict import GRADED, INFRA, LIMIT, Judged, Verdict

WORK = HandedIn("=jane \u202e", "connections", "ab12", "", "jane/a.ipynb", "2026-01-01T00:00:00+00:00", "1 d",
                ("a", "b"))
VERDICT = Verdict(LIMIT, (Judged("shape", 1.5, 2.0, "expected 3, got \ud800"), Judged("links", 1.0, 1.0, "", True)),
                  "20 s", ((0, "ValueError: \x1b[31m"), (3, "x")), "printed", "full", True, ("a note",))
HOW = {"checks": "c1", "seed": 2**55, "torch": "2.9", "seconds": 0.5}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def test_a_verdict_comes_back_as_it_was(path):
    with Ledger(path) as ledger:
        ledger.record(WORK, VERDICT, **HOW)
    with Ledger(path) as ledger:
        assert ledger.verdicts("c1", "full") == {(WORK.student, "connections", "ab12"): VERDICT}
        assert ledger.verdicts("c2", "full") == ledger.verdicts("c1", "none") == {}
        assert ledger.torch_versions("c1") == ["2.9"]


def test_the_newest_verdict_counts_and_the_older_is_kept(path):
    with Ledger(path) as ledger:
        ledger.record(WORK, Verdict(INFRA), **HOW)
        ledger.record(WORK, VERDICT, **HOW)
        assert set(ledger.statuses("c1", "full").values()) == {LIMIT}
    assert sqlite3.connect(path).execute("SELECT count(*) FROM verdicts").fetchone() == (2,)


def test_a_class_comes_back_and_is_replaced_whole(path):
    found = ClassFiles({"jane": Person("jane", "Jane", ("jane", "j@x"), {"ID": "1"})}, {"jane"},
                       {("jane", "connections"): WORK}, [("x.pdf", "is no notebook", "jane")])
    with Ledger(path) as ledger:
        with ledger.transaction():
            ledger.replace_class(found)
        with pytest.raises(ZeroDivisionError), ledger.transaction():
            ledger.replace_class(ClassFiles())
            raise ZeroDivisionError
        assert ledger.people() == [(found.people["jane"], True)]
        assert ledger.works() == [WORK] and ledger.strays() == found.strays


def test_notebooks_are_kept_once(path):
    with Ledger(path) as ledger:
        for _ in range(2):
            ledger.keep("s", b"data" * 1000)
        assert ledger.notebook("s") == b"data" * 1000


def test_a_seed_depends_on_student_exercise_file_and_key_alone(path, tmp_path):
    with Ledger(path) as ledger:
        seeds = {ledger.seed(*of) for of in (("a", "b", "c"), ("ab", "", "c"), ("a", "b", "d"), ("a", "c", "c"))}
        key = ledger.setting("key")
    assert len(seeds) == 4 and all(0 <= seed < 2**56 for seed in seeds) and len(key) == 64
    with Ledger(path) as again, Ledger(tmp_path / "other.sqlite") as other:
        assert again.seed("a", "b", "c") in seeds and other.seed("a", "b", "c") not in seeds


def test_what_is_no_ledger_of_ours_is_refused_by_name(path):
    path.write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match=r"ledger.sqlite: file is not a database"):
        Ledger(path)


def test_a_ledger_of_another_format_is_refused(path):
    with Ledger(path) as ledger:
        ledger.setting("format", "0")
    with pytest.raises(LedgerError, match="made by another version of the course"):
        Ledger(path)


def test_a_full_disk_loses_nothing(path):
    with Ledger(path) as ledger:
        ledger.record(WORK, VERDICT, **HOW)
        pages = ledger.base.execute("PRAGMA page_count").fetchone()[0]
        ledger.base.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "database or disk is full"
        big = Verdict(GRADED, output="x" * 100_000)
        with pytest.raises(LedgerError, match=r"full.*the same command goes on"):
            ledger.record(WORK, big, **HOW)
    with Ledger(path) as ledger:
        assert list(ledger.verdicts("c1", "full").values()) == [VERDICT]
