"""The passes of ``efficient`` as Triton kernels, for maps on a CUDA GPU: each goes over the maps once.

Maps in channels-last, or some channels of such, are rows: the C numbers of a pixel side by side, the pixels at equal
distances. A program of a kernel takes a tile of some rows and some channels; sums over all rows are left as one row of
sums for each tile, and added up afterwards, so that the order is always the same.

Triton compiles a kernel when it is first called. Where TRITON_INTERPRET=1 was set before the import, it computes the
same in NumPy, on a CPU: this is how the kernels have been tested.

Source: Tillet, Kung and Cox 2019, "Triton: An Intermediate Language and Compiler for Tiled Neural Network
Computations" (programs that take tiles).
"""

import torch
import triton
import triton.language as tl

from densenet_course.efficient.kernels import LAST, Operators, wide

NUMBERS = 2048  # in a tile
MOST_CHANNELS = 64  # of them side by side
kernel = triton.jit(do_not_specialize=["pixels", "tiles"])  # else another batch would be compiled for


class TritonPasses:
    """What ``Operators`` computes, in Triton."""

    @staticmethod
    def activate(maps, scale, shift):
        """Return ReLU(maps · scale + shift) in channels-last."""
        (maps, step), out = rows(maps), empty(maps)
        launch(_activate, maps, step, scale, shift, out)
        return out

    @staticmethod
    def store(made, out):
        """Copy maps to their place, unless that is None, and return the mean and biased variance of each channel."""
        if out is not None and distance(out) is None:
            return Operators.store(made, out)
        (made, step), (pixels, channels) = rows(made), size(made)
        tile_rows, tile_channels, tiles = tiling(pixels, channels)
        means, squares = made.new_empty((2, tiles, channels), dtype=wide(made.dtype))
        to, to_step = (made, step) if out is None else (out, distance(out))
        launch(_store, made, step, to, to_step, means, squares, COPIES=out is not None)
        mean, var = means.new_empty((2, channels))
        with torch.cuda.device_of(made):
            _join[(triton.cdiv(channels, tile_channels),)](
                means, squares, mean, var, pixels, channels, tiles, TILE_ROWS=tile_rows, CHANNELS=tile_channels,
                TILES=NUMBERS // tile_channels)
        return mean, var

    @staticmethod
    def send_back(grad, active, maps, scale, mean, total, is_first):
        """Send a gradient back through ``activate``; arguments and results as those of ``Operators``."""
        if distance(total) is None:
            return Operators.send_back(grad, active, maps, scale, mean, total, is_first)
        _, _, tiles = tiling(*size(maps))
        sums = mean.new_empty((2, tiles, len(mean)))
        launch(_send_back, *rows(maps), *rows(grad), *rows(active), scale, mean, total, distance(total), *sums,
               FIRST=is_first)
        return tuple(sums.sum(1))

    @staticmethod
    def finish(total, maps, mean, slope, shift):
        """Return total − (maps − mean) · slope − shift in channels-last."""
        out = empty(maps)
        launch(_finish, *rows(maps), *rows(total), mean, slope, shift, out)
        return out


def size(maps):
    """Return (pixels of all images, channels)."""
    return maps.numel() // maps.shape[1], maps.shape[1]


def empty(maps):
    """Allocate maps like these, in channels-last."""
    return torch.empty_like(maps, **LAST)


def distance(maps):
    """Return how far apart the starts of two pixels lie; None if these maps are no rows at equal distances."""
    count, channels, height, width = maps.shape
    across, along, down = maps.stride(3), maps.stride(2), maps.stride(0)
    steps = [(stride, pixels) for stride, pixels, edge in (
        (across, 1, width), (along, width, height), (down, width * height, count)) if edge > 1]
    step = steps[0][0] // steps[0][1] if steps else channels
    in_rows = channels == 1 or maps.stride(1) == 1
    return step if in_rows and all(stride == step * pixels for stride, pixels in steps) else None


def rows(maps):
    """Return maps as rows, themselves or a copy, and the distance of the rows."""
    maps = maps if distance(maps) is not None else maps.contiguous(**LAST)
    return maps, distance(maps)


def tiling(pixels, channels):
    """Return (rows of a tile, its channels, how many tiles stand one below the other)."""
    tile_channels = min(MOST_CHANNELS, triton.next_power_of_2(channels))
    tile_rows = NUMBERS // tile_channels
    return tile_rows, tile_channels, triton.cdiv(pixels, tile_rows)


def launch(function, maps, *arguments, **constants):
    """Call a kernel for every tile of maps."""
    pixels, channels = size(maps)
    tile_rows, tile_channels, tiles = tiling(pixels, channels)
    with torch.cuda.device_of(maps):  # nothing on a CPU
        function[(tiles, triton.cdiv(channels, tile_channels))](
            maps, *arguments, pixels, channels, ROWS=tile_rows, CHANNELS=tile_channels, **constants)


@triton.jit
def _place(pixels, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Return row and channel of each number in this program's tile, and whether they are some of the maps'."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    return row, channel, (row < pixels)[:, None] & (channel < channels)[None, :]


@kernel
def _activate(maps, step, scale, shift, out, pixels, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    row, channel, inside = _place(pixels, channels, ROWS, CHANNELS)
    a = tl.load(scale + channel, mask=channel < channels, other=0)[None, :]
    b = tl.load(shift + channel, mask=channel < channels, other=0)[None, :]
    x = tl.load(maps + row[:, None] * step + channel[None, :], mask=inside, other=0).to(a.dtype)
    y = x * a + b
    y = tl.where(y < 0, tl.zeros_like(y), y)  # what is not a number stays
    tl.store(out + row[:, None] * channels + channel[None, :], y, mask=inside)


@kernel
def _store(made, step, out, out_step, means, squares, pixels, channels, COPIES: tl.constexpr, ROWS: tl.constexpr,
           CHANNELS: tl.constexpr):
    """Leave mean and sum of squared distances from it for this tile: exact far from 0, too."""
    row, channel, inside = _place(pixels, channels, ROWS, CHANNELS)
    x = tl.load(made + row[:, None] * step + channel[None, :], mask=inside, other=0)
    if COPIES:
        tl.store(out + row[:, None] * out_step + channel[None, :], x, mask=inside)
    x = x.to(means.dtype.element_ty)
    mean = tl.sum(x, axis=0) / tl.minimum(ROWS, pixels - tl.program_id(0) * ROWS)
    off = tl.where(inside, x - mean[None, :], tl.zeros_like(x))
    place = tl.program_id(0) * channels + channel
    tl.store(means + place, mean, mask=channel < channels)
    tl.store(squares + place, tl.sum(off * off, axis=0), mask=channel < channels)


@kernel
def _join(means, squares, mean, var, pixels, channels, tiles, TILE_ROWS: tl.constexpr, CHANNELS: tl.constexpr,
          TILES: tl.constexpr):
    """Combine the tiles' means and squares into mean and biased variance of all rows."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    total = tl.zeros([CHANNELS], dtype=means.dtype.element_ty)
    for start in range(0, tiles, TILES):
        tile = start + tl.arange(0, TILES)
        inside = (tile < tiles)[:, None] & (channel < channels)[None, :]
        here = tl.minimum(TILE_ROWS, pixels - tile * TILE_ROWS)[:, None]
        part = tl.load(means + tile[:, None] * channels + channel[None, :], mask=inside, other=0)
        total += tl.sum(part * here, axis=0)
    joint = total / pixels
    spread = tl.zeros([CHANNELS], dtype=means.dtype.element_ty)
    for start in range(0, tiles, TILES):
        tile = start + tl.arange(0, TILES)
        inside = (tile < tiles)[:, None] & (channel < channels)[None, :]
        here = tl.minimum(TILE_ROWS, pixels - tile * TILE_ROWS)[:, None]
        part = tl.load(means + tile[:, None] * channels + channel[None, :], mask=inside, other=0)
        square = tl.load(squares + tile[:, None] * channels + channel[None, :], mask=inside, other=0)
        off = part - joint[None, :]
        spread += tl.sum(tl.where(inside, square + here * off * off, tl.zeros_like(off)), axis=0)
    tl.store(mean + channel, joint, mask=channel < channels)
    tl.store(var + channel, spread / pixels, mask=channel < channels)


@kernel
def _send_back(maps, step, grad, grad_step, active, active_step, scale, mean, total, total_step, sums, moments,
               pixels, channels, FIRST: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    row, channel, inside = _place(pixels, channels, ROWS, CHANNELS)
    a = tl.load(scale + channel, mask=channel < channels, other=0)[None, :]
    mu = tl.load(mean + channel, mask=channel < channels, other=0)[None, :]
    g = tl.load(grad + row[:, None] * grad_step + channel[None, :], mask=inside, other=0).to(a.dtype)
    y = tl.load(active + row[:, None] * active_step + channel[None, :], mask=inside, other=0).to(a.dtype)
    x = tl.load(maps + row[:, None] * step + channel[None, :], mask=inside, other=0).to(a.dtype)
    g = tl.where(y <= 0, tl.zeros_like(g), g)
    place = total + row[:, None] * total_step + channel[None, :]
    new = g * a
    if not FIRST:
        new += tl.load(place, mask=inside, other=0).to(a.dtype)
    tl.store(place, new, mask=inside)
    place = tl.program_id(0) * channels + channel
    tl.store(sums + place, tl.sum(g, axis=0), mask=channel < channels)
    tl.store(moments + place, tl.sum(g * (x - mu), axis=0), mask=channel < channels)


@kernel
def _finish(maps, step, total, total_step, mean, slope, shift, out, pixels, channels, ROWS: tl.constexpr,
            CHANNELS: tl.constexpr):
    row, channel, inside = _place(pixels, channels, ROWS, CHANNELS)
    mu = tl.load(mean + channel, mask=channel < channels, other=0)[None, :]
    a = tl.load(slope + channel, mask=channel < channels, other=0)[None, :]
    b = tl.load(shift + channel, mask=channel < channels, other=0)[None, :]
    x = tl.load(maps + row[:, None] * step + channel[None, :], mask=inside, other=0).to(a.dtype)
    g = tl.load(total + row[:, None] * total_step + channel[None, :], mask=inside, other=0).to(a.dtype)
    tl.store(out + row[:, None] * channels + channel[None, :], g - (x - mu) * a - b, mask=inside)
