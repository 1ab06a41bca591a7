"""The data set is what it claims to be, and resident batches are complete, right and repeatable."""

import subprocess
import sys

import pytest
import torch
from torchvision import transforms
from torchvision.datasets import FashionMNIST
from torchvision.datasets.mnist import read_image_file, read_label_file

from densenet_course import data, fetching
from densenet_course.data import (
    MEAN,
    STD,
    ResidentBatches,
    Share,
    load,
    normalise,
    prepare,
    read_idx,
    split_validation,
)
from densenet_course.fetching import sample

DEVICES = ["cpu", *([pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else []),
           *(["mps"] if torch.mps.is_available() else [])]


@pytest.fixture(scope="module")
def location():
    return prepare()


@pytest.fixture(scope="module")
def full(location):
    if location.is_sample:
        pytest.skip("the full FashionMNIST could not be had; only the sample was tested")
    return location


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return fetching.Location(sample.install(tmp_path_factory.mktemp("data")), "the sample", True)


def some(n=100, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 1, 28, 28), generator=generator, dtype=torch.uint8), torch.arange(n) % 10


def test_importing_data_imports_no_torchvision():
    code = "import sys, densenet_course.data; print([m for m in ('torchvision', 'd2l', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# The data set.


def test_full_set_has_its_known_size_balance_mean_and_deviation(full):
    images, labels = load("train", full)
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((60000, 1, 28, 28), torch.uint8, (60000,),
                                                                        torch.int64)
    assert labels.bincount().tolist() == [6000] * 10
    assert images.double().mean().item() / 255 == pytest.approx(MEAN, abs=5e-5)
    assert images.double().std().item() / 255 == pytest.approx(STD, abs=5e-5)
    test_images, test_labels = load("test", full)
    assert test_images.shape == (10000, 1, 28, 28)
    assert test_labels.bincount().tolist() == [1000] * 10


def test_torchvision_reads_the_same_files_with_the_same_class_names(location):
    theirs = FashionMNIST(root=location.root, train=False)
    images, labels = load("test", location)
    assert torch.equal(theirs.data.unsqueeze(1), images)
    assert torch.equal(theirs.targets, labels)
    assert tuple(theirs.classes) == data.CLASS_NAMES


def test_normalise_is_totensor_and_normalize_to_the_last_bit(location):
    both = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    theirs = FashionMNIST(root=location.root, train=False, transform=both)
    assert torch.equal(normalise(load("test", location)[0][:20]), torch.stack([theirs[i][0] for i in range(20)]))


def test_sample_is_balanced_and_small(embedded):
    for split, number in (("train", 600), ("test", 100)):
        images, labels = load(split, embedded)
        assert images.shape == (10 * number, 1, 28, 28)
        assert labels.bincount().tolist() == [number] * 10
    assert sum(path.stat().st_size for path in sample.ASSETS.iterdir()) < 5_000_000
    assert "MIT License" in (sample.ASSETS / "LICENSE-FashionMNIST").read_text(encoding="utf-8")


def test_sample_is_what_the_script_makes_of_the_full_set(full, embedded, benchmarks):
    import make_sample

    raw = embedded.root / "FashionMNIST" / "raw"
    assert make_sample.build(full.root / "FashionMNIST" / "raw") == {name: (raw / name).read_bytes()
                                                                     for name in sample.files()}


def test_idx_bytes_are_read_back_by_torchvision(tmp_path, benchmarks):
    import make_sample

    images, labels = some(30)
    (tmp_path / "images").write_bytes(make_sample.idx_bytes(images[:, 0]))
    (tmp_path / "labels").write_bytes(make_sample.idx_bytes(labels.to(torch.uint8)))
    assert torch.equal(read_image_file(str(tmp_path / "images")), images[:, 0])
    assert torch.equal(read_label_file(str(tmp_path / "labels")), labels)


@pytest.mark.parametrize("name", ["images-idx3", "labels-idx1"])
def test_files_are_read_as_torchvision_reads_them(embedded, name):
    path = embedded.root / "FashionMNIST" / "raw" / f"t10k-{name}-ubyte"
    read = read_image_file if "images" in name else read_label_file
    assert torch.equal(read_idx(path).long(), read(str(path)).long())


@pytest.mark.parametrize("content", [
    b"", b"\0\0\x08", b"\0\0\x08\x01\0\0", b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", b"\x1f\x8b\x08\x01 no IDX file",
    b"\0\0\x08\x01\0\0\0\x03ab", b"\0\0\x08\x01\0\0\0\x03abcd"])
def test_a_file_of_another_format_or_length_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="file: expected"):
        read_idx(tmp_path / "file")


def test_load_refuses_another_split_and_a_location_that_is_gone(tmp_path):
    with pytest.raises(ValueError, match='expected "train" or "test", got \'val\''):
        load("val")
    with pytest.raises(FileNotFoundError, match="call prepare"):
        load("train", fetching.Location(tmp_path, "nowhere", False))


# Splitting.


def test_validation_split_is_stratified_repeatable_and_loses_nothing():
    images, labels = some(1000)
    (train_images, train_labels), (val_images, val_labels) = split_validation(images, labels, size=150)
    assert val_labels.bincount().tolist() == [15] * 10
    assert train_labels.bincount().tolist() == [85] * 10
    rows = {bytes(image.flatten().tolist()): int(label) for image, label in zip(images, labels, strict=True)}
    parts = {bytes(image.flatten().tolist()): int(label)
             for image, label in zip(torch.cat([train_images, val_images]), torch.cat([train_labels, val_labels]),
                                     strict=True)}
    assert parts == rows
    again = split_validation(images, labels, size=150)[1][0]
    assert torch.equal(again, val_images)
    assert not torch.equal(split_validation(images, labels, size=150, seed=1)[1][0], val_images)


@pytest.mark.parametrize("size", [1, 7, 33, 99])
def test_validation_split_has_exactly_the_size_asked_for(size):
    labels = torch.tensor([0] * 57 + [1] * 40 + [3] * 3)  # class 2 has none
    (_, train), (_, val) = split_validation(torch.zeros(100, 1), labels, size=size)
    assert (len(val), len(train)) == (size, 100 - size)
    assert (val.bincount(minlength=4) - labels.bincount() * size / 100).abs().max() < 1


@pytest.mark.parametrize("size", [0, 100, -1, 5000])
def test_validation_split_refuses_sizes_out_of_range(size):
    with pytest.raises(ValueError, match=f"0 < size < 100, the number of images, got {size}"):
        split_validation(*some(100), size=size)


# Batches.


def epoch(batches):
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def equal(a, b):
    return torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("augment", data.AUGMENTATIONS)
def test_batches_do_not_depend_on_the_device(device, augment):
    images, labels = some()
    there = ResidentBatches(images, labels, batch_size=32, device=device, shuffle=True, augment=augment)
    first, first_labels = next(iter(there))
    assert (first.device.type, first_labels.device.type) == (device, device)
    assert (first.shape, first.dtype, first_labels.dtype) == ((32, 1, 28, 28), torch.float32, torch.int64)
    here = ResidentBatches(images, labels, batch_size=32, shuffle=True, augment=augment)
    torch.testing.assert_close(first.cpu(), next(iter(here))[0])
    assert torch.equal(first_labels.cpu(), next(iter(ResidentBatches(images, labels, batch_size=32, shuffle=True)))[1])


def test_plain_batches_are_the_images_in_order():
    images, labels = some()
    assert equal(epoch(ResidentBatches(images, labels, batch_size=32)), (normalise(images), labels))


def test_shuffled_epoch_holds_each_image_once_with_its_label():
    images, labels = some()
    images[:, 0, 0, 0] = torch.arange(100)
    seen, seen_labels = epoch(ResidentBatches(images, labels, batch_size=32, shuffle=True))
    numbers = ((seen[:, 0, 0, 0] * STD + MEAN) * 255).round().long()
    assert not torch.equal(numbers, torch.arange(100))
    assert torch.equal(numbers.sort().values, torch.arange(100))
    assert torch.equal(seen_labels, labels[numbers])


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [32, 32, 32, 4]), (True, [32, 32, 32])])
def test_length_and_last_batch(drop_last, sizes):
    batches = ResidentBatches(*some(), batch_size=32, drop_last=drop_last)
    assert (len(batches), batches.num_images) == (len(sizes), 100)
    assert [len(labels) for _, labels in batches] == sizes


def test_resumed_training_sees_the_same_batches():
    def make(seed=0):
        return ResidentBatches(*some(), batch_size=32, shuffle=True, augment="flip and shift", seed=seed)

    through = make()
    epochs = [epoch(through) for _ in range(3)]
    assert not equal(epochs[0], epochs[1])
    resumed = make()
    resumed.set_epoch(2)
    assert equal(epoch(resumed), epochs[2])
    assert not equal(epoch(make(seed=1)), epochs[0])
    broken_off = make()
    next(iter(broken_off))
    assert equal(epoch(broken_off), epochs[1]), "every iter() is an epoch, also one that is left half-way"


def test_batches_leave_the_global_generator_alone_and_do_not_follow_it():
    batches = ResidentBatches(*some(), batch_size=32, shuffle=True, augment="flip and shift")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = epoch(batches)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    batches.set_epoch(0)
    assert equal(epoch(batches), first)


def test_two_iterators_at_once_are_two_epochs():
    batches = ResidentBatches(*some(), batch_size=32, shuffle=True)
    one, two = iter(batches), iter(batches)
    second, first = epoch(two), epoch(one)
    batches.set_epoch(0)
    assert equal(epoch(batches), first)
    assert equal(epoch(batches), second)


@pytest.mark.parametrize(("ranks", "drop_last"), [(2, False), (4, False), (4, True), (8, True)])
def test_ranks_yield_together_what_one_process_yields(ranks, drop_last):
    options = {"batch_size": 32, "shuffle": True, "augment": "flip and shift", "drop_last": drop_last}
    whole = list(ResidentBatches(*some(), **options))
    shares = [ResidentBatches(*some(), **options, share=Share(r, ranks)) for r in range(ranks)]
    assert {(str(share), len(share)) for share in shares} == {(str(ResidentBatches(*some(), **options)), len(whole))}
    for r, share in enumerate(map(list, shares)):
        assert len(share) == len(whole)
        assert all(equal(part, (images[r::ranks], labels[r::ranks]))
                   for part, (images, labels) in zip(share, whole, strict=True))


def test_flip_and_shift_against_a_loop():
    images, _ = some(50)
    images = images.expand(-1, 2, -1, -1).contiguous()
    images[:, 1] //= 2
    flip, shift = torch.arange(50) % 2 == 1, torch.stack([torch.arange(50) % 5, torch.arange(50) // 2 % 5], dim=1)
    expected = torch.zeros_like(images)
    for i in range(50):
        image = images[i].flip(-1) if flip[i] else images[i]
        down, right = shift[i].tolist()
        for row in range(28):
            for column in range(28):
                from_row, from_column = row + down - 2, column + right - 2
                if 0 <= from_row < 28 and 0 <= from_column < 28:
                    expected[i, :, row, column] = image[:, from_row, from_column]
    assert torch.equal(data.flip_and_shift(images, flip, shift), expected)


def test_flip_alone_moves_nothing():
    images, labels = some()
    seen, _ = epoch(ResidentBatches(images, labels, batch_size=32, augment="flip"))
    plain, mirrored = normalise(images), normalise(images.flip(-1))
    kept, flipped = ((seen == version).flatten(1).all(dim=1) for version in (plain, mirrored))
    assert (kept ^ flipped).all()
    assert 20 < flipped.sum() < 80


def test_augmentation_flips_half_and_shifts_evenly_with_black_behind():
    images = torch.zeros(6_000, 1, 28, 28, dtype=torch.uint8)
    images[:, 0, 14, 5] = 255  # one bright pixel; flipped it is in column 22
    labels = torch.zeros(6_000, dtype=torch.int64)
    seen, _ = epoch(ResidentBatches(images, labels, batch_size=1000, augment="flip and shift"))
    bright = (seen > 0).nonzero()
    assert len(bright) == 6_000
    assert seen.min() == normalise(images[:1]).min()
    flipped = bright[:, 3] > 13
    assert abs(flipped.double().mean() - 0.5) < 0.02
    for moved in (bright[:, 2] - 14, bright[:, 3] - torch.where(flipped, 22, 5)):
        shares = (moved + 2).bincount() / 6_000
        assert len(shares) == 5, "up to 2 pixels in each direction"
        assert (shares - 0.2).abs().max() < 0.02


def test_channels_last():
    batch, _ = next(iter(ResidentBatches(*some(), batch_size=8, memory_format=torch.channels_last)))
    assert batch.stride() == (784, 1, 28, 1)


@pytest.mark.parametrize(("change", "message"), [
    ({"images": torch.zeros(10, 1, 28, 28)}, "expected uint8 .*float32"),
    ({"images": torch.zeros(10, 28, 28, dtype=torch.uint8)}, r"expected uint8 \(N, C, H, W\)"),
    ({"labels": torch.zeros(9, dtype=torch.int64)}, r"labels: .* 10 images, got \(9,\)"),
    ({"images": torch.zeros(0, 1, 28, 28, dtype=torch.uint8), "labels": torch.zeros(0)}, "labels: "),
    ({"batch_size": 0}, "batch_size: .* got 0"),
    ({"batch_size": 2.5}, r"batch_size: .* got 2\.5"),
    ({"share": Share(0, 3)}, "batch_size: expected a multiple of 3, the number of ranks, got 4"),
    ({"share": Share(1, 4)}, "drop_last: expected True, because 4 ranks cannot share a last batch of 2 images evenly"),
    ({"batch_size": 11, "drop_last": True}, "batch_size: expected at most 10, the number of images, .* got 11"),
    ({"augment": True}, r"augment: expected one of .* got True"),
])
def test_bad_arguments_are_refused(change, message):
    images, labels = some(10)
    arguments = {"images": images, "labels": labels, "batch_size": 4} | change
    with pytest.raises(ValueError, match=message):
        ResidentBatches(**arguments)


@pytest.mark.parametrize("rank, ranks", [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_that_is_not_there_has_no_share(rank, ranks):
    with pytest.raises(ValueError, match=f"rank: expected 0 ≤ rank < {ranks}, the number of ranks, got {rank}"):
        Share(rank, ranks)
