"""Where a command works: its settings, what can be run, the data root and the folder of runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from harness.commands import as_flags
from harness.data.root import find_data_root
from harness.errors import UserError
from harness.registry import Kind, Registry, Resolved, open_registry

if TYPE_CHECKING:
    from harness.data.load import DatasetSource, Splits
    from harness.settings import Settings


class WorkspaceOptions(TypedDict, total=False):
    """The arguments of `Workspace.open`, for functions that pass them on."""

    config: Path | None
    data_root: Path | str | None
    plugins: Sequence[str]


@dataclass(frozen=True)
class Workspace:
    """What every command needs, opened once. Settings and registry are read on first use.

    Parameters
    ----------
    config : Path or None
        The settings file that was asked for.
    requested_data_root : Path, str or None
    requested_plugins : tuple of str
        As they were given; `plugins` has them as understood from any folder.
    """

    config: Path | None = None
    requested_data_root: Path | str | None = None
    requested_plugins: tuple[str, ...] = ()

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
        """
        return cls(config, data_root, tuple(plugins))

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises UserError when the file cannot be read."""
        from harness.settings import load_settings

        return load_settings(self.config)

    @cached_property
    def registry(self) -> Registry:
        """Pipelines and datasets; raises UserError when a plugin cannot be read."""
        try:
            return open_registry(self.requested_plugins)
        except UserError as error:
            if os.pathsep.join(self.requested_plugins) == os.environ.get("HARNESS_PLUGINS"):
                raise UserError(f"HARNESS_PLUGINS: {error}") from error
            raise

    @cached_property
    def data_root(self) -> Path:
        """The folder of downloads, prepared datasets and caches."""
        return find_data_root(self.requested_data_root)

    @property
    def plugins(self) -> tuple[str, ...]:
        return self.registry.plugins

    @property
    def runs_folder(self) -> Path:
        return self.settings.runs

    @property
    def flags(self) -> str:
        """The options that lead a suggested command to this workspace."""
        data_root = self.data_root if self.requested_data_root else None
        return as_flags(data_root=data_root, config=self.config, plugins=self.plugins)

    def with_plugins(self, plugins: Sequence[str]) -> Workspace:
        """Return the same workspace with these plugins instead of its own."""
        return replace(self, requested_plugins=tuple(plugins))

    def resolve(self, kind: Kind, spec: str) -> Resolved:
        """Look up a spec string; raises UserError for an unknown name, key or value."""
        return self.registry.resolve(kind, spec)

    def dataset_spec(self, dataset: str | None = None) -> str:
        """Return the full spec of a dataset given by spec, path or name (default: digits)."""
        from harness.data.load import dataset_spec  # numpy, which listing pipelines does not need

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
        from harness.data.load import load_splits

        return load_splits(
            dataset,
            self.registry,
            self.data_root,
            tune=tune,
            limit=limit,
            limit_test=limit_test,
        )
