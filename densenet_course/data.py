"""FashionMNIST as the lessons use it: load a split, hold part of it out, and iterate over batches on the device."""

import math
import struct
from dataclasses import dataclass

import torch

from densenet_course.fetching import Location, data_root, prepare

__all__ = ["CLASS_NAMES", "MEAN", "STD", "Location", "ResidentBatches", "Share", "data_root", "load", "normalise",
           "prepare", "split_validation"]

CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
MEAN, STD = 0.2860, 0.3530  # of the 60,000 training images, in 0…1
PREFIXES = {"train": "train", "test": "t10k"}
MAX_SHIFT = 2  # pixels, in each direction
AUGMENTATIONS = (None, "flip", "flip and shift")
CHUNK = 4096  # images made ready together: many small batches would spend their time on starting threads and kernels


def load(split, location=None):
    """Read one split of FashionMNIST.

    Args:
        split: "train" or "test".
        location: what ``prepare`` returned; None calls it.

    Returns:
        (images, labels): uint8 (N, 1, 28, 28) of 0…255, and int64 (N,) of 0…9.

    Raises:
        ValueError: another split.
        FileNotFoundError: the location's files are gone.
    """
    if split not in PREFIXES:
        raise ValueError(f'split: expected "train" or "test", got {split!r}')
    location = prepare() if location is None else location
    raw = location.root / "FashionMNIST" / "raw"
    try:
        images = read_idx(raw / f"{PREFIXES[split]}-images-idx3-ubyte")  # (N, 28, 28)
        labels = read_idx(raw / f"{PREFIXES[split]}-labels-idx1-ubyte")  # (N,)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no FashionMNIST in {raw}; call prepare() and pass what it returns") from error
    return images.unsqueeze(1), labels.long()  # (N, 1, 28, 28)


def read_idx(path):
    """Read bytes of any shape from a file in MNIST's format, IDX.

    torchvision reads such files as well, but importing it takes seconds.

    Args:
        path: the file: two zero bytes, 8 for "bytes", the number of dimensions, the length of each as four bytes with
            the highest first, then the numbers.

    Returns:
        uint8, of the shape that the file tells.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has another format, or another length than it tells.
    """
    content = bytearray(path.read_bytes())
    start = 4 + 4 * content[3] if len(content) > 3 else len(content) + 1
    if content[:3] != b"\0\0\x08" or len(content) < start:
        raise ValueError(f"{path}: expected an IDX file of bytes; it begins with {bytes(content[:4])!r}")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) != start + math.prod(shape):
        raise ValueError(f"{path}: expected {math.prod(shape):,} bytes behind the header, because it tells the shape "
                         f"{shape}; got {len(content) - start:,}")
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).view(shape)


def split_validation(images, labels, *, size=5000, seed=0):
    """Hold out a validation set that has every class in the same proportion as the whole.

    Args:
        images: (N, …).
        labels: int64 (N,), from 0.
        size: images held out, 0 < size < N.
        seed: of the random choice.

    Returns:
        ((train_images, train_labels), (val_images, val_labels)), each in the order of the input.

    Raises:
        ValueError: the size is out of range, or images and labels differ in number.
    """
    if len(images) != len(labels):
        raise ValueError(f"images and labels: expected the same number, got {len(images):,} and {len(labels):,}")
    if not 0 < size < len(labels):
        raise ValueError(f"size: expected 0 < size < {len(labels):,}, the number of images, got {size!r}")
    counts = torch.bincount(labels)
    exact = counts.double() * size / len(labels)
    quota = exact.long()
    largest_remainders = (exact - quota).sort(descending=True, stable=True).indices
    quota[largest_remainders[:size - int(quota.sum())]] += 1
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label, number in enumerate(quota.tolist()):
        held_out[order[labels[order] == label][:number]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


def normalise(images, memory_format=torch.contiguous_format):
    """Turn uint8 images of 0…255 into float32 of mean 0 and standard deviation 1 over the training set."""
    return images.to(torch.float32, memory_format=memory_format).div_(255).sub_(MEAN).div_(STD)


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of several processes takes; by default there is one, and it takes all.

    Args:
        rank: this process's number, from 0.
        ranks: how many train together.

    Raises:
        ValueError: there is no such rank.
    """

    rank: int = 0
    ranks: int = 1

    def __post_init__(self):
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"rank: expected 0 ≤ rank < {self.ranks}, the number of ranks, got {self.rank!r}")

    def of(self, batch_size):
        """Return how many images of a batch each rank takes.

        Raises:
            ValueError: the batch size is no whole number of at least 1, or no multiple of ``ranks``.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size: expected a whole number of at least 1, got {batch_size!r}")
        if batch_size % self.ranks:
            raise ValueError(f"batch_size: expected a multiple of {self.ranks}, the number of ranks, got {batch_size}")
        return batch_size // self.ranks


WHOLE = Share()


class ResidentBatches:
    """Iterate over a whole split that lies on the device; each ``iter()`` is the next epoch.

    What an epoch yields depends on (seed, epoch) alone: not on the device, and not on the epochs before it. All
    randomness is drawn on the CPU.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        batch_size: images in a batch B; the last one may be smaller.
        device: where the tensors live.
        shuffle: a new order in each epoch.
        augment: None; "flip" to flip every image left to right with probability ½; or "flip and shift" to shift it
            too, by −2…2 pixels in each direction, with black filling what comes in.
        drop_last: leave out a last batch smaller than ``batch_size``.
        seed: of order and augmentation.
        memory_format: of the image batches.
        share: of several processes that train together, the ``Share`` of this one: its equal part of every batch.

    Yields:
        (images, labels): float32 (B, C, H, W), normalised, and int64 (B,), on the device; with R ranks B/R of them.

    Raises:
        ValueError: wrong shapes, types or sizes, or batches that the ranks cannot share evenly.
    """

    def __init__(self, images, labels, *, batch_size, device="cpu", shuffle=False, augment=None, drop_last=False,
                 seed=0, memory_format=torch.contiguous_format, share=WHOLE):
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ValueError(f"images: expected uint8 (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
        if labels.shape != images.shape[:1] or not len(labels):
            raise ValueError(f"labels: expected one for each of {len(images):,} images, got {tuple(labels.shape)}")
        self.images_a_step = share.of(batch_size)
        if not drop_last and len(labels) % batch_size % share.ranks:
            raise ValueError(f"drop_last: expected True, because {share.ranks} ranks cannot share a last batch of "
                             f"{len(labels) % batch_size} images evenly")
        if drop_last and batch_size > len(labels):
            raise ValueError(f"batch_size: expected at most {len(labels):,}, the number of images, because drop_last "
                             f"leaves out what fills no batch; got {batch_size:,}")
        if augment not in AUGMENTATIONS:
            raise ValueError(f"augment: expected one of {AUGMENTATIONS}, got {augment!r}")
        self.images, self.labels = images.to(device), labels.to(device)
        self.batch_size, self.shuffle, self.augment, self.drop_last = batch_size, shuffle, augment, drop_last
        self.seed, self.memory_format, self.share = seed, memory_format, share
        self.epoch = 0

    def __repr__(self):
        settings = ("batch_size", "shuffle", "augment", "drop_last", "seed")
        return f"ResidentBatches({self.num_images} images, {', '.join(f'{n}={getattr(self, n)!r}' for n in settings)})"

    @property
    def num_images(self):
        """Images in the split."""
        return len(self.labels)

    def __len__(self):
        return self.num_images // self.batch_size if self.drop_last else -(-self.num_images // self.batch_size)

    def set_epoch(self, epoch):
        """Make the next ``iter()`` epoch number ``epoch``, counted from 0, as after resuming a training."""
        self.epoch = epoch

    def __iter__(self):
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._batches(torch.Generator().manual_seed(epoch_seed(self.seed, epoch)))

    def _batches(self, generator):
        n, device = min(self.num_images, len(self) * self.batch_size), self.images.device
        own = slice(self.share.rank, n, self.share.ranks)  # every R-th image of the epoch is every R-th of each batch
        order = torch.randperm(self.num_images, generator=generator) if self.shuffle else torch.arange(n)
        order = order[own].to(device)
        if self.augment:
            flip = torch.randint(2, (n,), generator=generator).bool()[own].to(device)
            shift = torch.randint(2 * MAX_SHIFT + 1, (n, 2), generator=generator)[own].to(device)
        chunk = self.images_a_step * max(1, CHUNK // self.images_a_step)
        for start in range(0, len(order), chunk):
            part = slice(start, start + chunk)
            images = self.images[order[part]]  # (M, C, H, W), the images of several batches
            if self.augment == "flip":
                images = torch.where(flip[part, None, None, None], images.flip(-1), images)
            elif self.augment:
                images = flip_and_shift(images, flip[part], shift[part])
            images, labels = normalise(images, self.memory_format), self.labels[order[part]]
            yield from zip(images.split(self.images_a_step), labels.split(self.images_a_step), strict=True)


def epoch_seed(seed, epoch):
    """Mix a seed and the number of an epoch: neighbouring seeds share no epoch, and the result fits a generator."""
    return (seed * 1_000_003 + epoch) % 2**63


def flip_and_shift(images, flip, shift):
    """Flip some images left to right, then cut each out of its black frame at its own place.

    Args:
        images: uint8 (B, C, H, W).
        flip: bool (B,).
        shift: int64 (B, 2), 0…4: row and column at which the cut begins; 2 leaves the image where it is.
    """
    batch, channels, height, width = images.shape
    framed = images.new_zeros(batch, channels, height + 2 * MAX_SHIFT, width + 2 * MAX_SHIFT)
    inside = framed[:, :, MAX_SHIFT:-MAX_SHIFT, MAX_SHIFT:-MAX_SHIFT]
    inside.copy_(torch.where(flip[:, None, None, None], images.flip(-1), images))
    windows = framed.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 5, 5, H, W), a view
    windows = windows.permute(0, 2, 3, 1, 4, 5)  # (B, 5, 5, C, H, W)
    return windows[torch.arange(batch, device=images.device), shift[:, 0], shift[:, 1]]  # (B, C, H, W)
