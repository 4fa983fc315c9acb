"""What a run leaves: the scores of a split, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Scores:
    """The scores of one split, kept for ever: every metric is computed from these arrays.

    keys (n,), labels (n,) int64, scores (n, classes) float32: margins or log-probabilities.
    """

    keys: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Result:
    """One finished run, as `result.json` holds it. Errors are in percent, times in seconds.

    A figure that could not be had is None, and `absent` says why.
    """

    run_id: str
    pipeline: str  # resolved spec: every parameter written out
    name: str  # the pipeline's bare name
    family: str
    dataset: str  # resolved spec
    title: str  # the dataset as tables call it
    seed: int
    classes: int
    n_train: int
    n_tune: int
    n_test: int
    n_fit: int  # labeled images that the scored model was fitted on
    refitted: bool  # on train + tune, after tuning
    limit: int | None
    limit_test: int | None
    tune: int | None  # images a class asked for with --tune; None: the dataset's own
    train_digest: str  # of train + tune
    test_digest: str
    identity: str
    source_hash: str
    test_looks: int  # finished runs of this pipeline on this test split, this one included

    top1_error: (
        float | None
    )  # None: the run stopped after tune (--no-test) and never enters a comparison
    top1_error_ci_low: float | None  # 95 % Wilson
    top1_error_ci_high: float | None
    top5_error: float | None
    top5_error_ci_low: float | None
    top5_error_ci_high: float | None
    mean_class_error: float | None
    tune_top1_error: float | None

    fit_seconds: float  # tuning included, as if nothing had been cached
    score_seconds: float | None
    cached_seconds: float  # the part of fit_seconds that a cache saved
    images_per_second: float | None  # scored
    peak_memory_mb: float  # resident, sampled over the run
    params_millions: float | None
    gflops_per_image: float | None  # 1 multiply-add = 2 FLOPs, all views

    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    absent: Mapping[str, str]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    started: str  # ISO 8601, UTC
    finished: str
    command: str
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    views: int | None = (
        None  # of a test image, averaged; None: recorded before this was kept, or members of an ensemble differ
    )
    augmentation: tuple[str, ...] | None = (
        None  # of the training images; None: its parameters tell, or nothing
    )
    # Of processor, user and system, of all processes with their threads and children; cached as for fit_seconds. None, here and below, also
    # where a run was recorded before this was kept.
    fit_cpu_seconds: float | None = None
    score_cpu_seconds: float | None = None
    cached_cpu_seconds: float | None = None
    fit_device_seconds: float | None = None  # accelerators times the seconds that they were held
    score_device_seconds: float | None = None
    model_bytes: int | None = None  # of the arrays of the saved state

    def to_frame(self) -> Any:
        """One row as a pandas DataFrame."""
        from harness.comparison.table import results_frame

        return results_frame([self])

    def _repr_html_(self) -> str:
        from harness.comparison.table import results_html

        return results_html([self])
