"""Pictures of lesson 13: how Keras orders axes, and where its "same" padding puts the windows. Needs no Keras."""

from matplotlib.patches import Rectangle

from densenet_course.figures.style import COLOURS, describe, new_figure

KERAS_MAPS, KERAS_KERNEL = (0, 2, 3, 1), (2, 3, 1, 0)  # what permute needs from PyTorch's order
FILLS = {"C": "input", "I": "input", "O": "new"}  # other axes stay white


def axis_orders(convolution, maps):
    """Draw the axes of maps and kernel in PyTorch's order above Keras's, with a line from each axis to itself.

    Args:
        convolution: an ``nn.Conv2d``.
        maps: a tensor (N, C, H, W) that it can read.

    Returns:
        A figure with alt text: two panels, maps and kernel.

    Raises:
        ValueError: the maps do not have the channels that the convolution reads.
    """
    if maps.ndim != 4 or maps.shape[1] != convolution.in_channels:
        raise ValueError(f"maps: expected (N, {convolution.in_channels}, H, W), got {tuple(maps.shape)}")
    figure, panels = new_figure(height=2.5, ncols=2)
    told = []
    for panel, title, letters, shape, order in (
        (panels[0], "maps", "NCHW", maps.shape, KERAS_MAPS),
        (panels[1], "kernel", "OIHW", convolution.weight.shape, KERAS_KERNEL),
    ):
        for place, (letter, size) in enumerate(zip(letters, shape, strict=True)):
            target = order.index(place)
            panel.plot([place, target], [1.26, 0.74], color=COLOURS["ink"], linewidth=1)
            for x, y in ((place, 1.5), (target, 0.5)):
                _axis(panel, x, y, letter, size)
        theirs = "".join(letters[place] for place in order)
        told.append(f"{title} {letters} {tuple(shape)} become {theirs} {tuple(shape[place] for place in order)}")
        panel.set(title=f"{title}: permute{order}", xlim=(-0.5, 3.5), ylim=(0.2, 1.8), xticks=[])
        panel.set_yticks([1.5, 0.5], ["PyTorch", "Keras"] if panel is panels[0] else ["", ""])
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
    return describe(figure, f"The same axes in two orders, PyTorch above Keras: {'; '.join(told)}.")


def _axis(panel, x, y, letter, size):
    role = FILLS.get(letter)
    fill = COLOURS[role] if role else "white"
    panel.add_patch(Rectangle((x - 0.4, y - 0.24), 0.8, 0.48, facecolor=fill, edgecolor=COLOURS["ink"]))
    panel.text(x, y, f"{letter} = {size}", ha="center", va="center", fontsize=10,
               color="white" if role == "new" else COLOURS["ink"])


def same_padding(size, *, kernel_size, stride):
    """Count the zeros that "same" padding puts before and after a row: as few as give ⌈size / stride⌉ windows.

    Args:
        size: pixels in the row.
        kernel_size: pixels in a window.
        stride: pixels from one window to the next.

    Returns:
        (before, after): an odd one goes after the row.
    """
    windows = -(-size // stride)
    total = max(0, (windows - 1) * stride + kernel_size - size)
    return total // 2, total - total // 2


def window_centres(size, *, kernel_size=7, stride=2):
    """Draw a row of pixels with the zeros around it and the pixels on which windows are centred, in both frameworks.

    Args:
        size: pixels in the row, at least ``kernel_size``.
        kernel_size: pixels in a window, odd.
        stride: pixels from one window to the next.

    Returns:
        A figure with alt text: a row for PyTorch's padding of ⌊kernel_size / 2⌋, a row for Keras's "same".

    Raises:
        ValueError: an even kernel has no centre, or the row is shorter than a window.
    """
    if kernel_size % 2 == 0 or size < kernel_size:
        raise ValueError(f"expected an odd kernel_size of at most {size} pixels, got {kernel_size}")
    half = kernel_size // 2
    rows = {f"PyTorch\npadding={half}": (half, half),
            'Keras\npadding="same"': same_padding(size, kernel_size=kernel_size, stride=stride)}
    figure, panel = new_figure(height=2.7)
    told = []
    for y, (name, (before, after)) in zip((1, 0), rows.items(), strict=True):
        centres = range(half - before, size + after - half, stride)
        for x in range(-before, size + after):
            _pixel(panel, x, y, inside=0 <= x < size, centre=x in centres)
        left = -before - 0.5
        panel.plot([left, left, left + kernel_size, left + kernel_size], [y - 0.3, y - 0.4, y - 0.4, y - 0.3],
                   color=COLOURS["ink"], linewidth=1.5)
        panel.text(left + kernel_size / 2, y - 0.45, "first window", ha="center", va="top", fontsize=9)
        told.append(f"{name.replace(chr(10), ' ')}: {before} zeros before, {after} after, "
                    f"centres on pixels {', '.join(map(str, centres))}")
    panel.set(xlim=(-half - 0.7, size + half - 0.3), ylim=(-0.75, 1.4), xticks=[])
    panel.set_yticks([1, 0], list(rows))
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    return describe(figure, f"A row of {size} pixels under windows of {kernel_size} with stride {stride}. "
                            f"{'. '.join(told)}.")


def _pixel(panel, x, y, *, inside, centre):
    fill = COLOURS["new"] if centre else COLOURS["input"] if inside else "white"
    panel.add_patch(Rectangle((x - 0.5, y - 0.22), 1, 0.44, facecolor=fill, edgecolor=COLOURS["ink"], linewidth=0.8,
                              hatch=None if inside else "////"))
    if inside:
        panel.text(x, y, x, ha="center", va="center", fontsize=9, fontweight="bold" if centre else "normal",
                   color="white" if centre else COLOURS["ink"])
