"""Points become runs; networks get their number of updates; runs are collected or left out."""

from __future__ import annotations

import pytest

from benchmarks.learning_curve_study import (
    Study,
    collect_runs,
    needs_updates,
    updates_within,
    with_updates,
)
from benchmarks.study_runs import finished_or_run
from harness.workspace import Workspace

PIPELINES = ("raw-linear", "hog-svm")


def test_the_largest_point_is_the_dataset_itself(workdir: object) -> None:
    study = Study(PIPELINES, (10, 100), (2, 1), "digits", Workspace.open())
    points = list(study.points())
    assert [(p.pipeline, p.fraction, p.seed) for p in points] == [
        ("raw-linear", 10, 0), ("hog-svm", 10, 0), ("raw-linear", 100, 0), ("hog-svm", 100, 0),
        ("raw-linear", 10, 1), ("hog-svm", 10, 1),
    ]  # fmt: skip
    assert study.request(points[2]).spec.dataset == "digits"
    request = study.request(points[4])
    assert request.spec.dataset == "subset,of=digits,percent=10.0,seed=1"
    assert request.spec.seed == 1


def test_networks_that_train_by_updates_get_their_number(workdir: object) -> None:
    workspace = Workspace.open()
    assert with_updates(workspace, "alexnet,views=1", 500) == "alexnet,views=1,updates=500"
    assert with_updates(workspace, "hog-svm", 500) == "hog-svm"
    assert with_updates(workspace, "alexnet,updates=7", 500) == "alexnet,updates=7"
    assert needs_updates(workspace, "alexnet")
    assert not needs_updates(workspace, "cuda-convnet")


def test_minutes_are_converted_to_updates_at_the_largest_point(
    workdir: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.learned.trainer.PROBE_SECONDS", 0.3)
    study = Study(("hog-svm", "alexnet,views=1"), (10, 100), (1, 1), "digits", Workspace.open())
    one, ten = updates_within(1, study), updates_within(10, study)
    assert 100 < one < 100_000
    assert 3 < ten / one < 30


def test_a_point_that_cannot_run_is_reported_and_left_out(
    workdir: object, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(PIPELINES, (0.5,), (1,), "digits", Workspace.open())
    runs = collect_runs(study, finished_or_run)
    assert [pipeline.records for pipeline in runs] == [{}, {}]
    assert "not run    raw-linear, 0.5 %, seed 0: " in capsys.readouterr().out


def test_a_stopped_study_keeps_what_is_finished(
    workdir: object, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(request: object) -> None:
        raise KeyboardInterrupt

    study = Study(PIPELINES, (10,), (1,), "digits", Workspace.open())
    assert [runs.records for runs in collect_runs(study, stop)] == [{}, {}]
    assert "stopped" in capsys.readouterr().out
