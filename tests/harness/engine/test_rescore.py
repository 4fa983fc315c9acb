"""A finished run's weights scored at another number of views, as a run of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness import Workspace
from harness.engine.observer import RunObserver
from harness.engine.request import find_unfinished, resume_request
from harness.engine.runner import execute
from harness.errors import UserError
from harness.files import load_arrays, save_arrays
from harness.runs.checksums import CHECKSUMS, write_checksums
from harness.runs.record import SEALED, STATE
from harness.runs.result import Result
from harness.runs.run_store import RunStore
from pipelines.alexnet import build

NETWORK = "alexnet,epochs=1,flip=true"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Train a network at ten views; return the working folder and the result."""
    folder = tmp_path_factory.mktemp("rescoring")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, harness.run(NETWORK, "digits", limit=200, limit_test=60, track=False)


@pytest.fixture
def before(trained: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(trained[0])
    return trained[1]


def test_scores_are_those_of_the_same_weights_at_one_view(before: Result) -> None:
    started: list[bool] = []

    class Recorder(RunObserver):
        def started(self, *_: Any, expected: str, resumed: bool) -> None:
            started.append(resumed)

    result = harness.rescore(before, track=False, observer=Recorder())
    runs = RunStore(Path("runs"))
    record = runs.find(result.run_id)
    pipeline = build(epochs=1, flip=True, views=1)
    pipeline.load(load_arrays(runs.find(before.run_id).state_file)[0])
    splits = harness.load_dataset("digits", limit=200, limit_test=60)
    for split, name in ((splits.test, "scores"), (splits.tune, "tune_scores")):
        expected = torch.cat([pipeline.scores(batch) for batch in split.batches(128)]).numpy()
        assert np.allclose(
            record.scores(name).scores, expected, atol=1e-5
        )  # scored on a GPU where there is one, and on the CPU here
        assert not np.array_equal(expected, runs.find(before.run_id).scores(name).scores)
    assert result.pipeline == before.pipeline.replace("views=10", "views=1")
    assert (before.views, result.views) == (10, 1)
    assert result.cost.fit_seconds == before.cost.fit_seconds
    assert result.cost.fit_cpu_seconds == before.cost.fit_cpu_seconds
    assert result.cost.peak_memory_mb >= before.cost.peak_memory_mb
    assert result.cost.gflops_per_image == pytest.approx(before.cost.gflops_per_image / 10)
    assert result.curves == before.curves
    assert result.notes == (*before.notes, f"weights of {before.run_id}")
    assert record.spec.weights_of == before.run_id
    assert result.test_evaluations == before.test_evaluations + 1
    assert started == [True]
    assert f"weights    of {before.run_id}" in (record.folder / "log.txt").read_text()
    assert result.command == f"harness rescore {before.run_id} --views 1"


def test_a_pipeline_refitted_on_tune_has_no_tune_error_at_other_views(before: Result) -> None:
    first = harness.run("hog-svm,flip=false,c=1", "digits", limit=200, limit_test=60, track=False)
    assert first.refitted
    result = harness.rescore(first, 10, track=False)
    assert (first.views, result.views) == (1, 5)
    assert result.tune_top1_error is None
    assert "fitted on the tune split" in result.missing_reasons["tune_top1_error"]
    assert (result.n_tune, result.n_fit) == (first.n_tune, first.n_fit)


@pytest.mark.parametrize(
    ("pipeline", "views", "message"),
    [
        (NETWORK, 10, "was scored with views=10; give another number"),
        (NETWORK, 3, "views"),
        ("raw-linear,c=1", 1, "raw-linear has no parameter views"),
    ],
)
def test_runs_that_cannot_be_rescored_say_why(
    before: Result, pipeline: str, views: int, message: str
) -> None:
    run = (
        before
        if pipeline == NETWORK
        else harness.run(pipeline, "digits", limit=200, limit_test=60, track=False)
    )
    runs = len(RunStore(Path("runs")).all())
    with pytest.raises(UserError, match=message):
        harness.rescore(run, views, track=False)
    assert len(RunStore(Path("runs")).all()) == runs


def test_rescoring_interrupted_before_the_weights_are_copied_does_not_train(
    before: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.engine.rescore.save_arrays", interrupted)
    with pytest.raises(KeyboardInterrupt):
        harness.rescore(before, track=False)
    (cut_off,) = [record for record in RunStore(Path("runs")).all() if not record.finished]
    cut_off.set_status("stopped")
    request = resume_request(Workspace.open(), cut_off)
    with pytest.raises(UserError, match=f"score those again: harness rescore {before.run_id}"):
        execute(request, resume=find_unfinished(request, cut_off.run_id))
    assert not cut_off.state_file.exists()
    shutil.rmtree(cut_off.folder)


def test_rescoring_interrupted_after_the_weights_are_copied_resumes(
    before: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **details: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("harness.engine.runner.score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            harness.rescore(before, track=False)
    (cut_off,) = [record for record in RunStore(Path("runs")).all() if not record.finished]
    request = resume_request(Workspace.open(), cut_off)
    result = execute(request, resume=find_unfinished(request, cut_off.run_id))
    assert result.run_id == cut_off.run_id
    assert result.command == f"harness rescore {before.run_id} --views 1"
    assert result.notes == (*before.notes, f"weights of {before.run_id}")
    assert result.curves == before.curves
    assert result.tune_top1_error is not None
    assert result.cost.fit_seconds == before.cost.fit_seconds


def test_an_ensemble_and_changed_data_are_refused(before: Result) -> None:
    other = harness.run("hog-svm,flip=false,c=1", "digits", limit=200, limit_test=60, track=False)
    pair = harness.ensemble(before, other, track=False)
    with pytest.raises(UserError, match=f"take its members: {before.run_id}"):
        harness.rescore(pair, track=False)
    record = RunStore(Path("runs")).find(other.run_id)
    spec = replace(record.spec, test_digest="0" * 32)
    changed = replace(record.result, test_digest=spec.test_digest, identity=spec.identity)
    record.save_spec(spec)
    record.finish(changed)
    with pytest.raises(UserError, match="has changed since"):
        harness.rescore(other, 10, track=False)


def test_damaged_weights_are_named_and_leave_no_record_behind(before: Result) -> None:
    store = RunStore(Path("runs"))
    state = store.folder / before.run_id / "state.safetensors"
    intact = state.read_bytes()
    state.write_text("x")
    runs = len(store.all())
    with pytest.raises(UserError, match=r"state\.safetensors cannot be read"):
        harness.rescore(before, track=False)
    with pytest.raises(UserError, match=r"state\.safetensors cannot be read"):
        harness.load(before)
    assert len(store.all()) == runs
    state.write_bytes(intact)


def test_images_that_were_moved_are_found_by_another_run_on_them(
    workdir: Path, pictures: Callable[..., Path]
) -> None:
    pictures(workdir / "old", {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2})
    before = harness.run("hog-svm,flip=false,c=1", "old", track=False)
    Path("old").rename("new")
    with pytest.raises(UserError, match="old"):
        harness.rescore(before, 10, track=False)
    harness.run("raw-linear,c=1", "new", track=False)
    result = harness.rescore(before, 10, track=False)
    assert result.test_digest == before.test_digest
    assert "new" in result.dataset


def test_a_state_without_its_progress_is_damaged(before: Result) -> None:
    record = RunStore(Path("runs")).find(before.run_id)
    intact = {name: (record.folder / name).read_bytes() for name in (STATE, CHECKSUMS)}
    state, _ = record.load_state()
    save_arrays(record.state_file, state, {"fit": '{"notes": 3}'})
    write_checksums(record.folder, SEALED)
    runs = len(RunStore(Path("runs")).all())
    with pytest.raises(UserError, match="its header does not say how the run was fitted"):
        harness.rescore(before, track=False)
    assert len(RunStore(Path("runs")).all()) == runs
    for name, content in intact.items():
        (record.folder / name).write_bytes(content)
