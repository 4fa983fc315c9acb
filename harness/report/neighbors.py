"""The training images nearest to a test image in the last hidden layer of a pipeline.

As in the right half of Figure 4 of Krizhevsky et al. 2012.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harness.data.identity import select_class_balanced
from harness.data.split import Batch, Split
from harness.engine.scoring import SCORE_BATCH
from harness.progress import progress

NEAREST = 6  # per test image, as in the paper
SEARCHED = 5000  # images: seconds for a small network, minutes for AlexNet on a CPU


@dataclass(frozen=True)
class Neighbors:
    """The nearest training images of a few test images.

    Parameters
    ----------
    queries : (q,) int64
        Positions in the test split.
    nearest : (q, k) int64
        Positions in the training split, the nearest first.
    searched : int
        Number of training images that were searched.
    """

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
    """Find the nearest training images by Euclidean distance, with one batch in memory at a time.

    Parameters
    ----------
    embed : callable
        Batch -> (n, features) float32.
    test, train : Split
    queries : (q,) int
        Positions in the test split.
    device : torch.device
    searched : int
        For a larger training split, a class-balanced subset of this size is searched; it is chosen
        by key.
    """
    readable = np.flatnonzero(train.rows >= 0)
    if len(readable) > searched:
        # With fewer images than classes, select_class_balanced would have to leave classes out.
        total = max(searched, train.num_classes)
        chosen, _ = select_class_balanced(train.keys[readable], train.labels[readable], total=total)
        readable = readable[chosen]
    candidates, wanted = train.take(readable), test.take(np.asarray(queries))
    with torch.inference_mode():
        targets = torch.cat([embed(batch) for batch in wanted.batches(SCORE_BATCH, device=device)])
        distances = torch.empty(len(targets), len(candidates))
        batches = progress(
            candidates.batches(SCORE_BATCH, device=device),
            label="neighbors",
            total=-(-len(candidates) // SCORE_BATCH),
        )
        for batch in batches:
            # Differences first: the faster form by products loses the digits of near neighbors.
            distance = torch.cdist(
                targets, embed(batch), compute_mode="donot_use_mm_for_euclid_dist"
            )
            distances[:, batch.index.cpu()] = distance.cpu()
    order = distances.topk(min(NEAREST, len(candidates)), largest=False).indices.numpy()
    return Neighbors(np.asarray(queries), readable[order], len(candidates))
