"""Links to runs in the MLflow UI."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from harness.settings import Settings
from harness.tracking.client import connect
from harness.tracking.saved_view import VIEW

MODE = "workflowType=machine_learning"  # otherwise the UI opens on its pages for language models


@dataclass(frozen=True)
class Links:
    """Links to pages of the MLflow UI.

    Where runs are tracked in a database, they work while `harness ui` runs.

    Parameters
    ----------
    table : str
        The saved table of all runs, the lowest error first.
    seeds : str
        The same table, the newest first, with runs that differ in the seed below one row.
    charts : str
        The saved charts of all runs.
    runs : mapping of str to str
        Run id to that run's page.
    """

    table: str
    seeds: str
    charts: str
    runs: Mapping[str, str]

    @property
    def compare(self) -> str | None:
        """The page that shows these runs side by side; None for fewer than two."""
        return compare_link(list(self.runs.values()))


def find_links(settings: Settings, run_ids: Sequence[str] = ()) -> Links:
    """Return the links to these runs, after bringing the saved views up to date.

    Raises
    ------
    UserError
        If there is no MLflow database yet, or MLflow lacks one of the runs.
    """
    with connect(settings, must_exist=True) as client:
        return make_links(settings, client.experiment_id, client.find_mlflow_ids(run_ids))


def make_links(settings: Settings, experiment_id: str, mlflow_ids: Mapping[str, str]) -> Links:
    """Build links without asking MLflow.

    Parameters
    ----------
    settings : Settings
    experiment_id : str
    mlflow_ids : mapping of str to str
        Our run id to MLflow's.
    """
    if settings.server.is_remote:
        # The user name and password in the URI are not for those who follow the link.
        base = re.sub("//[^/]*@", "//", settings.server.tracking_uri).rstrip("/")
    else:
        base = settings.ui.address
    table, seeds, charts = (
        f"{base}/#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}{suffix}&{MODE}"
        for suffix in ("", "-seeds", "-charts")
    )
    return Links(
        table=table,
        seeds=seeds,
        charts=f"{charts}&compareRunsMode=CHART",
        runs={run: f"{base}/{run_page(experiment_id, id_)}" for run, id_ in mlflow_ids.items()},
    )


def run_page(experiment_id: str, mlflow_id: str) -> str:
    """Return the relative link to a run's page, valid on every page of the UI."""
    return f"#/experiments/{experiment_id}/runs/{mlflow_id}?{MODE}"


def compare_link(pages: Sequence[str]) -> str | None:
    """Build the link that shows runs side by side from the links to their own pages.

    Parameters
    ----------
    pages : sequence of str
        Links to runs; others, such as "", are ignored.

    Returns
    -------
    str or None
        None unless there are at least two runs, all on one server.
    """
    matches = [re.match(r"(.*)/#/experiments/(\w+)/runs/(\w+)", page) for page in pages]
    parts = [match.groups() for match in matches if match]
    if len(parts) < 2 or len({base for base, *_ in parts}) > 1:
        return None
    base = parts[0][0]
    experiments = json.dumps(list(dict.fromkeys(experiment for _, experiment, _ in parts)))
    runs = json.dumps([mlflow_id for *_, mlflow_id in parts])
    return f"{base}/#/compare-runs?runs={quote(runs)}&experiments={quote(experiments)}&{MODE}"
