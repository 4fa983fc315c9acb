"""Runs that compare the same rows at one view per test image and one model each."""

from __future__ import annotations

from collections.abc import Sequence

from harness.commands import harness_command
from harness.runs.protocol import protocol
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.runs.select import has_intact_scores
from harness.spec import format_spec, parse_spec


def at_one_view(groups: Sequence[Sequence[Record]]) -> tuple[list[list[Record]] | None, list[str]]:
    """Find runs of one view and one model each that stand for the given ones.

    A run of one view and one model stands for itself. Any other is replaced, seed by seed, by its
    own weights scored at one view (`rescore`), else by runs of the same spec and source with
    views=1; an ensemble is replaced by the runs of its first member.

    Parameters
    ----------
    groups : sequence of sequences of Record
        One group per row, one record per seed.

    Returns
    -------
    groups : list of lists of Record, or None
        Groups of the same runs once only. None where all runs are of one view and one model
        already, where a replacement is missing, and where fewer than two groups are left.
    missing : list of str
        What is not on record, and the command that makes it.
    """
    if all(_is_single(record) for group in groups for record in group):
        return None, []
    replaced, missing = [], []
    for group in groups:
        singles = list(group) if all(map(_is_single, group)) else _replacements(group)
        replaced.append(singles)
        if not singles:
            missing.append(_how_to_make(group))
    distinct = {tuple(record.run_id for record in group): group for group in replaced}
    if missing or len(distinct) < 2:
        return None, missing
    return list(distinct.values()), []


def _is_single(record: Record) -> bool:
    averaged = protocol(record)
    return (averaged.views, averaged.models) == (1, 1)


def _first_member(record: Record) -> Record:
    """Return the record itself, or the first member of an ensemble, which may be missing."""
    while record.spec.kind == "ensemble":
        record = Record(record.folder.with_name(record.spec.members[0]))
        if not record.folder.is_dir():
            break
    return record


def _one_view_spec(pipeline: str) -> str:
    name, values = parse_spec(pipeline)
    return format_spec(name, {**values, "views": "1"} if "views" in values else values)


def _replacements(group: Sequence[Record]) -> list[Record]:
    """Return, by seed, the latest run at one view with the same training and test images."""
    members = [_first_member(record) for record in group]
    if not members[0].folder.is_dir():
        return []
    wanted = members[0].result
    trained = (_one_view_spec(wanted.pipeline), wanted.source_hash, wanted.tune)
    weights = {member.run_id for member in members}
    same_spec, same_weights = {}, {}
    for other in RunStore(group[0].folder.parent).finished():
        result = other.result
        if not _is_scored_alike(other, members[0]):
            continue
        if other.spec.weights_of in weights:
            same_weights[result.seed] = other
        elif (result.pipeline, result.source_hash, result.tune) == trained:
            same_spec[result.seed] = other
    replacements = same_spec | same_weights
    records = [replacements[seed] for seed in sorted(replacements)]
    return [record for record in records if has_intact_scores(record)]


def _is_scored_alike(record: Record, wanted: Record) -> bool:
    """Whether a run has test scores at one view and the images of the wanted run."""
    same = ("test_digest", "train_digest", "limit")
    if any(getattr(record.result, name) != getattr(wanted.result, name) for name in same):
        return False
    return record.state == "finished" and _is_single(record)


def _how_to_make(group: Sequence[Record]) -> str:
    members = [_first_member(record) for record in group]
    first = members[0]
    if not first.folder.is_dir():
        return f"the members of {group[0].run_id} are not on record"
    if "views" not in parse_spec(first.result.pipeline)[1] and not _is_single(first):
        return f"{first.result.name} has no parameter views"
    command = harness_command("rescore", *(member.run_id for member in members))
    return f"{first.result.name} has no such run; make one with: {command}"
