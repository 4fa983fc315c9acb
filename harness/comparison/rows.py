"""The rows of a comparison: one pipeline each, with its errors, its cost and its deltas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from harness.runs.result import Cost, Estimate, Interval, flat_estimate


@dataclass(frozen=True)
class Delta:
    """Top-1 error of a row minus that of the reference, in points: negative is better.

    Parameters
    ----------
    points : float
    interval : Interval
        Paired bootstrap over test images.
    p : float
        Exact sign-flip test; for one seed each this is McNemar's test.
    p_holm : float
        p adjusted for the number of rows that are tested.
    min_detectable : float or None
        Smallest difference that would be significant at 5 %, given how often the two disagree.
        None: they disagree on too few images for any.
    seed_se : float or None
        Standard error from the seeds of both rows; None where one of them has a single seed.
    image_se : float
        Standard error from the test images.
    """

    points: float
    interval: Interval
    p: float
    p_holm: float
    min_detectable: float | None
    seed_se: float | None
    image_se: float


@dataclass(frozen=True)
class MeanClassDelta:
    """Mean per-class error of a row minus that of the reference, in points.

    Parameters
    ----------
    points : float
    over_images : Interval
        For other test images of the same classes.
    over_classes : Interval
        For other classes.
    """

    points: float
    over_images: Interval
    over_classes: Interval


@dataclass(frozen=True)
class Deduplicated:
    """A row over the test images that are neither in train nor repeated, in percent and points.

    Parameters
    ----------
    n : int
    top1_error : float
    delta : float or None
        Against the reference; None, as the interval, in the reference itself.
    interval : Interval or None
        Paired bootstrap over these images.
    """

    n: int
    top1_error: float
    delta: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Row:
    """One pipeline of a comparison: the mean over its runs, one per seed.

    Errors are in percent. The two sources of variation of the top-1 error are kept apart:
    `seed_sd` is over trainings on the same images, `image_se` over test images.

    Parameters
    ----------
    label : str
        What tables call the row, unique within its comparison.
    n_labeled : int
        Images of train and tune together.
    augmentation : tuple of str or None
        Of the training images. None, here and in `views`: not on record.
    test_evaluations : int
        Finished runs of this pipeline on this test split; the largest count among the row's runs.
    top1_error : Estimate
        With a Wilson interval.
    exact_interval : Interval
        The same by Clopper and Pearson.
    seed_sd : float or None
        Standard deviation over seeds; None for one seed.
    missing_reasons : mapping
        Name of a figure of `cost` that is None -> why.
    on_frontier : bool
        Whether no other row is as accurate and as cheap to fit, and better in one of the two.
    delta, mean_class_delta, top5_delta
        Against the reference; None in the reference itself.
    deduplicated : Deduplicated or None
        None where no test image is a copy, or where that is not on record.
    """

    pipeline: str
    name: str
    label: str
    family: str
    notes: tuple[str, ...]
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    source_hashes: tuple[str, ...]
    finished: tuple[str, ...]
    n_fit: int
    n_labeled: int
    classes: int
    augmentation: tuple[str, ...] | None
    views: int | None
    models: int
    test_evaluations: int
    top1_error: Estimate
    exact_interval: Interval
    seed_sd: float | None
    image_se: float
    top5_error: float | None
    mean_class_error: float
    cost: Cost
    missing_reasons: Mapping[str, str] = field(default_factory=dict)
    on_frontier: bool = False
    delta: Delta | None = None
    mean_class_delta: MeanClassDelta | None = None
    top5_delta: float | None = None
    deduplicated: Deduplicated | None = None

    def to_flat_dict(self) -> dict[str, Any]:
        """Return every figure by name, without nesting, for JSON, CSV and data frames."""
        nested: dict[str, dict[str, Any]] = {
            "top1_error": flat_estimate("top1_error", self.top1_error),
            "exact_interval": _flat_interval("top1_error_exact", self.exact_interval),
            "seed_sd": {"top1_error_sd": self.seed_sd},
            "image_se": {"top1_error_se": self.image_se},
            "cost": asdict(self.cost),
            "missing_reasons": {"missing_reasons": dict(self.missing_reasons)},
            "delta": _flat_delta(self.delta),
            "mean_class_delta": _flat_mean_class_delta(self.mean_class_delta),
            "deduplicated": _flat_deduplicated(self.deduplicated),
        }
        flat: dict[str, Any] = {}
        for attribute in fields(self):
            name = attribute.name
            flat |= nested.get(name) or {name: getattr(self, name)}
        return flat


def _flat_interval(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _flat_delta(delta: Delta | None) -> dict[str, float | None]:
    return {
        "top1_delta": delta.points if delta else None,
        **_flat_interval("top1_delta", delta.interval if delta else None),
        "top1_delta_seed_se": delta.seed_se if delta else None,
        "top1_delta_image_se": delta.image_se if delta else None,
        "p_value": delta.p if delta else None,
        "p_holm": delta.p_holm if delta else None,
        "min_detectable": delta.min_detectable if delta else None,
    }


def _flat_mean_class_delta(delta: MeanClassDelta | None) -> dict[str, float | None]:
    over_classes = delta.over_classes if delta else None
    return {
        "mean_class_delta": delta.points if delta else None,
        **_flat_interval("mean_class_delta", delta.over_images if delta else None),
        **_flat_interval("mean_class_delta_over_classes", over_classes),
    }


def _flat_deduplicated(deduplicated: Deduplicated | None) -> dict[str, float | None]:
    return {
        "n_test_deduplicated": deduplicated.n if deduplicated else None,
        "top1_error_deduplicated": deduplicated.top1_error if deduplicated else None,
        "top1_delta_deduplicated": deduplicated.delta if deduplicated else None,
        **_flat_interval(
            "top1_delta_deduplicated", deduplicated.interval if deduplicated else None
        ),
    }


def row_labels(labels: Sequence[str], run_ids: Sequence[Sequence[str]]) -> list[str]:
    """Return the labels; equal ones are followed by the ids of their runs."""
    return [
        f"{label} ({', '.join(ids)})" if labels.count(label) > 1 else label
        for label, ids in zip(labels, run_ids, strict=True)
    ]


def format_averaging(views: int | None, models: int | None) -> str:
    """Return how many views and models were averaged at test time, `?` for what is unknown."""
    return f"{views or '?'} x {models or '?'}"


def format_augmentation(kinds: Sequence[str] | None) -> str:
    """Return the kinds of augmentation of the training images, `?` where they are unknown."""
    if kinds is None:
        return "?"
    return ", ".join(kinds) or "none"
