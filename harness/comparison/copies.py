"""The rows of a comparison without the test images that are also in train, or repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.comparison.rows import Deduplicated, Row
from harness.data.copies import are_repeats
from harness.metrics.intervals import paired_bootstrap
from harness.render import text
from harness.runs.result import any_in_train


@dataclass(frozen=True)
class CopiedImages:
    """Which test images are copies.

    Parameters
    ----------
    in_train : (n,) bool
        Whether the image is also in train or tune of any of the compared runs.
    repeats : (n,) bool
        Whether it repeats another test image.
    """

    in_train: np.ndarray
    repeats: np.ndarray

    @property
    def rest(self) -> np.ndarray:
        """(n,) bool: whether the image is neither."""
        return ~(self.in_train | self.repeats)


def find_copies(keys: np.ndarray, in_train: Sequence[np.ndarray | None]) -> CopiedImages | None:
    """Find the copies; None if there are none, or if it is not on record which are in train.

    Parameters
    ----------
    keys : (n,) str
    in_train : sequence of (n,) bool or None
        Of each row, see `Scores.in_train`, in the order of `keys`.
    """
    in_any_train = any_in_train(in_train)
    if in_any_train is None:
        return None
    copies = CopiedImages(in_any_train, are_repeats(keys))
    return None if copies.rest.all() else copies


def without_copies(
    rows: Sequence[Row], wrong: Sequence[np.ndarray], copies: CopiedImages
) -> list[Row]:
    """Return the rows with their errors and deltas over the images that are no copies.

    Parameters
    ----------
    rows : sequence of Row
        The first is the reference.
    wrong : sequence of (seeds, n) bool
        Whether the top-1 answer is wrong, for each row.
    copies : CopiedImages
    """
    n = int(copies.rest.sum())
    if not n:
        return list(rows)
    errors = [row_wrong[:, copies.rest].mean(axis=0) for row_wrong in wrong]
    deduplicated = [Deduplicated(n, 100 * float(error.mean()), None, None) for error in errors]
    for place, error in enumerate(errors[1:], start=1):
        difference = error - errors[0]
        deduplicated[place] = replace(
            deduplicated[place],
            delta=100 * float(difference.mean()),
            interval=paired_bootstrap(difference).in_percent(),
        )
    return [replace(row, deduplicated=own) for row, own in zip(rows, deduplicated, strict=True)]


def copies_warning(rows: Sequence[Row], copies: CopiedImages) -> str:
    """Return how many test images are copies, and every row's error and delta without them."""
    counts = f"copies: {text.copies(int(copies.in_train.sum()), int(copies.repeats.sum()))}"
    errors = [f"{row.label} {_figures(row.deduplicated)}" for row in rows if row.deduplicated]
    if not errors:
        return f"{counts}; without them nothing is left"
    return f"{counts}; without them, n = {copies.rest.sum():,}: {'; '.join(errors)}"


def _figures(deduplicated: Deduplicated) -> str:
    error = text.percent(deduplicated.top1_error)
    if deduplicated.delta is None or deduplicated.interval is None:
        return error
    low, high = deduplicated.interval.low, deduplicated.interval.high
    return f"{error}, delta {deduplicated.delta:+.2f} {text.interval(low, high)}"
