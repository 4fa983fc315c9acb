"""Copies: equal images within a split or in two, found by what their keys have in common."""

from __future__ import annotations

import re
from hashlib import sha256

import numpy as np

from harness.data.identity import HASH_DIGITS

HASH_BYTES = HASH_DIGITS // 2  # as many as a uint64 has


def content_hashes(keys: np.ndarray) -> np.ndarray:
    """Return the part of each key that copies of an image share.

    Parameters
    ----------
    keys : (n,) str
        16 hex digits, numbered copies with a suffix: see `identity.number_duplicates`. Keys of
        another form, which a dataset in a file may have, are equal only as a whole.

    Returns
    -------
    hashes : (n,) uint64
        Numbers, since sorting 1.2 million strings takes seconds.
    """
    try:
        content = bytes.fromhex(re.sub(r"-\d+", "", " ".join(keys.tolist())))
    except ValueError:
        content = b""
    if len(content) != HASH_BYTES * len(keys):
        digests = (sha256(key.encode(errors="surrogatepass")).digest() for key in keys.tolist())
        content = b"".join(digest[:HASH_BYTES] for digest in digests)
    return np.frombuffer(content, dtype=">u8").astype(np.uint64)


def are_among(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (n,) bool: whether each image of `keys` has a copy among the images of `others`."""
    return np.isin(content_hashes(keys), content_hashes(others))


def are_repeats(keys: np.ndarray) -> np.ndarray:
    """Return (n,) bool: whether each image is a copy of another one with a smaller key."""
    order = np.argsort(keys, kind="stable")
    _, firsts = np.unique(content_hashes(keys)[order], return_index=True)
    repeats = np.ones(len(keys), dtype=bool)
    repeats[order[firsts]] = False
    return repeats


def label_conflicts(keys: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the content hashes of the images that have copies with different labels.

    Returns
    -------
    hashes : (m,) uint64
        Sorted, once each.
    """
    hashes = content_hashes(keys)
    order = np.lexsort((labels, hashes))
    hashes, labels = hashes[order], labels[order]
    conflicts = (hashes[1:] == hashes[:-1]) & (labels[1:] != labels[:-1])
    return np.unique(hashes[1:][conflicts])


def label_conflict_notes(
    train_keys: np.ndarray,
    train_labels: np.ndarray,
    test_keys: np.ndarray,
    test_labels: np.ndarray,
) -> tuple[str, ...]:
    """Return one note that counts the images with different labels, or none.

    Parameters
    ----------
    train_keys, train_labels : (n,) str, (n,) int
        Everything that a pipeline may learn from.
    test_keys, test_labels : (m,) str, (m,) int
    """
    everywhere = label_conflicts(
        np.concatenate([train_keys, test_keys]), np.concatenate([train_labels, test_labels])
    )
    if not len(everywhere):
        return ()
    in_train = label_conflicts(train_keys, train_labels)
    in_test = label_conflicts(test_keys, test_labels)
    across = np.setdiff1d(everywhere, np.union1d(in_train, in_test))
    return (
        f"images with copies under different labels: {len(in_train):,} in train, "
        f"{len(in_test):,} in test, {len(across):,} between train and test",
    )
