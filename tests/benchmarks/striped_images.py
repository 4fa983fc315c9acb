"""A few images that a network memorizes in few epochs."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.figure1_training import TrainingImages


def striped_images(n: int = 48) -> TrainingImages:
    """Return two classes, horizontal and vertical stripes with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    wave = 128 + 80 * np.sin(np.arange(32) * 0.8 + rng.uniform(0, 6, (n, 1)))
    horizontal = np.broadcast_to(wave[:, None, :], (n, 32, 32))
    vertical = np.broadcast_to(wave[:, :, None], (n, 32, 32))
    stripes = np.where((labels == 0)[:, None, None], horizontal, vertical)
    pixels = stripes[:, None] + rng.normal(0, 10, (n, 3, 32, 32))
    images = torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))
    return TrainingImages(images, torch.from_numpy(labels), images.float().mean(0), 2)
