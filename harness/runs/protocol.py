"""How a run saw its images: augmentation in training, views and models averaged at test time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from harness.runs.record import Record
from harness.spec import parse_spec

T = TypeVar("T")
NO_FLIPS = "no flips"  # the beginning of the note of a pipeline that found flips to change classes


@dataclass(frozen=True)
class Protocol:
    """None, in any field: the record does not say.

    Parameters
    ----------
    augmentation : tuple of str or None
        Of the training images: crops, flips (or flips by tune), color.
    views : int or None
        Views of a test image whose scores one model averages.
    models : int
        Models whose scores are averaged.
    """

    augmentation: tuple[str, ...] | None
    views: int | None
    models: int = 1


def protocol(record: Record) -> Protocol:
    """Read the protocol from a record; of an ensemble, what its members have in common."""
    if record.spec.kind == "ensemble":
        return _ensemble_protocol(record)
    result = record.result
    _, values = parse_spec(result.pipeline)
    augmentation = result.augmentation
    if augmentation is None:
        augmentation = _augmentation(values, result.notes)
    return Protocol(augmentation, result.views)


def _ensemble_protocol(record: Record) -> Protocol:
    members = [Record(record.folder.with_name(run_id)) for run_id in record.spec.members]
    if not all(member.folder.is_dir() for member in members):
        return Protocol(None, None, record.spec.models)
    protocols = [protocol(member) for member in members]
    return Protocol(
        _common(each.augmentation for each in protocols),
        _common(each.views for each in protocols),
        record.spec.models,
    )


def _augmentation(values: Mapping[str, str], notes: Iterable[str]) -> tuple[str, ...] | None:
    """Read it from the parameters crops, flip and color; None for a pipeline without them."""
    if not {"crops", "flip", "color"} & set(values):
        return None
    forbidden = any(note.startswith(NO_FLIPS) for note in notes)
    flips = {"true": "flips", "none": "" if forbidden else "flips by tune"}
    words = [
        "crops" if values.get("crops") == "true" else "",
        flips.get(values.get("flip", ""), ""),
        "color" if values.get("color") == "true" else "",
    ]
    return tuple(word for word in words if word)


def _common(values: Iterable[T | None]) -> T | None:
    """Return the value that all share, else None."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
