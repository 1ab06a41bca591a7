"""A class graded: killed anywhere it goes on, what our side does wrong is no 0, and what changed is judged again."""

import csv
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from densenet_course import cli
from densenet_course.grading import box, crew
from densenet_course.grading.ledger import Ledger
from densenet_course.grading.reports.write import write
from densenet_course.grading.run import Wishes, grade
from densenet_course.grading.verdict import INFRA
from tests import classroom
from tests.classroom import DUE, RELEASES

ROOT = Path(__file__).resolve().parents[1]
KILLS = 6


@pytest.fixture(scope="module")
def submissions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class") / "submitted"
    classroom.make(folder)
    return folder


def quickly(submissions, out, worker="Quick", **wishes):
    return grade(submissions, out, RELEASES, Wishes(
        **{"due": DUE, "workers": 2, "isolated": False, "worker": f"tests.stand_in:{worker}"} | wishes))


@pytest.fixture(scope="module")
def undisturbed(submissions, tmp_path_factory):
    """The grades of a run that nobody disturbed; its key makes runs comparable."""
    out = tmp_path_factory.mktemp("grades") / "out"
    assert quickly(submissions, out) == (75, 0)
    write(out, RELEASES)
    return out


def with_the_key_of(out, folder):
    """Make a folder for grades whose seeds are those of another one."""
    folder.mkdir()
    with Ledger(out / "ledger.sqlite") as old, Ledger(folder / "ledger.sqlite") as new:
        new.setting("key", old.setting("key"))
    return folder


def pages(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*"))
            if path.is_file() and not path.name.startswith((".lock", "ledger.sqlite"))}


def verdicts(out):
    return sqlite3.connect(out / "ledger.sqlite").execute("SELECT count(*) FROM verdicts").fetchone()[0]


def test_a_second_run_judges_nothing_and_writes_the_same_bytes(submissions, undisturbed):
    before = pages(undisturbed)
    assert quickly(submissions, undisturbed) == (0, 0)
    write(undisturbed, RELEASES)
    assert pages(undisturbed) == before and len(before) > 100


def test_the_same_class_twice_gives_the_same_bytes(submissions, undisturbed, tmp_path):
    again = with_the_key_of(undisturbed, tmp_path / "again")
    assert quickly(submissions, again, workers=1) == (75, 0)
    write(again, RELEASES)
    assert pages(again) == pages(undisturbed)


def test_killed_anywhere_the_same_command_goes_on(submissions, undisturbed, tmp_path):
    """The main process, or one that it started, ends at once; nothing is judged twice but what was under way."""
    out, dice = with_the_key_of(undisturbed, tmp_path / "out"), random.Random(0)
    command = [sys.executable, "-m", "tests.quick_run", str(submissions), str(out)]
    for count in range(KILLS):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            goal = verdicts(out) + dice.randrange(15)
            while process.poll() is None and verdicts(out) < goal:
                time.sleep(0.01)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            found = children.read_text().split() if children.exists() and process.poll() is None else []
            victim = int(dice.choice(found)) if count % 2 and found else process.pid
            if process.poll() is None:
                os.kill(victim, signal.SIGKILL)
            if victim != process.pid:
                process.wait(timeout=300)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    write(out, RELEASES)
    assert pages(out) == pages(undisturbed)
    assert verdicts(out) == 75


def test_workers_end_with_the_process_that_started_them(submissions, tmp_path):
    command = [sys.executable, "-m", "tests.quick_run", str(submissions), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        ledger = tmp_path / "ledger.sqlite"
        while process.poll() is None and not (ledger.exists() and _started(ledger)):
            time.sleep(0.01)
        children = _descendants(process.pid)
        process.kill()
    assert children
    while any(Path(f"/proc/{child}").exists() and "Z" not in _state(child) for child in children):
        time.sleep(0.05)  # ends when they have, and the suite's own limit if they never do


def _started(ledger):
    try:
        return sqlite3.connect(ledger).execute("SELECT count(*) FROM verdicts").fetchone()[0] > 0
    except sqlite3.OperationalError:  # no table yet
        return False


def _descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [*children, *(one for child in children for one in _descendants(child))]


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return "Z"


@pytest.mark.parametrize("worker, why", [("Failing", "Too many open files"), ("Deadly", "")])
def test_what_our_side_does_wrong_is_no_grade_and_is_tried_again(submissions, undisturbed, tmp_path, worker, why):
    out = with_the_key_of(undisturbed, tmp_path / "out")
    few = tmp_path / "few"
    for number in (0, 3, 4, 18):  # "syntax" is the kind of 3 and 18
        name = classroom.pupils()[number].name
        shutil.copytree(submissions / name, few / name)
    judged, infra = quickly(few, out, worker)
    assert (judged, infra) == (8, 2)
    write(out, RELEASES)
    with (out / "gradebook.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if "infra" in row["status"]]
    assert [(row["connections"], row["total"]) for row in rows] == [("", "")] * 2
    assert all(row["conv_block"] for row in rows)
    assert why in (out / "class.html").read_text()
    assert quickly(few, out) == (2, 0)
    write(out, RELEASES)
    assert "infra" not in (out / "gradebook.csv").read_text()


def test_a_grader_that_praises_everything_gives_no_grade(submissions, tmp_path):
    judged, infra = quickly(submissions, tmp_path, "Broken", exercises=("conv_block",))
    assert judged == infra > 0
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert {verdict.status for verdict in ledger.verdicts(crew.checks_version(), "none").values()} == {INFRA}
        assert all("own test failed" in verdict.notes[0]
                   for verdict in ledger.verdicts(crew.checks_version(), "none").values())


def test_only_what_changed_is_judged_again(submissions, tmp_path):
    copy = shutil.copytree(submissions, tmp_path / "class")
    assert quickly(copy, tmp_path / "out") == (75, 0)
    for name in ("student001", "student007"):
        (copy / name / "densenet" / "01_connections.ipynb").write_bytes(classroom.notebook("connections", "half"))
    assert quickly(copy, tmp_path / "out") == (2, 0)
    assert quickly(copy, tmp_path / "out", regrade="STUDENT003") == (2, 0)
    with pytest.raises(ValueError, match="expected a student of this class, got 'nobody'"):
        quickly(copy, tmp_path / "out", regrade="nobody")


def test_other_checks_or_another_isolation_judge_again(submissions, tmp_path, monkeypatch):
    few = tmp_path / "few"
    shutil.copytree(submissions / "student001", few / "student001")
    shutil.copytree(submissions / "student003", few / "student003")
    assert quickly(few, tmp_path / "out", workers=1) == (4, 0)
    assert quickly(few, tmp_path / "out", workers=1, isolated=True) == (4, 0)
    assert quickly(few, tmp_path / "out", workers=1) == (0, 0)
    monkeypatch.setattr(crew, "checks_version", lambda: "another")
    judged, infra = quickly(few, tmp_path / "out", workers=1)
    assert judged == infra == 4  # the worker, a process of its own, has today's


def test_two_runs_into_one_folder_are_kept_apart(submissions, tmp_path):
    from filelock import FileLock

    with FileLock(tmp_path / ".lock"), pytest.raises(OSError, match="another run is grading into this folder"):
        quickly(submissions, tmp_path)


def test_a_folder_without_a_student_is_refused(tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "readme.txt").write_text("x")
    with pytest.raises(ValueError, match="found no notebook of a student"):
        quickly(tmp_path / "class", tmp_path / "out")


def test_a_dask_cluster_judges_the_same(submissions, undisturbed, tmp_path):
    from distributed import LocalCluster

    out = with_the_key_of(undisturbed, tmp_path / "out")
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        assert quickly(submissions, out, scheduler=cluster.scheduler_address) == (75, 0)
    write(out, RELEASES)
    assert pages(out) == pages(undisturbed)


def test_the_grader_itself_judges_as_the_notebook_does(submissions, tmp_path):
    """No stand-in: the real workers, isolated where this system can; CI demands that Linux can."""
    level, _ = box.isolation()
    assert level == "full" or not (os.environ.get("CI") and sys.platform == "linux")
    few = tmp_path / "few"
    for number in (1, 2, 5, 7):
        pupil = classroom.pupils()[number]
        shutil.copytree(submissions / pupil.name, few / pupil.name)
    out = tmp_path / "out"
    assert grade(few, out, RELEASES, Wishes(workers=1, isolated=level == "full", exercises=("connections",))) == (4, 0)
    with Ledger(out / "ledger.sqlite") as ledger:
        found = ledger.verdicts(crew.checks_version(), level)
    kinds = {pupil.name: pupil.kind for pupil in classroom.pupils()}
    assert {student: verdict.points for (student, _, _), verdict in found.items()} == {
        name.name: classroom.POINTS[kinds[name.name]][0] for name in few.iterdir()}


def test_the_command_goes_from_submissions_to_grades(submissions, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Wishes, "__init__", _with_stand_in(Wishes.__init__))
    command = ["grade", str(submissions), "--out", str(tmp_path), "--due", DUE, "--workers", "2", "--export",
               "gradescope", "--without-isolation"]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "75 notebooks judged now" in printed and "NOT ISOLATED" in printed
    assert {path.name for path in tmp_path.iterdir()} >= {"gradebook.csv", "class.html", "feedback", "exports"}
    assert cli.main(command) == 0 and "0 notebooks judged now" in capsys.readouterr().out


def _with_stand_in(original):
    return lambda self, **wishes: original(self, **wishes | {"worker": "tests.stand_in:Quick"})


@pytest.mark.parametrize("options, message", [
    (["--exercise", "conv"], "exercise: expected some of connections, .*; got 'conv'"),
    (["--workers", "0"], "workers: expected at least 1, got 0"),
    (["--due", "soon"], "due: expected a date"),
    (["--roster", "nowhere.csv"], "nowhere.csv"),
])
def test_the_command_refuses_what_cannot_be_meant(submissions, tmp_path, capsys, options, message):
    import re

    assert cli.main(["grade", str(submissions), "--out", str(tmp_path), "--without-isolation", *options]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_where_nothing_can_be_isolated_the_command_stops_and_says_why(submissions, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(box, "isolation", lambda: ("none", "bubblewrap is missing"))
    assert cli.main(["grade", str(submissions), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "bubblewrap is missing" in said and "--without-isolation" in said and not (tmp_path / "out").exists()
