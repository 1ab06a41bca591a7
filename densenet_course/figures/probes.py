"""Pictures of what linear probes read at every depth of a network."""

import itertools
import statistics

from densenet_course.figures.style import COLOURS, describe, new_figure
from densenet_course.studies.features import best_places

LOOKS = {  # network: colour, marker, line style
    "trained": (COLOURS["new"], "o", "-"),
    "pretrained": (COLOURS["new"], "", "-"),
    "fine-tuned": (COLOURS["bottleneck"], "", (0, (8, 1.5))),
    "untrained": (COLOURS["input"], "s", "--"),
}
LEVELS = {"raw pixels": "-.", "guessing": ":"}  # horizontal lines: line style


def short(place):
    """Shorten a place of ``maps_by_depth``: "block 2, layer 3" becomes "2.3", "transition 1" becomes "T1"."""
    return place.replace("block ", "").replace(", layer ", ".").replace("transition ", "T")


def _shade_transitions(panel, places):
    for i, place in enumerate(places):
        if place.startswith("transition"):
            panel.axvspan(i - 0.5, i + 0.5, color=COLOURS["transition"], alpha=0.15, linewidth=0)


def _level(panel, name, percent):
    panel.axhline(percent, color=COLOURS["ink"], linestyle=LEVELS[name], linewidth=1.2, label=name)


def probe_curves(measured, chance):
    """Draw what a linear probe reads at every depth of the class network, one panel for each question.

    Args:
        measured: what ``benchmarks/probe.py`` writes. The test images are drawn.
        chance: question → accuracy of guessing, a dotted line.

    Returns:
        A figure with alt text: a line through the means, a band from the worst run to the best. A triangle marks the
        places of the trained network that no other place beats in every run; the probe on raw pixels is a line.

    Raises:
        ValueError: there is no trained network among them.
    """
    networks = measured["networks"]
    if not networks.get("trained"):
        raise ValueError(f"networks: expected runs of a trained network, got {', '.join(networks) or 'none'}")
    questions = list(networks["trained"][0])
    figure, panels = new_figure(height=2.6 * len(questions), nrows=len(questions), sharex=True, squeeze=False)
    told = []
    for panel, question in zip(panels[:, 0], questions, strict=True):
        places = list(networks["trained"][0][question]["test"])
        for network, runs in networks.items():
            means = _line(panel, network, [[100 * run[question]["test"][place] for run in runs] for place in places])
            told.append(f"{question}, {network}: {means[0]:.1f} % at the stem, {max(means):.1f} % at the best place, "
                        f"{means[-1]:.1f} % at the end")
            if network == "trained":
                best = [places.index(place) for place in best_places(runs, question)]
                panel.plot(best, [means[i] + 3.5 for i in best], marker="v", color=COLOURS["wrong"], markersize=8,
                           linestyle="none", label="trained: best place, or as good")
                told.append(f"best, or as good, are {', '.join(places[i] for i in best)}")
        pixels = statistics.mean(100 * run[question]["test"] for run in measured["raw pixels"]["runs"])
        _level(panel, "raw pixels", pixels)
        told.append(f"raw pixels: {pixels:.1f} %")
        _level(panel, "guessing", 100 * chance[question])
        _shade_transitions(panel, places)
        panel.set_title(question, loc="left")
        panel.set_ylabel("right (%)")
        panel.set_ylim(0, 100)
        panel.set_xticks(range(len(places)), [short(place) for place in places])
        panel.grid(axis="y", alpha=0.3)
    panels[-1, 0].set_xlabel("place: block.layer; T, shaded: transition")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    runs = len(networks["trained"])
    return describe(figure, f"Accuracy of a linear probe by depth, mean of {runs} run{'s' * (runs != 1)}. "
                            f"{'; '.join(told)}.")


def _line(panel, network, by_place):
    """Draw the means of some runs over the places, and the band from the worst run to the best."""
    colour, marker, line = LOOKS[network]
    means = [statistics.mean(values) for values in by_place]
    panel.fill_between(range(len(means)), list(map(min, by_place)), list(map(max, by_place)), color=colour, alpha=0.25,
                       linewidth=0)
    panel.plot(means, color=colour, marker=marker, markersize=5, linestyle=line, label=network)
    return means


def layer_curves(measured, questions, networks):
    """Draw what linear probes read at every place of a DenseNet-121, one panel for each question.

    Args:
        measured: what ``benchmarks/densenet121_layers.py`` writes.
        questions: those to draw.
        networks: those to draw, for instance "pretrained" and "untrained".

    Returns:
        A figure with alt text. Triangles mark each network's best place; the probe on raw pixels is a horizontal line.
        Each panel has the range of its curves; guessing is a line where it lies inside, and stands in every title.

    Raises:
        ValueError: a question or network was not measured.
    """
    found = measured["networks"]
    for kind, wanted, known in (("networks", networks, found), ("questions", questions, found["raw pixels"])):
        if set(wanted) - set(known):
            raise ValueError(f"{kind}: expected some of {', '.join(known)}, got {', '.join(wanted)}")
    figure, panels = new_figure(height=1.2 + 1.5 * len(questions), nrows=len(questions), sharex=True, squeeze=False)
    told = []
    for panel, question in zip(panels[:, 0], questions, strict=True):
        places = list(found[networks[0]][question])
        for network in networks:
            told.append(f"{question}, {network}: "
                        f"{_curve(panel, network, {place: 100 * found[network][question][place] for place in places})}")
        pixels, guessed = 100 * found["raw pixels"][question]["raw pixels"], 100 * measured["guessing"][question]
        _level(panel, "raw pixels", pixels)
        low, high = panel.get_ylim()
        panel.set_ylim(low, high + 0.06 * (high - low))  # room for a triangle at the top
        if low < guessed < high and abs(guessed - pixels) > 0.02 * (high - low):  # else far off, or hidden
            _level(panel, "guessing", guessed)
        told.append(f"raw pixels {pixels:.1f} %, guessing {guessed:.1f} %")
        _shade_transitions(panel, places)
        panel.set_title(f"{question} (guessing: {guessed:.0f} %)", loc="left", fontsize=11)
        panel.set_ylabel("right (%)")
        panel.grid(axis="y", alpha=0.3)
    _name_blocks(panels[:, 0], places)
    by_label = {label: handle for panel in panels[:, 0]
                for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    by_label |= {"best place": panels[0, 0].plot([], [], marker="v", color=COLOURS["ink"], linestyle="none")[0]}
    figure.legend(by_label.values(), by_label, loc="outside lower center", ncols=3, frameon=False)
    return describe(figure, f"Accuracy of a linear probe at {len(places)} places of a DenseNet-121. "
                            f"{'; '.join(told)}.")


def _curve(panel, network, by_place):
    """Draw one network's accuracies, a triangle at the best; return a line about them for the alt text."""
    values, best = list(by_place.values()), max(by_place, key=by_place.get)
    colour, _, line = LOOKS[network]
    panel.plot(values, color=colour, linestyle=line, linewidth=1.6, label=network, marker="v", markersize=8,
               markevery=[list(by_place).index(best)])
    return f"{values[0]:.1f} % at the stem, best {by_place[best]:.1f} % at {best}, {values[-1]:.1f} % at the end"


def _name_blocks(panels, places):
    """Put ticks at the transitions; below the lowest panel, name them and the blocks between them."""
    transitions = [i for i, place in enumerate(places) if place.startswith("transition")]
    borders = [-2, *transitions, len(places)]
    names = [f"block {i}" for i in range(1, len(borders))]
    panels[-1].set_xticks(transitions, [short(places[i]) for i in transitions], fontsize=10)
    panels[-1].set_xticks([(a + b) / 2 for a, b in itertools.pairwise(borders)], names, minor=True, fontsize=10)
    for panel in panels:
        panel.tick_params(axis="x", which="minor", length=0, pad=7)
    panels[-1].set_xlabel("place, from the stem to the last layer; T, shaded: transition")
