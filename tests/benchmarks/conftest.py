"""What several tests of studies share."""

from __future__ import annotations

from functools import partial

import pytest

from harness.api import run_request


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the runs of a study but do not log them to MLflow, which takes longer than they do."""
    monkeypatch.setattr("benchmarks.study_runs.run_request", partial(run_request, track=False))
