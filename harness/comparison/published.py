"""What others have published, with the protocol behind each figure: `benchmarks/published.toml`, read and checked.

A difference of two figures is had from `gap` alone, which refuses figures of two datasets or of validation and test.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Le

from harness.errors import UserError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
Split = Literal["val", "test", "own"]
Metric = Literal["top1", "top5", "mean_class"]
Percent = Annotated[float, Ge(0), Le(100)]
Count = Annotated[int, Ge(1)]
METRICS: tuple[Metric, ...] = ("top1", "top5", "mean_class")
METRIC_NAMES: dict[Metric, str] = {"top1": "top-1", "top5": "top-5", "mean_class": "per class"}
_STRICT = {"extra": "forbid"}  # read by pydantic: an unknown key is an error


@dataclass(frozen=True)
class PublishedSet:
    """A dataset as tables call it, and its official numbers of images, where it has such splits."""

    title: str
    train: Count | None = None
    val: Count | None = None
    test: Count | None = None

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Figure:
    """One row of a source's table. What None stands for, the source does not say; the file's head explains the fields.

    Figures in percent, as printed: of errors, accuracies or average precisions, as `measure` says.
    """

    method: str
    family: Literal["hand-crafted", "unsupervised", "learned", "human"]
    dataset: str
    split: Split
    measure: Literal["error", "accuracy", "mAP"]
    source: str
    mark: Literal["S", "S2", "M", "D", "calc"]
    id: str = ""
    top1: Percent | None = None
    top5: Percent | None = None
    mean_class: Percent | None = None
    mean_ap: Percent | None = None
    high: Percent | None = None
    spread: Percent | None = None
    interval: tuple[Percent, Percent] | None = None
    confidence: Percent | None = None
    n: Count | None = None
    views: Count | None = None
    models: Count | None = None
    augmentation: tuple[Literal["crops", "mirroring", "color"], ...] | None = None
    extra_data: str = ""
    train_per_class: Count | None = None
    protocol: str = ""
    yardstick_of: tuple[str, ...] = ()

    __pydantic_config__ = _STRICT

    def error(self, metric: Metric) -> tuple[float, float] | None:
        """(low, high) error in percent, equal unless the source gives a range; None where it gives no such figure."""
        value: float | None = getattr(self, metric)
        if value is None:
            return None
        ends = (value, value if self.high is None else self.high)
        return ends if self.measure == "error" else (100 - ends[1], 100 - ends[0])


@dataclass(frozen=True)
class Pair:
    """A before and an after, by id. `quoted`: how it is told, where that is not like for like; else empty."""

    before: str
    after: str
    measure: Literal["top1", "top5"]
    quoted: str = ""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Effect:
    """What one change did, in points of error, with it minus without it; None where no figure is given."""

    change: str
    source: str
    mark: Literal["S", "S2", "M", "D", "calc"]
    top1: float | None = None
    top5: float | None = None
    dataset: str = ""
    split: Split | None = None

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Published:
    datasets: Mapping[str, PublishedSet]
    figures: tuple[Figure, ...]
    pairs: tuple[Pair, ...]
    effects: tuple[Effect, ...]

    def figure(self, id: str) -> Figure:
        """Raises UserError for an unknown id."""
        for figure in self.figures:
            if id and figure.id == id:
                return figure
        raise UserError(
            f"no published figure is called {id!r}; there are: {', '.join(f.id for f in self.figures if f.id)}"
        )


def gap(before: Figure, after: Figure, metric: Metric) -> tuple[float, float]:
    """(points of error less, share of the errors that is gone, in percent) from `before` to `after`.

    Raises UserError for a metric that one of the two lacks, and for figures of two datasets or of validation and test, whose difference
    says nothing.
    """
    if (before.dataset, before.split) != (after.dataset, after.split):
        raise UserError(
            f"{before.method} ({before.dataset}, {before.split}) and {after.method} ({after.dataset}, {after.split}) are figures of "
            "different images: no difference is taken"
        )
    a, b = before.error(metric), after.error(metric)
    if a is None or b is None:
        raise UserError(
            f"{(before if a is None else after).method} has no {METRIC_NAMES[metric]} figure"
        )
    points = a[0] - b[0]
    return points, 100 * points / a[0]


@cache
def published() -> Published:
    """The file that comes with the package."""
    return parse((files("benchmarks") / "published.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Published:
    """A file of that form. Raises UserError naming the entry that is wrong and what is wrong with it."""
    raw = tomllib.loads(text)
    if unknown := set(raw) - {"dataset", "group", "pair", "effect"}:
        raise UserError(
            f"published figures: unknown table {', '.join(sorted(unknown))}; allowed: dataset, group, pair, effect"
        )
    datasets = {
        name: _read(PublishedSet, facts, f"dataset {name}")
        for name, facts in raw.get("dataset", {}).items()
    }
    rows = [
        {**{key: value for key, value in group.items() if key != "rows"}, **row}
        for group in raw.get("group", [])
        for row in group.get("rows", [])
    ]
    figures = tuple(_read(Figure, row, f"{row.get('source')}: {row.get('method')}") for row in rows)
    pairs = tuple(
        _read(Pair, pair, f"pair {pair.get('before')} -> {pair.get('after')}")
        for pair in raw.get("pair", [])
    )
    effects = tuple(
        _read(Effect, effect, f"effect {effect.get('change')}") for effect in raw.get("effect", [])
    )
    found = Published(datasets, figures, pairs, effects)
    _check(found)
    return found


def _check(found: Published) -> None:
    """What types alone do not say."""
    for figure in found.figures:
        name = f"{figure.source}: {figure.method}"
        if figure.dataset not in found.datasets:
            raise UserError(
                f"{name}: unknown dataset {figure.dataset!r}; there are: {', '.join(found.datasets)}"
            )
        if (figure.measure == "mAP") != (figure.mean_ap is not None):
            raise UserError(
                f"{name}: mean_ap goes with measure mAP and with no other, given {figure.measure}"
            )
        if figure.mean_ap is None and all(figure.error(metric) is None for metric in METRICS):
            raise UserError(f"{name}: no figure; give one of {', '.join(METRICS)}")
        if figure.interval and not (figure.confidence and figure.n):
            raise UserError(f"{name}: an interval needs its confidence and n")
    if twice := [
        id for id, count in Counter(f.id for f in found.figures if f.id).items() if count > 1
    ]:
        raise UserError(f"the id {twice[0]} is given to two figures")
    for pair in found.pairs:
        gap(found.figure(pair.before), found.figure(pair.after), pair.measure)
    for effect in found.effects:
        if effect.dataset and effect.dataset not in found.datasets:
            raise UserError(f"effect {effect.change}: unknown dataset {effect.dataset!r}")


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    """Made once: making it takes a hundred times as long as reading with it."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _read(kind: type[T], raw: Mapping[str, Any], name: str) -> T:
    from pydantic import ValidationError

    key: Any = kind  # which mypy does not know to be hashable
    try:
        read: T = _reader(key).validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        given = "" if first["type"] == "missing" else f", given {first['input']!r}"
        raise UserError(
            f"published figures, {name}: {place}: {first['msg'][0].lower()}{first['msg'][1:]}{given}"
        ) from error
    return read
