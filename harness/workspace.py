"""Where a command works: its settings, what can be run, the data root and the folder of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.commands import as_flags
from harness.data.load import DatasetSource, Splits, dataset_spec, load_splits
from harness.data.root import find_data_root
from harness.registry import Kind, Registry, Resolved, open_registry
from harness.settings import Settings, load_settings


@dataclass(frozen=True)
class Workspace:
    """What every command needs, opened once.

    Parameters
    ----------
    settings : Settings
        Of `mlflow.yaml`, or the defaults.
    registry : Registry
        Pipelines and datasets, including those of plugins.
    data_root : Path
        The folder of downloads, prepared datasets and caches.
    flags : str
        The command-line options that lead to the same workspace, for suggested commands.
    """

    settings: Settings
    registry: Registry
    data_root: Path
    flags: str = ""

    @classmethod
    def open(
        cls,
        *,
        config: Path | None = None,
        data_root: Path | str | None = None,
        plugins: Sequence[str] = (),
    ) -> Workspace:
        """Open a workspace.

        Parameters
        ----------
        config : Path, optional
            Settings file; default: the nearest `mlflow.yaml` upward from the working folder.
        data_root : Path or str, optional
            Default: HARNESS_DATA, else the user's cache folder.
        plugins : sequence of str
            Paths of .py files or names of importable modules.

        Raises
        ------
        UserError
            If the settings or a plugin cannot be read.
        """
        return cls(
            settings=load_settings(config),
            registry=open_registry(plugins),
            data_root=find_data_root(data_root),
            flags=as_flags(data_root=data_root, config=config, plugins=plugins),
        )

    @property
    def plugins(self) -> tuple[str, ...]:
        return self.registry.plugins

    @property
    def runs_folder(self) -> Path:
        return self.settings.runs

    def resolve(self, kind: Kind, spec: str) -> Resolved:
        """Look up a spec string; raises UserError for an unknown name, key or value."""
        return self.registry.resolve(kind, spec)

    def dataset_spec(self, dataset: str | None = None) -> str:
        """Return the full spec of a dataset given by spec, path or name (default: digits)."""
        return dataset_spec(dataset, self.registry, self.data_root)

    def dataset(
        self,
        dataset: DatasetSource = None,
        *,
        tune: int | None = None,
        limit: int | None = None,
        limit_test: int | None = None,
    ) -> Splits:
        """Load the splits of a dataset; see `harness.data.load.load_splits`."""
        return load_splits(
            dataset,
            self.registry,
            self.data_root,
            tune=tune,
            limit=limit,
            limit_test=limit_test,
        )

    def with_plugins(self, plugins: Sequence[str]) -> Workspace:
        """Return the same workspace with these plugins instead of its own."""
        return Workspace(self.settings, open_registry(plugins), self.data_root, self.flags)
