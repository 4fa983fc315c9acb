"""How a run was shown its images: augmentation in training, views and models averaged at test time. Read from its record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from harness.runs.record import Record
from harness.spec import parse_spec

T = TypeVar("T")


@dataclass(frozen=True)
class Protocol:
    """None where the record does not tell.

    augmentation  of the training images: crops, mirroring (or mirroring by tune), color
    views         of a test image whose scores a model averages
    models        whose scores are averaged
    """

    augmentation: tuple[str, ...] | None
    views: int | None
    models: int = 1


def protocol(record: Record) -> Protocol:
    """Of an ensemble: what its members have in common, and how many models they are."""
    if record.spec.kind == "ensemble":
        members = [Record(record.folder.with_name(run_id)) for run_id in record.spec.members]
        found = [protocol(member) for member in members if member.folder.is_dir()]
        complete = len(found) == len(members)
        return Protocol(
            _common(each.augmentation for each in found) if complete else None,
            _common(each.views for each in found) if complete else None,
            record.spec.models,
        )
    result = record.result
    _, values = parse_spec(result.pipeline)
    asked = values.get("views", "1")
    # Ten views asked for may be five, where mirroring changes the class: only the pipeline knew.
    views = result.views if result.views is not None or asked != "1" else 1
    augmentation = result.augmentation
    return Protocol(
        _augmentation(values, result.notes) if augmentation is None else augmentation, views
    )


def _augmentation(values: Mapping[str, str], notes: Iterable[str]) -> tuple[str, ...] | None:
    """By the parameters that built-in pipelines call so; None for a pipeline that has none of them."""
    if not {"crops", "flip", "color"} & set(values):
        return None
    forbidden = any(note.startswith("no mirroring") for note in notes)
    mirroring = {"true": "mirroring", "none": "" if forbidden else "mirroring by tune"}.get(
        values.get("flip", ""), ""
    )
    crops, color = (
        ("crops" if values.get("crops") == "true" else ""),
        ("color" if values.get("color") == "true" else ""),
    )
    return tuple(word for word in (crops, mirroring, color) if word)


def _common(values: Iterable[T | None]) -> T | None:
    different = set(values)
    return different.pop() if len(different) == 1 else None
