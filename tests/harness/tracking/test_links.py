"""Links to the table, to runs and to comparisons in the MLflow UI."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import UserError
from harness.settings import Server, Settings
from harness.tracking.links import compare_link, find_links, make_links
from harness.tracking.log_run import log_finished_run


def test_links_name_the_experiment_the_runs_and_the_comparison(
    settings: Settings, stored: Any, add_record: Any
) -> None:
    for run_id in ("baseline-1", "alexnet-1"):
        assert log_finished_run(add_record(run_id=run_id), settings).compare is None
    links = find_links(settings, ["alexnet-1", "baseline-1"])
    ids = {name: run.info.run_id for name, run in stored.runs().items()}
    base = f"http://127.0.0.1:5000/#/experiments/{stored.experiment.experiment_id}/runs"
    assert links.table == f"{base}?viewStateShareKey=before-after&workflowType=machine_learning"
    assert links.runs == {name: f"{base}/{ids[name]}?workflowType=machine_learning" for name in ids}
    assert links.compare
    assert all(mlflow_id in links.compare for mlflow_id in ids.values())
    with pytest.raises(UserError, match="no run nothing-1"):
        find_links(settings, ["nothing-1"])


def test_without_a_database_the_message_says_which_command_creates_it(settings: Settings) -> None:
    database = settings.root / "none.db"
    with pytest.raises(UserError, match="`harness run` creates it"):
        find_links(replace(settings, server=Server(f"sqlite:///{database}")))
    assert not database.exists()


def test_runs_on_two_servers_have_no_common_page() -> None:
    here, there = "http://a:5000/#/experiments/1/runs/x?m", "http://b:5000/#/experiments/1/runs/y?m"
    assert compare_link([here, there]) is compare_link([here]) is compare_link([here, ""]) is None


def test_runs_of_two_experiments_have_a_common_page() -> None:
    pages = [f"http://a:5000/#/experiments/{i}/runs/{run}?m" for i, run in ((1, "x"), (2, "z"))]
    assert compare_link(pages) == (
        "http://a:5000/#/compare-runs?runs=%5B%22x%22%2C%20%22z%22%5D"
        "&experiments=%5B%221%22%2C%20%222%22%5D&workflowType=machine_learning"
    )


def test_links_to_a_server_leave_out_user_name_and_password(settings: Settings) -> None:
    server = Server("https://me:s3cret@mlflow.example/base/")
    assert make_links(replace(settings, server=server), "1", {"a": "b"}).runs == {
        "a": "https://mlflow.example/base/#/experiments/1/runs/b?workflowType=machine_learning"
    }
