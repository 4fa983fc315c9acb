"""A report is attached to every run that it is about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import harness
from harness.cli import cli
from harness.errors import UserError
from harness.settings import Server, Settings
from harness.tracking.artifacts import MAX_FOLDER_CHARACTERS, _folder_name, attach_file
from harness.tracking.log_run import log_finished_run


@pytest.fixture
def page(workdir: Path) -> Path:
    path = workdir / "report.html"
    path.write_text("first")
    return path


def reports(stored: Any, run_id: str) -> set[str]:
    return {path for path in stored.artifacts(run_id) if path.startswith("reports/")}


def test_every_run_gets_the_file_and_a_newer_version_replaces_it(
    settings: Settings, stored: Any, add_record: Any, page: Path
) -> None:
    for run_id in ("before-1", "after-1", "other-1"):
        log_finished_run(add_record(run_id=run_id), settings)
    attach_file(["before-1", "after-1"], page, settings)
    page.write_text("second")
    links = attach_file(["before-1", "after-1"], page, settings)
    assert links.compare
    for run_id in ("before-1", "after-1"):
        assert reports(stored, run_id) == {"reports/before-1_after-1/report.html"}
    assert reports(stored, "other-1") == set()
    uploaded = (settings.root / "mlartifacts").rglob("report.html")
    assert {file.read_text() for file in uploaded} == {"second"}


def test_the_report_command_attaches_its_page(settings: Settings, stored: Any, plugin: str) -> None:
    pipelines = [f"nearest-mean,shrink={shrink}" for shrink in ("0.0", "1.0")]
    ids = [harness.run(spec, "digits", plugins=[plugin]).run_id for spec in pipelines]
    done = CliRunner().invoke(cli, ["report", *ids, "--no-pictures"], catch_exceptions=False)
    assert "MLflow     http://127.0.0.1:5000/#/compare-runs?" in done.output
    for run_id in ids:
        assert reports(stored, run_id) == {f"reports/{'_'.join(ids)}/report.html"}


def test_no_run_gets_the_file_when_mlflow_lacks_one(
    settings: Settings, stored: Any, add_record: Any, page: Path
) -> None:
    log_finished_run(add_record(run_id="before-1"), settings)
    with pytest.raises(UserError, match=r"has no run after-1 .*harness sync"):
        attach_file(["before-1", "after-1"], page, settings)
    assert reports(stored, "before-1") == set()


def test_a_missing_database_is_named_and_not_created(settings: Settings, page: Path) -> None:
    database = settings.root / "none.db"
    with pytest.raises(UserError, match=r"no MLflow database at .*none\.db"):
        attach_file(["a"], page, replace(settings, server=Server(f"sqlite:///{database}")))
    assert not database.exists()


def test_an_absent_server_is_named(settings: Settings, page: Path) -> None:
    with pytest.raises(UserError, match="does not answer"):
        attach_file(["a"], page, replace(settings, server=Server("http://127.0.0.1:9")))


def test_the_folder_of_many_runs_has_a_short_name_of_its_own() -> None:
    runs = [f"alexnet-{i:06d}" for i in range(30)]
    assert len(_folder_name(runs)) <= MAX_FOLDER_CHARACTERS
    assert _folder_name(runs) != _folder_name(runs[::-1])
