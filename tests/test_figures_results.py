"""The pictures of training results show the numbers they were given, and refuse what they cannot show."""

from types import SimpleNamespace

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

from densenet_course.figures import results

NAMES = ("shoe", "shirt", "bag")
HISTORY = [
    {"epoch": 1, "train_loss": 0.9, "train_accuracy": 0.70, "test_loss": 0.6, "test_accuracy": 0.80},
    {"epoch": 2, "train_loss": 0.5, "train_accuracy": 0.85, "test_loss": 0.4, "test_accuracy": 0.9125},
]
LABELS = torch.tensor([0, 0, 1, 1, 1, 2])
PREDICTED = torch.tensor([0, 1, 0, 0, 1, 2])
ABLATION = {"variants": {
    "full recipe": {"accuracy": {"0": 0.90, "1": 0.91}},
    "with dropout": {"accuracy": {"0": 0.91, "1": 0.91}},
    "without momentum": {"accuracy": {"0": 0.88, "1": 0.87}},
}}


def texts(panel):
    return [text.get_text() for text in panel.texts]


def test_learning_curves_draw_both_splits():
    figure = results.learning_curves(HISTORY)
    loss, accuracy = figure.axes
    assert [line.get_label() for line in loss.lines] == ["train", "test"]
    assert list(loss.lines[1].get_ydata()) == [0.6, 0.4]
    assert list(accuracy.lines[0].get_ydata()) == pytest.approx([70, 85])
    assert loss.lines[0].get_linestyle() != loss.lines[1].get_linestyle()  # never by colour alone
    assert "test accuracy from 80.00 to 91.25 %" in figure.alt_text


def test_learning_curves_without_test_figures():
    rows = [{name: value for name, value in row.items() if not name.startswith("test")} for row in HISTORY]
    figure = results.learning_curves(rows)
    assert [len(panel.lines) for panel in figure.axes] == [1, 1]


def test_learning_curves_need_an_epoch():
    with pytest.raises(ValueError, match="at least one epoch"):
        results.learning_curves([])


def test_confusion_matrix_writes_true_rows_and_predicted_columns():
    figure = results.confusion_matrix(PREDICTED, LABELS, NAMES)
    assert texts(figure.axes[0]) == ["1", "1", "0", "2", "1", "0", "0", "0", "1"]
    assert "3 of them right" in figure.alt_text
    assert "shoe and shirt, 3 mistakes" in figure.alt_text


def test_confusion_matrix_takes_logits():
    logits = torch.nn.functional.one_hot(PREDICTED, 3).float()
    assert torch.equal(results.count_pairs(logits, LABELS, 3), results.count_pairs(PREDICTED, LABELS, 3))


@pytest.mark.parametrize(
    ("predicted", "message"),
    [(torch.tensor([0, 1]), "one for each of 6 labels"), (torch.tensor([0, 1, 0, 0, 1, 3]), "0 … 2, got 0 … 3")],
)
def test_confusion_matrix_refuses(predicted, message):
    with pytest.raises(ValueError, match=message):
        results.confusion_matrix(predicted, LABELS, NAMES)


def test_ablation_draws_paired_differences_worst_first():
    figure = results.ablation(ABLATION)
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["without momentum", "with dropout"]
    assert [bar.get_width() for bar in panel.patches] == pytest.approx([-3.0, 0.5])
    assert sorted(panel.lines[0].get_xdata()) == pytest.approx([-4.0, -2.0])
    assert "without momentum -3.00 points" in figure.alt_text


def test_ablation_needs_the_same_seeds():
    variants = ABLATION["variants"] | {"without flip": {"accuracy": {"0": 0.9}}}
    with pytest.raises(ValueError, match="without flip: expected the seeds of 'full recipe', but 1 did not run"):
        results.ablation({"variants": variants})
    with pytest.raises(ValueError, match="got none"):
        results.ablation({"variants": {"full recipe": {"accuracy": {"0": 0.9}}}})


def test_schedules_draw_one_cycle_and_step():
    figure = results.schedules()
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 2  # never by colour alone
    one_cycle, step = (line.get_ydata() for line in figure.axes[0].lines)
    assert max(one_cycle) == 1.0 and one_cycle[0] == one_cycle[-1] == 0.0
    assert sorted({round(rate, 6) for rate in step}) == [0.01, 0.1, 1.0]
    assert "25 % of the steps" in figure.alt_text


def test_epochs_of_the_board_are_whole_and_start_at_zero():
    def points(xs):
        return [SimpleNamespace(x=x, y=1 / (1 + x)) for x in xs]

    board = {"train_loss": points([0.25, 0.75, 2.75]), "val_loss": points([1, 2, 3]), "val_acc": points([1, 2, 3])}
    for panel in results.board_curves(board).axes:
        low, high = panel.get_xlim()
        assert [tick for tick in panel.get_xticks() if low <= tick <= high] == [0, 1, 2, 3]
        assert high > 3
