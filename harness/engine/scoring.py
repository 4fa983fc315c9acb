"""A fitted pipeline's scores of a split, computed by all processes together."""

from __future__ import annotations

import numpy as np
import torch

from harness.contract import Pipeline, Split
from harness.engine.distributed import Processes
from harness.engine.observer import RunObserver
from harness.engine.resources import Stopwatch, Usage
from harness.errors import UserError
from harness.runs.result import Scores

SCORE_BATCH = 128  # images


def score(
    pipeline: Pipeline, split: Split, processes: Processes, *, observer: RunObserver, label: str
) -> tuple[Scores, Usage]:
    """Score a split; every process scores its share.

    Images that cannot be decoded get a row of -inf, which the rule on ties counts as wrong.

    Parameters
    ----------
    label : str
        What the progress display calls the work.

    Returns
    -------
    Scores
        Of all images, on every process.
    Usage
        By this process, without a warm-up batch.

    Raises
    ------
    UserError
        If the pipeline returns another shape than (batch, classes), or NaN.
    """
    positions = np.flatnonzero(split.rows >= 0)
    readable = split.take(positions)
    share = readable.sharded(processes.rank, processes.world_size)
    _warm_up(pipeline, readable, processes.device)
    stopwatch = Stopwatch(processes.device)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    share_size = len(range(processes.rank, len(readable), processes.world_size))
    batches = share.batches(SCORE_BATCH, device=processes.device)
    for batch in observer.progress(batches, label=label, total=-(-share_size // SCORE_BATCH)):
        rows = pipeline.scores(batch)
        _require_shape(rows, len(batch), split.num_classes)
        parts.append((batch.index.cpu().numpy(), rows.detach().to("cpu", torch.float32).numpy()))
    gathered = processes.gather(parts)
    usage = stopwatch.usage
    scores = np.full((len(split), split.num_classes), -np.inf, dtype=np.float32)
    for parts_of_process in gathered:
        for index, rows_of_batch in parts_of_process:
            scores[positions[index]] = rows_of_batch
    if bad := int(np.isnan(scores).any(axis=1).sum()):
        raise UserError(f"the pipeline gave NaN scores for {bad} of {len(split)} images")
    return Scores(split.keys, split.labels, scores), usage


def _warm_up(pipeline: Pipeline, split: Split, device: torch.device) -> None:
    """Score one batch outside the clock, since a first batch pays for compilation and caches."""
    first = split.take(np.arange(min(len(split), SCORE_BATCH)))
    for batch in first.batches(SCORE_BATCH, device=device):
        pipeline.scores(batch)


def _require_shape(rows: torch.Tensor, images: int, classes: int) -> None:
    if tuple(rows.shape) != (images, classes):
        raise UserError(
            f"the pipeline's scores are {tuple(rows.shape)} for {images} images, "
            f"not ({images}, {classes})"
        )
