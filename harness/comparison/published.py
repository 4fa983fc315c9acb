"""Published figures with the protocol behind each: `benchmarks/published.toml`, read and checked.

Only `gap` takes the difference of two figures; it refuses figures of two datasets, and of a
validation and a test split.
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
    """A dataset as tables call it, and the sizes of its official splits; None: it has none."""

    title: str
    train: Count | None = None
    val: Count | None = None
    test: Count | None = None

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Figure:
    """One row of a source's table; the head of the file explains the fields.

    Figures are in percent, as printed: errors, accuracies or average precisions, depending on
    `measure`. None: the source does not say.
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
    augmentation: tuple[Literal["crops", "flips", "color"], ...] | None = None
    extra_data: str = ""
    train_per_class: Count | None = None
    protocol: str = ""
    yardstick_of: tuple[str, ...] = ()

    __pydantic_config__ = _STRICT

    def error(self, metric: Metric) -> tuple[float, float] | None:
        """Return (low, high) of an error in percent, equal unless the source gives a range.

        None: the source gives no such figure.
        """
        value: float | None = getattr(self, metric)
        if value is None:
            return None
        ends = (value, value if self.high is None else self.high)
        return ends if self.measure == "error" else (100 - ends[1], 100 - ends[0])


@dataclass(frozen=True)
class Pair:
    """Two figures, by id, that are told as a before and an after.

    `quoted` is how the pair is quoted where it is not like for like, else empty.
    """

    before: str
    after: str
    measure: Literal["top1", "top5"]
    quoted: str = ""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Effect:
    """The effect of one change: error with it minus error without it, in points.

    None: the source gives no such figure.
    """

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
    """Everything that the file holds."""

    datasets: Mapping[str, PublishedSet]
    figures: tuple[Figure, ...]
    pairs: tuple[Pair, ...]
    effects: tuple[Effect, ...]

    def figure(self, id: str) -> Figure:
        """Return the figure with this id; raises UserError for an unknown one."""
        for figure in self.figures:
            if id and figure.id == id:
                return figure
        known = ", ".join(figure.id for figure in self.figures if figure.id)
        raise UserError(f"no published figure is called {id!r}; there are: {known}")


def gap(before: Figure, after: Figure, metric: Metric) -> tuple[float, float]:
    """Return by how much the error falls from `before` to `after`.

    Returns
    -------
    points : float
        Difference of the errors in points.
    fewer : float
        The same relative to the first error, in percent.

    Raises
    ------
    UserError
        If one of the two lacks the metric, or they are figures of different images (two datasets,
        or validation and test), whose difference is meaningless.
    """
    if (before.dataset, before.split) != (after.dataset, after.split):
        raise UserError(
            f"{before.method} ({before.dataset}, {before.split}) and {after.method} "
            f"({after.dataset}, {after.split}) are figures of different images: "
            "no difference is taken"
        )
    a, b = before.error(metric), after.error(metric)
    if a is None or b is None:
        incomplete = before if a is None else after
        raise UserError(f"{incomplete.method} has no {METRIC_NAMES[metric]} figure")
    points = a[0] - b[0]
    return points, 100 * points / a[0]


@cache
def published() -> Published:
    """Return the figures that come with the package."""
    return parse((files("benchmarks") / "published.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Published:
    """Read the text of such a file.

    Raises
    ------
    UserError
        If an entry is wrong; the message names the entry and says what is wrong with it.
    """
    raw = tomllib.loads(text)
    if unknown := set(raw) - {"dataset", "group", "pair", "effect"}:
        raise UserError(
            f"published figures: unknown table {', '.join(sorted(unknown))}; "
            "allowed: dataset, group, pair, effect"
        )
    datasets = {
        name: _read(PublishedSet, entry, f"dataset {name}")
        for name, entry in raw.get("dataset", {}).items()
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
    result = Published(datasets, figures, pairs, effects)
    _check(result)
    return result


def _check(result: Published) -> None:
    """Check what types alone cannot express."""
    for figure in result.figures:
        name = f"{figure.source}: {figure.method}"
        if figure.dataset not in result.datasets:
            known = ", ".join(result.datasets)
            raise UserError(f"{name}: unknown dataset {figure.dataset!r}; there are: {known}")
        if (figure.measure == "mAP") != (figure.mean_ap is not None):
            raise UserError(
                f"{name}: mean_ap is for measure mAP and no other, given {figure.measure}"
            )
        if figure.mean_ap is None and all(figure.error(metric) is None for metric in METRICS):
            raise UserError(f"{name}: no figure; give one of {', '.join(METRICS)}")
        if figure.interval and not (figure.confidence and figure.n):
            raise UserError(f"{name}: an interval needs its confidence and n")
    ids = Counter(figure.id for figure in result.figures if figure.id)
    if twice := [id for id, count in ids.items() if count > 1]:
        raise UserError(f"the id {twice[0]} is given to two figures")
    for pair in result.pairs:
        gap(result.figure(pair.before), result.figure(pair.after), pair.measure)
    for effect in result.effects:
        if effect.dataset and effect.dataset not in result.datasets:
            raise UserError(f"effect {effect.change}: unknown dataset {effect.dataset!r}")


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    # Building it takes a hundred times as long as reading with it.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _read(kind: type[T], raw: Mapping[str, Any], name: str) -> T:
    from pydantic import ValidationError

    key: Any = kind  # mypy does not know that a class is hashable
    try:
        read: T = _reader(key).validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        message = f"{first['msg'][0].lower()}{first['msg'][1:]}"
        if first["type"] != "missing":
            message += f", given {first['input']!r}"
        raise UserError(f"published figures, {name}: {field}: {message}") from error
    return read
