"""Duplicate images: by key, and by a perceptual hash confirmed by the correlation of thumbnails.

Copies that were cropped or mirrored are missed. In sets of cut-out, aligned objects, different
objects are found as well; the audit page shows the pairs side by side so that people can judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import torch

from harness.data.copies import content_hashes
from harness.data.decode import resize
from harness.data.loader import read_batches
from harness.data.split import Split

THUMBNAIL_SIDE = 32  # pixels
HASH_SIDE = 8
MAX_HASH_DISTANCE = 8  # bits of 64
BANDS = MAX_HASH_DISTANCE + 1  # hashes that differ in 8 bits agree in at least one of 9 bands
# Pearson correlation of two thumbnails. On CIFAR-10, nearly all pairs above it show one photograph
# (resized, recompressed, recolored, with a logo); many below it show two birds in two skies. A
# threshold on gray-level differences would match plain skies and miss copies with JPEG noise.
MIN_CORRELATION = 0.85
PAIRS_AT_ONCE = 1 << 22
IMAGES_AT_ONCE = 256


def make_thumbnails(split: Split) -> tuple[torch.Tensor, np.ndarray]:
    """Resize every image of a split to a small square.

    Returns
    -------
    thumbnails : (n, 3, 32, 32) uint8
    shapes : (n, 2) int
        Height and width of each image, in pixels.
    """
    thumbnails = torch.zeros(len(split), 3, THUMBNAIL_SIDE, THUMBNAIL_SIDE, dtype=torch.uint8)
    shapes = np.zeros((len(split), 2), dtype=np.int64)
    starts = range(0, len(split), IMAGES_AT_ONCE)
    chunks = [split.rows[start : start + IMAGES_AT_ONCE] for start in starts]
    images = (image for batch in read_batches(split.images, chunks) for image in batch)
    for i, image in enumerate(images):
        thumbnails[i] = resize(image, (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        shapes[i] = image.shape[1:]
    return thumbnails, shapes


def perceptual_hashes(thumbnails: torch.Tensor) -> np.ndarray:
    """Hash images so that similar ones differ in few bits (pHash, Zauner 2010).

    Returns
    -------
    hashes : (n,) uint64
        The signs of the lowest 8 x 8 cosine coefficients of the gray image, without the constant
        ones, against their median.
    """
    positions = torch.arange(THUMBNAIL_SIDE, dtype=torch.float32)
    frequencies = positions[1 : HASH_SIDE + 1, None]
    cosines = torch.cos(torch.pi / THUMBNAIL_SIDE * (positions[None] + 0.5) * frequencies)
    gray = thumbnails.float().mean(1)
    coefficients = (cosines @ gray @ cosines.T).flatten(1)
    bits = (coefficients > coefficients.median(1, keepdim=True).values).numpy()
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def near_pairs(thumbnails: torch.Tensor) -> np.ndarray:
    """Find thumbnails that show the same picture, exact copies included.

    Returns
    -------
    pairs : (m, 2) int
        Positions i < j, the most similar pair first.
    """
    hashes = perceptual_hashes(thumbnails)
    empty = np.zeros(0, dtype=np.int64)
    candidates = np.unique(np.concatenate([empty, *_candidate_pairs(hashes)]))
    pairs = np.stack(np.divmod(candidates, len(hashes)), axis=1)
    correlations = _correlations(thumbnails, pairs)
    order = np.argsort(-correlations, kind="stable")
    return pairs[order][correlations[order] >= MIN_CORRELATION]


def _candidate_pairs(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield i * n + j of pairs i < j within MAX_HASH_DISTANCE, by a band in which they agree."""
    n = len(hashes)
    edges = np.linspace(0, 64, BANDS + 1).astype(int)
    for low, high in pairwise(edges.tolist()):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")  # stable, so that positions in a group ascend
        for group in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            rows = max(1, PAIRS_AT_ONCE // max(1, len(group)))
            for start in range(0, len(group), rows):
                first = group[start : start + rows]
                distances = np.bitwise_count(hashes[first][:, None] ^ hashes[group][None])
                is_ordered = first[:, None] < group[None]
                i, j = np.nonzero((distances <= MAX_HASH_DISTANCE) & is_ordered)
                yield first[i] * n + group[j]


def _correlations(thumbnails: torch.Tensor, pairs: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each pair over all pixels and channels.

    It is 0 if one of the two is a single plain color.
    """
    chunks = [np.zeros(0)]
    for chunk in np.array_split(pairs, max(1, len(pairs) // 4096)):
        first, second = (_centered(thumbnails[chunk[:, side]]) for side in (0, 1))
        norms = first.norm(dim=1) * second.norm(dim=1)
        chunks.append(((first * second).sum(1) / norms.clamp_min(1e-6)).numpy())
    return np.concatenate(chunks)


def _centered(thumbnails: torch.Tensor) -> torch.Tensor:
    """Return (n, values) with the mean of each row subtracted."""
    flat = thumbnails.flatten(1).float()
    return flat - flat.mean(1, keepdim=True)


def exact_pairs(keys: np.ndarray) -> list[tuple[int, int]]:
    """Find pairs of images whose source bytes are equal: their keys differ only in the suffix."""
    _, inverse, counts = np.unique(content_hashes(keys), return_inverse=True, return_counts=True)
    groups = (np.flatnonzero(inverse == group) for group in np.flatnonzero(counts > 1))
    return [(int(a), int(b)) for group in groups for a, b in combinations(group, 2)]
