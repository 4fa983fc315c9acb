"""Yardsticks name runs that exist, and a figure below its target is reported as short."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import yardsticks
from benchmarks.yardsticks import YARDSTICKS, Yardstick, accuracy, main, report_line, run_yardstick
from harness.registry import open_registry
from harness.runs.result import Cost, Estimate, Interval
from harness.workspace import Workspace

DIGITS = Yardstick("digits", "baseline", "digits", "98", 90.0, "a source")
CALTECH = Yardstick("caltech", "sift-bow", "caltech101,test_per_class=15", "64", 64.0, "a source")


@pytest.fixture
def result_with() -> Callable[..., Any]:
    """Build a result with a top-1 error and a mean error over classes."""

    def build(top1_error: float, mean_class_error: float = 50.0) -> Any:
        return SimpleNamespace(
            top1_error=Estimate(top1_error, Interval(0, 100)),
            mean_class_error=mean_class_error,
            cost=Cost(fit_seconds=9, peak_memory_mb=0, score_seconds=1),
            n_test=500,
            title="a dataset",
            notes=("recipe short: 3 epochs", "another note"),
        )

    return build


@pytest.mark.parametrize("yardstick", YARDSTICKS, ids=lambda yardstick: yardstick.name)
def test_specs_are_valid(yardstick: Yardstick) -> None:
    registry = open_registry()
    registry.resolve("pipeline", yardstick.pipeline).make()
    registry.resolve("dataset", yardstick.dataset)


def test_names_are_unique() -> None:
    assert len({yardstick.name for yardstick in YARDSTICKS}) == len(YARDSTICKS)


def test_accuracy_is_a_mean_over_classes_on_caltech(result_with: Callable[..., Any]) -> None:
    result = result_with(10.0, mean_class_error=20.0)
    assert accuracy(DIGITS, result) == 90.0
    assert accuracy(CALTECH, result) == 80.0


def test_a_shortfall_is_reported(result_with: Callable[..., Any]) -> None:
    assert "reached" in report_line(DIGITS, [result_with(10.0)])
    line = report_line(DIGITS, [result_with(10.5)])
    assert "SHORT by 0.50" in line
    assert "n 500, 10 s per run, a dataset, baseline; a source; recipe short: 3 epochs" in line


def test_several_runs_have_mean_and_deviation(result_with: Callable[..., Any]) -> None:
    results = [result_with(0, mean_class_error=error) for error in (30.0, 32.0, 34.0)]
    line = report_line(CALTECH, results)
    assert "68.00 +- 2.00" in line
    assert "n 500/500/500" in line


def test_caltech_runs_on_three_splits_and_given_files_replace_the_download(
    workdir: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[tuple[str, str, int | None]] = []

    def study_request(
        workspace: Workspace, pipeline: str, dataset: str, *, tune: int | None
    ) -> None:
        requests.append((pipeline, dataset, tune))

    monkeypatch.setattr(yardsticks, "study_request", study_request)
    monkeypatch.setattr(yardsticks, "finished_or_run", lambda request: SimpleNamespace(result=None))
    locations = {"caltech101": "archive", "cifar10": "images.tar"}
    cifar = Yardstick("cifar", "baseline", "cifar10", "65", 72.0, "a source", tune=None)
    for yardstick in (CALTECH, cifar, DIGITS):
        run_yardstick(yardstick, Workspace.open(), locations)
    caltech = "caltech101,test_per_class=15"
    assert requests == [
        *(("sift-bow", f"{caltech},split_seed={seed},path=archive", 0) for seed in (1, 2, 3)),
        ("baseline", "images.tar", None),
        ("baseline", "digits", 0),
    ]


def test_an_unknown_yardstick_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["yardsticks", "digit-baseline"])
    with pytest.raises(SystemExit):
        main()
    assert "unknown yardstick: digit-baseline; available: caltech-bow" in capsys.readouterr().err
