"""The runs that stand for a comparison at one view of each test image and one model each: what the methods do without averaging."""

from __future__ import annotations

from collections.abc import Sequence

from harness.runs.protocol import protocol
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.spec import format_spec, parse_spec


def at_one_view(groups: Sequence[Sequence[Record]]) -> tuple[list[list[Record]] | None, list[str]]:
    """(a group for each of `groups`, one record a seed; what is missing on record, and what to type).

    A run of one view and one model stands for itself; for any other do its weights scored at one view (`rescore`) or else, seed by seed, runs
    of the same spec and source with views=1; for an ensemble those of its first member. Groups of the same runs are one. There are None where
    all given already are so, where one is missing, and where fewer than two are left.
    """
    if all(_is_plain(record) for group in groups for record in group):
        return None, []
    found, missing = [], []
    for group in groups:
        plain = list(group) if all(map(_is_plain, group)) else _plain_runs(group)
        found.append(plain)
        if not plain:
            missing.append(_how_to_make(group))
    apart = list({tuple(record.run_id for record in group): group for group in found}.values())
    return (None if missing or len(apart) < 2 else apart), missing


def _is_plain(record: Record) -> bool:
    found = protocol(record)
    return (found.views, found.models) == (1, 1)


def _single(record: Record) -> Record:
    """The record, or the first member of an ensemble of ensembles."""
    while record.spec.kind == "ensemble":
        record = Record(record.folder.with_name(record.spec.members[0]))
        if not record.folder.is_dir():
            break
    return record


def _one_view_spec(pipeline: str) -> str:
    name, values = parse_spec(pipeline)
    return format_spec(name, {**values, "views": "1"} if "views" in values else values)


def _plain_runs(group: Sequence[Record]) -> list[Record]:
    """The latest of each seed that learned from the same images and was scored on the same."""
    singles = [_single(record) for record in group]
    if not singles[0].folder.is_dir():
        return []
    wanted = singles[0].result
    weights = {single.run_id for single in singles}
    spec = _one_view_spec(wanted.pipeline)
    alike, rescored = {}, {}
    for other in RunStore(group[0].folder.parent).finished():
        result = other.result
        same = (result.test_digest, result.train_digest) == (
            wanted.test_digest,
            wanted.train_digest,
        )
        if not (
            same and result.limit == wanted.limit and other.state == "finished" and _is_plain(other)
        ):
            continue
        if other.spec.weights_of in weights:
            rescored[result.seed] = other
        elif (result.pipeline, result.source_hash, result.tune) == (
            spec,
            wanted.source_hash,
            wanted.tune,
        ):
            alike[result.seed] = other
    found = alike | rescored
    return [found[seed] for seed in sorted(found)]


def _how_to_make(group: Sequence[Record]) -> str:
    singles = [_single(record) for record in group]
    single = singles[0]
    if not single.folder.is_dir():
        return f"the members of {group[0].run_id} are not on record"
    pipeline = single.result.pipeline
    if "views" not in parse_spec(pipeline)[1] and not _is_plain(single):
        return f"{single.result.name} has no parameter views"
    return f"no run of {single.result.name} is so; make one with: harness rescore {' '.join(each.run_id for each in singles)}"
