"""Compression loses detail on shifted blocks and changes nothing else, and the study runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.jpeg_cost import compress, compress_split, main
from harness.data.split import Split
from harness.errors import UserError

RNG = np.random.default_rng(0)


def test_a_smooth_image_survives_and_noise_does_not() -> None:
    ramp = np.broadcast_to(np.linspace(40, 200, 32), (3, 32, 32)).astype(np.uint8)
    inside = slice(6, -6)  # away from the seam of the periodic continuation
    change = compress(ramp, 75)[:, :, inside].astype(int) - ramp[:, :, inside]
    assert np.abs(change).mean() < 3
    noise = RNG.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    lost = [np.abs(compress(noise, quality).astype(int) - noise).mean() for quality in (95, 75, 20)]
    assert 10 < lost[0] < lost[1] < lost[2]


def test_blocks_begin_half_a_block_away() -> None:
    """A bright pixel changes its own 8 x 8 block, from row and column 4 on, and no other."""
    flat = np.full((3, 32, 32), 100, np.uint8)
    spotted = flat.copy()
    spotted[:, 10, 5] = 255
    changed = (compress(spotted, 75) != compress(flat, 75)).any(axis=0)
    assert changed[4:12, 4:12].sum() > 20
    assert changed.sum() == changed[4:12, 4:12].sum()


def test_a_split_keeps_everything_but_its_pixels() -> None:
    split = Split.from_arrays(RNG.integers(0, 256, (6, 3, 16, 16), dtype=np.uint8), [0, 1, 2] * 2)
    compressed = compress_split(split, 75)
    assert (compressed.keys == split.keys).all()
    assert (compressed.labels == split.labels).all()
    assert compressed.digest != split.digest
    before, after = (next(s.batches(6)).images.numpy() for s in (split, compressed))
    assert all(np.array_equal(after[i], compress(before[i], 75)) for i in range(6))


def test_the_command_prints_a_row_per_pipeline(
    workdir: Path, capsys: pytest.CaptureFixture[str], untracked: None
) -> None:
    assert main(["raw-linear,size=8,c=1.0,flip=false", "--dataset", "digits"]) == 0
    output = capsys.readouterr().out
    assert "after one more JPEG" in output
    assert "n = 500 test images, JPEG of quality 75" in output


def test_images_of_several_sizes_are_refused() -> None:
    split = Split.from_arrays(np.zeros((2, 3, 8, 8), np.uint8), [0, 1])
    split.images.image_size = None
    with pytest.raises(UserError, match="needs images of one size"):
        compress_split(split, 75)


def test_an_unknown_dataset_ends_the_command_with_a_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["raw-linear", "--dataset", "nothing"])
    assert "no dataset is called 'nothing'" in capsys.readouterr().err
