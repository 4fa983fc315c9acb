"""Images that look alike: by a 64-bit perceptual hash, confirmed by the correlation of small pictures.

Copies that were cropped or turned over are missed. In sets whose objects are cut out and aligned, different ones are found too: the page shows
them side by side, and people judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import torch

from harness.data.decode import resize
from harness.data.loader import read_batches
from harness.data.split import Split

THUMBNAIL = 32  # pixels of the square that hashes and confirmations are taken from
HASH_SIDE = 8
BITS_APART = 8  # of 64: two hashes further apart are of different pictures
BANDS = BITS_APART + 1  # two hashes that differ in 8 bits agree in one of 9 bands at least
# Of two thumbnails. Looked at on CIFAR-10: of the pairs above it nearly all show one photograph (resized, recoded, recolored, a logo added),
# below it many are of two birds in two skies. Gray levels instead would tell a plain sky from nothing, and miss copies in JPEG's noise.
CORRELATION = 0.85
COMPARED = 1 << 22  # pairs of hashes compared at once
READ = 256


def thumbnails(split: Split) -> tuple[torch.Tensor, np.ndarray]:
    """(uint8 (n, 3, 32, 32) of the images, each squeezed to a square; (n, 2) their heights and widths)."""
    small = torch.zeros(len(split), 3, THUMBNAIL, THUMBNAIL, dtype=torch.uint8)
    shapes = np.zeros((len(split), 2), dtype=np.int64)
    chunks = [split.rows[start : start + READ] for start in range(0, len(split), READ)]
    for nth, image in enumerate(
        image for images in read_batches(split.images, chunks) for image in images
    ):
        small[nth] = resize(image, (THUMBNAIL, THUMBNAIL))
        shapes[nth] = image.shape[1:]
    return small, shapes


def perceptual_hashes(small: torch.Tensor) -> np.ndarray:
    """(n,) uint64: the signs of the lowest 8 x 8 cosine coefficients of the gray thumbnail against their median (pHash, Zauner 2010)."""
    k = torch.arange(THUMBNAIL, dtype=torch.float32)
    cosines = torch.cos(
        torch.pi / THUMBNAIL * (k[None] + 0.5) * k[1 : HASH_SIDE + 1, None]
    )  # without the constant term
    gray = small.float().mean(1)
    coefficients = (cosines @ gray @ cosines.T).flatten(1)
    bits = (coefficients > coefficients.median(1, keepdim=True).values).numpy()
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def near_pairs(small: torch.Tensor) -> np.ndarray:
    """(pairs, 2) positions i < j of thumbnails that show the same picture, most alike first; exact copies are among them."""
    hashes = perceptual_hashes(small)
    coded = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *_candidates(hashes)]))
    pairs = np.stack(np.divmod(coded, len(hashes)), axis=1)
    alike = _correlations(small, pairs)
    order = np.argsort(-alike, kind="stable")
    return pairs[order][alike[order] >= CORRELATION]


def _candidates(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """i * n + j of the pairs i < j at most BITS_APART bits apart, found by a band in which they agree."""
    n = len(hashes)
    edges = np.linspace(0, 64, BANDS + 1).astype(int)
    for low, high in pairwise(edges.tolist()):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")  # so that the members of a group ascend
        for group in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            rows = max(1, COMPARED // max(1, len(group)))
            for start in range(0, len(group), rows):
                first = group[start : start + rows]
                apart = np.bitwise_count(hashes[first][:, None] ^ hashes[group][None])
                i, j = np.nonzero((apart <= BITS_APART) & (first[:, None] < group[None]))
                yield first[i] * n + group[j]


def _correlations(small: torch.Tensor, pairs: np.ndarray) -> np.ndarray:
    """(pairs,) Pearson's, over all pixels and channels; 0 where a picture is of one plain gray."""
    parts = [np.zeros(0)]
    for chunk in np.array_split(pairs, max(1, len(pairs) // 4096)):
        first, second = (_centerd(small[chunk[:, side]]) for side in (0, 1))
        norms = first.norm(dim=1) * second.norm(dim=1)
        parts.append(((first * second).sum(1) / norms.clamp_min(1e-6)).numpy())
    return np.concatenate(parts)


def _centerd(small: torch.Tensor) -> torch.Tensor:
    """(n, values) with a mean of 0 each."""
    flat = small.flatten(1).float()
    return flat - flat.mean(1, keepdim=True)


def exact_pairs(keys: np.ndarray) -> list[tuple[int, int]]:
    """Positions of images whose source bytes are equal: their keys are, but for the number."""
    hashes = np.array([key[:16] for key in keys.tolist()])
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    groups = (np.flatnonzero(inverse == group) for group in np.flatnonzero(counts > 1))
    return [(int(a), int(b)) for group in groups for a, b in combinations(group, 2)]
