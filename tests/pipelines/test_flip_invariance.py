from __future__ import annotations

import numpy as np
import pytest

import harness
from harness import Split
from harness.engine.context import RunContext
from pipelines._flip_invariance import is_flip_invariant


def horizontal_bars(n: int) -> Split:
    """Return horizontal bars at four heights, which look the same flipped."""
    labels = np.arange(n) % 4
    images = np.random.default_rng(0).integers(0, 60, (n, 32, 32), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[8 * label : 8 * label + 4] += 150
    return Split.from_arrays(images, labels)


def test_digits_are_not_flip_invariant() -> None:
    splits = harness.load_dataset("digits")
    assert is_flip_invariant(splits.train, splits.tune, RunContext()) is False


def test_symmetric_images_are_flip_invariant() -> None:
    assert is_flip_invariant(horizontal_bars(200), horizontal_bars(80), RunContext()) is True


@pytest.mark.parametrize("transpose", [False, True])
def test_vertical_bars_that_swap_places_are_not_flip_invariant(transpose: bool) -> None:
    """Transposed bars are vertical, and a flip exchanges the first and the last."""
    train, tune = horizontal_bars(200), horizontal_bars(80)
    if transpose:
        train, tune = (
            Split.from_arrays(s.images.pixels.transpose(2, 3).contiguous(), s.labels)
            for s in (train, tune)
        )
    assert is_flip_invariant(train, tune, RunContext()) is not transpose


def test_without_tune_images_are_flipped_as_in_the_paper() -> None:
    assert is_flip_invariant(horizontal_bars(20), None, RunContext()) is True
