"""A comparison beside what others have published on the same dataset: deltas where they can be taken, every difference of protocol named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.comparison.published import (
    METRICS,
    Figure,
    Metric,
    Pair,
    Published,
    PublishedSet,
    Split,
    gap,
    published,
)
from harness.comparison.table import Comparison, Row
from harness.errors import UserError
from harness.spec import parse_spec

NOT_SAID = "not said"


@dataclass(frozen=True)
class Beside:
    """A published figure, and the row of ours that it is a yardstick for, if any.

    deltas       our error minus theirs in points, by metric; 0 inside a range. Empty without a row, on other splits, and for another
                 number of training images a class
    differences  of protocol, each in words: ours first
    """

    figure: Figure
    row: Row | None
    deltas: Mapping[Metric, float]
    differences: tuple[str, ...]


@dataclass(frozen=True)
class BeforeAfter:
    """Two published figures, what is between them, and how their protocols differ. `points` and `fewer`, in percent, are of errors."""

    pair: Pair
    title: str  # of the one dataset of both
    before: Figure
    after: Figure
    points: float
    fewer: float
    differences: tuple[str, ...]


@dataclass(frozen=True)
class PublishedComparison:
    """`name` is None where nothing is published on the comparison's dataset; then `lines` is empty."""

    name: str | None
    facts: PublishedSet | None
    known: tuple[str, ...]
    copy: str  # in what our images are not the published ones; empty: they are
    split: Split
    n_test: int
    lines: tuple[Beside, ...]
    before_after: tuple[BeforeAfter, ...]


def beside_published(
    comparison: Comparison, figures: Published | None = None
) -> PublishedComparison:
    """The figures on the comparison's dataset, the yardsticks of its rows first, and the before and after of 2012.

    The dataset is known by its name or by how its title begins, so that `cifar10-jpeg (folder)` is held against CIFAR-10.
    """
    figures = figures or published()
    source = _source(comparison.dataset)
    name = _published_name((source, comparison.title.lower()), figures.datasets)
    facts = figures.datasets[name] if name else None
    copy = (
        ""
        if name in (source, comparison.title)
        else f"images of {comparison.title}, not the original files"
    )
    split, train = _split(facts, comparison.n_test), facts.train if facts else None
    on_it = [
        figure for figure in figures.figures if figure.dataset == name and figure.mean_ap is None
    ]
    held = [
        _beside(figure, row, comparison, split, copy, train)
        for row in comparison.rows
        for figure in on_it
        if any(_is_of(row.pipeline, spec) for spec in figure.yardstick_of)
    ]
    taken = {id(line.figure) for line in held}
    others = [
        _beside(figure, None, comparison, split, copy, train)
        for figure in on_it
        if id(figure) not in taken
    ]
    return PublishedComparison(
        name=name,
        facts=facts,
        known=tuple(sorted({figure.dataset for figure in figures.figures})),
        copy=copy if name else "",
        split=split,
        n_test=comparison.n_test,
        lines=(*held, *others),
        before_after=tuple(_before_after(pair, figures) for pair in figures.pairs),
    )


def _source(dataset: str) -> str:
    """The name that the dataset goes by, of a subset that of the whole."""
    try:
        name, values = parse_spec(dataset)
    except UserError:  # a path, which may hold a comma
        return dataset
    return _source(values["of"]) if name == "subset" else name


def _published_name(ours: Iterable[str], datasets: Iterable[str]) -> str | None:
    """The longest name with which one of ours begins, as a word: cifar100 is not cifar10."""
    found = [
        name
        for name in datasets
        for text in ours
        if re.match(rf"{re.escape(name)}(?![a-z0-9])", text)
    ]
    return max(found, key=len, default=None)


def _split(facts: PublishedSet | None, n_test: int) -> Split:
    """Which official split our test split is, by its size; `test` where the dataset has no official one."""
    if facts is None or (facts.val is None and facts.test is None) or n_test == facts.test:
        return "test"
    return "val" if n_test == facts.val else "own"


def _is_of(pipeline: str, spec: str) -> bool:
    """Whether the resolved `pipeline` is `spec`, which says some of its parameters."""
    name, values = parse_spec(spec)
    ours, all_values = parse_spec(pipeline)
    return ours == name and values.items() <= all_values.items()


def _beside(
    figure: Figure,
    row: Row | None,
    comparison: Comparison,
    split: Split,
    copy: str,
    train: int | None,
) -> Beside:
    differences = [copy] if copy else []
    if split != figure.split:
        names = {"val": "validation", "test": "test", "own": "a test split of our own"}
        differences.append(
            f"{names[split]}, theirs {'a split of their own' if figure.split == 'own' else names[figure.split]}: no delta"
        )
    fitted = row or comparison.rows[0]
    per_class = round(fitted.n_labeled / fitted.classes)
    other_size = figure.train_per_class not in (None, per_class)
    if other_size:
        differences.append(
            f"{per_class} training images a class, theirs {figure.train_per_class}: no delta"
        )
    if figure.n and figure.n != comparison.n_test:
        differences.append(f"{comparison.n_test:,} test images, theirs {figure.n:,}")
    if row is None:
        return Beside(figure, None, {}, tuple(differences))
    if row.n_fit != (train or row.n_labeled):
        differences.append(f"fitted on {row.n_fit:,} of {train or row.n_labeled:,} labeled images")
    ours, theirs = _row_protocol(row), _figure_protocol(figure)
    differences += [
        f"{what} {ours[what]}, theirs {theirs[what]}" for what in ours if ours[what] != theirs[what]
    ]
    deltas = _deltas(figure, row) if split == figure.split and not other_size else {}
    return Beside(figure, row, deltas, tuple(differences))


def _deltas(figure: Figure, row: Row) -> dict[Metric, float]:
    ours: dict[Metric, float | None] = {
        "top1": row.top1_error,
        "top5": row.top5_error,
        "mean_class": row.mean_class_error,
    }
    found: dict[Metric, float] = {}
    for metric in METRICS:
        error, theirs = ours[metric], figure.error(metric)
        if error is not None and theirs is not None:
            low, high = theirs
            found[metric] = max(error - high, 0.0) + min(error - low, 0.0)
    return found


def _before_after(pair: Pair, figures: Published) -> BeforeAfter:
    before, after = figures.figure(pair.before), figures.figure(pair.after)
    old, new = _figure_protocol(before), _figure_protocol(after)
    differences = tuple(
        f"{what} {old[what]} -> {new[what]}" for what in old if old[what] != new[what]
    )
    return BeforeAfter(
        pair,
        figures.datasets[after.dataset].title,
        before,
        after,
        *gap(before, after, pair.measure),
        differences,
    )


def _figure_protocol(figure: Figure) -> dict[str, str]:
    return _words(figure.views, figure.models, figure.augmentation, figure.extra_data)


def _row_protocol(row: Row) -> dict[str, str]:
    start = parse_spec(row.pipeline)[1].get("init_from", "none")
    return _words(
        row.views,
        row.models,
        row.augmentation,
        "" if start == "none" else f"what run {start} learned from",
    )


def _words(
    views: int | None, models: int | None, augmentation: Iterable[str] | None, extra_data: str
) -> dict[str, str]:
    return {
        "views": str(views or NOT_SAID),
        "models": str(models or NOT_SAID),
        "augmentation": NOT_SAID if augmentation is None else ", ".join(augmentation) or "none",
        "extra data": extra_data or "none",
    }
