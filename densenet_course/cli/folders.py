"""Images in folders, as ImageNet comes: ``train/CLASS/IMAGE`` and ``val/CLASS/IMAGE``, cropped, flipped and batched."""

import os
import signal
from pathlib import Path

import torch
from torch.utils.data import DataLoader, DistributedSampler
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader, has_file_allowed_extension
from torchvision.transforms import v2

from densenet_course.data import WHOLE, epoch_seed

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # in 0…1

NO_CLASSES = ("__MACOSX", "__pycache__", "@eaDir", "lost+found")  # what systems leave in folders


class UnreadableImageError(ValueError):
    """A file that should be an image is none."""


def read_image(path):
    """Read an image as RGB.

    Raises:
        UnreadableImageError: Pillow cannot read it.
    """
    try:
        return default_loader(path)
    except Exception as error:  # Pillow raises half a dozen kinds for a damaged file
        raise UnreadableImageError(f"{path} is not a readable image: {error}. Replace it or take it away.") from error


def leave_interrupts(worker):
    """Let Ctrl-C, which reaches a worker too, end the process that trains; that one ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def check_classes(folder):
    """Refuse what lies beside the class folders of a split by mistake, and a class without images.

    Raises:
        ValueError: what is in the way, and what to do.
    """
    entries = sorted(folder.iterdir())
    classes = [entry for entry in entries if entry.is_dir()]
    strays = [entry.name for entry in classes if entry.name.startswith(".") or entry.name in NO_CLASSES]
    if strays:
        raise ValueError(f"{folder}: expected a folder for each class, found {', '.join(strays)}, which Jupyter or the "
                         "system has made. Take it away")
    loose = [entry.name for entry in entries if has_file_allowed_extension(entry.name, IMG_EXTENSIONS)
             and not entry.is_dir()]
    if loose or not classes:
        what = f"{len(loose):,} images outside of any, {loose[0]} the first" if loose else "no folder"
        raise ValueError(f"{folder}: expected a folder for each class with its images inside, found {what}")
    for entry in classes:
        if not any(has_file_allowed_extension(str(path), IMG_EXTENSIONS) for path in entry.rglob("*")):
            raise ValueError(f"{entry}: expected images ({', '.join(IMG_EXTENSIONS)}), found none. Put them there, or "
                             "take the folder away")


class Images(ImageFolder):
    """The images of one split; how each is cropped and flipped depends on (seed, epoch, image) alone."""

    def __init__(self, folder, transform, *, seed=0):
        check_classes(Path(folder))
        super().__init__(folder, transform, loader=read_image)
        hidden = next((path for path, _ in self.samples if f"{os.sep}." in path.removeprefix(str(folder))), None)
        if hidden:
            raise ValueError(f"{hidden} is hidden: a copy that Jupyter or macOS has made, and no image of its class. "
                             f"Take away what is hidden: find {folder} -mindepth 1 -name '.*'")
        self.seed, self.epoch = seed, 0

    def __getitem__(self, index):
        with torch.random.fork_rng(devices=[]):
            image_seed = (epoch_seed(self.seed, self.epoch) * len(self) + index) % 2**63
            torch.random.default_generator.manual_seed(image_seed)
            return super().__getitem__(index)


class FolderBatches:
    """Iterate over one split of an image folder; each ``iter()`` is the next epoch.

    In training every image is cropped at random to 8 to 100 % of its area and flipped with probability ½, and a last
    batch that is not full is left out. In evaluation the middle is cut out after shrinking the shorter side to 256
    pixels for a crop of 224, and every image comes once. What an epoch yields depends on (seed, epoch) alone, neither
    on the number of workers nor on the epochs before it; R ranks yield together what one yields.

    Args:
        folder: holds a folder of images for each class.
        training: True to shuffle, augment and share full batches; False for every image in order.
        image_size: height and width of the crop, in pixels.
        batch_size: images in a batch B, of all ranks together.
        device: where the batches are sent.
        workers: processes that read images, for this rank; 0 reads them in this process.
        seed: of order and augmentation.
        share: of several processes that train together, the ``Share`` of this one.

    Yields:
        (images, labels): float32 (B/R, 3, image_size, image_size), normalised, and int64 (B/R,), on the device.

    Raises:
        ValueError: a folder or an image cannot be used, or the ranks cannot share the batches evenly.
    """

    def __init__(self, folder, *, training, image_size, batch_size, device="cpu", workers=0, seed=0, share=WHOLE):
        images_a_step = share.of(batch_size)
        if image_size < 1:
            raise ValueError(f"image_size: expected at least 1 pixel, got {image_size}")
        self.images = Images(folder, make_transform(image_size, training=training), seed=seed)
        needed = batch_size if training else share.ranks
        if len(self.images) < needed:
            raise ValueError(f"{folder}: expected at least {needed} images, {'a batch' if training else 'one a rank'}, "
                             f"found {len(self.images)}")
        if training:
            # It shuffles by seed + epoch: were seeds not far apart, epoch 2 of seed 0 would be epoch 1 of seed 1.
            sampler = DistributedSampler(self.images, share.ranks, share.rank, shuffle=True, seed=epoch_seed(seed, 0),
                                         drop_last=True)
        else:
            # DistributedSampler would repeat images to fill up.
            sampler = range(share.rank, len(self.images), share.ranks)
        self.loader = DataLoader(
            self.images, images_a_step, sampler=sampler, drop_last=training, num_workers=workers,
            worker_init_fn=leave_interrupts, pin_memory=torch.device(device).type == "cuda",
            generator=torch.Generator().manual_seed(epoch_seed(seed, 0)),
        )
        self.training, self.device, self.epoch = training, device, 0
        self.settings = {"training": training, "image_size": image_size, "batch_size": batch_size, "seed": seed}

    def __repr__(self):
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"FolderBatches({self.num_images} images, {len(self.class_names)} classes, {settings})"

    @property
    def num_images(self):
        """Images in the split, of all ranks."""
        return len(self.images)

    @property
    def class_names(self):
        """Names of the class folders, in the order of the labels."""
        return tuple(self.images.classes)

    def __len__(self):
        return len(self.loader)

    def set_epoch(self, epoch):
        """Make the next ``iter()`` epoch number ``epoch``, counted from 0, as after resuming a training."""
        self.epoch = epoch

    def __iter__(self):
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._batches(epoch)

    def _batches(self, epoch):
        self.images.epoch = epoch
        if self.training:
            self.loader.sampler.set_epoch(epoch)
        try:
            for images, labels in self.loader:
                yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
        except UnreadableImageError as error:  # from a worker it comes with that process's traceback in its message
            raise UnreadableImageError(str(error).rsplit("UnreadableImageError: ", 1)[-1].strip()) from None


def make_transform(image_size, *, training):
    """Turn a Pillow image into a normalised float32 tensor (3, image_size, image_size), as is usual for ImageNet."""
    if training:
        crop = [v2.RandomResizedCrop(image_size), v2.RandomHorizontalFlip()]
    else:
        crop = [v2.Resize(round(image_size * 256 / 224)), v2.CenterCrop(image_size)]
    to_numbers = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    return v2.Compose([*crop, *to_numbers])


def _advice(root):
    """Guess what a folder without ``train`` or ``val`` is: one level off, or with another name for ``val``."""
    for near in (root.absolute().parent, *(sorted(root.iterdir()) if root.is_dir() else ())):
        if (near / "train").is_dir() and (near / "val").is_dir():
            return f". Give {near}"
    others = [name for name in ("valid", "validation", "test") if (root / name).is_dir()]
    return f". Rename {root / others[0]} to val" if others and (root / "train").is_dir() else ""


def open_splits(root, **options):
    """Open ``root/train`` for training and ``root/val`` for evaluation.

    Args:
        root: the folder that holds both.
        options: of ``FolderBatches``.

    Returns:
        (train, val): two ``FolderBatches`` with the same classes.

    Raises:
        ValueError: a folder is missing or empty, or the two have different classes.
    """
    for folder in (Path(root) / "train", Path(root) / "val"):
        if not folder.is_dir():
            raise ValueError(f"images: expected folders {root}/train/CLASS and {root}/val/CLASS, found no {folder}"
                             f"{_advice(Path(root))}")
    train = FolderBatches(Path(root) / "train", training=True, **options)
    val = FolderBatches(Path(root) / "val", training=False, **options)
    if train.class_names != val.class_names:
        odd = sorted(set(train.class_names) ^ set(val.class_names))
        raise ValueError(f"images: expected the same classes in {root}/train and {root}/val; only one of them has "
                         f"{', '.join(odd[:5])}{' and others' if len(odd) > 5 else ''}")
    if len(train.class_names) < 2:
        raise ValueError(f"images: expected at least 2 classes, found only {train.class_names[0]} in {root}/train")
    return train, val
