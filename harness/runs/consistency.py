"""In what a record contradicts itself: spec.json, result.json and the arrays of scores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import numpy as np

from harness.errors import UserError
from harness.runs.result import Result, Scores
from harness.runs.spec import RunSpec
from harness.spec import parse_spec

SHARED_FIELDS = (
    "pipeline", "dataset", "title", "seed", "tune", "limit", "limit_test", "source_hash",
    "train_digest", "test_digest",
)  # fmt: skip
DIGESTS = ("source_hash", "train_digest", "test_digest")


def is_run_id(text: str) -> bool:
    """Return whether a text can be the id of a run: one visible name of a folder."""
    return text.isprintable() and bool(re.fullmatch(r"[^./\\ ][^/\\]{0,200}", text))


def spec_contradictions(spec: RunSpec) -> Iterator[str]:
    """Yield what cannot be true of a run's spec."""
    group = [spec.seed_group.run_id] if spec.seed_group else []
    weights_of = [] if spec.weights_of is None else [spec.weights_of]
    for run_id in (*spec.members, *weights_of, *group):
        if not is_run_id(run_id):
            yield f"{run_id!r} is not the id of a run"
    if (spec.kind == "ensemble") != bool(spec.members):
        yield f"its kind is {spec.kind} and it has {len(spec.members)} members"
    if (spec.kind == "rescore") != bool(weights_of):
        yield f"its kind is {spec.kind} and it has the weights of {spec.weights_of}"
    if spec.weights and len(spec.weights) != len(spec.members):
        yield f"it has {len(spec.weights)} weights for {len(spec.members)} members"
    if not spec.class_names:
        yield "it has no classes"
    for name in DIGESTS:
        if not re.fullmatch("[0-9a-f]+", getattr(spec, name)):
            yield f"{name} is not hexadecimal"
    for name in ("pipeline", "dataset"):
        try:
            parse_spec(getattr(spec, name))
        except UserError as error:
            yield f"{name}: {error}"


def result_contradictions(result: Result, spec: RunSpec) -> Iterator[str]:
    """Yield in what a run's result contradicts its spec or itself."""
    for name in SHARED_FIELDS:
        value, asked = getattr(result, name), getattr(spec, name)
        if value != asked:
            yield f"{name} is {value!r}, and spec.json says {asked!r}"
    if result.classes != len(spec.class_names):
        yield f"it has {result.classes} classes, and spec.json names {len(spec.class_names)}"
    tested = result.top1_error is not None
    if spec.test != tested or tested != bool(result.n_test):
        yield f"test is {spec.test} in spec.json, and it has {result.n_test} test images"
    if not tested and (result.top5_error, result.mean_class_error, result.copies) != (None,) * 3:
        yield "it has errors without a top-1 error"
    for name in ("started", "finished"):
        if not is_moment(getattr(result, name)):
            yield f"{name} is not a time with its zone"
    if spec.kind == "ensemble":  # whose members say the rest
        return
    if result.identity != spec.identity:
        yield f"identity is {result.identity}, and that of spec.json is {spec.identity}"
    n_fit = result.n_train + (result.n_tune if result.refitted else 0)
    if result.n_fit != n_fit:
        yield f"n_fit is {result.n_fit}, and the images make {n_fit}"


def score_contradictions(scores: Scores, spec: RunSpec) -> Iterator[str]:
    """Yield in what scores cannot be those of any split with the classes of the spec."""
    keys, labels, rows = scores.keys, scores.labels, scores.scores
    classes = len(spec.class_names)
    if (keys.ndim, labels.ndim, rows.ndim) != (1, 1, 2):
        yield "its arrays have other dimensions than keys, labels and scores"
    elif not len(keys) == len(labels) == len(rows) > 0:
        yield f"it has {len(keys)} keys, {len(labels)} labels and {len(rows)} rows of scores"
    elif (keys.dtype.kind, labels.dtype.kind, rows.dtype.kind) != ("U", "i", "f"):
        yield f"its arrays are of the types {keys.dtype}, {labels.dtype} and {rows.dtype}"
    elif rows.shape[1] != classes:
        yield f"it has scores of {rows.shape[1]} classes, and spec.json names {classes}"
    elif labels.min() < 0 or labels.max() >= classes:
        yield f"its labels run from {labels.min()} to {labels.max()} for {classes} classes"
    elif bad := int(np.isnan(rows).any(axis=1).sum()):
        yield f"it has NaN scores for {bad} of {len(rows)} images"
    elif scores.in_train is not None and (
        scores.in_train.shape != keys.shape or scores.in_train.dtype != bool
    ):
        yield "its in_train is not one boolean per image"


def is_moment(value: object) -> bool:
    """Return whether a value is an ISO 8601 time with its zone, as text."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
