"""Who an image is, which images a split holds, and how a part of it is chosen: all by content, nothing by file order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

CHUNK = 1 << 16  # keys made Python strings at once


def image_keys(sources: Iterable[bytes], labels: np.ndarray) -> np.ndarray:
    """(n,) keys: the first 16 hex digits of each source's SHA-256; equal images numbered `-1`, `-2`, ... in order of label."""
    return number_duplicates(
        np.array([hashlib.sha256(source).hexdigest()[:16] for source in sources], dtype="U16"),
        labels,
    )


def number_duplicates(hashes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Make equal hashes distinct: the second in order of (hash, label) gets `-1`, the third `-2`."""
    order = np.lexsort((labels, hashes))
    ordered = hashes[order]
    starts = (
        np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        if len(ordered)
        else np.array([], dtype=int)
    )
    nth = np.arange(len(ordered)) - np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
    keys = hashes.astype("U24")
    for position in np.flatnonzero(nth):
        keys[order[position]] = f"{ordered[position]}-{nth[position]}"
    return keys


def split_digest(preparation: str, keys: np.ndarray, labels: np.ndarray) -> str:
    """32 hex digits of the SHA-256 over the preparation line and the sorted (key, label) pairs."""
    digest = hashlib.sha256(f"{preparation}\n".encode())
    order = np.argsort(keys, kind="stable")
    for chunk in np.split(order, range(CHUNK, len(order), CHUNK)):
        pairs = zip(keys[chunk].tolist(), labels[chunk].tolist(), strict=True)
        digest.update("".join(f"{key} {label}\n" for key, label in pairs).encode())
    return digest.hexdigest()[:32]


def class_balanced(
    keys: np.ndarray,
    labels: np.ndarray,
    *,
    fraction: float | None = None,
    per_class: int | None = None,
    total: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a class-balanced part and of the rest, both in store order.

    Within a class the images with the smallest keys are taken: `fraction` of it (rounded, at least one), or `per_class`, or
    as many as fit into `total` images in all (spread evenly; a small class gives what it has). Keys are hashes of content, so the
    choice is as good as random, the same everywhere, and a smaller part lies inside a larger one.
    """
    order = np.lexsort((keys, labels))
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    if fraction is not None:
        wanted = np.maximum(1, np.round(counts * fraction).astype(int))
    elif per_class is not None:
        wanted = np.minimum(counts, per_class)
    else:
        assert total is not None
        wanted = _spread(counts, total)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    taken = np.zeros(len(order), dtype=bool)
    taken[order] = rank < np.repeat(wanted, counts)
    return np.flatnonzero(taken), np.flatnonzero(~taken)


def _spread(counts: np.ndarray, total: int) -> np.ndarray:
    """How many to take of each class so that at most `total` are taken, as evenly as the classes allow."""
    level = 0
    while np.minimum(counts, level + 1).sum() <= total and level < counts.max():
        level += 1
    return np.minimum(counts, level)
