"""The functions that Python users call, from a run to a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import harness
from harness import RunObserver, UserError, Workspace
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore


@pytest.fixture
def workspace(plugin: str) -> Workspace:
    return Workspace.open(plugins=[plugin])


def run(workspace: Workspace, pipeline: str = "nearest-mean", **options: Any) -> Result:
    return harness.run(pipeline, "digits", workspace=workspace, track=False, **options)


def test_a_workspace_may_be_given_as_its_arguments(plugin: str, workdir: Path) -> None:
    (workdir / "settings.yaml").write_text("")
    where: dict[str, Any] = {
        "plugins": [plugin],
        "data_root": "data",
        "config": Path("settings.yaml"),
    }
    result = harness.run("nearest-mean", "digits", track=False, **where)
    assert harness.load(result, **where).scores is not None
    assert len(harness.compare(result, result.run_id, **where).rows) == 2


def test_every_option_of_a_run_is_on_record(workspace: Workspace) -> None:
    options = {"seed": 5, "tune": 3, "limit": 200, "limit_test": 50, "test": False}
    result = run(workspace, **options)
    spec = RunStore(Path("runs")).find(result.run_id).spec
    assert {name: getattr(spec, name) for name in options} == options
    assert (result.n_train + result.n_tune, result.n_tune, result.top1_error) == (200, 30, None)


def test_an_observer_receives_the_events_of_a_run_in_order(workspace: Workspace) -> None:
    events: list[str] = []

    class Recorder(RunObserver):
        def started(self, *_: Any, expected: str, resumed: bool) -> None:
            events.append("started")
            assert "no earlier run" in expected
            assert not resumed

        def progress(self, items: Iterable[Any], *, label: str, **_: Any) -> Iterator[Any]:
            events.append(label)
            return iter(items)

        def finished(self, record: Record, pipeline: Any) -> None:
            events.append("finished")
            assert record.finished
            assert pipeline.means is not None

    result = run(workspace, observer=Recorder())
    assert events == ["started", "scoring tune", "scoring test", "finished"]
    assert (RunStore(Path("runs")).find(result.run_id).folder / "log.txt").exists()


def test_without_tracking_nothing_is_drawn_or_logged(workspace: Workspace, workdir: Path) -> None:
    result = run(workspace)
    assert not (RunStore(Path("runs")).find(result.run_id).folder / "pictures").exists()
    assert not (workdir / "mlflow.db").exists()


def test_with_tracking_a_run_is_published(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []
    finished = "harness.publish.Publisher.finished"
    monkeypatch.setattr(finished, lambda _, record, pipeline: published.append(record.run_id))
    result = harness.run("nearest-mean", "digits", workspace=workspace)
    assert published == [result.run_id]
    pair = [result, run(workspace, "nearest-mean,shrink=1.0")]
    assert published[1:] == []
    ensemble = harness.ensemble(*pair, workspace=workspace)
    assert published[1:] == [ensemble.run_id]


def test_load_returns_the_fitted_pipeline(workspace: Workspace) -> None:
    result = run(workspace)
    pipeline = harness.load(result, workspace=workspace)
    test = harness.load_dataset("digits").test
    scores = torch.cat([pipeline.scores(batch) for batch in test.batches(128)])
    error = 100 * float((scores.argmax(1).numpy() != test.labels).mean())
    assert error == pytest.approx(result.top1_error.value)
    with pytest.raises(UserError, match="no run is called 'abc'"):
        harness.load("abc", workspace=workspace)


def test_load_dataset_returns_the_splits_of_a_run(workspace: Workspace) -> None:
    options = {"tune": 2, "limit": 100, "limit_test": 50}
    splits = harness.load_dataset("digits", **options)
    result = run(workspace, **options)
    assert splits.tune
    assert (len(splits.train), len(splits.tune), len(splits.test)) == (80, 20, 50)
    assert (splits.fit_digest, splits.test.digest) == (result.train_digest, result.test_digest)


def test_write_report_checks_the_output_before_any_work(
    workspace: Workspace, workdir: Path
) -> None:
    with pytest.raises(UserError, match=r"'\.pdf' is not one of"):
        harness.write_report("no-such", "neither", output="report.pdf", workspace=workspace)
    pair = [run(workspace), run(workspace, "nearest-mean,shrink=1.0")]
    comparison = harness.write_report(*pair, output="table.md", workspace=workspace)
    assert len(comparison.rows) == 2
    assert (workdir / "table.md").exists()


def test_public_names_are_imported_on_first_use() -> None:
    for name in harness.__all__:
        assert getattr(harness, name) is not None
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'fit'"):
        _ = harness.fit


def test_no_public_name_is_hidden_by_a_module_of_the_same_name(workdir: Path) -> None:
    """`harness.report` is a package: no function of that name outlives the import of it."""
    package = Path(harness.__file__).parent
    modules = {path.stem for path in package.iterdir() if path.suffix in ("", ".py")}
    assert not modules & set(harness.__all__)
