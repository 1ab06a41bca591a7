"""Small images in rows, each with a title."""

import torch

from densenet_course.figures.style import MAX_WIDTH, describe, new_figure


def image_grid(images, titles, *, columns=5, share=()):
    """Draw grey images in rows.

    Args:
        images: (N, 1, H, W) or (N, H, W); uint8 of 0…255, or float, where each image uses its own range.
        titles: one string for each image; two lines are fine.
        columns: places in a row; fewer images than that make a narrower picture.
        share: places of float images that use one range, all of theirs, so that their greys can be compared.

    Raises:
        ValueError: another shape, no images, not one title for each, or a place where no image is.
    """
    images = torch.as_tensor(images).detach().cpu()
    if images.dim() == 4 and images.shape[1] == 1:
        images = images[:, 0]  # (N, H, W)
    if images.dim() != 3 or not len(images):
        raise ValueError(f"images: expected (N, 1, H, W) or (N, H, W) with N ≥ 1, got {tuple(images.shape)}")
    if len(titles) != len(images):
        raise ValueError(f"titles: expected one for each of {len(images)} images, got {len(titles)}")
    if columns < 1:
        raise ValueError(f"columns: expected at least 1, got {columns}")
    if not set(share) <= set(range(len(images))):
        raise ValueError(f"share: expected places from 0 to {len(images) - 1}, got {tuple(share)}")
    side = MAX_WIDTH / columns
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    title_height = 0.22 * max(title.count("\n") + 1 for title in titles)
    size = {"width": columns * side, "height": rows * (side + title_height)}
    figure, axes = new_figure(**size, nrows=rows, ncols=columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for place, (ax, title) in enumerate(zip(axes.flat, titles, strict=False)):  # the last row may have gaps
        others = list(share) if place in share else place
        low, high = (0, 255) if images.dtype == torch.uint8 else images[others].aminmax()
        ax.imshow(images[place].numpy(), cmap="gray", interpolation="nearest", vmin=float(low), vmax=float(high))
        ax.set_title(title, fontsize=10)
    spoken = "; ".join(" ".join(title.split()) for title in titles)
    if len(images) == 1:
        return describe(figure, f"One small grey image: {spoken}.")
    return describe(figure, f"{len(images)} small grey images, {columns} in a row. In reading order: {spoken}.")
