"""The second JPEG is what it says, and the study runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.jpeg_cost import after_jpeg, main, split_after_jpeg
from harness.data.split import Split
from harness.errors import UserError

RNG = np.random.default_rng(0)


def test_a_jpeg_loses_detail_and_moves_nothing() -> None:
    """A ramp stays within a few gray levels of itself; noise, most of all that of color, does not."""
    ramp = np.broadcast_to(np.linspace(40, 200, 32), (3, 32, 32)).astype(np.uint8)
    assert (
        np.abs(after_jpeg(ramp, 75)[:, :, 6:-6].astype(int) - ramp[:, :, 6:-6]).mean() < 3
    )  # the seam lies outside
    noise = RNG.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    lost = [
        np.abs(after_jpeg(noise, quality).astype(int) - noise).mean() for quality in (95, 75, 20)
    ]
    assert 10 < lost[0] < lost[1] < lost[2]


def test_blocks_begin_half_a_block_away() -> None:
    """A bright pixel is spread over its own block of 8 x 8, from row and column 4 on, and no other."""
    flat = np.full((3, 32, 32), 100, np.uint8)
    spotted = flat.copy()
    spotted[:, 10, 5] = 255
    changed = (after_jpeg(spotted, 75) != after_jpeg(flat, 75)).any(axis=0)
    assert changed[4:12, 4:12].sum() > 20
    assert changed.sum() == changed[4:12, 4:12].sum()


def test_a_split_keeps_all_but_its_pixels() -> None:
    split = Split.from_arrays(RNG.integers(0, 256, (6, 3, 16, 16), dtype=np.uint8), [0, 1, 2] * 2)
    again = split_after_jpeg(split, 75)
    assert (again.keys == split.keys).all()
    assert (again.labels == split.labels).all()
    assert again.digest != split.digest
    before, after = (next(each.batches(6)).images.numpy() for each in (split, again))  # type: ignore[union-attr]
    assert all(np.array_equal(after[i], after_jpeg(before[i], 75)) for i in range(6))


def test_the_command(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["raw-linear", "--dataset", "digits"]) == 0
    assert "after one more JPEG" in (out := capsys.readouterr().out)
    assert "n = 500 test images, JPEG of quality 75" in out


def test_images_of_several_sizes_are_refused() -> None:
    split = Split.from_arrays(np.zeros((2, 3, 8, 8), np.uint8), [0, 1])
    split.images.image_size = None
    with pytest.raises(UserError, match="images of one size are needed"):
        split_after_jpeg(split, 75)


def test_a_wrong_data_set_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["raw-linear", "--dataset", "nothing"])
    assert "no dataset is called 'nothing'" in capsys.readouterr().err
