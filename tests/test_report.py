"""The report as a learner reads it: a table in a notebook, text elsewhere, and "Run All" reaches the score."""

from html.parser import HTMLParser

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from torch import nn

from densenet_course import checks
from densenet_course.checks import EXERCISES, CheckFailed, finish, load
from densenet_course.checks.engine.report import Finding, Report
from tests.test_dialogue import BLOCK

NASTY = "<script>alert(1)</script> & \x1b[31m \u202egnp.exe\u202c \u200b\x00 end"
REPORT = Report("conv_block", (
    Finding("values", True, 3.0, 3.0, ""), Finding(NASTY, False, 0.0, 2.0, NASTY),
    Finding("training", False, 0.0, 2.0, "not attempted yet"), Finding("more", False, 0.0, 2.0, NASTY),
))


class Table(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.cells = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes).get("scope")))

    def handle_data(self, data):
        self.cells.append(data)


def test_the_table_is_a_table_with_headers_and_escapes_everything():
    bundle = REPORT._repr_mimebundle_()
    assert bundle["text/plain"] == str(REPORT)
    table = Table(bundle["text/html"])
    assert [tag for tag, _ in table.tags if tag in ("table", "caption", "script")] == ["table", "caption"]
    assert table.tags.count(("th", "col")) == 4
    assert table.tags.count(("th", "row")) == 4
    assert table.cells[0] == "conv_block: 3 of 9 points"
    assert [cell for cell in table.cells if cell[0] in "✓✗·"] == ["✓ right", "✗ wrong", "· open", "✗ wrong"]
    assert table.cells[-1] == "the same as above"


def test_no_control_or_bidirectional_character_is_left():
    message = REPORT.findings[1].message
    assert message == "<script>alert(1)</script> & [31m gnp.exe  end"


def test_a_message_is_cut_in_its_middle():
    message = Finding("a", False, 0.0, 1.0, "beginning " + 10**7 * "x" + " end").message
    assert len(message) <= 1_200
    assert message.startswith("beginning ")
    assert message.endswith(" end")


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """An IPython shell, as a kernel has one, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    yield shell
    InteractiveShell.clear_instance()


def cell(shell, text):
    with capture_output() as captured:
        result = shell.run_cell(text)
    assert result.success
    return result.result, captured


def test_a_wrong_answer_does_not_stop_run_all(notebook):
    notebook.push({"conv_block": lambda c, k: nn.Conv2d(c, k, 3, padding=1, bias=False)})
    cell(notebook, "from densenet_course.checks import check, finish")
    result, captured = cell(notebook, "check('conv_block', conv_block)")
    (shown,) = captured.outputs
    assert "✗ wrong" in shown.data["text/html"]
    assert "✗" in shown.data["text/plain"]
    assert "Report" not in captured.stdout  # not a second time
    assert result.report.failed
    assert result.points == result.report.points
    points, captured = cell(notebook, "finish('conv_block', conv_block)")
    assert points == result.points
    assert "lesson 02 (conv block) prepares for it" in captured.stdout


def test_outside_a_notebook_a_wrong_answer_raises_with_names_only():
    many = tuple(Finding(f"finding {i}", False, 0.0, 1.0, "a long message") for i in range(16))
    assert str(CheckFailed(Report("bug_hunt", many))) == "look again at finding 0, finding 1, finding 2 and 13 more"


def test_what_comes_next_is_called_by_its_title(capsys):
    assert finish("conv_block", BLOCK) == 10
    printed = capsys.readouterr().out
    assert "Next: 03 The dense block." in printed
    assert "practice" in printed
    assert checks._next(EXERCISES[-1]) == "This was the last exercise."
    assert all(load(name).title for name in EXERCISES)
