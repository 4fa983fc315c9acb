"""Keys of images, digests of splits, and class-balanced selection.

All three depend on the content of the images alone, never on the order or names of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

HASH_DIGITS = 16  # of a key; duplicates get a suffix after them
DIGEST_CHUNK = 1 << 16  # keys converted to Python strings at once


def image_keys(sources: Iterable[bytes], labels: np.ndarray) -> np.ndarray:
    """Return the key of each image.

    Parameters
    ----------
    sources : iterable of bytes
        The source bytes of each image.
    labels : (n,) int

    Returns
    -------
    keys : (n,) str
        First 16 hex digits of the SHA-256 of the source bytes; duplicates are numbered.
    """
    hashes = [hashlib.sha256(source).hexdigest()[:HASH_DIGITS] for source in sources]
    return number_duplicates(np.array(hashes, dtype=f"U{HASH_DIGITS}"), labels)


def number_duplicates(hashes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Make equal hashes distinct.

    Returns
    -------
    keys : (n,) str
        The hashes; in order of (hash, label), the second of equal ones gets the suffix `-1`,
        the third `-2`.
    """
    order = np.lexsort((labels, hashes))
    ordered = hashes[order]
    is_first = np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)]
    starts = np.flatnonzero(is_first)
    group_sizes = np.diff(np.r_[starts, len(ordered)])
    copy_number = np.arange(len(ordered)) - np.repeat(starts, group_sizes)
    keys = hashes.astype("U24")
    for position in np.flatnonzero(copy_number):
        keys[order[position]] = f"{ordered[position]}-{copy_number[position]}"
    return keys


def split_digest(preparation: str, keys: np.ndarray, labels: np.ndarray) -> str:
    """Return 32 hex digits of the SHA-256 over the preparation line and the sorted
    (key, label) pairs.
    """
    digest = hashlib.sha256(f"{preparation}\n".encode())
    order = np.argsort(keys, kind="stable")
    for chunk in np.split(order, range(DIGEST_CHUNK, len(order), DIGEST_CHUNK)):
        pairs = zip(keys[chunk].tolist(), labels[chunk].tolist(), strict=True)
        digest.update("".join(f"{key} {label}\n" for key, label in pairs).encode())
    return digest.hexdigest()[:32]


def select_class_balanced(
    keys: np.ndarray,
    labels: np.ndarray,
    *,
    fraction: float | None = None,
    per_class: int | None = None,
    total: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Select the images with the smallest keys of each class.

    Keys are hashes of content, so the selection is as good as random, the same on every machine,
    and a smaller selection is a subset of a larger one. Give one of the three amounts.

    Parameters
    ----------
    keys : (n,) str
    labels : (n,) int
    fraction : float, optional
        Share of each class, rounded; at least one image.
    per_class : int, optional
        Images per class; a smaller class gives all it has.
    total : int, optional
        Upper limit on the number of images, spread as evenly as the classes allow.

    Returns
    -------
    selected, rest : (m,) int, (n - m,) int
        Positions in ascending order.
    """
    order = np.lexsort((keys, labels))
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    if fraction is not None:
        wanted = np.maximum(1, np.round(counts * fraction).astype(int))
    elif per_class is not None:
        wanted = np.minimum(counts, per_class)
    else:
        assert total is not None
        wanted = _spread_evenly(counts, total)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    is_selected = np.zeros(len(order), dtype=bool)
    is_selected[order] = rank < np.repeat(wanted, counts)
    return np.flatnonzero(is_selected), np.flatnonzero(~is_selected)


def _spread_evenly(counts: np.ndarray, total: int) -> np.ndarray:
    """Return how many images to take per class so that the sum is at most `total`."""
    level = 0
    while np.minimum(counts, level + 1).sum() <= total and level < counts.max():
        level += 1
    return np.minimum(counts, level)
