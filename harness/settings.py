"""What `mlflow.yaml` says: where runs are tracked, under which experiment, and what the table shows.

`--config FILE`, else the nearest `mlflow.yaml` upward from the working folder, else the defaults below with everything in the
working folder. MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME take precedence over the file.

The folder that holds the file also holds `runs/`. This module is imported at every start of the command line, so it imports
neither mlflow nor, before a file is read, pydantic and yaml.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge, Le, MinLen

from harness.errors import UserError

FILE_NAME = "mlflow.yaml"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
_STRICT = {
    "extra": "forbid",
    "coerce_numbers_to_str": True,
}  # read by pydantic: an unknown key is an error


@dataclass(frozen=True)
class Server:
    tracking_uri: str = "sqlite:///mlflow.db"
    artifact_location: str | None = "mlartifacts"
    """A folder or URL for the files of new experiments; None leaves it to the tracking server."""

    __pydantic_config__ = _STRICT

    @property
    def is_remote(self) -> bool:
        return self.tracking_uri.startswith(tuple(f"{scheme}://" for scheme in SERVERS))

    @property
    def database_file(self) -> Path | None:
        """The sqlite file, or None for any other store."""
        return (
            Path(self.tracking_uri.removeprefix("sqlite:///"))
            if self.tracking_uri.startswith("sqlite:///")
            else None
        )


@dataclass(frozen=True)
class Experiment:
    name: Annotated[str, MinLen(1)] = "before-after"
    description: str = "Hand-crafted and learned image classifiers on identical splits: the before and after of 2012."
    tags: dict[str, str] = field(default_factory=dict)

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Run:
    tags: dict[str, str] = field(default_factory=dict)

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Views:
    table: tuple[str, ...] = (
        "tags.pipeline",
        "tags.dataset",
        "metrics.top1_error",
        "metrics.top5_error",
        "metrics.fit_seconds",
        "metrics.score_seconds",
        "metrics.params_millions",
        "params.seed",
        "tags.notes",
    )
    """Columns of the saved table, left to right: `metrics.NAME`, `params.NAME` or `tags.NAME`."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Ui:
    host: Annotated[str, MinLen(1)] = "127.0.0.1"
    port: Annotated[int, Ge(1), Le(65535)] = 5000

    __pydantic_config__ = _STRICT

    @property
    def address(self) -> str:
        """Where a browser on this machine finds the UI."""
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"


@dataclass(frozen=True)
class Sections:
    """The sections of `mlflow.yaml`, with their defaults."""

    server: Server = field(default_factory=Server)
    experiment: Experiment = field(default_factory=Experiment)
    run: Run = field(default_factory=Run)
    views: Views = field(default_factory=Views)
    ui: Ui = field(default_factory=Ui)
    telemetry: bool = False

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, kw_only=True)
class Settings(Sections):
    """The sections, with every path absolute, and the folder that they are relative to."""

    root: Path

    @property
    def runs(self) -> Path:
        """Where the run folders lie."""
        return self.root / "runs"


def load_settings(config: Path | None = None) -> Settings:
    """The settings of `config`, else of the nearest `mlflow.yaml`, else the defaults.

    Raises UserError naming the file, the key, what was given and what is allowed.
    """
    file = _nearest_file() if config is None else config.absolute()
    sections = _read(file) if file else Sections()
    root = file.parent if file else Path.cwd()
    server = _resolved(sections.server, root, f"{file}: server.tracking_uri")
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        # A relative URI in the environment means the working folder, as it does to MLflow itself.
        server = _resolved(
            replace(sections.server, tracking_uri=uri),
            Path.cwd(),
            "MLFLOW_TRACKING_URI",
            files_root=root,
        )
    experiment = sections.experiment
    if name := os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        experiment = replace(experiment, name=name)
    resolved = {**_values(sections), "server": server, "experiment": experiment}
    return Settings(**resolved, root=root)


def _nearest_file() -> Path | None:
    here = Path.cwd()
    return next(
        (folder / FILE_NAME for folder in (here, *here.parents) if (folder / FILE_NAME).is_file()),
        None,
    )


def _read(file: Path) -> Sections:
    import yaml
    from pydantic import TypeAdapter, ValidationError

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}; --config takes a YAML file") from error
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(
            f"{file}{where}: not valid YAML: {error.problem or error.context}"
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not valid YAML: {error}") from error
    if isinstance(content, Mapping):
        content = {
            key: value for key, value in content.items() if value is not None
        }  # a section that is all comments
    try:
        sections: Sections = TypeAdapter(Sections).validate_python(
            {} if content is None else content
        )
    except ValidationError as error:
        raise UserError(f"{file}: {_explain(error.errors(include_url=False)[0])}") from error
    for column in sections.views.table:
        kind, _, name = column.partition(".")
        if kind not in ("metrics", "params", "tags") or not name:
            raise UserError(
                f"{file}: views.table: got {column!r}; allowed: metrics.NAME, params.NAME, tags.NAME"
            )
    return sections


def _explain(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors as `key: got this; allowed: that`."""
    *parents, key = error["loc"] or ("",)
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        section: Any = Sections
        for parent in parents:
            section = get_type_hints(section)[parent]
        return f"{path}: unknown key {key!r}; allowed: {', '.join(each.name for each in fields(section))}"
    if error["type"] == "dataclass_type":
        section = get_type_hints(Sections)[key] if key else Sections
        keys = ", ".join(each.name for each in fields(section)) if is_dataclass(section) else ""
        return f"{path or 'top level'}: got {error['input']!r}; allowed: a mapping with the keys {keys}"
    return (
        f"{path}: got {error['input']!r}; allowed: {error['msg'].removeprefix('Input should be ')}"
    )


def _resolved(server: Server, root: Path, origin: str, *, files_root: Path | None = None) -> Server:
    """The server with absolute paths: database relative to `root`, files to `files_root` (default: the same)."""
    uri, location = server.tracking_uri, server.artifact_location
    scheme = uri.partition(":")[0].partition("+")[0] if "://" in uri else "file"
    if scheme == "file":
        raise UserError(
            f"{origin}: got {uri!r}, a folder; MLflow no longer writes file stores. "
            f"Move an old one with `mlflow migrate-filestore --source FOLDER --target sqlite:///mlflow.db` and give sqlite:///mlflow.db"
        )
    if scheme not in (*DATABASES, *SERVERS):
        allowed = ", ".join(f"{each}://..." for each in (*DATABASES, *SERVERS))
        raise UserError(f"{origin}: got {uri!r}; allowed: {allowed}")
    if scheme == "sqlite":
        path = uri.removeprefix("sqlite:///")
        if path == uri or not path or "?" in path:
            raise UserError(
                f"{origin}: got {uri!r}; allowed: sqlite:///FILE, or sqlite:////ABSOLUTE/FILE (four slashes)"
            )
        uri = f"sqlite:///{_absolute(root, path)}"
    if location and "://" not in location:
        # A folder of this machine means nothing to a server elsewhere, which has its own.
        location = None if scheme in SERVERS else str(_absolute(files_root or root, location))
    return Server(uri, location)


def _absolute(root: Path, path: str) -> Path:
    """`path`, from `root` where it is relative, without `..`."""
    return Path(os.path.normpath(root / Path(path).expanduser()))


def _values(sections: Sections) -> dict[str, Any]:
    return {each.name: getattr(sections, each.name) for each in fields(sections)}
