"""Where to look at runs in the MLflow UI."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from harness.errors import UserError
from harness.settings import Settings
from harness.tracking.client import existing, experiment_id, find, store
from harness.tracking.saved_view import VIEW

MODE = "workflowType=machine_learning"  # else the UI opens on its pages for language models


@dataclass(frozen=True)
class Links:
    """Addresses in the MLflow UI. Where the store is a database, they work while `harness ui` runs.

    table   the saved table of all runs, the best first
    seeds   the same, the newest first, with the runs of several seeds below one
    charts  the saved charts of all runs
    runs    run id -> that run's page
    """

    table: str
    seeds: str
    charts: str
    runs: Mapping[str, str]

    @property
    def compare(self) -> str | None:
        """These runs side by side; None for fewer than two."""
        return compare_link(list(self.runs.values()))


def links(settings: Settings, run_ids: Sequence[str] = ()) -> Links:
    """Where to look at these runs. The saved views are brought up to date with `settings.views` on the way.

    Raises UserError when there is no store yet, or it lacks one of the runs.
    """
    with existing(settings) as client:
        return addresses(settings, *known(client, settings, run_ids))


def known(client: Any, settings: Settings, run_ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """(the experiment, our id -> MLflow's). Raises UserError when the store lacks one of the runs."""
    experiment = experiment_id(client, settings)
    found = {run_id: find(client, experiment, run_id) for run_id in run_ids}
    if missing := [run_id for run_id, run in found.items() if run is None]:
        raise UserError(
            f"{store(settings)} has no run {', '.join(missing)} in experiment {settings.experiment.name!r}; harness sync sends what is on record"
        )
    return experiment, {run_id: run.info.run_id for run_id, run in found.items() if run}


def addresses(settings: Settings, experiment: str, runs: Mapping[str, str]) -> Links:
    """`runs`: our id -> MLflow's."""
    # A name and a password in it are the sender's, not for those who follow the link.
    base = (
        re.sub("//[^/]*@", "//", settings.server.tracking_uri).rstrip("/")
        if settings.server.is_remote
        else settings.ui.address
    )
    table, seeds, charts = (
        f"{base}/#/experiments/{experiment}/runs?viewStateShareKey={VIEW}{which}&{MODE}"
        for which in ("", "-seeds", "-charts")
    )
    return Links(
        table=table,
        seeds=seeds,
        charts=f"{charts}&compareRunsMode=CHART",
        runs={run_id: f"{base}/{page(experiment, run)}" for run_id, run in runs.items()},
    )


def page(experiment: str, run: str) -> str:
    """A run's page, from any other page of the UI."""
    return f"#/experiments/{experiment}/runs/{run}?{MODE}"


def compare_link(pages: Sequence[str]) -> str | None:
    """The page that shows these runs side by side, made of their own pages' addresses; None where there are not two on one server."""
    parts = [re.match(r"(.*)/#/experiments/(\w+)/runs/(\w+)", address) for address in pages]
    found: list[Any] = [part.groups() for part in parts if part]
    if len(found) < 2 or len({base for base, _, _ in found}) > 1:
        return None
    base, experiments = found[0][0], list(dict.fromkeys(experiment for _, experiment, _ in found))
    runs = quote(json.dumps([run for *_, run in found]))
    return f"{base}/#/compare-runs?runs={runs}&experiments={quote(json.dumps(experiments))}&{MODE}"
