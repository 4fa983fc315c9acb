"""`harness runs`: the list of what is on record, and removing from it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec

Harness = Callable[..., str]


@pytest.fixture
def finished(make_run: Callable[..., object], workdir: Path) -> str:
    make_run(workdir, run_id="baseline-123456")
    return "baseline-123456"


def test_without_runs_it_says_how_to_make_one(harness: Harness) -> None:
    assert "make one with: harness run --pipeline hog-svm" in harness("runs")


def test_every_run_is_listed_with_its_state(
    harness: Harness, finished: str, make_spec: Callable[..., RunSpec]
) -> None:
    store = RunStore(Path("runs"))
    running = store.create("alexnet", make_spec(pipeline="alexnet,epochs=3", seed=4))
    failed = store.create("hog-svm", make_spec(pipeline="hog-svm"))
    failed.set_status("failed", why="out of memory")
    output = harness("runs", "--json")
    rows = {row["run_id"]: row for row in json.loads(output.splitlines()[-1])}
    states = {run_id: row["status"] for run_id, row in rows.items()}
    assert states == {finished: "finished", running.run_id: "running", failed.run_id: "failed"}
    assert (rows[running.run_id]["pipeline"], rows[running.run_id]["seed"]) == ("alexnet", 4)
    assert rows[finished]["top1_error"] == pytest.approx(100 * 98 / 797)
    assert rows[failed.run_id]["top1_error"] is None
    assert "12.30 %" in output


def test_a_damaged_run_is_listed_and_can_be_removed(harness: Harness, finished: str) -> None:
    for folder in ("half-copied", "no-status.unfinished"):
        Path("runs", folder).mkdir()
    output = harness("runs")
    assert output.count(" damaged ") == 2
    assert output.count("spec.json cannot be read") == 2
    assert finished in output
    assert harness("runs", "rm", "--yes", "half-copied", "no-status").count("removed") == 2
    assert [record.run_id for record in RunStore(Path("runs")).all()] == [finished]


def test_a_run_of_another_format_is_shown_as_damaged(harness: Harness, finished: str) -> None:
    for name in ("spec.json", "result.json"):
        file = Path("runs", finished, name)
        file.write_text(json.dumps({**json.loads(file.read_text()), "format": 0}))
    assert "damaged" in harness("runs")
    assert f"removed {finished}" in harness("runs", "rm", "--yes", finished)


@pytest.mark.parametrize(("answer", "code", "kept"), [("y\n", 0, False), ("n\n", 1, True)])
def test_it_asks_before_it_removes(
    answer: str,
    code: int,
    kept: bool,
    harness: Harness,
    finished: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    output = harness("runs", "rm", finished, code=code)
    assert f"remove {finished} for good, with scores and weights? [y/N]: " in output
    assert ("nothing was removed" in output) == kept
    assert Path("runs", finished).exists() == kept


def test_without_an_answer_nothing_is_removed(
    harness: Harness, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert "nobody answered; to remove" in harness("runs", "rm", finished, code=2)
    assert Path("runs", finished).exists()


def test_a_run_that_mlflow_cannot_remove_is_named(harness: Harness, finished: str) -> None:
    Path("mlflow.db").write_bytes(b"not a database" * 100)
    output = harness("runs", "rm", "--yes", finished)
    assert f"removed {finished}\n" in output
    assert f"MLflow keeps what it has of {finished}: MLflow at sqlite:///" in output


def test_a_run_named_twice_is_removed_once(harness: Harness, finished: str) -> None:
    assert harness("runs", "rm", "--yes", finished, finished[:-2]).count("removed") == 1


def test_a_running_run_is_not_removed_nor_any_other_with_it(
    harness: Harness, finished: str, make_spec: Callable[..., RunSpec]
) -> None:
    running = RunStore(Path("runs")).create("alexnet", make_spec())
    output = harness("runs", "rm", "--yes", finished, running.run_id, code=2)
    assert f"run {running.run_id} is still running (process " in output
    assert len(RunStore(Path("runs")).all()) == 2
