"""What MLflow holds after a run was logged, whether it finished or not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.errors import UserError
from harness.settings import Run, Settings
from harness.tracking.contents import describe_run
from harness.tracking.log_run import log_failed_run, log_finished_run


def test_a_finished_run_is_logged_in_full(settings: Settings, stored: Any, add_record: Any) -> None:
    record = add_record()
    log_finished_run(record, replace(settings, run=Run(tags={"machine": "desk-3"})))
    run = stored.run()
    assert run.info.status == "FINISHED"
    assert run.info.run_name == run.data.tags["run_id"] == "baseline-digits-1"
    assert (run.info.end_time - run.info.start_time) == 180_250
    assert run.data.params == {
        "pipeline": "baseline,cell=8,flip=true", "pipeline.cell": "8", "pipeline.flip": "true",
        "dataset": 'digits,classes="0,1"', "dataset.classes": "0,1", "seed": "3", "classes": "10",
        "n_train": "900", "n_tune": "100", "n_test": "797", "n_fit": "1000", "refitted": "true",
    }  # fmt: skip
    assert run.data.metrics == {
        "top1_error": 12.3, "top1_error_ci_low": 10.2, "top1_error_ci_high": 14.76,
        "top5_error": 1.25, "mean_class_error": 12.29, "tune_top1_error": 11.0,
        "fit_seconds": 123.5, "score_seconds": 1.5, "cached_seconds": 0.0,
        "images_per_second": 531.3, "peak_memory_mb": 812.3,
    }  # fmt: skip
    tags = {
        "pipeline": "baseline",
        "family": "hand-crafted",
        "dataset": "digits",
        "test_digest": record.result.test_digest,
        "identity": record.result.identity,
        "notes": "recipe: short",
        "machine": "desk-3",
        "mlflow.note.content": describe_run(record.result, {}),
    }
    assert tags.items() <= run.data.tags.items()
    datasets = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert {split: (d.name, d.digest) for split, d in datasets.items()} == {
        "train": ("digits train", "a" * 32),
        "test": ("digits test", record.result.test_digest),
    }
    assert stored.artifacts(record.run_id) == {
        "result.json",
        "spec.json",
        "log.txt",
        "scores.npz",
    }
    assert list((settings.root / "mlartifacts").rglob("result.json"))


def test_curves_keep_their_steps_and_an_infinite_loss_becomes_nan(
    settings: Settings, stored: Any, add_record: Any
) -> None:
    loss = [(step, 1 / (step + 1)) for step in range(1500)] + [(1500, math.inf)]
    curves = {"train/loss": loss, "val/top1 (%)": [(0, 50.0), (5, 25.0)]}
    log_finished_run(add_record(curves=curves), settings)
    history = stored.history("train/loss")
    assert history[:-1] == loss[:-1]
    assert history[-1][0] == 1500
    assert math.isnan(history[-1][1])
    assert stored.history("val/top1 ___") == [(0, 50.0), (5, 25.0)]


def test_long_texts_are_cut_and_many_parameters_split(
    settings: Settings, stored: Any, add_record: Any
) -> None:
    spec = "wide," + ",".join(f"p{i}={i}" for i in range(150)) + ",long=" + "x" * 7000
    log_finished_run(add_record(pipeline=spec, notes=("n" * 9000,)), settings)
    run = stored.run()
    assert run.data.params["pipeline.p149"] == "149"
    assert len(run.data.params["pipeline.long"]) == 6000
    assert len(run.data.tags["notes"]) == 8000


def test_large_scores_stay_in_the_run_folder(
    settings: Settings, stored: Any, add_record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = add_record()
    (record.folder / "scores.npz").write_bytes(b"0" * 2000)
    monkeypatch.setattr("harness.tracking.log_run.MAX_ARTIFACT_BYTES", 1999)
    log_finished_run(record, settings)
    assert "scores.npz" not in stored.artifacts(record.run_id)
    monkeypatch.setattr("harness.tracking.log_run.MAX_ARTIFACT_BYTES", 2001)
    log_finished_run(record, settings)
    assert "scores.npz" in stored.artifacts(record.run_id)


def test_logging_a_run_again_duplicates_nothing(
    settings: Settings, stored: Any, add_record: Any
) -> None:
    record = add_record(curves={"train/loss": [(0, 1.0), (1, math.nan)]})
    first, again = (log_finished_run(record, settings) for _ in range(2))
    assert first == again
    assert len(stored.history("top1_error")) == 1
    assert len(stored.history("train/loss")) == 2
    assert len(stored.run().inputs.dataset_inputs) == 2


@pytest.mark.parametrize(("killed", "status"), [(False, "FAILED"), (True, "KILLED")])
def test_a_failed_run_has_no_metrics_until_it_is_resumed_and_finishes(
    settings: Settings, stored: Any, add_record: Any, killed: bool, status: str
) -> None:
    record = add_record()
    log_failed_run(record, settings, reason="out of memory", killed=killed)
    run = stored.run()
    assert run.info.status == status
    assert run.data.metrics == {}
    assert "out of memory" in run.data.tags["mlflow.note.content"]
    log_finished_run(record, settings)
    run = stored.run()
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.note.content"].startswith("**baseline** (hand-crafted)")


@pytest.mark.parametrize(
    ("failure", "raised"),
    [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_run_that_is_only_partly_written_is_not_finished(
    settings: Settings,
    stored: Any,
    add_record: Any,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    raised: type[BaseException],
) -> None:
    record = add_record()

    def fail(*args: Any) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", fail)
        with pytest.raises(raised):
            log_finished_run(record, settings)
    assert stored.run().info.status == "FAILED"
    log_finished_run(record, settings)
    assert stored.run().info.status == "FINISHED"
