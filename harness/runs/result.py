"""What a run leaves behind: the scores of a split, and the result that every table is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

FORMAT = 1  # of result.json and spec.json; a reader refuses any other number

# What a reader of result.json accepts, NaN never.
Finite = Annotated[float, Gt(-inf), Lt(inf)]
Amount = Annotated[float, Ge(0), Lt(inf)]
Percent = Annotated[float, Ge(0), Le(100)]
Count = Annotated[int, Ge(0), Lt(2**63)]
Seed = Annotated[int, Ge(-(2**63)), Lt(2**64)]


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, in the unit of the figure that it belongs to."""

    low: Finite
    high: Finite

    def in_percent(self) -> Interval:
        """Return the interval in percent; this one holds fractions."""
        return Interval(100 * self.low, 100 * self.high)


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval, both in percent for errors."""

    value: Finite
    interval: Interval


@dataclass(frozen=True)
class Scores:
    """The scores of one split, from which every metric is computed.

    Parameters
    ----------
    keys : (n,) str
        Identity of each image.
    labels : (n,) int64
        True classes.
    scores : (n, classes) float32
        Margins or log-probabilities; higher is likelier.
    in_train : (n,) bool, optional
        Whether the image is also among those of train or tune. None: not on record.
    """

    keys: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    in_train: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys)


def any_in_train(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return (n,) bool: whether each image is in train of any run; None if not on record for all.

    Parameters
    ----------
    parts : sequence of (n,) bool or None
        `Scores.in_train` of each run, of the same images in the same order.
    """
    known = [part for part in parts if part is not None]
    return np.any(known, axis=0) if known and len(known) == len(parts) else None


@dataclass(frozen=True)
class Copies:
    """Test images that a pipeline may have learned, or that count twice, and the errors without.

    Parameters
    ----------
    in_train : int
        Test images that are also among those of train or tune, by key.
    repeats : int
        Test images that repeat another one; the first of equal ones is not counted.
    n : int
        Test images that are neither.
    top1_error, top5_error : Estimate or None
        Over those. None where there are no copies, so that the errors over all images stand; where
        nothing is left; and where the error over all images is None.
    """

    in_train: Count
    repeats: Count
    n: Count
    top1_error: Estimate | None
    top5_error: Estimate | None

    @property
    def any(self) -> bool:
        return self.in_train + self.repeats > 0


@dataclass(frozen=True)
class Cost:
    """What one run cost, or the mean over the runs of several seeds.

    A figure that could not be counted is None; `missing_reasons` of the owner says why.

    Parameters
    ----------
    fit_seconds, score_seconds : float
        Wall-clock time. Fit includes tuning, and what a cache saved as if it had been spent.
    cached_seconds : float
        The part of `fit_seconds` that a cache saved.
    images_per_second : float
        Rate of scoring.
    fit_cpu_seconds, score_cpu_seconds, cached_cpu_seconds : float
        Processor time, user and system, of all processes with their threads and children.
    fit_device_seconds, score_device_seconds : float
        Number of accelerators times the seconds that they were in use.
    peak_memory_mb : float
        Largest resident memory of one process, sampled during the run.
    params_millions : float
        Parameters of a network.
    gflops_per_image : float
        Over all views; 1 multiply-add = 2 FLOPs.
    model_bytes : float
        Size of the arrays in the saved state.
    """

    fit_seconds: Amount
    peak_memory_mb: Amount
    cached_seconds: Amount = 0.0
    score_seconds: Amount | None = None
    images_per_second: Amount | None = None
    fit_cpu_seconds: Amount | None = None
    score_cpu_seconds: Amount | None = None
    cached_cpu_seconds: Amount | None = None
    fit_device_seconds: Amount | None = None
    score_device_seconds: Amount | None = None
    params_millions: Amount | None = None
    gflops_per_image: Amount | None = None
    model_bytes: Amount | None = None


COST_FIELDS = tuple(each.name for each in fields(Cost))


@dataclass(frozen=True)
class Result:
    """One finished run, as `result.json` holds it. Errors are in percent, times in seconds.

    A figure that could not be measured is None, and `missing_reasons` says why.
    """

    run_id: str
    pipeline: str  # resolved spec: every parameter written out
    name: str  # the pipeline's bare name
    label: str  # the name with the parameters that differ from their default
    family: str
    dataset: str  # resolved spec
    title: str  # the dataset as tables call it
    seed: Seed
    classes: Count
    n_train: Count
    n_tune: Count
    n_test: Count
    n_fit: Count  # labeled images that the scored model was fitted on
    refitted: bool  # on train + tune, after tuning
    limit: Count | None
    limit_test: Count | None
    tune: Count | None  # images per class asked for with `tune`; None: the dataset's own number
    train_digest: str  # of train + tune
    test_digest: str
    identity: str
    source_hash: str
    test_evaluations: Count  # finished runs of this pipeline on this test split, including this one

    top1_error: Estimate | None  # None: the run stopped after tune and never enters a comparison
    top5_error: Estimate | None  # None also for fewer than six classes
    mean_class_error: Percent | None
    tune_top1_error: Percent | None
    cost: Cost

    notes: tuple[str, ...]
    dataset_notes: tuple[str, ...]
    missing_reasons: Mapping[str, str]
    machine: Mapping[str, str | int | float | None]
    versions: Mapping[str, str]
    started: str  # ISO 8601, UTC
    finished: str
    command: str
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    views: Count | None = None  # averaged per test image; None: the members of an ensemble differ
    augmentation: tuple[str, ...] | None = None  # of the training images; None: see the parameters
    copies: Copies | None = None  # None: not on record, or the run stopped after tune

    def to_flat_dict(self) -> dict[str, Any]:
        """Return every figure by name, without nesting, for JSON lines, CSV and data frames."""
        flat: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "cost":
                flat |= vars(value)
            elif each.name == "copies":
                flat |= flat_copies(value)
            elif each.name in ("top1_error", "top5_error"):
                flat |= flat_estimate(each.name, value)
            else:
                flat[each.name] = value
        return flat

    def to_frame(self) -> Any:
        """Return one row as a pandas DataFrame."""
        return results_frame([self])

    def _repr_html_(self) -> str:
        frame: Any = results_frame([self])[list(SHOWN)].T
        return str(frame.to_html(header=False))


SHOWN = (
    "run_id", "name", "title", "seed", "n_test", "top1_error", "top1_error_ci_low",
    "top1_error_ci_high", "top5_error", "tune_top1_error", "fit_seconds", "score_seconds",
)  # fmt: skip


def flat_estimate(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """Return the value as `name`, and its interval as `<name>_ci_low` and `<name>_ci_high`."""
    if estimate is None:
        return {name: None, f"{name}_ci_low": None, f"{name}_ci_high": None}
    low, high = estimate.interval.low, estimate.interval.high
    return {name: estimate.value, f"{name}_ci_low": low, f"{name}_ci_high": high}


def flat_copies(copies: Copies | None) -> dict[str, float | None]:
    """Return the counts, and the errors without copies with their intervals."""
    if copies is None:
        counts = dict.fromkeys(("n_test_in_train", "n_test_repeats", "n_test_deduplicated"))
    else:
        counts = {
            "n_test_in_train": copies.in_train,
            "n_test_repeats": copies.repeats,
            "n_test_deduplicated": copies.n,
        }
    return {
        **counts,
        **flat_estimate("top1_error_deduplicated", copies.top1_error if copies else None),
        **flat_estimate("top5_error_deduplicated", copies.top5_error if copies else None),
    }


def results_frame(results: Sequence[Result]) -> Any:
    """Return a pandas DataFrame with one row per result."""
    import pandas as pd

    nested = ["curves", "machine", "versions", "missing_reasons"]
    return pd.DataFrame([result.to_flat_dict() for result in results]).drop(columns=nested)
