"""A comparison set against published figures on the same dataset.

Deltas are taken where that is fair, and every difference of protocol is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

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
from harness.comparison.rows import Row
from harness.comparison.table import Comparison
from harness.errors import UserError
from harness.spec import parse_spec

UNKNOWN = "unknown"
SPLIT_NAMES: dict[Split, str] = {"val": "validation", "test": "test", "own": "own"}


@dataclass(frozen=True)
class PublishedRow:
    """A published figure, and the row of ours that it is a yardstick for, if any.

    Parameters
    ----------
    figure : Figure
    row : Row or None
    deltas : mapping
        Metric -> our error minus theirs in points, 0 inside a range. Empty without a row, on
        another split, and for another number of training images per class.
    differences : tuple of str
        Differences of protocol in words, ours first.
    """

    figure: Figure
    row: Row | None
    deltas: Mapping[Metric, float]
    differences: tuple[str, ...]


@dataclass(frozen=True)
class BeforeAfter:
    """Two published figures and how they differ.

    Parameters
    ----------
    pair : Pair
    title : str
        Of the dataset of both.
    before, after : Figure
    points : float
        By how much the error falls.
    fewer : float
        The same relative to the first error, in percent.
    differences : tuple of str
        Differences of protocol.
    """

    pair: Pair
    title: str
    before: Figure
    after: Figure
    points: float
    fewer: float
    differences: tuple[str, ...]


@dataclass(frozen=True)
class PublishedComparison:
    """What is published on the dataset of a comparison.

    Parameters
    ----------
    name : str or None
        The published dataset; None where nothing is published on ours, and then `rows` is empty.
    published_set : PublishedSet or None
    known : tuple of str
        All datasets with published figures.
    copy_note : str
        In what our images differ from the published ones; empty where they are the same.
    split : {"val", "test", "own"}
        Which official split our test split is.
    n_test : int
    rows : tuple of PublishedRow
    before_after : tuple of BeforeAfter
    """

    name: str | None
    published_set: PublishedSet | None
    known: tuple[str, ...]
    copy_note: str
    split: Split
    n_test: int
    rows: tuple[PublishedRow, ...]
    before_after: tuple[BeforeAfter, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; rows of ours are named by their label."""
        rows = [
            {
                "figure": asdict(line.figure),
                "row": line.row.label if line.row else None,
                "deltas": dict(line.deltas),
                "differences": line.differences,
            }
            for line in self.rows
        ]
        return {
            **{name: getattr(self, name) for name in ("name", "known", "copy_note", "split")},
            "n_test": self.n_test,
            "rows": rows,
            "before_after": [asdict(pair) for pair in self.before_after],
        }


def compare_with_literature(
    comparison: Comparison, figures: Published | None = None
) -> PublishedComparison:
    """Return the published figures on the dataset of a comparison, yardsticks of its rows first.

    The dataset is recognized by its name or by the start of its title, so that
    `cifar10-jpeg (folder)` is compared with CIFAR-10.

    Parameters
    ----------
    comparison : Comparison
    figures : Published or None
        None: those that come with the package.
    """
    figures = figures or published()
    source = _source(comparison.dataset)
    name = _published_name((source, comparison.title.lower()), figures.datasets)
    ours = _Ours(comparison, figures.datasets[name] if name else None, _copy_note(comparison, name))
    on_dataset = [
        figure for figure in figures.figures if figure.dataset == name and figure.mean_ap is None
    ]
    yardsticks = [
        _published_row(figure, row, ours)
        for row in comparison.rows
        for figure in on_dataset
        if any(_matches(row.pipeline, spec) for spec in figure.yardstick_of)
    ]
    taken = {id(line.figure) for line in yardsticks}
    others = [
        _published_row(figure, None, ours) for figure in on_dataset if id(figure) not in taken
    ]
    return PublishedComparison(
        name=name,
        published_set=ours.published_set,
        known=tuple(sorted({figure.dataset for figure in figures.figures})),
        copy_note=ours.copy_note if name else "",
        split=ours.split,
        n_test=comparison.n_test,
        rows=(*yardsticks, *others),
        before_after=tuple(_before_after(pair, figures) for pair in figures.pairs),
    )


@dataclass(frozen=True)
class _Ours:
    """Our side of every row: the comparison, and the published dataset that it is on."""

    comparison: Comparison
    published_set: PublishedSet | None
    copy_note: str

    @property
    def split(self) -> Split:
        """Which official split our test split is, by its size.

        `test` where the dataset has no official one.
        """
        known, n_test = self.published_set, self.comparison.n_test
        if known is None or (known.val is None and known.test is None) or n_test == known.test:
            return "test"
        return "val" if n_test == known.val else "own"


def _copy_note(comparison: Comparison, name: str | None) -> str:
    if name in (_source(comparison.dataset), comparison.title):
        return ""
    return f"images of {comparison.title}, not the original files"


def _source(dataset: str) -> str:
    """Return the name of a dataset; for a subset that of the dataset that it is taken from."""
    try:
        name, values = parse_spec(dataset)
    except UserError:  # a path, which may hold a comma
        return dataset
    return _source(values["of"]) if name == "subset" else name


def _published_name(ours: Iterable[str], datasets: Iterable[str]) -> str | None:
    """Return the longest name with which one of ours begins, as a word: cifar100 is not cifar10."""
    matches = [
        name
        for name in datasets
        for text in ours
        if re.match(rf"{re.escape(name)}(?![a-z0-9])", text)
    ]
    return max(matches, key=len, default=None)


def _matches(pipeline: str, spec: str) -> bool:
    """Whether the resolved `pipeline` has the name and the parameters of `spec`."""
    name, values = parse_spec(spec)
    ours, all_values = parse_spec(pipeline)
    return ours == name and values.items() <= all_values.items()


def _published_row(figure: Figure, row: Row | None, ours: _Ours) -> PublishedRow:
    comparison = ours.comparison
    differences = [ours.copy_note] if ours.copy_note else []
    other_split = ours.split != figure.split
    if other_split:
        differences.append(
            f"{_split_words(ours.split)}, theirs {_split_words(figure.split)}: no delta"
        )
    fitted = row or comparison.rows[0]
    per_class = round(fitted.n_labeled / fitted.classes)
    other_size = figure.train_per_class not in (None, per_class)
    if other_size:
        differences.append(
            f"{per_class} training images per class, theirs {figure.train_per_class}: no delta"
        )
    if figure.n and figure.n != comparison.n_test:
        differences.append(f"{comparison.n_test:,} test images, theirs {figure.n:,}")
    if row is None:
        return PublishedRow(figure, None, {}, tuple(differences))
    train = (ours.published_set.train if ours.published_set else None) or row.n_labeled
    if row.n_fit != train:
        differences.append(f"fitted on {row.n_fit:,} of {train:,} labeled images")
    mine, theirs = _row_protocol(row), _figure_protocol(figure)
    differences += [
        f"{what} {mine[what]}, theirs {theirs[what]}" for what in mine if mine[what] != theirs[what]
    ]
    deltas = {} if other_split or other_size else _deltas(figure, row)
    return PublishedRow(figure, row, deltas, tuple(differences))


def _split_words(split: Split) -> str:
    return f"{SPLIT_NAMES[split]} split"


def _deltas(figure: Figure, row: Row) -> dict[Metric, float]:
    """Return our error minus theirs by metric; inside their range the difference is 0."""
    errors: dict[Metric, float | None] = {
        "top1": row.top1_error.value,
        "top5": row.top5_error,
        "mean_class": row.mean_class_error,
    }
    deltas: dict[Metric, float] = {}
    for metric in METRICS:
        error, theirs = errors[metric], figure.error(metric)
        if error is not None and theirs is not None:
            low, high = theirs
            deltas[metric] = max(error - high, 0.0) + min(error - low, 0.0)
    return deltas


def _before_after(pair: Pair, figures: Published) -> BeforeAfter:
    before, after = figures.figure(pair.before), figures.figure(pair.after)
    old, new = _figure_protocol(before), _figure_protocol(after)
    differences = [f"{what} {old[what]} -> {new[what]}" for what in old if old[what] != new[what]]
    points, fewer = gap(before, after, pair.measure)
    title = figures.datasets[after.dataset].title
    return BeforeAfter(pair, title, before, after, points, fewer, tuple(differences))


def _figure_protocol(figure: Figure) -> dict[str, str]:
    return _protocol_words(figure.views, figure.models, figure.augmentation, figure.extra_data)


def _row_protocol(row: Row) -> dict[str, str]:
    init_from = parse_spec(row.pipeline)[1].get("init_from", "none")
    extra_data = "" if init_from == "none" else f"the training images of run {init_from}"
    return _protocol_words(row.views, row.models, row.augmentation, extra_data)


def _protocol_words(
    views: int | None, models: int | None, augmentation: Iterable[str] | None, extra_data: str
) -> dict[str, str]:
    return {
        "views": str(views or UNKNOWN),
        "models": str(models or UNKNOWN),
        "augmentation": UNKNOWN if augmentation is None else ", ".join(augmentation) or "none",
        "extra data": extra_data or "none",
    }
