"""Shuffled batches: every image once, resumable, cropped like Pillow, errors reach the caller."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Split
from harness.data import prepare as prepare_module
from harness.data.prepare import prepare
from harness.data.random_draws import RandomCrop
from harness.data.sources import open_source
from harness.data.split import Batch


@pytest.fixture(scope="module", params=["jpeg", "raw", "several sizes"])
def stored(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    pictures: Callable[..., Path],
) -> Split:
    """A split read from disk: JPEG, raw pixels, or JPEG of several sizes."""
    folder = tmp_path_factory.mktemp("loader")
    counts = {"train/cat": 30, "train/dog": 29, "test/cat": 1, "test/dog": 1}
    root = pictures(folder / "photos", counts, size=(40, 50))
    if request.param != "jpeg":
        pictures(root, {"train/emu": 9}, size=(60, 45))
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "raw":
            patch.setattr(prepare_module, "RAW_LIMIT", 100)
        source = open_source(root)
        prepared = prepare(source, folder, name="pets", progress=lambda items, **_: iter(items))
    return prepared.split("train")


def positions(batches: list[Batch]) -> list[int]:
    return [i for batch in batches for i in batch.index.tolist()]


def are_equal(one: Batch, other: Batch) -> bool:
    pairs = zip(one.images, other.images, strict=True)
    same_images = all(torch.equal(a, b) for a, b in pairs)
    return same_images and one.index.tolist() == other.index.tolist()


def test_batches_from_disk_are_the_images_in_order(stored: Split) -> None:
    batches = list(stored.batches(20))
    assert positions(batches) == list(range(len(stored)))
    for batch in batches:
        for image, row in zip(batch.images, stored.rows[batch.index.numpy()], strict=True):
            assert torch.equal(image, stored.images.read(np.array([row]))[0])


@pytest.mark.parametrize(
    "options",
    [{}, {"crop": RandomCrop(32), "flip": True}, {"crop": RandomCrop(44, pad=4)}],
    ids=["full images", "crop and flip", "padded crop"],
)
def test_an_epoch_has_every_image_once_in_an_order_of_its_own(
    stored: Split, options: dict[str, Any]
) -> None:
    epochs = [list(stored.shuffled(16, seed=1, epoch=epoch, **options)) for epoch in (0, 1, 0)]
    assert sorted(positions(epochs[0])) == list(range(len(stored)))
    assert positions(epochs[0]) != positions(epochs[1])
    assert all(map(are_equal, epochs[0], epochs[2]))


@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_resumed_epoch_equals_the_rest_of_the_full_one(stored: Split, start: int) -> None:
    options: dict[str, Any] = {"seed": 3, "epoch": 5, "crop": RandomCrop(32), "flip": True}
    full = list(stored.shuffled(16, **options))
    resumed = list(stored.shuffled(16, **options, start=start))
    assert len(resumed) == len(full) - start
    assert all(map(are_equal, resumed, full[start:]))


def test_the_last_batch_may_have_no_image_for_a_process(stored: Split) -> None:
    share = list(stored.take(np.arange(17)).sharded(1, 2).shuffled(8, seed=0, epoch=0))
    assert [len(batch.images) for batch in share] == [4, 4, 0]


def all_crops(pixels: np.ndarray, side: int) -> set[bytes]:
    """Return all crops of (height, width, 3) pixels and their mirror images, as bytes."""
    height, width = pixels.shape[0] - side + 1, pixels.shape[1] - side + 1
    crops = set()
    for y in range(height):
        for x in range(width):
            view = pixels[y : y + side, x : x + side].transpose(2, 0, 1)
            crops |= {np.ascontiguousarray(view[:, :, ::step]).tobytes() for step in (1, -1)}
    return crops


def test_crops_equal_those_of_pillow(stored: Split) -> None:
    """On the bytes that any Arrow reader finds."""
    images: Any = stored.images
    batch = next(stored.shuffled(24, seed=0, epoch=0, crop=RandomCrop(36), flip=True))
    for position, crop in zip(batch.index.tolist(), batch.images, strict=True):
        row = stored.rows[position]
        data = images.stored_bytes(row).to_pybytes()
        if images.raw:
            flat = np.frombuffer(data, np.uint8)
            pixels = flat.reshape(images.heights[row], images.widths[row], 3)
        else:
            pixels = np.asarray(Image.open(io.BytesIO(data)))
        assert crop.numpy().tobytes() in all_crops(pixels, 36)


def test_an_image_smaller_than_the_crop_is_scaled_up(stored: Split) -> None:
    from torchvision.transforms.v2 import functional

    batch = next(stored.shuffled(8, seed=0, epoch=0, crop=RandomCrop(64), flip=True))
    for position, crop in zip(batch.index.tolist(), batch.images, strict=True):
        original = stored.images.read(stored.rows[[position]])[0]
        larger = functional.resize(original, [64], antialias=True)
        assert min(larger.shape[1:]) == 64
        assert crop.numpy().tobytes() in all_crops(larger.permute(1, 2, 0).numpy(), 64)


class FailingImages:
    """Images of which one cannot be read."""

    image_size = (4, 4)

    def __len__(self) -> int:
        return 100

    def read(self, rows: np.ndarray) -> torch.Tensor:
        if 70 in rows:
            raise OSError("the disk is gone")
        return torch.zeros(len(rows), 3, 4, 4, dtype=torch.uint8)


@pytest.mark.parametrize("crop", [None, RandomCrop(3)])
def test_an_error_in_a_thread_is_raised_at_its_batch(crop: RandomCrop | None) -> None:
    split = Split(
        keys=np.array([f"{i:016x}" for i in range(100)]),
        labels=np.arange(100) % 2,
        class_names=["a", "b"],
        images=FailingImages(),
        preparation="none",
    )
    batches = split.batches(20) if crop is None else split.shuffled(20, seed=0, epoch=0, crop=crop)
    with pytest.raises(OSError, match="the disk is gone"):
        list(batches)


def test_an_abandoned_iterator_leaves_no_thread_behind(stored: Split) -> None:
    batches = stored.batches(4)
    next(batches)
    batches.close()
    del batches  # from Python 3.12 on, this closes what the generator holds
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
