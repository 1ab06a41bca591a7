"""Small images in rows, each with a title."""

import torch

from densenet_course.figures.style import MAX_WIDTH, describe, new_figure


def image_grid(images, titles, *, columns=5):
    """Draw grey images in rows.

    Args:
        images: (N, 1, H, W) or (N, H, W); uint8 of 0…255, or float, where each image uses its own range.
        titles: one string for each image; two lines are fine.
        columns: images in a row.

    Raises:
        ValueError: another shape, no images, or not one title for each.
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
    rows = -(-len(images) // columns)
    side = MAX_WIDTH / columns
    title_height = 0.22 * max(title.count("\n") + 1 for title in titles)
    figure, axes = new_figure(height=rows * (side + title_height), nrows=rows, ncols=columns, squeeze=False)
    grey = {"cmap": "gray", "interpolation": "nearest"}
    if images.dtype == torch.uint8:
        grey |= {"vmin": 0, "vmax": 255}
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):  # the last row may have gaps
        ax.imshow(image.numpy(), **grey)
        ax.set_title(title, fontsize=10)
    spoken = "; ".join(" ".join(title.split()) for title in titles)
    return describe(figure, f"{len(images)} small grey images, {columns} in a row. In reading order: {spoken}.")
