"""The before/after table: finished runs of two or more pipelines on one test split, compared image by image.

Reads run folders only, so it imports neither torch nor mlflow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.comparison.cost import cost, frontier
from harness.comparison.single_view import at_one_view
from harness.comparison.table import Comparison, Row, averages, row_labels
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
from harness.runs.protocol import protocol
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.select import find_groups, same_images
from harness.tracking.links import compare_link


def compare(
    *runs: str | Result,
    dataset: str | None = None,
    allow_different_train: bool = False,
    config: Path | None = None,
    data_root: Path | str | None = None,
    plugins: Sequence[str] = (),
) -> Comparison:
    """Compare two or more runs; the first is the reference of every delta.

    runs       each a run id, a Result, or a spec string: then its latest finished, unlimited run on `dataset`, with those of other seeds
               that are of the same source, images and tune split
    dataset    a dataset spec or path; None: HARNESS_DATASET, else digits
    data_root  where prepared datasets are looked for by name
    Raises UserError when there is no such run, or when test splits (or, unless allowed, what was learned from) differ.
    """
    groups = find_groups(
        *runs, dataset=dataset, config=config, data_root=data_root, plugins=plugins
    )
    return compare_records(groups, allow_different_train=allow_different_train)


def compare_records(
    groups: Sequence[Sequence[Record]], *, allow_different_train: bool = False
) -> Comparison:
    """As `compare`, of records already chosen: one group a row, one record a seed."""
    reference = groups[0][0].result
    warnings = same_images(
        [record for group in groups for record in group],
        allow_different_train=allow_different_train,
    )
    answers = [{record.result.seed: _answers(record) for record in group} for group in groups]
    labels = next(iter(answers[0].values())).labels
    wrongs = [{seed: answer.wrong for seed, answer in group.items()} for group in answers]
    rows = [_row(group, wrong) for group, wrong in zip(groups, wrongs, strict=True)]
    rows = [replace(row, label=label) for row, label in zip(rows, row_labels(rows), strict=True)]
    worth = frontier([(row.top1_error, row.fit_seconds) for row in rows])
    rows = [replace(row, on_frontier=on) for row, on in zip(rows, worth, strict=True)]
    compared = _holm(
        [
            rows[0],
            *(
                _against(row, wrong, rows[0], wrongs[0], labels)
                for row, wrong in zip(rows[1:], wrongs[1:], strict=True)
            ),
        ]
    )
    if len({row.n_fit for row in rows}) > 1:
        warnings.append(
            "labeled images fitted on: " + ", ".join(f"{row.label} {row.n_fit:,}" for row in rows)
        )
    if len({(row.views, row.models) for row in rows}) > 1:
        averaged = ", ".join(f"{row.label} {averages(row.views, row.models)}" for row in rows)
        warnings.append(
            f"views x models averaged at test time differ: {averaged}; like for like are runs with views=1 of one model each"
        )
    single, missing = at_one_view(groups)
    warnings += [f"at one view and one model each: {why}" for why in missing]
    if reference.limit is not None:
        labeled = reference.n_train + reference.n_tune
        warnings.append(
            f"limited to {labeled:,} labeled images: not all of the dataset's training images"
        )
    if reference.limit_test is not None:
        warnings.append(
            f"limited to {reference.n_test} test images: not the dataset's own test split"
        )
    if any(len(row.seeds) > 1 for row in rows):
        warnings.append(
            "several seeds: means, deltas of means; p is of the exact sign-flip test, which for one seed is McNemar's"
        )
    machines = {_machine(record.result) for group in groups for record in group}
    return Comparison(
        title=reference.title,
        dataset=reference.dataset,
        test_digest=reference.test_digest,
        n_test=reference.n_test,
        rows=tuple(compared),
        warnings=(*warnings, *reference.dataset_notes),
        machines=tuple(sorted(machines)),
        one_view=compare_records(single, allow_different_train=allow_different_train)
        if single
        else None,
        link=next(
            (link for group in groups for record in group if (link := record.links.get("table"))),
            None,
        ),
        runs_link=compare_link(
            [record.links.get("run", "") for group in groups for record in group]
        ),
    )


@dataclass(frozen=True)
class _Answers:
    """In order of key, so that columns of different runs are about the same image: labels (n,), and whether top-1 is wrong, (n,) bool."""

    labels: np.ndarray
    wrong: np.ndarray


def _answers(record: Record) -> _Answers:
    scores = record.scores()
    order = np.argsort(scores.keys)
    return _Answers(scores.labels[order], top_k_wrong(scores, 1)[order])


def _row(records: Sequence[Record], wrong: dict[int, np.ndarray]) -> Row:
    results = [record.result for record in records]
    by_seed = np.stack(list(wrong.values()))
    n = by_seed.shape[1]
    top1_error = 100 * float(by_seed.mean())
    mean_wrong = round(top1_error * n / 100)
    low, high = wilson(mean_wrong, n)
    exact_low, exact_high = clopper_pearson(mean_wrong, n)
    sd = seed_spread(by_seed)
    top5 = [r.top5_error for r in results]
    last = results[-1]
    return Row(
        pipeline=last.pipeline,
        name=last.name,
        label=last.name,
        family=last.family,
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        run_ids=tuple(r.run_id for r in results),
        seeds=tuple(r.seed for r in results),
        source_hashes=tuple(r.source_hash for r in results),
        finished=tuple(r.finished for r in results),
        n_fit=last.n_fit,
        n_labeled=last.n_train + last.n_tune,
        classes=last.classes,
        **vars(protocol(records[-1])),
        test_evaluations=max(r.test_evaluations for r in results),
        top1_error=top1_error,
        top1_error_ci_low=100 * low,
        top1_error_ci_high=100 * high,
        top1_error_exact_low=100 * exact_low,
        top1_error_exact_high=100 * exact_high,
        top1_error_sd=None if sd is None else 100 * sd,
        top1_error_se=100 * sampling_spread(by_seed),
        top5_error=float(np.mean([x for x in top5 if x is not None])) if None not in top5 else None,
        mean_class_error=float(np.mean([r.mean_class_error or 0.0 for r in results])),
        fit_seconds=float(np.mean([r.fit_seconds for r in results])),
        score_seconds=float(np.mean([r.score_seconds or 0.0 for r in results])),
        cost=cost(results),
    )


def _against(
    row: Row,
    wrong: dict[int, np.ndarray],
    reference: Row,
    reference_wrong: dict[int, np.ndarray],
    labels: np.ndarray,
) -> Row:
    """The row with its deltas to the reference: image by image, over the means of the seeds."""
    difference = np.mean(list(wrong.values()), axis=0) - np.mean(
        list(reference_wrong.values()), axis=0
    )
    low, high = paired_bootstrap(difference)
    spreads = [each for each in (row, reference) if each.top1_error_sd is not None]
    seed_variance = sum((each.top1_error_sd or 0) ** 2 / len(each.seeds) for each in spreads)
    by_class = class_means(difference, labels)
    class_low, class_high = bootstrap_within_classes(difference, labels)
    over_low, over_high = paired_bootstrap(by_class)
    # In whole numbers, of which `seeds` are one image.
    seeds = math.lcm(len(wrong), len(reference_wrong))
    p, smallest = sign_flip_test(np.rint(seeds * difference).astype(np.int64))
    return replace(
        row,
        top1_delta=row.top1_error - reference.top1_error,
        top1_delta_low=100 * low,
        top1_delta_high=100 * high,
        top1_delta_seed_se=math.sqrt(seed_variance) if len(spreads) == 2 else None,
        top1_delta_image_se=100 * sampling_spread(difference[None]),
        top5_delta=None
        if row.top5_error is None or reference.top5_error is None
        else row.top5_error - reference.top5_error,
        mean_class_delta=100 * float(by_class.mean()),
        mean_class_delta_low=100 * class_low,
        mean_class_delta_high=100 * class_high,
        mean_class_delta_over_classes_low=100 * over_low,
        mean_class_delta_over_classes_high=100 * over_high,
        p_value=p,
        smallest_detectable=None
        if smallest is None
        else 100 * smallest / (seeds * len(difference)),
    )


def _holm(rows: Sequence[Row]) -> list[Row]:
    """The rows with their p adjusted for how many of them are tested against the reference, the first."""
    adjusted = holm([row.p_value for row in rows[1:] if row.p_value is not None])
    return [rows[0], *(replace(row, p_holm=p) for row, p in zip(rows[1:], adjusted, strict=True))]


def _machine(result: Result) -> str:
    machine = result.machine
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB, {machine['device']}"
