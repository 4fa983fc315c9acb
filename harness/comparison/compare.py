"""Finished runs of two or more pipelines on one test split, compared image by image.

Reads run folders only, so it imports neither torch nor mlflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.comparison.copies import copies_warning, find_copies, without_copies
from harness.comparison.cost import frontier, mean_cost
from harness.comparison.rows import (
    Delta,
    MeanClassDelta,
    Row,
    format_averaging,
    row_labels,
)
from harness.comparison.single_view import at_one_view
from harness.comparison.table import ONE_VIEW, Comparison
from harness.metrics.errors import top_k_wrong
from harness.metrics.intervals import (
    bootstrap_within_classes,
    class_means,
    clopper_pearson,
    holm,
    paired_bootstrap,
    sampling_spread,
    seed_spread,
    sign_flip_test,
    wilson,
)
from harness.metrics.verification import verified_scores
from harness.runs.protocol import protocol
from harness.runs.record import Record
from harness.runs.result import Estimate, Result, any_in_train
from harness.runs.select import require_same_images


def compare_records(
    groups: Sequence[Sequence[Record]], *, allow_different_train: bool = False
) -> Comparison:
    """Compare records; the first group is the reference of every delta.

    Parameters
    ----------
    groups : sequence of sequences of Record
        One group per row, one record per seed.
    allow_different_train : bool
        Compare runs that were fitted on different images, with a warning.

    Raises
    ------
    UserError
        If test splits or, unless allowed, training images differ, or a record is damaged.
    """
    records = [record for group in groups for record in group]
    warnings = require_same_images(records, allow_different_train=allow_different_train)
    mistakes = [_mistakes(group) for group in groups]
    rows = _rows(groups, mistakes)
    copies = find_copies(mistakes[0].keys, [m.in_train for m in mistakes])
    copies_note = None
    if copies:
        rows = without_copies(rows, [m.wrong for m in mistakes], copies)
        copies_note = copies_warning(rows, copies)
    one_view_groups, missing = at_one_view(groups)
    warnings = [
        *([copies_note] if copies_note else []),
        *warnings,
        *_limit_warnings(records[0].result),
        *_row_warnings(rows),
        *(f"{ONE_VIEW}: {reason}" for reason in missing),
        *records[0].result.dataset_notes,
        *_checksum_warnings(records),
    ]
    one_view = (
        compare_records(one_view_groups, allow_different_train=allow_different_train)
        if one_view_groups
        else None
    )
    return Comparison(
        title=records[0].result.title,
        dataset=records[0].result.dataset,
        test_digest=records[0].result.test_digest,
        n_test=records[0].result.n_test,
        rows=tuple(rows),
        warnings=tuple(warnings),
        machines=tuple(sorted({_machine(record.result) for record in records})),
        one_view=one_view,
        copies=copies_note,
    )


@dataclass(frozen=True)
class _Mistakes:
    """What the runs of one row get wrong, in order of key: columns of all rows are one image.

    Parameters
    ----------
    keys : (n,) str
    labels : (n,) int64
    wrong : (seeds, n) bool
        Whether the top-1 answer is wrong.
    in_train : (n,) bool or None
        Whether the image is also in train or tune of any run; None: not on record.
    """

    keys: np.ndarray
    labels: np.ndarray
    wrong: np.ndarray
    in_train: np.ndarray | None


def _mistakes(group: Sequence[Record]) -> _Mistakes:
    wrong, in_train = [], []
    for record in group:
        scores = verified_scores(record)
        order = np.argsort(scores.keys)
        wrong.append(top_k_wrong(scores, 1)[order])
        in_train.append(None if scores.in_train is None else scores.in_train[order])
    return _Mistakes(
        scores.keys[order], scores.labels[order], np.stack(wrong), any_in_train(in_train)
    )


def _rows(groups: Sequence[Sequence[Record]], mistakes: Sequence[_Mistakes]) -> list[Row]:
    """Return every row with its label, its place on the frontier and its deltas."""
    rows = [_row(group, m.wrong) for group, m in zip(groups, mistakes, strict=True)]
    labels = row_labels([row.label for row in rows], [row.run_ids for row in rows])
    on_frontier = frontier([(row.top1_error.value, row.cost.fit_seconds) for row in rows])
    rows = [
        replace(row, label=label, on_frontier=on)
        for row, label, on in zip(rows, labels, on_frontier, strict=True)
    ]
    reference, *others = rows
    compared = [
        _with_deltas(row, m, reference, mistakes[0])
        for row, m in zip(others, mistakes[1:], strict=True)
    ]
    return [reference, *_with_holm(compared)]


def _row(records: Sequence[Record], wrong: np.ndarray) -> Row:
    results = [record.result for record in records]
    n = wrong.shape[1]
    top1_error = 100 * float(wrong.mean())
    n_wrong = round(top1_error * n / 100)
    seed_sd = seed_spread(wrong)
    top5_errors = [result.top5_error.value for result in results if result.top5_error]
    cost, missing_reasons = mean_cost(results)
    last = results[-1]
    return Row(
        pipeline=last.pipeline,
        name=last.name,
        label=last.label,
        family=last.family,
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        run_ids=tuple(result.run_id for result in results),
        seeds=tuple(result.seed for result in results),
        source_hashes=tuple(result.source_hash for result in results),
        finished=tuple(result.finished for result in results),
        n_fit=last.n_fit,
        n_labeled=last.n_train + last.n_tune,
        classes=last.classes,
        **vars(protocol(records[-1])),
        test_evaluations=max(result.test_evaluations for result in results),
        top1_error=Estimate(top1_error, wilson(n_wrong, n).in_percent()),
        exact_interval=clopper_pearson(n_wrong, n).in_percent(),
        seed_sd=None if seed_sd is None else 100 * seed_sd,
        image_se=100 * sampling_spread(wrong),
        top5_error=float(np.mean(top5_errors)) if len(top5_errors) == len(results) else None,
        mean_class_error=float(np.mean([result.mean_class_error or 0.0 for result in results])),
        cost=cost,
        missing_reasons=missing_reasons,
    )


def _with_deltas(
    row: Row, mistakes: _Mistakes, reference: Row, reference_mistakes: _Mistakes
) -> Row:
    """Return the row with its deltas to the reference: image by image, over means of seeds."""
    difference = mistakes.wrong.mean(axis=0) - reference_mistakes.wrong.mean(axis=0)
    by_class = class_means(difference, mistakes.labels)
    # The sign-flip test takes whole numbers: `scale` is the difference of one image.
    scale = math.lcm(len(mistakes.wrong), len(reference_mistakes.wrong))
    p, least = sign_flip_test(np.rint(scale * difference).astype(np.int64))
    delta = Delta(
        points=row.top1_error.value - reference.top1_error.value,
        interval=paired_bootstrap(difference).in_percent(),
        p=p,
        p_holm=p,  # until all rows are known, see _with_holm
        min_detectable=None if least is None else 100 * least / (scale * len(difference)),
        seed_se=_seed_standard_error(row, reference),
        image_se=100 * sampling_spread(difference[None]),
    )
    mean_class_delta = MeanClassDelta(
        100 * float(by_class.mean()),
        bootstrap_within_classes(difference, mistakes.labels).in_percent(),
        paired_bootstrap(by_class).in_percent(),
    )
    top5_delta = None
    if row.top5_error is not None and reference.top5_error is not None:
        top5_delta = row.top5_error - reference.top5_error
    return replace(row, delta=delta, mean_class_delta=mean_class_delta, top5_delta=top5_delta)


def _seed_standard_error(row: Row, reference: Row) -> float | None:
    """Return the standard error of the delta over seeds; None where a row has one seed."""
    if row.seed_sd is None or reference.seed_sd is None:
        return None
    variances = (row.seed_sd**2 / len(row.seeds), reference.seed_sd**2 / len(reference.seeds))
    return math.sqrt(sum(variances))


def _with_holm(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their p adjusted for how many of them are tested."""
    deltas = [row.delta for row in rows if row.delta]
    adjusted = holm([delta.p for delta in deltas])
    return [
        replace(row, delta=replace(delta, p_holm=p))
        for row, delta, p in zip(rows, deltas, adjusted, strict=True)
    ]


def _row_warnings(rows: Sequence[Row]) -> list[str]:
    """Return in what the rows differ that makes them less comparable."""
    warnings = []
    if len({row.n_fit for row in rows}) > 1:
        n_fit = _labels_by_value(rows, lambda row: f"{row.n_fit:,}")
        warnings.append(f"fitted on different numbers of labeled images: {n_fit}")
    if len({(row.views, row.models) for row in rows}) > 1:
        averaged = _labels_by_value(rows, lambda row: format_averaging(row.views, row.models))
        warnings.append(
            f"different views x models averaged at test time: {averaged}; for a like-for-like "
            "comparison take runs with views=1 of one model each"
        )
    if any(len(row.seeds) > 1 for row in rows):
        warnings.append(
            "several seeds: errors and deltas are means; p is that of the exact sign-flip test, "
            "which for one seed is McNemar's"
        )
    return warnings


def _labels_by_value(rows: Sequence[Row], value: Callable[[Row], str]) -> str:
    """Return `1,000 (a, b), 900 (c)`: rows with the same value together."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        labels.setdefault(value(row), []).append(row.label)
    return ", ".join(f"{text} ({', '.join(names)})" for text, names in labels.items())


def _limit_warnings(result: Result) -> list[str]:
    warnings = []
    if result.limit is not None:
        labeled = result.n_train + result.n_tune
        warnings.append(
            f"limited to {labeled:,} labeled images: not all training images of the dataset"
        )
    if result.limit_test is not None:
        warnings.append(
            f"limited to {result.n_test:,} test images: not the dataset's own test split"
        )
    return warnings


def _checksum_warnings(records: Sequence[Record]) -> list[str]:
    """Name the records of which only the errors can be checked."""
    unsealed = [record.run_id for record in records if record.checksums is None]
    if not unsealed:
        return []
    return [
        f"recorded without checksums, as by earlier versions: {', '.join(unsealed)}; their errors "
        "were checked against their scores, their times and notes could not be"
    ]


def _machine(result: Result) -> str:
    machine = result.machine
    memory = machine.get("memory_gb")
    gigabytes = f"{memory:.0f}" if isinstance(memory, int | float) else "?"
    return (
        f"{machine.get('cpu', '?')}, {machine.get('cores', '?')} cores, {gigabytes} GB, "
        f"{machine.get('device', '?')}"
    )
