"""Pictures of what training gave: learning curves, confusion matrix, ablation, and the learning-rate schedules."""

import statistics

import torch
from matplotlib.ticker import MaxNLocator

from densenet_course.figures.style import COLOURS, as_image, describe, new_figure
from densenet_course.training.loop import in_notebook
from densenet_course.training.schedules import one_cycle, step_decay

BY_SPLIT = {"train": (COLOURS["input"], "o", "--"), "test": (COLOURS["new"], "s", "-")}  # colour, marker, line style


def learning_curves(history):
    """Draw loss and accuracy after each epoch, training and test images side by side.

    Args:
        history: what ``training.fit`` returns; rows without test figures draw the training curves only.

    Returns:
        A figure with alt text: two panels, loss and accuracy in percent.

    Raises:
        ValueError: there is no epoch to draw.
    """
    if not history:
        raise ValueError("history: expected at least one epoch as training.fit returns it, got none")
    epochs = [row["epoch"] for row in history]
    figure, panels = new_figure(height=2.9, ncols=2)
    told = []
    for panel, measure, scale in ((panels[0], "loss", 1), (panels[1], "accuracy", 100)):
        for split, (colour, marker, line) in BY_SPLIT.items():
            if f"{split}_{measure}" not in history[0]:
                continue
            values = [scale * row[f"{split}_{measure}"] for row in history]
            panel.plot(epochs, values, color=colour, marker=marker, linestyle=line, label=split)
            told.append(f"{split} {measure} from {values[0]:.2f} to {values[-1]:.2f}{' %' if scale == 100 else ''}")
        panel.set_xlabel("epoch")
        panel.set_xticks(epochs[:: -(-len(epochs) // 8)])
        panel.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("cross-entropy (nats)")
    panels[1].set_ylabel("accuracy (%)")
    panels[0].legend(frameon=False)
    return describe(figure, f"Learning curves over {len(epochs)} epochs: {'; '.join(told)}.")


def live_curves():
    """Make a function that draws the learning curves anew after each epoch, for ``training.fit(after_epoch=…)``.

    Returns:
        A function (history): in a notebook it redraws one picture, elsewhere it prints a line.
    """
    handle = None

    def draw(history):
        nonlocal handle
        if not in_notebook():
            row = history[-1]
            told = {name.replace("_", " "): row[name] for name in ("train_loss", "test_accuracy") if name in row}
            print(f"epoch {row['epoch']}:", ", ".join(f"{name} {value:.3f}" for name, value in told.items()))
        elif handle is None:
            from IPython.display import display

            handle = display(as_image(learning_curves(history)), display_id=True)
        else:
            handle.update(as_image(learning_curves(history)))

    return draw


def board_curves(points):
    """Draw what d2l's progress board has collected: loss and accuracy in a panel each.

    Args:
        points: the board's ``data``: "train_loss", "val_loss" and "val_acc", each a list of points with x in epochs
            and y.

    Returns:
        A figure with alt text.

    Raises:
        ValueError: one of the three is missing or empty.
    """
    missing = [name for name in ("train_loss", "val_loss", "val_acc") if not points.get(name)]
    if missing:
        raise ValueError(f"points: expected train_loss, val_loss and val_acc as d2l's board collects them, "
                         f"got none of {', '.join(missing)}; train first")
    figure, panels = new_figure(height=2.9, ncols=2)
    told = []
    for panel, name, split, what, scale in (
        (panels[0], "train_loss", "train", "training loss", 1),
        (panels[0], "val_loss", "test", "validation loss", 1),
        (panels[1], "val_acc", "test", "validation accuracy", 100),
    ):
        colour, marker, line = BY_SPLIT[split]
        values = [scale * float(point.y) for point in points[name]]
        panel.plot([point.x for point in points[name]], values, color=colour, marker=marker, linestyle=line, label=what)
        told.append(f"{what} from {values[0]:.2f} to {values[-1]:.2f}{' %' if scale == 100 else ''}")
        panel.set(xlabel="epoch", xlim=(0, 1.04 * max(point.x for point in points[name])))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("cross-entropy (nats)")
    panels[0].set_ylim(0)
    panels[1].set_ylabel("validation accuracy (%)")
    panels[0].legend(frameon=False)
    return describe(figure, f"Training with d2l: {'; '.join(told)}.")


def count_pairs(predictions, labels, num_classes):
    """Count how often each true class (row) was given each label (column).

    Args:
        predictions: logits (M, num_classes), or predicted classes (M,).
        labels: true classes (M,).
        num_classes: rows and columns of the table.

    Returns:
        A (num_classes, num_classes) int64 tensor that sums to M.

    Raises:
        ValueError: the lengths differ, or a class is out of range.
    """
    predictions, labels = torch.as_tensor(predictions).cpu(), torch.as_tensor(labels).cpu()
    predicted = predictions.argmax(1) if predictions.ndim == 2 else predictions
    if predicted.shape != labels.shape:
        raise ValueError(f"predictions: expected one for each of {len(labels)} labels, got {len(predicted)}")
    pairs = num_classes * labels.long() + predicted.long()
    if min(predicted.min(), labels.min()) < 0 or max(predicted.max(), labels.max()) >= num_classes:
        raise ValueError(f"classes: expected 0 … {num_classes - 1}, got {int(min(predicted.min(), labels.min()))} … "
                         f"{int(max(predicted.max(), labels.max()))}")
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def most_confused(counts):
    """Find the two different classes taken for each other most often, in both directions together.

    Returns:
        (first, second, mistakes): class numbers, first < second, and how many images.
    """
    both = (counts + counts.T).triu(diagonal=1)
    first, second = divmod(int(both.argmax()), len(both))
    return first, second, int(both[first, second])


def confusion_matrix(predictions, labels, class_names):
    """Draw the table of true and predicted classes, with the counts written in.

    Args:
        predictions: logits (M, classes), or predicted classes (M,).
        labels: true classes (M,).
        class_names: a name for each class, in order.

    Returns:
        A figure with alt text; a mistake is the darker the more often it was made, the diagonal is left pale.
    """
    size = len(class_names)
    counts = count_pairs(predictions, labels, size)
    mistakes = counts.clone().fill_diagonal_(0)
    top = max(1, int(mistakes.max()))
    figure, panel = new_figure(height=5.6)
    panel.imshow(mistakes.numpy(), cmap="Blues", vmin=0, vmax=top)
    for true in range(size):
        for predicted in range(size):
            count = int(counts[true, predicted])
            dark = mistakes[true, predicted] > 0.6 * top
            panel.text(predicted, true, count, ha="center", va="center", fontsize=10,
                       color="white" if dark else COLOURS["ink"] if count else COLOURS["input"],
                       fontweight="bold" if true == predicted else "normal")
    panel.set_xticks(range(size), class_names, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(size), class_names)
    panel.set_xlabel("predicted class")
    panel.set_ylabel("true class")
    panel.spines[:].set_visible(False)
    first, second, often = most_confused(counts)
    right = int(counts.trace())
    return describe(figure, f"Confusion matrix of {len(labels)} images, {right} of them right. Most confused: "
                            f"{class_names[first]} and {class_names[second]}, {often} mistakes in both directions.")


def differences(results):
    """Compare each variant with the full recipe, seed by seed.

    Args:
        results: what ``benchmarks/ablation.py`` writes: ``seeds`` and ``variants``, a dict of name →
            {"accuracy": {seed: fraction}}; the first variant is the full recipe.

    Returns:
        A list of (name, differences in percentage points, one for each seed), the most harmful change first.

    Raises:
        ValueError: nothing to compare, or a variant lacks a seed of the full recipe.
    """
    (full, reference), *others = results["variants"].items()
    if not others:
        raise ValueError(f"results: expected variants besides {full!r}, got none")
    rows = []
    for name, variant in others:
        missing = [seed for seed in reference["accuracy"] if seed not in variant["accuracy"]]
        if missing:
            raise ValueError(f"{name}: expected the seeds of {full!r}, but {', '.join(map(str, missing))} did not run")
        rows.append((name, [100 * (variant["accuracy"][s] - a) for s, a in reference["accuracy"].items()]))
    return sorted(rows, key=lambda row: statistics.mean(row[1]))


def ablation(results):
    """Draw what each change to the recipe was worth: mean difference in points, with one dot for each seed.

    Args:
        results: what ``benchmarks/ablation.py`` writes; see ``differences``.

    Returns:
        A figure with alt text: a bar for each change, the most harmful on top.
    """
    rows = differences(results)
    figure, panel = new_figure(height=0.9 + 0.34 * len(rows))
    means = [statistics.mean(values) for _, values in rows]
    for i, ((_, values), mean) in enumerate(zip(rows, means, strict=True)):
        panel.barh(i, mean, height=0.6, color=COLOURS["wrong" if mean < 0 else "new"], alpha=0.55)
        panel.plot(values, [i] * len(values), "o", markersize=4, color=COLOURS["ink"])
    panel.axvline(0, color=COLOURS["ink"], linewidth=1)
    panel.set_yticks(range(len(rows)), [name for name, _ in rows])
    panel.invert_yaxis()
    panel.grid(axis="x", alpha=0.3)
    panel.set_xlabel("accuracy against the full recipe (points)")
    told = "; ".join(f"{name} {mean:+.2f} points" for (name, _), mean in zip(rows, means, strict=True))
    return describe(figure, f"Accuracy against the full recipe, mean of {len(rows[0][1])} seeds: {told}.")


def schedules(num_points=401):
    """Draw the two learning-rate schedules over a whole training.

    Args:
        num_points: where each line is evaluated, from the first step to the last.

    Returns:
        A figure with alt text; the rate is a share of the peak rate.
    """
    figure, panel = new_figure(height=2.6)
    steps, total = range(num_points), num_points - 1
    done = [100 * step / total for step in steps]
    for name, share, colour, line in (("one-cycle", one_cycle, "new", "-"), ("step", step_decay, "transition", "--")):
        panel.plot(done, [share(step, total) for step in steps], line, color=COLOURS[colour], linewidth=2, label=name)
    panel.set_xlabel("training done (% of the steps)")
    panel.set_ylabel("rate / peak rate")
    panel.set_xticks(range(0, 101, 25))
    panel.legend(frameon=False, loc="upper right")
    peak = done[max(steps, key=lambda step: one_cycle(step, total))]
    return describe(figure, "Two schedules. One-cycle rises in a straight line from 0 to the peak rate at "
                            f"{peak:.0f} % of the steps, then falls to 0. Step holds the peak rate to 50 %, "
                            "a tenth of it to 75 %, a hundredth to the end.")


FILES = {"schedules": schedules}
