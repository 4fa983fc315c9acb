"""What there is to know of a dataset before it is trusted: its classes, its sizes, and the pictures that stand in it twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.data.duplicates import exact_pairs, near_pairs, thumbnails
from harness.data.split import Split

CROSSING = "train and test"


@dataclass(frozen=True)
class Audit:
    """What was found. Pairs are positions in `images`, which holds the readable images of train and then those of test.

    where of a pair: "train", "test", or "train and test"
    """

    title: str
    train: Split
    test: Split
    images: Split
    n_train: int  # of `images`
    shapes: np.ndarray
    exact: list[tuple[int, int]]
    near: list[tuple[int, int]]  # without the exact ones

    def where(self, pair: tuple[int, int]) -> str:
        parts = {"train" if i < self.n_train else "test" for i in pair}
        return CROSSING if len(parts) == 2 else parts.pop()

    def counts(self) -> dict[str, dict[str, int]]:
        """kind of pair -> where -> how many; and how many test images have a copy in train."""
        found = {}
        for kind, pairs in (("exact", self.exact), ("near", self.near)):
            places = [self.where(pair) for pair in pairs]
            found[kind] = {where: places.count(where) for where in ("train", "test", CROSSING)}
            found[kind]["test images with a copy in train"] = len(
                {max(pair) for pair, place in zip(pairs, places, strict=True) if place == CROSSING}
            )
        return found


def audit(title: str, train: Split, test: Split) -> Audit:
    """Look at every readable image of both splits; memory grows by 3 kB an image."""
    readable = [split.take(np.flatnonzero(split.rows >= 0)) for split in (train, test)]
    images = readable[0] + readable[1]
    small, shapes = thumbnails(images)
    exact = exact_pairs(images.keys)
    known = set(exact)
    near = [(int(i), int(j)) for i, j in near_pairs(small) if (int(i), int(j)) not in known]
    return Audit(title, train, test, images, len(readable[0]), shapes, exact, near)
