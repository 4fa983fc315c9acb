"""Small color patches: sampled, normalized and whitened (Coates, Lee & Ng, AISTATS 2011, 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from harness.contract import Context, Split
from pipelines.handcrafted.resizing import resize_square

# Squared gray levels added to a patch's variance, so that noise in a flat patch is not amplified.
VARIANCE_OFFSET = 10.0
# Added to the variances along the principal axes of the normalized patches, which are below 1 on
# average.
WHITENING_OFFSET = 0.1
MAX_PATCHES_PER_IMAGE = 64  # more would overlap
BATCH = 512  # images at a time
CHUNK_ROWS = 2**16  # patches that exist in float64 at a time


def all_patches(images: Tensor, patch: int, stride: int) -> Tensor:
    """Return all patches of images as a view, without a copy.

    Parameters
    ----------
    images : (n, channels, height, width)
    patch, stride : pixels

    Returns
    -------
    Tensor : (n, rows, columns, channels, patch, patch)
    """
    return images.unfold(2, patch, stride).unfold(3, patch, stride).permute(0, 2, 3, 1, 4, 5)


def normalize_patches(patches: Tensor) -> Tensor:
    """Return patches (..., d) of mean 0, divided by sqrt(variance + VARIANCE_OFFSET)."""
    centered = patches - patches.mean(-1, keepdim=True)
    variance = centered.square().sum(-1, keepdim=True) / max(1, patches.shape[-1] - 1)
    return centered.mul_((variance + VARIANCE_OFFSET).rsqrt_())


def sample_patches(split: Split, size: int, patch: int, count: int, context: Context) -> Tensor:
    """Sample about `count` normalized patches, the same number from each image.

    Locations are drawn by the seed and the rank of the image's key, so the sample depends neither
    on the order of the images nor on the number of processes.

    Parameters
    ----------
    split
    size : pixels
        Working size of the images.
    patch : pixels
    count
    context

    Returns
    -------
    Tensor : (s, 3 * patch * patch) float32
        This process's share.
    """
    order = np.argsort(split.keys)[:count]
    per_image = min(MAX_PATCHES_PER_IMAGE, -(-count // len(order)))
    generator = torch.Generator().manual_seed(context.seed)
    side = size - patch + 1
    locations = torch.randint(side**2, (len(order), per_image), generator=generator)
    locations = locations[context.rank :: context.world_size]
    rows, columns = (locations // side).to(context.device), (locations % side).to(context.device)
    samples = [torch.empty(0, 3 * patch * patch, device=context.device)]
    batches = split.batches(BATCH, order=order, device=context.device)
    done = 0
    for batch in context.progress(batches, label="sample patches"):
        span = slice(done, done + len(batch))
        image = torch.arange(len(batch), device=context.device)[:, None]
        patches = all_patches(resize_square(batch.images, size), patch, 1)
        drawn = patches[image, rows[span], columns[span]]
        samples.append(normalize_patches(drawn.reshape(-1, 3 * patch * patch)))
        done += len(batch)
    return torch.cat(samples)


@dataclass(frozen=True)
class Whitening:
    """ZCA whitening, (patch - mean) @ axes: removes correlations and changes patches the least.

    Parameters
    ----------
    mean : (d,) float32
    axes : (d, d) float32
    """

    mean: Tensor
    axes: Tensor

    def __call__(self, patches: Tensor) -> Tensor:
        """Whiten patches: (..., d) -> (..., d)."""
        return (patches - self.mean) @ self.axes


def fit_whitening(sample: Tensor, context: Context) -> Whitening:
    """Fit the whitening to the samples of all processes, (s, d) each."""
    d = sample.shape[1]
    moments = torch.zeros(d + 1, d + 1, dtype=torch.float64, device=sample.device)
    for chunk in sample.split(CHUNK_ROWS):
        with_one = pad(chunk.double(), (0, 1), value=1.0)
        moments += with_one.T @ with_one
    context.sum(moments)
    moments = moments / moments[-1, -1]
    mean = moments[-1, :-1]
    variances, directions = torch.linalg.eigh(moments[:-1, :-1] - mean[:, None] * mean)
    scales = (variances.clamp(min=0) + WHITENING_OFFSET).rsqrt()
    axes = (directions * scales) @ directions.T
    return Whitening(context.broadcast(mean.float()), context.broadcast(axes.float().contiguous()))
