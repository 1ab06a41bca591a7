"""What stands in the explorer's place where no script runs: a still picture, drawn from the live network."""

import torch
import torch.nn.functional as F
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Curve

from densenet_course.data import CLASS_NAMES, normalise
from densenet_course.explorer.bundle import chosen_images, parts
from densenet_course.figures.channels import channels_by_depth
from densenet_course.figures.style import COLOURS, as_image, describe, new_figure
from densenet_course.models import cifar_config, class_densenet

SIGNED = LinearSegmentedColormap.from_list("signed", [COLOURS["bottleneck"], "#f2f2f2", COLOURS["new"]])
ROLES = {"stem": "input", "layer": "new", "transition": "transition", "head": "ink"}
COLUMNS = 16
SHOWN = {4: 6, 5: 10}  # question → its image, as in guide.js; the others begin with image 0
STEPS = ("BN", "ReLU", "1×1 convolution", "2×2 average")  # of a transition
TILE, GAP = 42, 3  # pixels: 14, 7, 3 and 1 divide the side of a tile


def fallback(view, step):
    """Return a view's picture as a bundle for a notebook's output; the website's script mounts the explorer in it.

    Args:
        view: "network" or "design".
        step: the question that the explorer begins with.
    """
    still = as_image(design() if view == "design" else of_question(step))
    bundle = still._repr_mimebundle_()
    place = f'<div class="densenet-explorer" data-view="{view}" data-step="{step}">'
    return {**bundle, "text/html": f"{place}{bundle['text/html']}</div>"}


def of_question(step):
    """Draw what a question of the first view is about."""
    return inside_transition() if step == 3 else network(SHOWN.get(step, 0))


def design():
    """Draw the channels of the network that the second view starts from."""
    return channels_by_depth({"L = 100, k = 12": cifar_config(depth=100, growth_rate=12)})


@torch.no_grad()
def outputs(model, image):
    """Compute what every part puts out, in the order of ``bundle.parts``.

    Args:
        model: the class network, in evaluation mode.
        image: normalised (1, 1, 28, 28).

    Returns:
        A list of maps (C, H, W); the last are the scores (10, 1, 1).
    """
    maps, found = image, []
    for name, part in model.features.named_children():
        if name.startswith("denseblock"):
            for layer in part.children():
                found.append(layer(maps))
                maps = torch.cat([maps, found[-1]], dim=1)  # (N, C + k, H, W)
        elif name != "norm5":
            maps = part(maps)
            found.append(maps)
    return [out[0] for out in [*found, model(image)[..., None, None]]]


def example(place=0):
    """Run the class network on one of the twenty: return the model, its parts, what each puts out, and the label."""
    model = class_densenet(weights="DEFAULT").eval()
    images, labels, _ = chosen_images()
    return model, parts(model), outputs(model, normalise(images[place:place + 1])), labels[place]


def network(place=0):
    """Draw one of the twenty images on its way through the class network, every map a tile, every link an arc."""
    _, every, found, label = example(place)
    figure, axes = new_figure(height=6.4)
    middles, top = [], 0.0
    for part, maps in zip(every, found, strict=True):
        height = draw_row(axes, part["name"], maps, top, ROLES[part["kind"]])
        middles.append(top + height / 2)
        for source in part["sources"]:
            draw_arc(axes, middles[source], middles[-1])
        top += height + 0.35
    axes.set(xlim=(-8.5, COLUMNS), ylim=(top, -0.2), aspect="equal")
    axes.axis("off")
    label, said = (CLASS_NAMES[int(place)] for place in (label, found[-1].argmax()))
    return describe(figure, f"An image of class {label} on its way through the class network, "
                    "every map a tile: stem, blocks of 2, 4 and 4 layers, two transitions, classifier. Arcs lead from "
                    f"each part of a block to all its readers, 36 in all. The network says {said}.")


@torch.no_grad()
def inside_transition():
    """Draw what the four steps of transition 2 make of the T-shirt's maps: the third question is about them."""
    model, every, found, label = example()
    part = next(part for part in every if part["name"] == "transition 2")
    maps = torch.cat([found[source] for source in part["sources"]])[None]  # (1, C, H, W)
    figure, axes = new_figure(height=6.4)
    top, told = 0.0, []
    for name, step in zip(STEPS, model.features.transition2.children(), strict=True):
        maps = step(maps)
        size = f"{maps.shape[1]} maps of {maps.shape[2]}×{maps.shape[3]}"
        top += draw_row(axes, f"{name}\n{size}", maps[0], top, ROLES["transition"]) + 0.6
        told.append(f"{name}: {size} pixels")
    axes.set(xlim=(-6.5, COLUMNS), ylim=(top, -0.2), aspect="equal")
    axes.axis("off")
    return describe(figure, f"Inside transition 2 of the class network, for an image of class {CLASS_NAMES[label]}, "
                    f"every map a tile. {'; '.join(told)}.")


def draw_row(axes, name, maps, top, role):
    """Draw a name, a bar in the colour of a role, and maps (C, H, W) below a height; return how high the row is."""
    height = -(-len(maps) // COLUMNS)
    draw_tiles(axes, maps, top)
    axes.add_patch(Rectangle((-0.35, top), 0.12, height, color=COLOURS[role]))
    axes.text(-0.6, top + height / 2, name, ha="right", va="center", fontsize=10)
    return height


def draw_tiles(axes, maps, top):
    """Draw maps (C, H, W) as tiles of side 1 below a height, sixteen in a row; each has its own range of colour."""
    largest = maps.abs().amax(dim=(1, 2), keepdim=True) if maps.shape[1] > 1 else maps.abs().max()
    tiles = F.interpolate((maps / largest.clamp(min=1e-6))[None], size=TILE, mode="nearest")[0]
    tiles = F.pad(tiles, (0, GAP, 0, GAP), value=float("nan"))  # (C, side, side)
    rows, side = -(-len(tiles) // COLUMNS), TILE + GAP
    sheet = torch.full((rows * COLUMNS, side, side), float("nan"))
    sheet[:len(tiles)] = tiles
    sheet = sheet.view(rows, COLUMNS, side, side).transpose(1, 2).reshape(rows * side, COLUMNS * side)
    extent = (0, COLUMNS, top + rows, top)
    axes.imshow(sheet.numpy(), cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest", extent=extent)


def draw_arc(axes, start, end):
    """Draw a link as an arc that leaves the column of names to its left."""
    edge, bow = -3.8, -3.8 - 0.45 * (end - start) - 0.4
    corners = [(edge, start), (bow, start), (bow, end), (edge, end)]
    curve = Curve(corners, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=COLOURS["input"], linewidth=0.8))
