"""The boxes in which notebooks run: what is in them, what a failure of ours is, and what a hang costs."""

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from densenet_course.checks import EXERCISES, load
from densenet_course.cli.masters import MASTERS, stem
from densenet_course.grading import box, claims, given, judging, sandbox, server, zygote
from densenet_course.grading.judging import Infra, Worker, isolation
from densenet_course.grading.lessons import copied
from densenet_course.grading.sandbox import Limits
from densenet_course.grading.verdict import GRADED, INFRA, LIMIT, NOT_OWN_WORK, Order
from tests import answers, kill_table

ROOT = Path(__file__).resolve().parents[1]
LIMITS = Limits(cell_seconds=5.0, notebook_seconds=15.0, ask_seconds=8.0, exercise_seconds=60.0)
RIGHT = """
def count_connections(num_layers):
    return num_layers * (num_layers + 1) // 2

def channels_after(in_channels, num_layers, growth_rate):
    return in_channels + num_layers * growth_rate
"""
each_exercise = pytest.mark.parametrize("exercise", EXERCISES)


@pytest.fixture(scope="module")
def worker():
    assert isolation() == ("full", "")
    with Worker(isolated=True) as worker:
        yield worker


@pytest.fixture
def short(worker, monkeypatch):
    """Give the worker little patience, for what never comes."""
    monkeypatch.setattr(worker, "limits", LIMITS)
    return worker


def grade(worker, *cells, exercise="connections"):
    return worker.judge(Order(exercise, cells, seed=3))


# --- what is in a cell ------------------------------------------------------------------------------------------------


@each_exercise
def test_a_cell_is_given_what_its_notebook_imports_and_no_more(exercise):
    source = (MASTERS / f"{stem(exercise)}.py").read_text(encoding="utf-8")
    imported = [f"{node.module}.{alias.name}" for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.ImportFrom) and node.module.startswith("densenet_course")
                for alias in node.names if "checks" not in node.module]
    assert sorted(imported) == sorted(f"densenet_course.{name}" for name in given.NOTEBOOK.get(exercise, ()))


@each_exercise
def test_no_oracle_is_among_a_cells_files(exercise):
    files = given.files(exercise)[0] | given.common()[0]
    text = "\n".join(files.values())
    for word in ("Solution(", "Mistake(", "MISTAKES", "SOURCE =", "EXERCISE", ".finding(", "def rehearse", "oracle"):
        assert word not in text
    assert not [path for path in files if path.startswith(("checks/pictures", "studies", "figures", "assets"))]
    if exercise not in ("features", "transfer", "capstone"):  # these hand a whole network to the answer
        assert "models.py" not in files
    defined = {node.name for source in files.values() for node in ast.parse(source).body
               if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert not defined.intersection(load(exercise).names)


@each_exercise
def test_what_every_cell_has_is_all_of_it_that_an_exercise_needs(exercise):
    texts, modules = given._cut(given.NOTEBOOK.get(exercise, ()), exercise)
    assert texts.items() >= given.common()[0].items()
    assert {*given.files(exercise)[1], *given.common()[1]} == set(modules)


def test_the_fork_server_imports_the_probes_of_every_cell(worker):
    printed = grade(worker, "import sys; print(*sys.modules)").output.split()
    assert given.common()[1]
    assert set(given.common()[1]) <= set(printed)


@pytest.fixture(scope="module")
def registered():
    """The probes that each exercise's modules register, also those of exercises that it borrows from."""
    script = """
import json, sys
from densenet_course.checks import EXERCISES, load
from densenet_course.checks.engine.answer import PROBES
found = {}
for exercise in EXERCISES:
    for name in [name for name in sys.modules if name.startswith("densenet_course.checks.exercises")]:
        del sys.modules[name]
    for name in [name for name in PROBES if ".exercises." in name]:
        del PROBES[name]
    load(exercise)
    found[exercise] = sorted(PROBES)
print(json.dumps(found))
"""
    return json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)


@each_exercise
def test_the_probes_of_an_exercise_are_known_in_its_cell(exercise, registered):
    wanted, known = set(registered[exercise]), set(given.probes(exercise))
    assert {name for name in wanted if not name.endswith(":own_work")} <= known
    assert {name for name in known if ".exercises." in name} <= wanted


def test_huge_pages_are_no_must(monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", absent)
    assert zygote.use_huge_pages() is None


def test_memory_that_lies_in_huge_pages_is_what_it_was():
    script = """
import os
from densenet_course.grading import zygote
held = [bytes([number % 256]) * 1000 for number in range(50_000)]
zygote.use_huge_pages()
child = os.fork()
if not child:
    held.reverse()
    os._exit(held[0] != bytes([49_999 % 256]) * 1000)
print(os.waitpid(child, 0)[1], held == [bytes([number % 256]) * 1000 for number in range(50_000)])
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout == "0 True\n", found.stderr


def test_no_network_stands_in_the_libraries_of_a_cell_but_torchvisions():
    names = {name for _, name in box.parts()}
    assert {"torch", "torchvision", "numpy", "IPython"} <= names
    assert not names & {"keras", "d2l", "timm", "densenet_course", "nbgrader", "pytest", "pip", "nbformat"}


def test_what_a_cell_really_sees(worker):
    listing = """
import os
for root, folders, files in os.walk("/"):
    if root in ("/usr", "/g/site", "/dev") or root.endswith("/lib/python3.11"):
        folders.clear()
    print(*[os.path.join(root, name) for name in files if name.endswith(".py")], sep="\\n")
"""
    printed = grade(worker, listing).output.split()
    own = "/g/own/densenet_course/"
    expected = {*(f"/w/course/{name}" for name in given.files("connections")[0]), f"{own}__init__.py",
                *(f"{own}{name}" for name in given.common()[0]),
                f"{own}grading/__init__.py", *(f"{own}grading/{name}.py" for name in box.INSIDE)}
    assert {path for path in printed if path.startswith(("/w/", "/g/own/"))} == expected
    assert not [path for path in printed if "densenet" in path and path not in expected]
    assert not [path for path in printed if path.startswith(("/work", "/home", "/etc", "/var", "/mnt"))]


@pytest.mark.parametrize("exercise", sorted({*EXERCISES} - {"densenet121", "capstone"}))  # those two take minutes
def test_a_right_answer_that_is_handed_in_gets_what_it_gets_in_the_notebook(exercise, worker):
    assert kill_table.differences(exercise, next(iter(answers.load(exercise).right_answers)), worker) == []


@pytest.mark.parametrize(("exercise", "label"), [
    ("one_shot", "joined in the loop"), ("one_shot", "in place on the input"), ("one_shot", "no padding"),
    ("conv_block", "channels swapped"), ("connections", "an exception"), ("transfer", "norms in train mode"),
    ("densenet121", "flattened 7x7 maps")])  # 57 million numbers: each copy counts
def test_a_wrong_answer_that_is_handed_in_is_told_what_it_is_told_in_the_notebook(exercise, label, worker):
    assert kill_table.differences(exercise, label, worker) == []


def test_the_claims_name_findings_that_there_are():
    for exercise, table in claims.UNCOMMITTED.items():
        names = {name for name, *_ in load(exercise).parts}
        assert names.issuperset(table), exercise
        assert names.issuperset(name for needed in table.values() for name in needed if name)


# --- notebooks --------------------------------------------------------------------------------------------------------


def test_a_right_notebook_with_all_sorts_of_cells(worker):
    verdict = grade(worker, "%matplotlib inline\n!true\nimport asyncio\nawait asyncio.sleep(0)", "1 +", "input()",
                    RIGHT, "from densenet_course.checks import check, finish, compare\n"
                    "check('connections', count_connections, channels_after)\nfinish('connections', 1, 2)", "1 / 0",
                    "print('ü' * 3)", "exit()")
    assert (verdict.status, verdict.points) == (GRADED, 10)
    assert [number for number, _ in verdict.errors] == [1, 2, 5]
    assert "SyntaxError" in verdict.errors[0][1]
    assert "ZeroDivisionError" in verdict.errors[2][1]
    assert "graded later" in verdict.output
    assert "üüü" in verdict.output


def test_the_same_order_gets_the_same_verdict(worker):
    cells = "import random, torch\nprint(random.random(), torch.rand(2), hash('a'))", RIGHT
    first, second = (grade(worker, *cells) for _ in range(2))
    assert first == second
    assert first.output


def test_a_loop_costs_its_own_name_only(short):
    hanging = RIGHT.replace("    return in_channels +", "    while True: pass\n    return in_channels +")
    verdict = grade(short, hanging)
    points = {finding.name: finding.points for finding in verdict.findings}
    assert points["links"] > 0
    assert points["channels"] == 0
    message = next(finding.message for finding in verdict.findings if finding.name == "channels")
    assert "loop that never ends" in message


def test_an_answer_that_kills_its_process_costs_its_own_name_only(worker):
    deadly = RIGHT.replace("    return in_channels +", "    import os; os._exit(0)\n    return in_channels +")
    verdict = grade(worker, deadly)
    points = {finding.name: finding.points for finding in verdict.findings}
    assert points["links"] > 0
    assert points["channels"] == 0


def test_a_cell_that_never_ends_is_left_out(short):
    verdict = grade(short, "while True: pass", RIGHT)
    assert (verdict.status, verdict.limit, verdict.points) == (LIMIT, "time", 10)
    assert verdict.errors[0][0] == 0


def test_what_hangs_again_and_again_is_given_up(worker):
    verdict = grade(worker, *["import os\nos._exit(1)"] * 4, RIGHT)
    assert verdict.points == 0
    assert all(finding.message for finding in verdict.findings)


@pytest.mark.parametrize("change", [lambda text: text, lambda text: text.replace("features", "features  "),
                                    lambda text: text.replace("self, features):", "self, features: int) -> int:")])
def test_the_lessons_own_cell_is_no_own_work(change):
    source = ast.unparse(next(node for node in ast.parse((ROOT / "densenet_course/layers.py").read_text()).body
                              if getattr(node, "name", "") == "DenseBlock"))
    assert "word for word" in copied("DenseBlock", ["x = 1", change(source)])
    assert copied("DenseBlock", [source, "class DenseBlock: pass"]) == ""


def test_not_own_work_is_a_status(worker):
    source = (ROOT / "densenet_course/layers.py").read_text()
    verdict = grade(worker, source, exercise="transition")
    assert (verdict.status, verdict.points) == (NOT_OWN_WORK, 0)


# --- failures of ours -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["the fork server", "what started it"])
def test_a_fork_server_that_dies_is_no_failure_of_the_students(worker, broken):
    pids = server.family(worker.zygote.process.pid)
    os.kill(pids[-1] if broken == "the fork server" else pids[0], signal.SIGKILL)
    verdict = grade(worker, RIGHT)
    assert (verdict.status, verdict.points) == (GRADED, 10)


BLOCK = """
import torch
from torch import nn
from densenet_course.layers import conv_block

class DenseBlock(nn.ModuleList):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__(conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers))

    def forward(self, features):
        for layer in self:
            features = torch.cat([features, layer(features)], dim=1)
        return features
"""


@pytest.mark.parametrize(("victim", "moment"), [("student", "run"), ("student", "ask"), ("player", "perform"),
                                                ("player", "give")])
def test_a_process_that_is_killed_from_outside_costs_nothing(worker, monkeypatch, victim, moment):
    """As the kernel does when memory is short, or an administrator."""
    talk, cells, killed = sandbox.Cell.talk, {}, []

    def killing(cell, seconds, **message):
        if message["do"] == moment and not killed and cell is list(cells)[victim == "player"]:
            killed.extend(cells[cell])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        reply = talk(cell, seconds, **message)
        if message["do"] == "begin":
            cells[cell] = set(server.family(worker.zygote.process.pid)) - worker.zygote.known.union(*cells.values())
        return reply

    expected = grade(worker, BLOCK, exercise="dense_block")
    assert (expected.points, expected.committed) == (10, True)
    monkeypatch.setattr(sandbox.Cell, "talk", killing)
    assert grade(worker, BLOCK, exercise="dense_block") == expected
    assert killed


def test_what_ends_its_own_process_is_judged_twice_and_no_more(worker, monkeypatch):
    once, tries = worker._judge_once, []
    monkeypatch.setattr(worker, "_judge_once", lambda order: tries.append(1) or once(order))
    deadly = BLOCK.replace("        for layer in self:", "        import os; os._exit(0)\n        for layer in self:")
    verdict = grade(worker, deadly, exercise="dense_block")
    assert len(tries) == 2 and verdict.points < 10
    assert "its process ended before it answered" in verdict.findings[-1].message


@pytest.fixture
def unable(monkeypatch):
    """Stand in for a system on which nothing can be opened or started."""
    started = []

    def fail(*_, **__):
        started.append(1)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(server, "_start_in_a_lasting_thread", fail)
    return started


def test_no_start_is_told_and_is_no_grade(unable, monkeypatch):
    with pytest.raises(Infra, match="Too many open files"):
        Worker()
    worker = Worker.__new__(Worker)
    worker.isolated, worker.limits, worker.zygote = True, None, None
    verdict = grade(worker, RIGHT)
    assert (verdict.status, verdict.findings) == (INFRA, ())
    assert "Too many open files" in verdict.notes[0]
    assert len(unable) == 1 + judging.TRIES


def test_a_full_disk_is_no_grade(worker, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    verdict = grade(worker, RIGHT)
    assert verdict.status == INFRA
    assert "No space left" in verdict.notes[0]


@pytest.mark.parametrize(("lacks", "told"), [("bwrap", "bubblewrap is missing"), ("linux", "needs Linux"),
                                             ("pyseccomp", "pyseccomp is missing")])
def test_a_system_that_cannot_isolate_says_what_is_missing(monkeypatch, lacks, told):
    monkeypatch.setattr(box.shutil, "which", lambda name: None if name == lacks else f"/usr/bin/{name}")
    if lacks == "linux":
        monkeypatch.setattr(sys, "platform", "darwin")
    if lacks == "pyseccomp":
        monkeypatch.setitem(sys.modules, "pyseccomp", None)
    level, reason = box.isolation.__wrapped__()
    assert level == "none"
    assert told in reason


def test_without_isolation_a_plain_process_does_it():
    with Worker(isolated=False, limits=LIMITS) as worker:
        verdict = grade(worker, "import os\nprint(os.getcwd())", RIGHT)
        assert (verdict.status, verdict.points, verdict.isolation) == (GRADED, 10, "none")
        assert not Path(verdict.output.strip()).exists()
        assert grade(worker, RIGHT, "from densenet_course import models").errors


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become someone else")
def test_an_ordinary_user_gets_the_same(tmp_path):
    """As a user without rights, from copies that this user may read."""
    script = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}]
from densenet_course.grading.judging import Worker, isolation
from densenet_course.grading.verdict import Order
print(isolation())
with Worker() as worker:
    print(worker.judge(Order("connections", ({RIGHT!r}, "import os; print(os.getuid())"), 3)))
"""
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                           'mount -t tmpfs none /mnt && mkdir /mnt/python && '
                           f'mount --bind {sys.base_prefix} /mnt/python && exec setpriv --reuid=4321 --regid=4321 '
                           f'--clear-groups env HOME=/tmp TMPDIR=/tmp PYTHONPATH={ROOT}:{_site()} '
                           '/mnt/python/bin/python3 -B -c "$0"', script],
                          capture_output=True, text=True, timeout=400)
    assert "('full', '')" in done.stdout, done.stderr
    assert "points=2.0" in done.stdout
    assert "4321" in done.stdout


def _site():
    import torch

    return Path(torch.__file__).parents[1]
