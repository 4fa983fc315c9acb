"""A report beside the runs that it is about."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

import harness
from harness.cli import cli
from harness.errors import UserError
from harness.settings import Server
from harness.tracking.artifacts import NAME_LENGTH, _folder, attach
from harness.tracking.log_run import track


def artifacts(settings, run_id):
    client = MlflowClient(tracking_uri=settings.server.tracking_uri)
    experiment = client.get_experiment_by_name(settings.experiment.name).experiment_id
    [run] = client.search_runs([experiment], f"tags.run_id = '{run_id}'")
    return [
        item.path
        for folder in client.list_artifacts(run.info.run_id, "reports")
        for item in client.list_artifacts(run.info.run_id, folder.path)
    ]


def test_every_run_gets_the_file_and_the_same_again_replaces_it(settings, make_run):
    for run_id in ("before-1", "after-1", "other-1"):
        track(*make_run(settings.root, run_id=run_id), settings)
    page = settings.root / "report.html"
    page.write_text("first")
    attach(["before-1", "after-1"], page, settings)
    page.write_text("second")
    links = attach(["before-1", "after-1"], page, settings)
    assert links.compare
    for run_id in ("before-1", "after-1"):
        assert artifacts(settings, run_id) == ["reports/before-1_after-1/report.html"]
    assert artifacts(settings, "other-1") == []
    assert {file.read_text() for file in (settings.root / "mlartifacts").rglob("report.html")} == {
        "second"
    }


def test_the_command_attaches_its_report(settings, plugin):
    ids = [
        harness.run(f"nearest-mean,shrink={shrink}", "digits", plugins=[plugin]).run_id
        for shrink in ("0.0", "1.0")
    ]
    done = CliRunner().invoke(cli, ["report", *ids, "--no-pictures"], catch_exceptions=False)
    assert "MLflow     http://127.0.0.1:5000/#/compare-runs?" in done.output
    assert [artifacts(settings, run_id) for run_id in ids] == 2 * [
        [f"reports/{'_'.join(ids)}/report.html"]
    ]


def test_a_run_that_is_not_there_keeps_the_file_from_all_of_them(settings, make_run):
    track(*make_run(settings.root, run_id="before-1"), settings)
    page = settings.root / "report.html"
    page.write_text("page")
    with pytest.raises(UserError, match=r"has no run after-1 .*harness sync"):
        attach(["before-1", "after-1"], page, settings)
    assert artifacts(settings, "before-1") == []


def test_no_store_and_no_server_are_one_sentence(settings, tmp_path):
    page = tmp_path / "report.html"
    page.write_text("page")
    nowhere = replace(settings, server=Server(f"sqlite:///{tmp_path}/none.db"))
    with pytest.raises(UserError, match="no tracking store"):
        attach(["before-1"], page, nowhere)
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(UserError, match="does not answer"):
        attach(["before-1"], page, replace(settings, server=Server("http://127.0.0.1:9")))


def test_folders_of_many_runs_have_short_names():
    runs = [f"alexnet-{i:06d}" for i in range(30)]
    assert len(_folder(runs)) <= NAME_LENGTH
    assert _folder(runs) != _folder(runs[::-1])
