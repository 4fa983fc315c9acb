"""An MLflow database for each test, records to log, and a reader of what MLflow holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.runs.record import Record
from harness.settings import Settings, load_settings


class Stored:
    """What MLflow holds, read with its own client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self._settings.server.tracking_uri)

    @property
    def experiment(self) -> Any:
        return self.client.get_experiment_by_name(self._settings.experiment.name)

    def runs(self) -> dict[str, Any]:
        """Return every run by its name; two runs of one name are an error."""
        runs = list(self.client.search_runs([self.experiment.experiment_id]))
        by_name = {run.info.run_name: run for run in runs}
        assert len(by_name) == len(runs)
        return by_name

    def run(self) -> Any:
        """Return the only run."""
        (run,) = self.runs().values()
        return run

    def statuses(self) -> dict[str, str]:
        return {name: run.info.status for name, run in self.runs().items()}

    def artifacts(self, name: str) -> set[str]:
        """Return the paths of all files of a run."""
        mlflow_id = self.runs()[name].info.run_id
        files, folders = set(), [""]
        while folders:
            for item in self.client.list_artifacts(mlflow_id, folders.pop()):
                if item.is_dir:
                    folders.append(item.path)
                else:
                    files.add(item.path)
        return files

    def history(self, metric: str) -> list[tuple[int, float]]:
        """Return (step, value) of each point of the only run's metric."""
        points = self.client.get_metric_history(self.run().info.run_id, metric)
        return [(point.step, point.value) for point in points]


@pytest.fixture
def settings(store: None) -> Settings:
    """The default settings in a folder with an empty MLflow database."""
    return load_settings()


@pytest.fixture
def stored(settings: Settings) -> Stored:
    return Stored(settings)


@pytest.fixture
def add_record(workdir: Path, make_run: Any) -> Callable[..., Record]:
    """Write the record of a finished run; fields as for `make_result`."""

    def add(**fields: Any) -> Record:
        _, folder = make_run(workdir, **fields)
        return Record(folder)

    return add
