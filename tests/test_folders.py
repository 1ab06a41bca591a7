"""Folders of images: which image comes when and how, whoever reads it, and what is refused."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from densenet_course import cli
from densenet_course.cli import train
from densenet_course.cli.folders import IMAGENET_MEAN, IMAGENET_STD, FolderBatches, UnreadableImageError, open_splits
from densenet_course.data import Share
from densenet_course.recipe import IMAGENET, Recipe

OPTIONS = {"image_size": 32, "batch_size": 8}


def make_images(root, classes=("ant", "bee", "cat"), train=10, val=3):
    """Make a small image folder: pictures of several sizes, each class with a colour of its own."""
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for label, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 90, (40 + number, 50, 3), dtype=np.uint8)
                pixels[..., label % 3] += 120
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("images"))


def epoch(batches):
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_training_batches_are_full_and_shuffled_and_every_image_comes_at_most_once(root):
    train = FolderBatches(root / "train", training=True, **OPTIONS)
    assert (train.num_images, train.class_names, len(train)) == (30, ("ant", "bee", "cat"), 3)
    sizes = [(tuple(images.shape), images.dtype, labels.dtype) for images, labels in train]
    assert sizes == [((8, 3, 32, 32), torch.float32, torch.int64)] * 3
    order = list(train.loader.sampler)
    assert sorted(order) == list(range(30)) and order != list(range(30))


def test_labels_belong_to_their_images(root):
    for split, training in (("train", True), ("val", False)):
        images, labels = epoch(FolderBatches(root / split, training=training, **OPTIONS))
        colours = images * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
        assert torch.equal(colours.mean((2, 3)).argmax(1), labels)


def test_evaluation_cuts_out_the_middle_of_every_image_in_order(root):
    val = FolderBatches(root / "val", training=False, **OPTIONS)
    images, labels = epoch(val)
    assert labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 and len(val) == 2
    path, _ = val.images.samples[4]
    picture = Image.open(path)
    side = round(32 * 256 / 224)  # 37: the shorter side after shrinking
    width = int(side * picture.width / picture.height)
    small = picture.resize((width, side), Image.Resampling.BILINEAR)
    left, top = round((width - 32) / 2), round((side - 32) / 2)
    middle = torch.from_numpy(np.array(small.crop((left, top, left + 32, top + 32)))).permute(2, 0, 1) / 255
    expected = (middle - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    torch.testing.assert_close(images[4], expected)


def by_image(batches):
    """Read an epoch as a dict: number of the image → its crop; in the order in which they came."""
    order = list(batches.loader.sampler)[:len(batches) * OPTIONS["batch_size"]]
    return dict(zip(order, epoch(batches)[0], strict=True))


def test_an_epoch_depends_on_seed_and_number_alone(root):
    def make(**options):
        return FolderBatches(root / "train", training=True, **(OPTIONS | options))

    torch.manual_seed(5)
    state = torch.get_rng_state()
    through = make()
    epochs = [epoch(through) for _ in range(2)]
    resumed = make(workers=1)
    resumed.set_epoch(1)
    assert equal(epoch(resumed), epochs[1])
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"


def test_order_and_crops_change_with_epoch_and_seed(root):
    first, second, other = (FolderBatches(root / "train", training=True, **OPTIONS, seed=seed) for seed in (0, 0, 1))
    second.set_epoch(1)
    epoch(second)  # an epoch sets its order when it begins
    second.set_epoch(1)
    crops = [by_image(batches) for batches in (first, second, other)]
    for changed in crops[1:]:
        assert list(changed) != list(crops[0])
        both = crops[0].keys() & changed.keys()
        assert sum(torch.equal(crops[0][image], changed[image]) for image in both) < len(both) / 4


@pytest.mark.parametrize("seed", [-1, 2**63 + 1, 10**30])
def test_every_whole_number_is_a_seed(root, seed):
    images, _ = epoch(FolderBatches(root / "train", training=True, **OPTIONS, seed=seed))
    assert not torch.equal(images, epoch(FolderBatches(root / "train", training=True, **OPTIONS))[0])


def test_a_file_beside_the_classes_that_is_no_image_is_no_matter(tmp_path):
    root = make_images(tmp_path)
    (root / "train/labels.csv").touch()
    (root / "train/.DS_Store").touch()
    (root / "train/bee/notes.txt").touch()
    assert open_splits(root, **OPTIONS)[0].num_images == 30


def test_crops_and_flips_differ_between_images_and_epochs(tmp_path):
    ramp = np.tile(np.arange(0, 250, 5, dtype=np.uint8), (50, 1))  # brightness rises from left to right
    (tmp_path / "one").mkdir()
    for number in range(64):
        Image.fromarray(ramp).save(tmp_path / f"one/{number}.png")
    data = FolderBatches(tmp_path, training=True, image_size=16, batch_size=64)
    for _ in range(3):
        images, _ = epoch(data)
        flipped = images[:, 0, :, -1].mean(1) < images[:, 0, :, 0].mean(1)
        assert 15 < flipped.sum() < 49
        assert len(images.flatten(1).unique(dim=0)) > 55


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_yield_together_what_one_yields(root, ranks):
    one = list(FolderBatches(root / "train", training=True, **OPTIONS))
    shares = [FolderBatches(root / "train", training=True, **OPTIONS, share=Share(r, ranks)) for r in range(ranks)]
    assert {str(share) for share in shares} == {str(FolderBatches(root / "train", training=True, **OPTIONS))}
    parts = [list(share) for share in shares]
    assert {len(part) for part in parts} == {len(one)}
    for number, (images, labels) in enumerate(one):
        for r in range(ranks):
            assert equal(parts[r][number], (images[r::ranks], labels[r::ranks]))
    val = [epoch(FolderBatches(root / "val", training=False, **OPTIONS, share=Share(r, ranks))) for r in range(ranks)]
    whole, labels = epoch(FolderBatches(root / "val", training=False, **OPTIONS))
    for r in range(ranks):
        assert equal(val[r], (whole[r::ranks], labels[r::ranks]))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_in_one_line(tmp_path, workers):
    root = make_images(tmp_path)
    wrong = root / "train/bee/3.png"
    wrong.write_bytes(wrong.read_bytes()[:100])
    train, _ = open_splits(root, workers=workers, **OPTIONS)
    with pytest.raises(UnreadableImageError) as caught:
        for _ in range(4):  # some epoch holds it: two images of 30 are left out of each
            epoch(train)
    message = str(caught.value)
    assert message.startswith(f"{wrong} is not a readable image: ") and message.endswith("Replace it or take it away.")
    assert "\n" not in message


def copy(image, path):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(image.read_bytes())


def remove(path):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


@pytest.mark.parametrize("damage, options, message", [
    (lambda root: (root / "val").rename(root / "test"), [], "found no {root}/val"),
    (lambda root: remove(root / "val/bee"), [], "expected the same classes in {root}/train and {root}/val; only one of "
                                                "them has bee"),
    (lambda root: [file.unlink() for file in (root / "train/ant").iterdir()], [],
     "{root}/train/ant: expected images (.jpg, "),
    (lambda root: (root / "train/.ipynb_checkpoints").mkdir(), [],
     "{root}/train: expected a folder for each class, found .ipynb_checkpoints, which Jupyter or the system has made. "
     "Take it away"),
    (lambda root: [(root / "val" / name).mkdir() for name in ("__MACOSX", "@eaDir")], [],
     "{root}/val: expected a folder for each class, found @eaDir, __MACOSX"),
    (lambda root: copy(root / "train/bee/3.png", root / "train/bee/.ipynb_checkpoints/3-checkpoint.png"), [],
     "{root}/train/bee/.ipynb_checkpoints/3-checkpoint.png is hidden"),
    (lambda root: copy(root / "val/cat/1.png", root / "val/cat/._1.png"), [], "{root}/val/cat/._1.png is hidden"),
    (lambda root: copy(root / "train/bee/3.png", root / "train/3.png"), [],
     "{root}/train: expected a folder for each class with its images inside, found 1 images outside of any, 3.png"),
    (lambda root: None, ["--images", "{root}/train"], "found no {root}/train/train. Give {root}"),
    (lambda root: None, ["--images", "{root}/.."], "/../train. Give "),
    (lambda root: None, ["--images", "{root}/nowhere"], "found no {root}/nowhere/train. Give {root}"),
    (lambda root: (root / "val").rename(root / "valid"), [], "found no {root}/val. Rename {root}/valid to val"),
    (lambda root: [remove(root / split / name) for split in ("train", "val") for name in ("bee", "cat")], [],
     "expected at least 2 classes, found only ant"),
    (lambda root: [remove(path) for path in (root / "train").iterdir()], [],
     "{root}/train: expected a folder for each class with its images inside, found no folder"),
    (lambda root: None, ["--batch-size", "64"], "{root}/train: expected at least 64 images, a batch, found 30"),
    (lambda root: None, ["--image-size", "0"], "image_size: expected at least 1 pixel, got 0"),
    (lambda root: None, ["--image-size", "24", "--network", "densenet121"], "images of 24×24 pixels are too small"),
    (lambda root: None, ["--sync-batchnorm"], "--sync-batchnorm needs GPUs"),
    (lambda root: None, ["--sync-batchnorm", "--efficient"], "--sync-batchnorm does not go with --efficient"),
])
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, monkeypatch, capsys, damage, options, message):
    monkeypatch.setattr("densenet_course.training.precision.choose_device", lambda: torch.device("cpu"))
    root = make_images(tmp_path / "images")
    damage(root)
    command = ["train", "--images", str(root), "--batch-size", "8", "--image-size", "32", "--workers", "0",
               "--network", "class", "--out", str(tmp_path / "out")]
    assert cli.main([*command, *(option.format(root=root) for option in options)]) == 1
    error = capsys.readouterr().err
    assert message.format(root=root) in error and error.count("\n") == 1


def test_options_of_image_folders_mean_nothing_for_fashion_mnist(capsys):
    assert cli.main(["train", "--image-size", "64"]) == 1
    assert "--image-size has a meaning with --images only" in capsys.readouterr().err


def test_a_network_is_trained_on_more_classes_than_a_matrix_can_show(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("densenet_course.training.precision.choose_device", lambda: torch.device("cpu"))
    root = make_images(tmp_path / "images", classes=[f"class {i:02}" for i in range(16)], train=2, val=1)
    assert cli.main(["train", "--images", str(root), "--network", "class", "--image-size", "32", "--batch-size", "16",
                     "--epochs", "1", "--workers", "0", "--out", str(tmp_path / "out")]) == 0
    assert "training class_densenet on 32 images, cpu, " in capsys.readouterr().out
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == ["checkpoint.pt", "history.json", "learning_curves.svg"]


def test_defaults_are_the_recipe_of_the_data():
    parser = argparse.ArgumentParser()
    train.add_options(parser)
    fashion_mnist, folder = parser.parse_args([]), parser.parse_args(["--images", "folder", "--epochs", "7"])
    fashion_mnist, folder = train.completed(fashion_mnist), train.completed(folder)
    names = ("network", "epochs", "batch_size", "peak_rate", "schedule", "weight_decay", "image_size", "out")
    assert [getattr(fashion_mnist, name) for name in names] == [
        "class", 6, 128, 0.2, "one_cycle", 5e-4, None, Path("runs/class")]
    assert [getattr(folder, name) for name in names] == [
        "densenet121", 7, 256, 0.1, "imagenet", 1e-4, 224, Path("runs/densenet121")]
    assert (fashion_mnist.recipe, folder.recipe) == (Recipe(), replace(IMAGENET, epochs=7))
