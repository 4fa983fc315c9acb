"""Small color patches: cut from images, normalized and whitened (Coates, Lee & Ng, AISTATS 2011, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.contract import Context, Split
from pipelines.handcrafted.images import squares

NOISE = 10.0  # squared gray levels added to a patch's variance, so that noise in a flat patch is not blown up
EPSILON = 0.1  # added to the variances along the axes of the normalized patches, which are below 1 on average
PER_IMAGE = 64  # patches sampled from one image at most: more would overlap
BATCH = 512  # images at a time
CHUNK_ROWS = 2**16  # patches whose copies in float64 exist at one time


def windows(images: Tensor, patch: int, stride: int) -> Tensor:
    """(n, channels, height, width) to all of its patches, without a copy: (n, rows, columns, channels, patch, patch)."""
    return images.unfold(2, patch, stride).unfold(3, patch, stride).permute(0, 2, 3, 1, 4, 5)


def normalized(patches: Tensor) -> Tensor:
    """(..., d): each patch with mean 0, divided by the root of its variance + NOISE."""
    centerd = patches - patches.mean(-1, keepdim=True)
    variance = centerd.square().sum(-1, keepdim=True) / max(1, patches.shape[-1] - 1)
    return centerd.mul_((variance + NOISE).rsqrt_())


def sample_patches(split: Split, size: int, patch: int, count: int, context: Context) -> Tensor:
    """This process's share of about `count` normalized patches of `split` at a working size: (s, 3 * patch * patch).

    The same number from each image, at places drawn by the seed and the image's place in the order of the keys, so the sample hangs
    neither on the order of the store nor on the number of processes.
    """
    order = np.argsort(split.keys)[:count]
    each = min(PER_IMAGE, -(-count // len(order)))
    generator = torch.Generator().manual_seed(context.seed)
    places = torch.randint((size - patch + 1) ** 2, (len(order), each), generator=generator)[
        context.rank :: context.world_size
    ]
    rows, columns = (
        part.to(context.device)
        for part in (places // (size - patch + 1), places % (size - patch + 1))
    )
    drawn = [torch.empty(0, 3 * patch * patch, device=context.device)]
    done = 0
    for batch in context.progress(
        split.batches(BATCH, order=order, device=context.device), label="sample patches"
    ):
        own = slice(done, done + len(batch))
        image = torch.arange(len(batch), device=context.device)[:, None]
        chosen = windows(squares(batch.images, size), patch, 1)[image, rows[own], columns[own]]
        drawn.append(normalized(chosen.reshape(-1, 3 * patch * patch)))
        done += len(batch)
    return torch.cat(drawn)


@dataclass(frozen=True)
class Whitening:
    """(patch - mean) @ axes: patches without correlations, as near to the plain ones as that allows (ZCA).

    mean (d,), axes (d, d), both float32
    """

    mean: Tensor
    axes: Tensor

    def __call__(self, patches: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        return (patches - self.mean) @ self.axes


def fit_whitening(sample: Tensor, context: Context) -> Whitening:
    """From all processes' samples, (s, d) each."""
    d = sample.shape[1]
    moments = torch.zeros(d + 1, d + 1, dtype=torch.float64, device=sample.device)
    for chunk in sample.split(CHUNK_ROWS):
        with_one = torch.nn.functional.pad(chunk.double(), (0, 1), value=1.0)
        moments += with_one.T @ with_one
    context.sum(moments)
    moments = moments / moments[-1, -1]
    mean = moments[-1, :-1]
    variances, directions = torch.linalg.eigh(moments[:-1, :-1] - mean[:, None] * mean)
    axes = (directions * (variances.clamp(min=0) + EPSILON).rsqrt()) @ directions.T
    return Whitening(context.broadcast(mean.float()), context.broadcast(axes.float().contiguous()))
