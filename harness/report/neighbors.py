"""The training images that lie nearest to a test image in a pipeline's last hidden layer: the right half of Figure 4 of Krizhevsky et al. 2012."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harness.data.identity import class_balanced
from harness.data.split import Batch, Split
from harness.engine.scoring import SCORE_BATCH
from harness.progress import progress

NEAREST = 6  # of each test image, as in the paper
SEARCHED = 5000  # training images that are looked through unless told otherwise: seconds for a small network, minutes for AlexNet on a CPU


@dataclass(frozen=True)
class Neighbors:
    """queries (q,) positions in test; nearest (q, k) positions in train, the nearest first; how many of train were looked through."""

    queries: np.ndarray
    nearest: np.ndarray
    searched: int


def nearest_images(
    embed: Callable[[Batch], torch.Tensor],
    test: Split,
    train: Split,
    queries: Sequence[int] | np.ndarray,
    device: torch.device,
    *,
    searched: int = SEARCHED,
) -> Neighbors:
    """By Euclidean distance. Of a larger train a class-balanced part of `searched` images, chosen by key; memory holds one batch of features."""
    readable = np.flatnonzero(train.rows >= 0)
    if len(readable) > searched:
        # fewer images than classes: as many of the classes as there is room for
        chosen, _ = class_balanced(
            train.keys[readable], train.labels[readable], total=max(searched, train.num_classes)
        )
        readable = readable[chosen]
    part, wanted = train.take(readable), test.take(np.asarray(queries))
    with torch.inference_mode():
        targets = torch.cat([embed(batch) for batch in wanted.batches(SCORE_BATCH, device=device)])
        distances = torch.empty(len(targets), len(part))
        batches = progress(
            part.batches(SCORE_BATCH, device=device),
            label="neighbors",
            total=-(-len(part) // SCORE_BATCH),
        )
        for batch in batches:
            apart = torch.cdist(targets, embed(batch), compute_mode="donot_use_mm_for_euclid_dist")
            distances[:, batch.index.cpu()] = apart.cpu()
    order = distances.topk(min(NEAREST, len(part)), largest=False).indices.numpy()
    return Neighbors(np.asarray(queries), readable[order], len(part))
