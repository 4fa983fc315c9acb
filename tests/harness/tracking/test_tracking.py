import json
import math
import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.errors import UserError
from harness.runs.record import Record
from harness.settings import Experiment, Run, Server, Settings, Views
from harness.tracking.client import connection, store
from harness.tracking.links import addresses, compare_link, links
from harness.tracking.log_run import track, track_failure
from harness.tracking.saved_view import VIEW_TAG

ALEXNET = {
    "run_id": "alexnet-digits-1",
    "name": "alexnet",
    "pipeline": "alexnet,lrn=false",
    "family": "learned",
    "top1_error": 2.5,
}


def client(settings: Settings) -> MlflowClient:
    return MlflowClient(tracking_uri=settings.server.tracking_uri)


def experiment_of(settings: Settings):
    return client(settings).get_experiment_by_name(settings.experiment.name)


def runs_of(settings: Settings) -> list:
    return list(client(settings).search_runs([experiment_of(settings).experiment_id]))


def track_one(settings, make_run, **fields):
    result, folder = make_run(settings.root, **fields)
    track(result, folder, settings)
    [run] = runs_of(settings)
    return run


def test_a_finished_run_is_mirrored(settings, make_run):
    settings = replace(settings, run=Run(tags={"machine": "desk-3"}))
    run = track_one(settings, make_run)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == run.data.tags["run_id"] == "baseline-digits-1"
    assert (run.info.end_time - run.info.start_time) == 180_250
    assert run.data.params == {
        "pipeline": "baseline,cell=8,flip=true", "pipeline.cell": "8", "pipeline.flip": "true",
        "dataset": 'digits,classes="0,1"', "dataset.classes": "0,1", "seed": "3", "classes": "10",
        "n_train": "900", "n_tune": "100", "n_test": "797", "n_fit": "1000", "refitted": "true",
    }  # fmt: skip
    assert run.data.metrics == {
        "top1_error": 12.35, "top1_error_ci_low": 10.2, "top1_error_ci_high": 14.8, "top5_error": 1.23, "mean_class_error": 12.5,
        "tune_top1_error": 11.0, "fit_seconds": 123.5, "score_seconds": 1.5, "cached_seconds": 0.0,
        "images_per_second": 531.3, "peak_memory_mb": 812.3,
    }  # fmt: skip
    expected = {
        "pipeline": "baseline",
        "family": "hand-crafted",
        "dataset": "digits",
        "test_digest": "b" * 32,
        "identity": "c" * 16,
    }
    expected |= {"notes": "recipe: short", "machine": "desk-3"}
    assert expected.items() <= run.data.tags.items()
    assert {item.path for item in client(settings).list_artifacts(run.info.run_id)} == {
        "result.json",
        "spec.json",
        "log.txt",
    }
    assert list((settings.root / "mlartifacts").rglob("result.json"))


def test_what_the_library_of_an_object_store_says_is_said(settings, make_run, monkeypatch):
    """boto3 is not needed to see it: mlflow lets its exceptions through."""

    def refuse(*_):
        raise RuntimeError("Unable to locate credentials")

    monkeypatch.setattr(MlflowClient, "log_artifact", refuse)
    with pytest.raises(
        UserError,
        match=r"RuntimeError: Unable to locate credentials; see server\.artifact_location",
    ):
        track_one(settings, make_run)


def test_the_data_sets_carry_our_digests(settings, make_run):
    run = track_one(settings, make_run)
    seen = {i.tags[0].value: (i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs}
    assert seen == {"train": ("digits train", "a" * 32), "test": ("digits test", "b" * 32)}


def test_the_description_tells_the_story(settings, make_run):
    absent = {"params_millions": "no network", "fit_device_seconds": "computed on the CPU"}
    text = track_one(settings, make_run, missing_reasons=absent).data.tags["mlflow.note.content"]
    assert text.splitlines()[:3] == [
        "**baseline** (hand-crafted) on digits: top-1 error 12.35 % (95 % interval 10.20 to 14.80) on 797 images; top-5 error 1.23 %. "
        "Fitted on 1000 labeled images (train + tune, after tuning) in 2 min 3 s, tuning included, scored in 1.5 s; "
        "812 MB of memory at most.",
        "",
        "recipe: short",
    ]
    for part in (
        "95 % interval 10.20 to 14.80",
        "not available: no network",
        "computed on the CPU",
        "no official split",
    ):
        assert part in text
    assert "harness run --pipeline baseline" in text


def test_a_figure_that_is_missing_is_absent(settings, make_run):
    metrics = track_one(settings, make_run, top5_error=None, tune_top1_error=None).data.metrics
    assert not {"top5_error", "tune_top1_error", "params_millions", "gflops_per_image"} & set(
        metrics
    )


def test_a_run_that_stopped_after_tune_says_so(settings, make_run):
    names = (
        "top1_error",
        "top1_error_ci_low",
        "top1_error_ci_high",
        "top5_error",
        "mean_class_error",
        "score_seconds",
    )
    nothing = dict.fromkeys([*names, "images_per_second"])
    run = track_one(settings, make_run, **nothing, missing_reasons={"top1_error": "--no-test"})
    assert not set(nothing) & set(run.data.metrics)
    assert run.data.metrics["tune_top1_error"] == 11.0
    assert (
        "digits: not available: --no-test." in run.data.tags["mlflow.note.content"].splitlines()[0]
    )


def test_curves_keep_their_steps_and_a_loss_that_diverged_is_nan(settings, make_run):
    loss = [(step, 1 / (step + 1)) for step in range(1500)] + [(1500, math.inf)]
    run = track_one(
        settings, make_run, curves={"train/loss": loss, "val/top1 (%)": [(0, 50.0), (5, 25.0)]}
    )
    history = client(settings).get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history[:-1]] == loss[:-1]
    assert history[-1].step == 1500
    assert math.isnan(history[-1].value)
    assert [
        (p.step, p.value)
        for p in client(settings).get_metric_history(run.info.run_id, "val/top1 ___")
    ] == [
        (0, 50.0),
        (5, 25.0),
    ]


def test_texts_and_counts_beyond_mlflows_limits_are_cut_and_split(settings, make_run):
    spec = "wide," + ",".join(f"p{i}={i}" for i in range(150)) + ",long=" + "x" * 7000
    run = track_one(settings, make_run, pipeline=spec, notes=("n" * 9000,))
    assert run.data.params["pipeline.p149"] == "149"
    assert len(run.data.params["pipeline.long"]) == 6000
    assert len(run.data.tags["notes"]) == 8000


def test_large_scores_stay_in_the_run_folder(settings, make_run, monkeypatch):
    result, folder = make_run(settings.root)
    (folder / "scores.npz").write_bytes(b"0" * 2000)
    monkeypatch.setattr("harness.tracking.log_run.ARTIFACT_BYTES", 1999)
    track(result, folder, settings)
    assert "scores.npz" not in {
        item.path for item in client(settings).list_artifacts(runs_of(settings)[0].info.run_id)
    }
    monkeypatch.setattr("harness.tracking.log_run.ARTIFACT_BYTES", 2001)
    track(result, folder, settings)
    assert "scores.npz" in {
        item.path for item in client(settings).list_artifacts(runs_of(settings)[0].info.run_id)
    }


def test_tracking_again_makes_no_second_run_and_doubles_nothing(settings, make_run):
    result, folder = make_run(settings.root, curves={"train/loss": [(0, 1.0), (1, math.nan)]})
    first, again = (track(result, folder, settings) for _ in range(2))
    assert first == again
    [run] = runs_of(settings)
    assert len(client(settings).get_metric_history(run.info.run_id, "top1_error")) == 1
    assert len(client(settings).get_metric_history(run.info.run_id, "train/loss")) == 2
    assert len(run.inputs.dataset_inputs) == 2


@pytest.mark.parametrize(("killed", "status"), [(False, "FAILED"), (True, "KILLED")])
def test_a_run_that_did_not_finish_is_never_finished(settings, make_run, killed, status):
    result, folder = make_run(settings.root)
    track_failure(Record(folder), settings, reason="out of memory", killed=killed)
    [run] = runs_of(settings)
    assert run.info.status == status
    assert run.data.metrics == {}
    assert "out of memory" in run.data.tags["mlflow.note.content"]
    track(result, folder, settings)  # resumed, and now it finishes
    [run] = runs_of(settings)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.note.content"].startswith("**baseline** (hand-crafted)")


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_run_that_is_written_in_part_is_never_finished(settings, make_run, monkeypatch, failure):
    result, folder = make_run(settings.root)

    def fail(*args):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", fail)
        with pytest.raises(
            KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else UserError
        ):
            track(result, folder, settings)
    assert [run.info.status for run in runs_of(settings)] == ["FAILED"]
    track(result, folder, settings)
    assert [run.info.status for run in runs_of(settings)] == ["FINISHED"]


def view_state(settings: Settings, which: str = "") -> dict:
    return json.loads(json.loads(experiment_of(settings).tags[VIEW_TAG + which])["state"])


def test_the_saved_view_shows_the_columns_of_the_settings(settings, make_run):
    settings = replace(
        settings, views=Views(table=("tags.pipeline", "metrics.top1_error", "params.seed"))
    )
    track_one(settings, make_run)
    state = view_state(settings)
    assert state["selectedColumns"] == ["tags.`pipeline`", "metrics.`top1_error`", "params.`seed`"]
    assert [key for key in state["columnOrder"] if key in state["selectedColumns"]] == state[
        "selectedColumns"
    ]
    assert set(state["columnWidths"]) == set(state["columnOrder"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`top1_error`", True)


def test_there_are_views_of_seeds_and_of_charts(settings, make_run):
    """The UI nests runs only in the order of their dates."""
    track_one(settings, make_run)
    table, seeds, charts = (view_state(settings, which) for which in ("", "-seeds", "-charts"))
    assert (seeds["orderByKey"], seeds["orderByAsc"]) == ("attributes.start_time", False)
    assert seeds["selectedColumns"] == charts["selectedColumns"] == table["selectedColumns"]
    assert [card["type"] for card in charts["compareRunCharts"]] == ["SCATTER", "BAR", "LINE"]
    (section,) = charts["compareRunSections"]
    assert {card["metricSectionId"] for card in charts["compareRunCharts"]} == {section["uuid"]}


def test_runs_of_two_servers_are_not_shown_side_by_side(settings, make_run):
    here, there = "http://a:5000/#/experiments/1/runs/x?m", "http://b:5000/#/experiments/1/runs/y?m"
    assert compare_link([here, there]) is compare_link([here]) is compare_link([here, ""]) is None
    assert "%22x%22%2C%20%22z%22" in compare_link([here, "http://a:5000/#/experiments/2/runs/z?m"])


def test_a_changed_view_is_written_again_and_an_unchanged_one_is_left(settings, make_run):
    track_one(settings, make_run)
    before = experiment_of(settings).tags[VIEW_TAG]
    time.sleep(0.002)
    links(settings)
    assert experiment_of(settings).tags[VIEW_TAG] == before
    links(replace(settings, views=Views(table=("metrics.top5_error",))))
    assert view_state(settings)["selectedColumns"] == ["metrics.`top5_error`"]


def test_links_name_the_experiment_the_runs_and_the_comparison(settings, make_run):
    for fields in ({}, ALEXNET):
        result, folder = make_run(settings.root, **fields)
        assert track(result, folder, settings).compare is None
    found = links(settings, ["alexnet-digits-1", "baseline-digits-1"])
    experiment = experiment_of(settings).experiment_id
    ids = {run.info.run_name: run.info.run_id for run in runs_of(settings)}
    base = f"http://127.0.0.1:5000/#/experiments/{experiment}/runs"
    assert found.table == f"{base}?viewStateShareKey=before-after&workflowType=machine_learning"
    assert found.runs == {name: f"{base}/{ids[name]}?workflowType=machine_learning" for name in ids}
    assert ids["alexnet-digits-1"] in found.compare
    assert ids["baseline-digits-1"] in found.compare
    with pytest.raises(UserError, match="no run nothing-1"):
        links(settings, ["nothing-1"])


def test_the_experiment_has_description_tags_and_our_artifact_folder(settings, make_run):
    settings = replace(
        settings,
        experiment=Experiment(name="mine", description="What this is.", tags={"room": "3"}),
    )
    track_one(settings, make_run)
    experiment = experiment_of(settings)
    assert experiment.artifact_location.endswith(str(settings.root / "mlartifacts"))
    assert {"mlflow.note.content": "What this is.", "room": "3"}.items() <= experiment.tags.items()


def test_a_deleted_experiment_says_how_to_restore_it(settings, make_run):
    run = track_one(settings, make_run)
    client(settings).delete_experiment(run.info.experiment_id)
    with pytest.raises(
        UserError, match=f"mlflow experiments restore --experiment-id {run.info.experiment_id}"
    ):
        links(settings)


def at(settings: Settings, uri: str) -> Settings:
    return replace(settings, server=Server(uri, None))


def test_a_store_that_cannot_be_used_is_one_sentence(settings, make_run):
    result, folder = make_run(settings.root)
    (settings.root / "text.db").write_text("not a database" * 100)
    (settings.root / "file").write_text("")
    for uri, part in (
        ("http://127.0.0.1:1", "does not answer"),
        (f"sqlite:///{settings.root}/text.db", "not a database"),
        (f"sqlite:///{settings.root}/file/mlflow.db", "exists"),
        (f"sqlite:///{settings.root}", "unable to open"),
        ("mysql+nodriver://host/name", "nodriver"),
        (f"file://{settings.root}/mlruns", "maintenance"),
    ):
        with pytest.raises(UserError) as error:
            track(result, folder, at(settings, uri))
        assert uri in str(error.value)
        assert part in str(error.value), str(error.value)
        assert "\n" not in str(error.value)


def test_links_without_a_store_say_what_to_type(settings):
    with pytest.raises(UserError, match="harness run"):
        links(at(settings, f"sqlite:///{settings.root}/none.db"))
    assert not (settings.root / "none.db").exists()


def test_the_environment_is_left_as_it_was(settings, make_run, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    before = dict(os.environ)
    seen = {}
    monkeypatch.setattr(MlflowClient, "log_inputs", lambda *args: seen.update(os.environ))
    track_one(settings, make_run)
    assert dict(os.environ) == before
    assert (seen["MLFLOW_DISABLE_TELEMETRY"], seen["MLFLOW_HTTP_REQUEST_TIMEOUT"]) == ("true", "7")


def test_processes_that_meet_on_a_fresh_store_all_get_through_in_silence(tmp_path, make_run):
    processes = 2
    script = (
        "import json, sys, time; from pathlib import Path\n"
        "import mlflow.store.tracking.sqlalchemy_store\n"  # slow, so that all reach the store at the same moment
        "from harness.contract import Result; from harness.settings import load_settings; from harness.tracking.log_run import track\n"
        "folder = Path(sys.argv[1]); Path(sys.argv[2]).touch()\n"
        f"while len(list(folder.parent.parent.glob('ready-*'))) < {processes}: time.sleep(0.01)\n"
        "track(Result(**json.loads((folder / 'result.json').read_text())), folder, load_settings())\n"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")
    }
    started = []
    for number in range(processes):
        _, folder = make_run(tmp_path, run_id=f"run-{number}")
        arguments = [sys.executable, "-c", script, str(folder), str(tmp_path / f"ready-{number}")]
        started.append(
            subprocess.Popen(
                arguments,
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
    outputs = [process.communicate(timeout=120)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0] * processes, "\n".join(outputs)
    assert outputs == [""] * processes
    with sqlite3.connect(Path(tmp_path / "mlflow.db")) as database:
        rows = database.execute("SELECT name, status FROM runs ORDER BY name").fetchall()
    assert rows == [(f"run-{number}", "FINISHED") for number in range(processes)]


def test_a_password_is_in_nothing_that_is_said(settings):
    remote = replace(
        settings,
        server=replace(settings.server, tracking_uri="https://me:s3cret@mlflow.example/base/"),
    )
    assert store(remote) == "tracking store https://me:***@mlflow.example/base/"
    assert addresses(remote, "1", {"a": "b"}).runs == {
        "a": "https://mlflow.example/base/#/experiments/1/runs/b?workflowType=machine_learning"
    }
    database = replace(
        settings, server=replace(settings.server, tracking_uri="nothing://me:s3cret@host/mlflow")
    )
    with pytest.raises(UserError) as told, connection(database):
        pass
    assert "s3cret" not in str(told.value)
