"""An audit of a dataset: sizes of images, and duplicates within and across its splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.data.duplicates import exact_pairs, make_thumbnails, near_pairs
from harness.data.split import Split

CROSSING = "train and test"


@dataclass(frozen=True)
class Audit:
    """The findings about a dataset. A pair is two positions in `images`.

    Attributes
    ----------
    title : str
    train, test : Split
    images : Split
        The readable images of train, then those of test.
    n_train : int
        How many of `images` are from train.
    shapes : (n, 2) int
        Height and width of each of `images`, in pixels.
    exact : list of pairs
        Equal files.
    near : list of pairs
        Images that show the same picture, without the exact pairs.
    """

    title: str
    train: Split
    test: Split
    images: Split
    n_train: int
    shapes: np.ndarray
    exact: list[tuple[int, int]]
    near: list[tuple[int, int]]

    def location(self, pair: tuple[int, int]) -> str:
        """Return where a pair lies: "train", "test", or "train and test"."""
        splits = {"train" if i < self.n_train else "test" for i in pair}
        return CROSSING if len(splits) == 2 else splits.pop()

    def pair_counts(self) -> dict[str, dict[str, int]]:
        """Count the pairs per kind and location, and the test images with a copy in train.

        Returns
        -------
        counts : dict of dict
            `counts["near"]["train and test"]` is a number of pairs;
            `counts["near"]["test images with a copy in train"]` a number of images.
        """
        counts = {}
        for kind, pairs in (("exact", self.exact), ("near", self.near)):
            locations = [self.location(pair) for pair in pairs]
            counts[kind] = {name: locations.count(name) for name in ("train", "test", CROSSING)}
            located = zip(pairs, locations, strict=True)
            copied = {max(pair) for pair, location in located if location == CROSSING}
            counts[kind]["test images with a copy in train"] = len(copied)
        return counts


def audit(title: str, train: Split, test: Split) -> Audit:
    """Examine every readable image of both splits. Memory grows by 3 kB per image."""
    readable = [split.take(np.flatnonzero(split.rows >= 0)) for split in (train, test)]
    images = readable[0] + readable[1]
    thumbnails, shapes = make_thumbnails(images)
    exact = exact_pairs(images.keys)
    known = set(exact)
    similar = [(int(i), int(j)) for i, j in near_pairs(thumbnails)]
    near = [pair for pair in similar if pair not in known]
    return Audit(title, train, test, images, len(readable[0]), shapes, exact, near)
