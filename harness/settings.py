"""Settings from `mlflow.yaml`: where runs are tracked, in which experiment, what the table shows.

The file is `--config FILE`, else the nearest `mlflow.yaml` upward from the working folder. Without
one the defaults below apply, with everything in the working folder. MLFLOW_TRACKING_URI and
MLFLOW_EXPERIMENT_NAME take precedence over the file, whose folder also holds `runs/`.

Every start of the command line imports this module, so it imports no mlflow at all, and pydantic
and yaml only to read a file.
"""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from urllib.parse import quote, unquote

from annotated_types import Ge, Le, MaxLen, MinLen

from harness.errors import UserError

FILE_NAME = "mlflow.yaml"
MAX_FILE_BYTES = 2**20
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
# For pydantic: an unknown key is an error.
_STRICT = {"extra": "forbid", "coerce_numbers_to_str": True}


@dataclass(frozen=True)
class Server:
    """Where MLflow keeps runs.

    Parameters
    ----------
    tracking_uri : str
        A path in it is absolute and has `%20` for a blank, as in every URI.
    artifact_location : str or None
        Folder or URL for the files of new experiments; None leaves it to the tracking server.
    """

    tracking_uri: str = "sqlite:///mlflow.db"
    artifact_location: str | None = "mlartifacts"

    __pydantic_config__ = _STRICT

    @property
    def is_remote(self) -> bool:
        return self.tracking_uri.startswith(tuple(f"{scheme}://" for scheme in SERVERS))

    @property
    def database_file(self) -> Path | None:
        """The sqlite file; None for any other database or a server."""
        path = _sqlite_path(self.tracking_uri)
        return None if path is None else Path(unquote(path))

    @property
    def artifact_folder(self) -> Path | None:
        """The folder of `artifact_location`; None for a URL, or if the server chooses."""
        location = self.artifact_location
        return Path(location) if location and "://" not in location else None


@dataclass(frozen=True)
class Experiment:
    """The MLflow experiment of the runs; `tags` are set on it."""

    name: Annotated[str, MinLen(1), MaxLen(500)] = "before-after"
    description: str = (
        "Hand-crafted and learned image classifiers on identical splits: "
        "the before and after of 2012."
    )
    tags: dict[str, str] = field(default_factory=dict)

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Run:
    """Tags that every run gets."""

    tags: dict[str, str] = field(default_factory=dict)

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Views:
    """Columns of the saved table, from left to right.

    Parameters
    ----------
    table : tuple of str
        `metrics.NAME`, `params.NAME` or `tags.NAME`.
    """

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

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Ui:
    """Where `harness ui` listens."""

    host: Annotated[str, MinLen(1)] = "127.0.0.1"
    port: Annotated[int, Ge(1), Le(65535)] = 5000

    __pydantic_config__ = _STRICT

    @property
    def address(self) -> str:
        """The UI's address for a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


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
    """The sections with absolute paths.

    Parameters
    ----------
    root : Path
        The folder that paths in the file are relative to.
    """

    root: Path

    @property
    def runs(self) -> Path:
        """The folder of the run folders."""
        return self.root / "runs"


def load_settings(config: Path | None = None) -> Settings:
    """Read `config`, else the nearest `mlflow.yaml`, else return the defaults.

    Raises
    ------
    UserError
        With the file, the key, what was given and what is allowed.
    """
    file = _nearest_file() if config is None else config.absolute()
    sections = _read_sections(file) if file else Sections()
    root = file.parent if file else Path.cwd()
    server = _resolve_paths(sections.server, root, f"{file}: server.tracking_uri")
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        # MLflow itself takes a relative URI in the environment as relative to the working folder.
        server = _resolve_paths(
            replace(sections.server, tracking_uri=uri),
            Path.cwd(),
            "MLFLOW_TRACKING_URI",
            artifact_root=root,
        )
    experiment = sections.experiment
    if name := os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        _require_readable(name, "MLFLOW_EXPERIMENT_NAME")
        experiment = replace(experiment, name=name)
    values = {each.name: getattr(sections, each.name) for each in fields(sections)}
    return Settings(**{**values, "server": server, "experiment": experiment}, root=root)


def _nearest_file() -> Path | None:
    folder = Path.cwd()
    candidates = (parent / FILE_NAME for parent in (folder, *folder.parents))
    return next((file for file in candidates if os.path.lexists(file)), None)


def _read_sections(file: Path) -> Sections:
    from pydantic import TypeAdapter, ValidationError

    content = _read_yaml(file)
    if isinstance(content, Mapping):
        # A section whose keys are all commented out is None.
        content = {key: value for key, value in content.items() if value is not None}
    try:
        sections: Sections = TypeAdapter(Sections).validate_python(
            {} if content is None else content
        )
    except ValidationError as error:
        raise UserError(f"{file}: {_explain(error.errors(include_url=False)[0])}") from error
    _require_readable(sections.experiment.name, f"{file}: experiment.name")
    if "run_id" in sections.run.tags:
        raise UserError(f"{file}: run.tags: every run has its own run_id; choose another name")
    for column in sections.views.table:
        kind, _, name = column.partition(".")
        if kind not in ("metrics", "params", "tags") or not name:
            raise UserError(
                f"{file}: views.table: got {column!r}; "
                "allowed: metrics.NAME, params.NAME, tags.NAME"
            )
    return sections


def _require_readable(name: str, origin: str) -> None:
    if not name.strip() or not name.isprintable():
        raise UserError(
            f"{origin}: got {name!r}; allowed: a name of visible characters on one line"
        )


def _read_yaml(file: Path) -> Any:
    import yaml

    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{file} cannot be read: {error.strerror}; config must be a YAML file"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{file} is larger than 1 MB; config must be a YAML file of settings")
    try:
        return yaml.load(content, _text_loader())
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = error.problem or error.context
        raise UserError(f"{file}{line}: not valid YAML: {problem}") from error
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: not valid YAML in UTF-8: {reason}") from error
    except RecursionError as error:
        raise UserError(f"{file}: not valid settings: nested too deeply") from error
    except Exception as error:  # what PyYAML does not wrap, such as `!!int hello`
        raise UserError(f"{file}: not valid YAML: {error}") from error


def _text_loader() -> type[Any]:
    """Return a loader that keeps a date, a number and `on` as they are written.

    pydantic knows what each key needs. A key that is given twice is an error.
    """
    import yaml

    class TextLoader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    problem = f"the key {key.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    # Of what PyYAML takes for another type, only null and the merge key are left.
    kept = (":null", ":merge")
    TextLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith(kept)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return TextLoader


def _explain(error: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors as `key: got this; allowed: that`."""
    *parents, key = error["loc"] or ("",)
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        section: Any = Sections
        for parent in parents:
            section = get_type_hints(section)[parent]
        return f"{path}: unknown key {key!r}; allowed: {_keys(section)}"
    got = f"{path or 'top level'}: got {reprlib.repr(error['input'])}"
    if error["type"] == "dataclass_type":
        section = get_type_hints(Sections)[key] if key else Sections
        return f"{got}; allowed: a mapping with the keys {_keys(section)}"
    return f"{got}; allowed: {error['msg'].removeprefix('Input should be ')}"


def _keys(section: Any) -> str:
    return ", ".join(each.name for each in fields(section)) if is_dataclass(section) else ""


def _resolve_paths(
    server: Server, root: Path, origin: str, *, artifact_root: Path | None = None
) -> Server:
    """Check a server's URI and make its paths absolute.

    Parameters
    ----------
    server : Server
    root : Path
        The folder that the database is relative to.
    origin : str
        Where the URI was given, for messages.
    artifact_root : Path, optional
        The folder that `artifact_location` is relative to; default: `root`.
    """
    uri, location = server.tracking_uri, server.artifact_location
    scheme = uri.partition(":")[0].partition("+")[0] if "://" in uri else "file"
    if scheme == "file":
        raise UserError(
            f"{origin}: got {uri!r}, a folder; MLflow no longer writes file stores. Move an old "
            "one with `mlflow migrate-filestore --source FOLDER --target sqlite:///mlflow.db` "
            "and give sqlite:///mlflow.db"
        )
    if scheme not in (*DATABASES, *SERVERS):
        allowed = ", ".join(f"{each}://..." for each in (*DATABASES, *SERVERS))
        raise UserError(f"{origin}: got {uri!r}; allowed: {allowed}")
    if scheme == "sqlite":
        path = _sqlite_path(uri)
        if not path or "?" in Path(path).name:
            raise UserError(
                f"{origin}: got {uri!r}; "
                "allowed: sqlite:///FILE, or sqlite:////ABSOLUTE/FILE (four slashes)"
            )
        uri = sqlite_uri(_database_file(root, path))
    if location and "://" not in location:
        # A folder of this machine means nothing to a server elsewhere, which has its own.
        is_remote = scheme in SERVERS
        location = None if is_remote else str(_absolute(artifact_root or root, location))
    return Server(uri, location)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine and can be reached from it alone."""
    return host in ("localhost", "::1") or host.startswith("127.")


def sqlite_uri(file: Path) -> str:
    """Return the URI of a sqlite file, whatever characters its path holds."""
    path = quote(os.fsencode(file))
    # Without the name of the driver, mlflow would make a folder with the quoted name.
    return f"sqlite:///{path}" if path == str(file) else f"sqlite+pysqlite:///{path}"


def _sqlite_path(uri: str) -> str | None:
    """Return the path in a sqlite URI as it is written; None for another URI."""
    match = re.fullmatch(r"sqlite(?:\+pysqlite)?:///(.*)", uri, re.DOTALL)
    return match[1] if match else None


def _database_file(root: Path, path: str) -> Path:
    """Return the file that a URI's path means.

    It is taken as it is written, since most people paste a path; what is quoted, such as `%20`, is
    decoded only where there is no folder as it is written, but one that it spells.
    """
    written, decoded = (_absolute(root, each) for each in (path, unquote(path)))
    is_quoted = decoded.parent.is_dir() and not written.parent.is_dir()
    return decoded if is_quoted else written


def _absolute(root: Path, path: str) -> Path:
    """Return `path` without `..`; a relative one starts from `root`."""
    # Unlike Path.expanduser, it leaves the name of a user that there is not.
    return Path(os.path.normpath(root / os.path.expanduser(path)))  # noqa: PTH111
