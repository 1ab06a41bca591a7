"""Smaller images first: which steps see them, that nothing else changes, and that a stopped training goes on alike."""

import pytest
import torch

from densenet_course.training import fit
from densenet_course.training.resolution import SmallFirst
from tests.test_training import small_data, tiny_network

CPU = torch.device("cpu")


def sides(batches):
    return [images.shape[-1] for images, _ in batches]


@pytest.mark.parametrize(("share", "small"), [(0.0, 0), (0.5, 3), (1.0, 6)])
def test_the_first_steps_of_the_training_see_small_images(share, small):
    batches = SmallFirst(small_data(), epochs=2, side=20, share=share)  # two epochs of three steps
    assert len(batches) == 3
    assert sides(batches) + sides(batches) == small * [20] + (6 - small) * [28]


def test_an_epoch_knows_its_place_and_leaves_images_and_labels_as_they_come():
    options = {"shuffle": True, "augment": "flip", "seed": 3}
    plain = small_data(**options)
    batches = SmallFirst(small_data(**options), epochs=4, side=14, share=0.5)
    for epoch in (2, 1):  # the second half first
        plain.set_epoch(epoch)
        batches.set_epoch(epoch)
        for (small, labels), (images, same_labels) in zip(batches, plain, strict=True):
            assert torch.equal(labels, same_labels)
            if epoch == 2:
                assert torch.equal(small, images)
            else:
                assert small.shape[-2:] == (14, 14)
                assert small.mean().item() == pytest.approx(images.mean().item(), abs=0.01)


def test_a_side_or_share_out_of_range_is_refused():
    for side in (0, 20.0, True):
        with pytest.raises(ValueError, match="side: expected"):
            SmallFirst(small_data(), epochs=1, side=side, share=0.5)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="share: expected"):
            SmallFirst(small_data(), epochs=1, side=20, share=share)


def test_a_stopped_training_goes_on_with_the_images_of_its_place(tmp_path):
    def train(checkpoint, after_epoch=None, share=0.5):
        torch.manual_seed(0)
        model = tiny_network()
        batches = SmallFirst(small_data(), epochs=3, side=20, share=share)
        fit(model, batches, epochs=3, device=CPU, checkpoint=checkpoint, after_epoch=after_epoch)
        return model.state_dict()

    def stop(history):
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        train(tmp_path / "run.pt", stop)
    with pytest.raises(ValueError, match=r"small_steps=4.*small_steps=9"):
        train(tmp_path / "run.pt", share=1.0)
    resumed, whole = train(tmp_path / "run.pt"), train(None)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
