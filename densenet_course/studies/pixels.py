"""Questions about single pixels: what stands at a place of an image, and what the maps of any depth hold there."""

import torch
import torch.nn.functional as F

from densenet_course.studies.features import gradient_length

DARK = 12  # of 255: a brighter pixel belongs to the garment; the background of FashionMNIST is 0


def draw_pixels(number, per_image, *, size, seed):
    """Draw pixels at random, some in every image, none on its outermost rows and columns.

    Args:
        number: of images N.
        per_image: pixels P drawn in each.
        size: height and width of the images, in pixels.
        seed: of the draw.

    Returns:
        int64 (N, P, 2): row and column.
    """
    return torch.randint(1, size - 1, (number, per_image, 2), generator=torch.Generator().manual_seed(seed))


def values_at(table, pixels):
    """Read a number for each pixel.

    Args:
        table: (N, H, W).
        pixels: int64 (N, P, 2), as ``draw_pixels`` returns them.

    Returns:
        (N·P,), the pixels of an image side by side.
    """
    images = torch.arange(len(table))[:, None]
    return table[images, pixels[..., 0], pixels[..., 1]].flatten()


def edge_at(images, pixels, border):
    """Tell for each pixel whether an edge runs through it: 1 where the brightness changes faster than the border.

    Args:
        images: uint8 (N, 1, H, W).
        pixels: int64 (N, P, 2).
        border: in brightness (0…1) per pixel.

    Returns:
        int64 (N·P,).
    """
    steepness = F.pad(gradient_length(images), (1, 1, 1, 1))  # (N, H, W)
    return (values_at(steepness, pixels) > border).long()


def class_at(images, labels, pixels):
    """Tell for each pixel what stands there: 0 for the background, 1 + its label for a pixel of the garment.

    Args:
        images: uint8 (N, 1, H, W).
        labels: int64 (N,).
        pixels: int64 (N, P, 2).

    Returns:
        int64 (N·P,): the small form of a segmentation.
    """
    inside = values_at(images[:, 0], pixels) > DARK
    return torch.where(inside, 1 + labels.repeat_interleave(pixels.shape[1]), 0)


def maps_at(maps, pixels, size):
    """Read maps of any resolution where pixels of the image lie, between four values of the map by their distance.

    A linear layer on the result is a 1×1 convolution on the maps, whose output is enlarged to the image's size.

    Args:
        maps: (N, C, H', W').
        pixels: int64 (N, P, 2), of images with ``size`` pixels a side.
        size: height and width of the images that the pixels were drawn in.

    Returns:
        (N·P, C).
    """
    middles = (pixels.flip(-1).to(maps) + 0.5) / size * 2 - 1  # (N, P, 2): column and row, the image from −1 to 1
    found = F.grid_sample(maps, middles[:, None], padding_mode="border", align_corners=False)  # (N, C, 1, P)
    return found[:, :, 0].transpose(1, 2).flatten(0, 1)
