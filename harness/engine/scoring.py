"""A fitted pipeline's scores of a split, computed by all processes together."""

from __future__ import annotations

import numpy as np
import torch

from harness.contract import Pipeline, Split
from harness.engine.distributed import Processes
from harness.engine.observer import RunObserver
from harness.engine.outputs import batch_scores, count_nan_rows
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
        If the pipeline returns NaN, or what `outputs.batch_scores` refuses.
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
        rows = batch_scores(pipeline, batch, split.num_classes)
        parts.append((batch.index.cpu().numpy(), rows.numpy()))
    gathered = processes.gather(parts)
    usage = stopwatch.usage
    scores = np.full((len(split), split.num_classes), -np.inf, dtype=np.float32)
    for parts_of_process in gathered:
        for index, rows_of_batch in parts_of_process:
            scores[positions[index]] = rows_of_batch
    if bad := count_nan_rows(scores):
        raise UserError(f"the pipeline gave NaN scores for {bad} of {len(split)} images")
    return Scores(split.keys, split.labels, scores), usage


def equal_scores_note(scores: Scores) -> str:
    """Return how many images score alike for all classes; empty where none does.

    Ties count as wrong, so that an error of 100 % may say that nothing was measured.
    """
    highest, lowest = scores.scores.max(axis=1), scores.scores.min(axis=1)
    equal = int(((highest == lowest) & np.isfinite(highest)).sum())
    if not equal or scores.scores.shape[1] == 1:
        return ""
    return (
        f"{equal:,} of {len(scores):,} test images have equal scores for all classes, "
        "which counts as wrong"
    )


def _warm_up(pipeline: Pipeline, split: Split, device: torch.device) -> None:
    """Score one batch outside the clock, since a first batch pays for compilation and caches."""
    first = split.take(np.arange(min(len(split), SCORE_BATCH)))
    for batch in first.batches(SCORE_BATCH, device=device):
        batch_scores(pipeline, batch, split.num_classes)
