"""Generated pictures of three shapes: a dataset of one file, without any download.

Each image shows a disk, a square or a cross on a noisy background, with random size, position and
color. The generator is seeded, so the same parameters give the same images, and so the same
digest, on every machine.

    harness run --plugins my_dataset.py --dataset my-dataset --pipeline hog-svm
    harness run --plugins my_dataset.py --dataset my-dataset,noise=60 --pipeline hog-svm
    harness compare --plugins my_dataset.py --dataset my-dataset raw-linear hog-svm --run-missing
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from harness.contract import Dataset, Split

CLASS_NAMES = ("disk", "square", "cross")


def build(
    root: Path,
    *,
    size: Annotated[int, Ge(16)] = 32,
    train_per_class: Annotated[int, Ge(10)] = 200,
    test_per_class: Annotated[int, Ge(1)] = 100,
    noise: Annotated[int, Ge(0), Le(120)] = 20,
    seed: int = 0,
) -> Dataset:
    """Return the dataset; `root`, the folder of downloads and stores, is not needed here."""
    rng = np.random.default_rng(seed)
    return Dataset(
        title=f"shapes (noise {noise})",
        train=_split(rng, train_per_class, size, noise),
        test=_split(rng, test_per_class, size, noise),
        dataset_notes=("my-dataset: generated images, only good for trying things out",),
    )


def _split(rng: np.random.Generator, per_class: int, size: int, noise: int) -> Split:
    labels = np.arange(per_class * len(CLASS_NAMES)) % len(CLASS_NAMES)
    images = np.stack([_image(rng, CLASS_NAMES[label], size, noise) for label in labels])
    return Split.from_arrays(images, labels, class_names=CLASS_NAMES)


def _image(rng: np.random.Generator, shape: str, size: int, noise: int) -> np.ndarray:
    """Return one image: (size, size, 3) uint8."""
    radius = rng.uniform(size / 6, size / 3)
    center = size / 2 + rng.uniform(-size / 10, size / 10, (2, 1, 1))
    y, x = np.mgrid[:size, :size] - center
    inside = {
        "disk": np.hypot(x, y) < radius,
        "square": np.maximum(abs(x), abs(y)) < radius * 0.85,
        "cross": (np.minimum(abs(x), abs(y)) < radius * 0.35) & (abs(x) + abs(y) < radius * 1.35),
    }[shape]
    background, color = rng.uniform(60, 120, 3), rng.uniform(130, 195, 3)
    pixels = np.where(inside[..., None], color, background) + rng.normal(0, noise, (size, size, 3))
    return pixels.clip(0, 255).astype(np.uint8)
