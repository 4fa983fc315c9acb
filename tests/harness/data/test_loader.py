"""Batches: every image once, the same after a resume, cropped as an independent reader crops, and errors that reach the caller."""

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

from harness import Split, UserError
from harness.data import prepare as prepare_module
from harness.data.split import Batch
from harness.data.store import Store

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (41, 3, 12, 15), dtype=np.uint8)


def memory_split() -> Split:
    return Split.from_arrays(IMAGES, np.arange(41) % 4)


@pytest.fixture(params=["jpeg", "raw", "sizes"])
def stored(
    request: pytest.FixtureRequest,
    workdir: Path,
    pictures: Callable[..., Path],
    store_of: Callable[..., Store],
    monkeypatch: pytest.MonkeyPatch,
) -> Split:
    """A split read from disk: JPEG, raw pixels, or JPEG of several sizes."""
    if request.param != "raw":
        monkeypatch.setattr(prepare_module, "RAW_LIMIT", 100)
    root = pictures(
        workdir / "photos",
        {"train/cat": 30, "train/dog": 29, "test/cat": 1, "test/dog": 1},
        size=(40, 50),
    )
    if request.param != "jpeg":
        pictures(root, {"train/emu": 9}, size=(60, 45))
    return store_of(root, name="pets").split("train")


def index(batches: list[Batch]) -> list[int]:
    return [i for batch in batches for i in batch.index.tolist()]


def same(one: Batch, other: Batch) -> bool:
    return one.index.tolist() == other.index.tolist() and all(
        torch.equal(a, b) for a, b in zip(one.images, other.images, strict=True)
    )


def test_batches_from_disk_are_the_images_in_order(stored: Split) -> None:
    batches = list(stored.batches(20))
    assert index(batches) == list(range(len(stored)))
    for batch in batches:
        for image, row in zip(batch.images, stored.rows[batch.index.numpy()], strict=True):
            assert torch.equal(image, stored.images.read(np.array([row]))[0])


@pytest.mark.parametrize("options", [{}, {"crop": 32, "flip": True}, {"crop": 44, "pad": 4}])
def test_an_epoch_has_every_image_once_and_another_order_than_the_next(
    stored: Split, options: dict[str, Any]
) -> None:
    epochs = [list(stored.shuffled(16, seed=1, epoch=epoch, **options)) for epoch in (0, 1, 0)]
    assert sorted(index(epochs[0])) == list(range(len(stored)))
    assert index(epochs[0]) != index(epochs[1])
    assert all(map(same, epochs[0], epochs[2]))


@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_resumed_epoch_goes_on_image_for_image(stored: Split, start: int) -> None:
    undisturbed = list(stored.shuffled(16, seed=3, epoch=5, crop=32, flip=True))
    resumed = list(stored.shuffled(16, seed=3, epoch=5, crop=32, flip=True, start=start))
    assert len(resumed) == len(undisturbed) - start
    assert all(map(same, resumed, undisturbed[start:]))


@pytest.mark.parametrize("world", [2, 3, 7])
def test_ranks_share_the_batches_of_one_process(world: int) -> None:
    options: dict[str, Any] = {"seed": 2, "epoch": 0, "crop": 10, "flip": True}
    alone = list(memory_split().shuffled(8, **options))
    shares = [
        list(memory_split().sharded(rank, world).shuffled(8, **options)) for rank in range(world)
    ]
    assert [len(batch) for batch in alone] == [8] * 5 + [1]
    for nth, batch in enumerate(alone):
        for rank, share in enumerate(shares):
            assert share[nth].index.tolist() == batch.index[rank::world].tolist()
            assert all(
                torch.equal(a, b)
                for a, b in zip(share[nth].images, batch.images[rank::world], strict=True)
            )


def test_a_last_batch_without_an_image_for_a_process(stored: Split) -> None:
    share = list(stored.take(np.arange(17)).sharded(1, 2).shuffled(8, seed=0, epoch=0))
    assert [len(batch.images) for batch in share] == [4, 4, 0]


def crops_of(pixels: np.ndarray, size: int) -> set[bytes]:
    """All crops of (height, width, 3) pixels, and their mirror images, as (3, size, size) bytes."""
    height, width = pixels.shape[0] - size + 1, pixels.shape[1] - size + 1
    views = [
        pixels[y : y + size, x : x + size].transpose(2, 0, 1)
        for y in range(height)
        for x in range(width)
    ]
    return {
        np.ascontiguousarray(view[:, :, ::step]).tobytes() for view in views for step in (1, -1)
    }


def test_crops_are_pixels_of_the_stored_file(stored: Split) -> None:
    """Against Pillow, on the bytes that any Arrow reader finds."""
    batch = next(stored.shuffled(24, seed=0, epoch=0, crop=36, flip=True))
    for position, crop in zip(batch.index.tolist(), batch.images, strict=True):
        row = stored.rows[position]
        data = stored.images.stored(row).to_pybytes()  # type: ignore[attr-defined]
        if stored.images.raw:  # type: ignore[attr-defined]
            pixels = np.frombuffer(data, np.uint8).reshape(
                stored.images.heights[row], stored.images.widths[row], 3
            )  # type: ignore[attr-defined]
        else:
            pixels = np.asarray(Image.open(io.BytesIO(data)))
        assert crop.numpy().tobytes() in crops_of(pixels, 36)


def test_places_and_flips_are_spread_evenly() -> None:
    """A picture that says where each pixel is; 4,000 crops of it."""
    ramp = np.tile((np.arange(15) + 16 * np.arange(12)[:, None]).astype(np.uint8), (4000, 3, 1, 1))
    split = Split.from_arrays(ramp, np.arange(4000) % 2)
    corners: list[tuple[int, int, bool]] = []
    for batch in split.shuffled(500, seed=0, epoch=0, crop=10, flip=True):
        for crop in batch.images[:, 0].int():  # type: ignore[call-overload]
            mirrored = bool(crop[0, 0] > crop[0, -1])
            corner = int(crop[0, -1] if mirrored else crop[0, 0])
            corners.append((corner // 16, corner % 16, mirrored))
    values, counts = np.unique(corners, axis=0, return_counts=True)
    assert len(values) == 3 * 6 * 2
    assert counts.min() > 111 - 5 * 11  # of 4000 / 36 expected, five standard deviations
    assert counts.max() < 111 + 5 * 11


def test_padding_is_black() -> None:
    white = Split.from_arrays(np.full((200, 3, 8, 8), 255, np.uint8), np.arange(200) % 2)
    images = torch.cat(
        [batch.images for batch in white.shuffled(64, seed=0, epoch=0, crop=8, pad=2)]
    )  # type: ignore[misc]
    columns = (images[:, 0] == 0).all(1).sum(1)
    assert sorted(set(columns.tolist())) == [0, 1, 2]


def test_an_image_smaller_than_the_crop_is_scaled_up(stored: Split) -> None:
    from torchvision.transforms.v2 import functional

    batch = next(stored.shuffled(8, seed=0, epoch=0, crop=64, flip=True))
    for position, crop in zip(batch.index.tolist(), batch.images, strict=True):
        whole = stored.images.read(stored.rows[[position]])[0]
        larger = functional.resize(whole, [64], antialias=True)
        assert min(larger.shape[1:]) == 64
        assert crop.numpy().tobytes() in crops_of(larger.permute(1, 2, 0).numpy(), 64)


class Failing:
    """Images of which one cannot be read."""

    image_size = (4, 4)

    def __len__(self) -> int:
        return 100

    def read(self, rows: np.ndarray) -> torch.Tensor:
        if 70 in rows:
            raise OSError("the disk is gone")
        return torch.zeros(len(rows), 3, 4, 4, dtype=torch.uint8)


def failing_split() -> Split:
    keys = np.array([f"{i:016x}" for i in range(100)])
    return Split(
        keys=keys,
        labels=np.arange(100) % 2,
        class_names=["a", "b"],
        images=Failing(),
        preparation="none",
    )


@pytest.mark.parametrize("crop", [None, 3])
def test_what_goes_wrong_in_a_worker_is_an_error_at_its_batch(crop: int | None) -> None:
    batches = (
        failing_split().batches(20)
        if crop is None
        else failing_split().shuffled(20, seed=0, epoch=0, crop=crop)
    )
    with pytest.raises(OSError, match="the disk is gone"):
        list(batches)


def test_leaving_early_leaves_no_thread_behind(stored: Split) -> None:
    batches = stored.batches(4)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    del batches  # Python 3.12 closes what a generator holds only then
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_a_damaged_store_names_itself(stored: Split, workdir: Path) -> None:
    if stored.images.raw:  # type: ignore[attr-defined]
        pytest.skip("raw pixels have no format to be damaged")
    file = workdir / "root/stores/pets/train-00000.arrow"
    data = file.read_bytes()
    at = data.index(b"\xff\xd8\xff")
    with file.open("r+b") as opened:  # in place, as a disk does it: the mapped file changes
        opened.seek(at)
        opened.write(b"\0" * 16)
    with pytest.raises(
        UserError, match=r"the store pets is damaged at row \d+ .*harness data verify pets"
    ):
        list(stored.batches(16))
