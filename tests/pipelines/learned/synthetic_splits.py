"""Small splits of generated images for the tests of learned pipelines."""

from __future__ import annotations

import numpy as np

from harness.contract import Split


def noise_split(
    n: int = 24, *, size: tuple[int, int] = (32, 32), classes: int = 3, seed: int = 0
) -> Split:
    """Return images of noise, whose classes cannot be told apart."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 3, *size), dtype=np.uint8)
    return Split.from_arrays(images, np.arange(n) % classes)


def tinted_split(n: int, *, seed: int = 0) -> Split:
    """Return three classes of noise, each with another amount of red."""
    labels = np.arange(n) % 3
    images = np.random.default_rng(seed).integers(0, 100, (n, 3, 32, 32))
    images[:, 0] += 60 * labels[:, None, None]
    return Split.from_arrays(images.astype(np.uint8), labels)


def striped_split(n: int, *, seed: int = 0, side: int = 32) -> Split:
    """Return three classes: vertical stripes, horizontal stripes and none."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    wave = 80 * np.sin(np.arange(side) * 0.8 + rng.uniform(0, 6, (n, 1)))
    pattern = np.zeros((n, side, side))
    pattern[labels == 0] = wave[labels == 0][:, None, :]
    pattern[labels == 1] = wave[labels == 1][:, :, None]
    images = 128 + pattern[:, None] + rng.normal(0, 20, (n, 3, side, side))
    return Split.from_arrays(images.clip(0, 255).astype(np.uint8), labels)
