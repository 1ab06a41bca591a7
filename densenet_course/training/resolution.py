"""Train on smaller images first: their steps cost less, and what they teach stays useful."""

import torch.nn.functional as F


class SmallFirst:
    """Pass batches on, and shrink the images of the first part of a training.

    ``fit`` takes it in place of the batches. A step's costs grow with the pixels: at 20×20 they are half of those at
    28×28. The network has to end on the size that it is judged on.

    Args:
        batches: ``ResidentBatches``, or another sized iterable of (images, labels) with ``set_epoch``.
        epochs: of the whole training.
        side: height and width of the small images, in pixels.
        share: of all steps, how many see small images, 0 … 1.

    Yields:
        (images, labels): float32 (B, C, side, side), later as they come, and the labels as they come.

    Raises:
        ValueError: a share or a side out of range.

    Source: Tan and Le 2021 (EfficientNetV2), progressive learning, with one size less and the same augmentation.
    """

    def __init__(self, batches, *, epochs, side, share):
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected 0 ≤ share ≤ 1, got {share!r}")
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise ValueError(f"side: expected a whole number of at least 1 pixel, got {side!r}")
        self.batches, self.side, self.epoch = batches, side, 0
        self.small_steps = round(share * epochs * len(batches))

    def __repr__(self):
        return f"SmallFirst({self.batches}, side={self.side}, small_steps={self.small_steps})"

    def __len__(self):
        return len(self.batches)

    def set_epoch(self, epoch):
        """Make the next ``iter()`` epoch number ``epoch``, counted from 0."""
        self.epoch = epoch
        self.batches.set_epoch(epoch)

    def __iter__(self):
        before, self.epoch = self.epoch * len(self), self.epoch + 1
        for step, (images, labels) in enumerate(self.batches, start=before):
            if step < self.small_steps:
                images = F.interpolate(images, size=(self.side, self.side), mode="bilinear", antialias=True)
            yield images, labels
