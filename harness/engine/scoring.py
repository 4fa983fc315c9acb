"""A fitted pipeline's scores of a split, by all processes together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from harness.contract import Pipeline
from harness.data.split import Split
from harness.engine.distributed import Processes
from harness.engine.resources import Spent, Stopwatch
from harness.errors import UserError
from harness.runs.result import Scores

SCORE_BATCH = 128  # images


def score(
    pipeline: Pipeline,
    split: Split,
    group: Processes,
    *,
    progress: Callable[..., Iterator[Any]],
    label: str,
) -> tuple[Scores, Spent]:
    """(the scores of a split, what this process spent). Every process scores its share; images that cannot be decoded get a row of -inf, which
    is wrong by the rule on ties. Raises UserError when the pipeline returns another shape or NaN.
    """
    readable = split.take(np.flatnonzero(split.rows >= 0))
    positions = np.flatnonzero(split.rows >= 0)
    share = readable.sharded(group.rank, group.world_size)
    for batch in readable.take(np.arange(min(len(readable), SCORE_BATCH))).batches(
        SCORE_BATCH, device=group.device
    ):
        pipeline.scores(batch)  # warm-up, outside the clock
    stopwatch = Stopwatch(group.device)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    steps = -(-len(range(group.rank, len(readable), group.world_size)) // SCORE_BATCH)
    for batch in progress(
        share.batches(SCORE_BATCH, device=group.device), label=label, total=steps
    ):
        rows = pipeline.scores(batch)
        if tuple(rows.shape) != (len(batch), split.num_classes):
            raise UserError(
                f"the pipeline's scores are {tuple(rows.shape)} for {len(batch)} images, not ({len(batch)}, {split.num_classes})"
            )
        parts.append((batch.index.cpu().numpy(), rows.detach().to("cpu", torch.float32).numpy()))
    gathered = [part for parts_of_one in group.gather(parts) for part in parts_of_one]
    spent = stopwatch.spent
    scores = np.full((len(split), split.num_classes), -np.inf, dtype=np.float32)
    for index, rows_of_batch in gathered:
        scores[positions[index]] = rows_of_batch
    if bad := int(np.isnan(scores).any(axis=1).sum()):
        raise UserError(f"the pipeline gave NaN scores for {bad} of {len(split)} images")
    return Scores(split.keys, split.labels, scores), spent
