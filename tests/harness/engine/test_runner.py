"""One run from request to record, on real digits and on pipelines made to misbehave."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import harness
from harness import Split, UserError
from harness.cli import cli
from harness.engine.context import RunContext
from harness.engine.request import resolve, resumable
from harness.engine.resources import Spent
from harness.engine.runner import execute
from harness.metrics.errors import metrics
from harness.runs import record as record_module
from harness.runs.record import Record
from harness.runs.run_store import RunStore


class Means:
    """Nearest class mean; `misbehave` names a way of going wrong."""

    FAMILY = "hand-crafted"

    def __init__(self, misbehave: str = "") -> None:
        self.misbehave = misbehave

    def fit(self, train: Split, tune: Split | None, context: Any) -> None:
        saved = context.checkpoint.load()
        step = int(saved["step"]) if saved else 0
        for epoch in range(step, 3):
            context.log("train/loss", 1.0 / (epoch + 1), epoch)
            context.checkpoint.save({"step": torch.tensor(epoch + 1)})
            if self.misbehave == "interrupt" and epoch == 1 and not saved:
                raise KeyboardInterrupt
        pixels = torch.cat(
            [batch.images.flatten(1).float() for batch in train.batches(256, device=context.device)]
        )
        self.means = torch.stack(
            [pixels[torch.from_numpy(train.labels == c)].mean(0) for c in range(train.num_classes)]
        )
        random.random(), np.random.random(), torch.rand(1)

    def scores(self, batch: Any) -> torch.Tensor:
        if self.misbehave == "fail in score" and not Path("mended").exists():
            raise RuntimeError("the disk burns")
        scores = -torch.cdist(batch.images.flatten(1).float(), self.means)
        if self.misbehave == "nan":
            scores[0, 0] = torch.nan
        return (
            torch.zeros_like(scores)
            if self.misbehave == "constant"
            else scores[:, :5]
            if self.misbehave == "shape"
            else scores
        )

    def state(self) -> dict[str, torch.Tensor]:
        return {"means": self.means}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        self.means = state["means"]


def record_of(result: harness.runner.Result) -> Record:  # type: ignore[name-defined]
    return RunStore(Path("runs")).find(result.run_id)


def test_the_result_equals_a_recomputation_from_the_saved_scores() -> None:
    result = harness.run(Means(), "digits", track=False)
    record = record_of(result)
    scores = record.scores()
    assert len(scores) == result.n_test == 500
    assert set(scores.keys) == set(harness.load_dataset("digits").test.keys)
    saved = json.loads((record.folder / "result.json").read_text())
    for name, value in metrics(scores):
        assert saved[name] == value == getattr(result, name)
    assert dict(metrics(record.scores("tune_scores")))["top1_error"] == saved["tune_top1_error"]
    assert record.result == result
    assert result.curves["train/loss"] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_the_result_says_what_it_cost() -> None:
    result = harness.run(Means(), "digits", track=False)
    assert result.cost.fit_cpu_seconds > 0
    assert result.cost.score_cpu_seconds is not None
    assert result.cost.cached_cpu_seconds == 0
    assert result.cost.model_bytes == 10 * 3 * 32 * 32 * 4  # the means of the classes, float32
    assert result.cost.fit_device_seconds is None
    assert result.missing_reasons["fit_device_seconds"] == "computed on the CPU"


def test_a_record_made_before_costs_were_kept_is_read_and_its_model_measured() -> None:
    result = harness.run(Means(), "digits", track=False)
    path = record_of(result).folder / "result.json"
    kept = json.loads(path.read_text())
    for name in (
        "fit_cpu_seconds",
        "score_cpu_seconds",
        "cached_cpu_seconds",
        "fit_device_seconds",
        "model_bytes",
    ):
        del kept[name]
    path.write_text(json.dumps(kept))
    old = record_of(result).result
    assert old.cost.fit_cpu_seconds is None
    assert old.cost.model_bytes == result.cost.model_bytes


def test_constant_scores_are_100_percent_wrong() -> None:
    assert harness.run(Means("constant"), "digits", track=False).top1_error == 100.0


def test_looks_at_the_test_split_are_counted() -> None:
    assert [harness.run(Means(), "digits", track=False).test_evaluations for _ in range(3)] == [
        1,
        2,
        3,
    ]


def test_no_global_state_is_left_changed() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
    )
    harness.run(Means(), "digits", track=False, seed=7)
    assert before == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
    )


def test_no_test_stops_after_tune() -> None:
    result = harness.run(Means(), "digits", track=False, test=False)
    assert (result.top1_error, result.n_test, result.cost.score_seconds) == (None, 0, None)
    assert result.tune_top1_error is not None
    assert record_of(result).state == "tuned"
    assert not (record_of(result).folder / "scores.npz").exists()
    assert harness.run(Means(), "digits", track=False).test_evaluations == 1


def test_without_tune_there_is_no_tune_error() -> None:
    result = harness.run(Means(), "digits", track=False, tune=0)
    assert (result.n_tune, result.tune_top1_error, result.n_fit) == (0, None, 1297)


@pytest.mark.parametrize(
    ("misbehave", "words"),
    [("nan", "NaN scores for"), ("shape", r"scores are \(128, 5\) for 128 images")],
)
def test_scores_that_are_none_are_an_error_and_the_run_is_failed(
    misbehave: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        harness.run(Means(misbehave), "digits", track=False, tune=0)
    (record,) = RunStore(Path("runs")).all()
    assert record.state == "failed"
    assert "scores" in record.status["why"]


def test_a_run_interrupted_in_fit_resumes_from_its_checkpoint_and_ends_the_same() -> None:
    undisturbed = harness.run(Means(), "digits", track=False)
    request = resolve(Means("interrupt"), "digits")
    with pytest.raises(KeyboardInterrupt):
        execute(request, track=False)
    record = resumable(request, "latest")
    assert record.state == "stopped"
    result = execute(request, track=False, resume=record)
    assert result.curves == undisturbed.curves
    assert result.top1_error == undisturbed.top1_error
    assert [r.state for r in RunStore(Path("runs")).all()] == ["finished", "finished"]


def test_a_run_that_fails_between_fit_and_score_does_not_fit_again() -> None:
    request = resolve(Means("fail in score"), "digits", tune=0)
    with pytest.raises(RuntimeError):
        execute(request, track=False)
    record = resumable(request, "latest")
    fitted = (record.folder / "state.safetensors").read_bytes()
    Path("mended").touch()
    result = execute(request, track=False, resume=record)
    assert (record_of(result).folder / "state.safetensors").read_bytes() == fitted
    assert result.curves["train/loss"] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_resume_refuses_what_it_cannot_go_on_with(plugin: str) -> None:
    def request(**options: Any) -> Any:
        return resolve("nearest-mean", "digits", plugins=[plugin], **options)

    with pytest.raises(UserError, match="no unfinished run of nearest-mean"):
        resumable(request(), "latest")
    record = RunStore(Path("runs").resolve()).create("nearest-mean", request().record)
    with pytest.raises(UserError, match="is still running"):
        resumable(request(), "latest")
    record.set_status("failed")
    assert resumable(request(), record.run_id).run_id == record.run_id
    with pytest.raises(UserError, match="no unfinished run"):
        resumable(request(seed=1), "latest")
    Path(plugin).write_text(Path(plugin).read_text() + "\n# changed\n")
    with pytest.raises(UserError, match="the source of the pipeline has changed"):
        resumable(request(), "latest")


def test_an_undecodable_test_image_is_wrong_and_counted() -> None:
    splits = harness.load_dataset("digits")
    test = splits.test.take(np.arange(20))
    test.rows[3] = -1
    result = harness.run(Means(), (splits.train, test), track=False)
    assert result.n_test == 20
    scores = record_of(result).scores()
    assert np.isneginf(scores.scores[3]).all()
    assert not np.isneginf(np.delete(scores.scores, 3, axis=0)).any()


def test_a_place_that_cannot_be_written_is_said_before_any_work() -> None:
    Path("runs").write_text("in the way")
    with pytest.raises(UserError, match="cannot write a run to"):
        harness.run(Means(), "digits", track=False)


def test_a_dead_run_is_told_from_a_running_one() -> None:
    record = RunStore(Path("runs")).create("means", {"pipeline": "x"})
    assert record.state == "running"
    gone = 2**22 + 1
    for other in (
        {"pid_started": "another boot 1"},
        {"pid": os.getppid()},
        {"pid": gone},
        {"pid": gone, "pid_started": None},
    ):
        (record.folder / "status.json").write_text(json.dumps({**record.status, **other}))
        assert record.state == "dead"
        record.set_status("running")
        assert record.state == "running"


def test_why_a_run_failed_is_forgotten_when_it_goes_on() -> None:
    record = RunStore(Path("runs")).create("means", {"pipeline": "x"})
    record.set_status("failed", why="out of memory")
    record.set_status("running", phase="score")
    assert "why" not in record.status
    assert record.status["phase"] == "score"


def test_a_checkpoint_that_is_loaded_again_brings_the_facts_of_the_part_before_once() -> None:
    """A pipeline may go back to its best epoch; what was timed, logged and noted since is no less true."""
    first = RunContext(checkpoint_folder=Path("checkpoint"))
    first.stopwatch.earlier += Spent(100.0, 100.0)
    first.note("from before")
    first.log("error", 0.5, 1)
    first.checkpoint.save({"a": torch.zeros(1)})
    first.log("error", 0.4, 2)
    assert first.checkpoint.load() is not None
    assert first.curves["error"] == [(1, 0.5), (2, 0.4)]
    assert first.stopwatch.spent.seconds < 150
    second = RunContext(checkpoint_folder=Path("checkpoint"))
    second.note("products in bfloat16")  # another machine's
    assert second.checkpoint.load() is not None
    assert second.checkpoint.load() is not None
    assert second.notes == ["from before", "products in bfloat16"]
    assert 100 <= second.stopwatch.spent.seconds < 150


def test_a_run_cut_off_before_its_spec_was_written_is_not_on_record() -> None:
    runs = RunStore(Path("runs"))
    with pytest.raises(TypeError):
        runs.create(
            "mean-brightness", {"pipeline": object()}
        )  # json gives up where a kill may fall
    assert runs.all() == []
    assert runs.create("mean-brightness", {"pipeline": "mean-brightness"}).spec == {
        "pipeline": "mean-brightness"
    }
    assert len(runs.all()) == 1


def test_parameters_that_do_not_go_together_leave_no_run_behind(workdir: Path) -> None:
    with pytest.raises(UserError, match="give one of the two"):
        harness.run("alexnet,epochs=3,updates=4", "digits")
    assert not (workdir / "runs").exists()


def test_a_run_of_another_machine_is_dead_when_its_heart_has_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = RunStore(Path("runs")).create("means", {"pipeline": "x"})
    status = record.folder / "status.json"
    status.write_text(json.dumps({**record.status, "host": "another", "pid": 1}))
    assert record.state == "running"
    os.utime(status, (0, time.time() - 2 * record_module.STALE_AFTER_SECONDS))
    assert record.state == "dead"
    monkeypatch.setattr(record_module, "HEARTBEAT_SECONDS", 0.01)
    with record.heartbeat():
        deadline = time.monotonic() + 10
        while record.state == "dead" and time.monotonic() < deadline:
            time.sleep(0.01)
    assert record.state == "running"


def test_a_damaged_record_is_in_nobodys_way() -> None:
    """It is shown, passed over by whoever looks for runs, and can be removed."""
    result = harness.run(Means(), "digits", track=False)
    for folder in ("half-copied", "no-status.unfinished"):
        Path("runs", folder).mkdir()
    runs = RunStore(Path("runs"))
    assert [record.run_id for record in runs.finished()] == [result.run_id]
    assert runs.test_evaluations(result.name, result.test_digest) == 1
    assert runs.find("no-status").state == "dead"
    with pytest.raises(UserError, match="there is no unfinished run"):
        resumable(resolve(Means(), "digits"), "latest")
    shown = CliRunner().invoke(cli, ["runs"]).output
    assert "damaged" in shown
    removed = CliRunner().invoke(cli, ["runs", "rm", "half-copied", "no-status"])
    assert (removed.exit_code, len(runs.all())) == (0, 1)


def test_runs_are_in_the_order_in_which_they_finished() -> None:
    """Whatever is written to their folders later."""
    first, second = (harness.run(Means(), "digits", seed=seed, track=False) for seed in (0, 1))
    record = record_of(first)
    finished = dataclasses.asdict(record_of(second).result) | {
        "finished": "2999-01-01T00:00:00+00:00"
    }
    (record_of(second).folder / "result.json").write_text(json.dumps(finished))
    record.save_links("table", "run")
    assert [r.run_id for r in RunStore(Path("runs")).finished()] == [first.run_id, second.run_id]
