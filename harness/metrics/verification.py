"""Whether the errors of a record follow from its scores."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

from harness.commands import harness_command
from harness.errors import UserError
from harness.metrics.errors import measure_errors
from harness.runs.record import RESULT, Record
from harness.runs.result import Scores

TOLERANCE = 1e-9  # points: other machines round the last digit of a float differently


def verified_scores(record: Record) -> Scores:
    """Return the test scores of a finished run, from which its errors follow.

    Raises
    ------
    UserError
        If the record is damaged, or says other errors than its scores have.
    """
    scores = record.scores()
    if len(scores) != record.result.n_test:
        raise _contradicted(record, "n_test", record.result.n_test, len(scores))
    for name, measured in vars(measure_errors(scores)).items():
        recorded = getattr(record.result, name)
        if not _agree(recorded, measured):
            raise _contradicted(record, name, recorded, measured)
    return scores


def verify(record: Record) -> None:
    """Compare every error of a finished run, that of tune included, with its scores.

    Raises
    ------
    UserError
        If the record is damaged, or says other errors than its scores have.
    """
    result = record.result
    if result.top1_error is not None:
        verified_scores(record)
    if not record.has_scores("tune_scores"):
        return
    tune = record.scores("tune_scores")
    if len(tune) != result.n_tune:
        raise _contradicted(record, "n_tune", result.n_tune, len(tune))
    measured = measure_errors(tune).top1_error
    assert measured
    if not _agree(result.tune_top1_error, measured.value):
        raise _contradicted(record, "tune_top1_error", result.tune_top1_error, measured.value)


def _agree(recorded: Any, measured: Any) -> bool:
    """Compare figures, or dataclasses of figures; None agrees with None alone."""
    if recorded is None or measured is None:
        return recorded is measured
    if is_dataclass(measured):
        names = [each.name for each in fields(measured)]
        return all(_agree(getattr(recorded, name), getattr(measured, name)) for name in names)
    return math.isclose(recorded, measured, rel_tol=0, abs_tol=TOLERANCE)


def _contradicted(record: Record, name: str, recorded: Any, measured: Any) -> UserError:
    figures = [getattr(value, "value", value) for value in (recorded, measured)]
    remove = harness_command("runs", "rm", record.run_id)
    return UserError(
        f"{record.folder / RESULT} cannot be believed: it says {name} {figures[0]}, and its "
        f"scores have {figures[1]}; remove the run with: {remove}"
    )
