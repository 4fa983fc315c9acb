"""Settings come from a file, the environment and the defaults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.settings import Sections, load_settings

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    file = folder / "mlflow.yaml"
    file.write_text(text)
    return file


def test_without_a_file_everything_is_in_the_working_folder(here: Path) -> None:
    settings = load_settings()
    assert settings.runs == here / "runs"
    assert settings.server.tracking_uri == f"sqlite:///{here}/mlflow.db"
    assert settings.server.tracking_uri.startswith("sqlite:////")
    assert settings.server.database_file == here / "mlflow.db"
    assert settings.server.artifact_location == str(here / "mlartifacts")
    assert settings.telemetry is False


def test_the_nearest_file_upward_is_read_and_its_paths_are_relative_to_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, "experiment: {name: outer}")
    inner = here / "project"
    deep = inner / "a" / "b"
    deep.mkdir(parents=True)
    write(
        inner,
        "server: {tracking_uri: 'sqlite:///store/m.db', artifact_location: ../files}\n"
        "experiment: {name: inner}\n",
    )
    monkeypatch.chdir(deep)
    settings = load_settings()
    assert settings.experiment.name == "inner"
    assert settings.root == inner
    assert settings.server.database_file == inner / "store" / "m.db"
    assert settings.server.artifact_location == str(here / "files")


def test_config_takes_precedence_over_the_nearest_file(
    here: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write(here, "experiment: {name: nearest}")
    named = write(tmp_path_factory.mktemp("elsewhere"), "experiment: {name: named}")
    settings = load_settings(named)
    assert (settings.experiment.name, settings.root) == ("named", named.parent)


def test_the_environment_takes_precedence_over_the_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(here, "server: {tracking_uri: 'sqlite:///file.db'}\nexperiment: {name: file}")
    work = here / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "variable")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///variable.db")
    settings = load_settings(file)
    assert settings.experiment.name == "variable"
    assert settings.server.database_file == work / "variable.db"
    assert settings.server.artifact_location == str(here / "mlartifacts")


def test_a_server_keeps_its_own_artifact_folder_but_accepts_a_url(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    settings = load_settings(write(here, "server: {artifact_location: mlartifacts}"))
    assert settings.server.is_remote
    assert settings.server.database_file is None
    assert settings.server.artifact_location is None
    assert (
        load_settings(
            write(here, "server: {artifact_location: 's3://bucket/x'}")
        ).server.artifact_location
        == "s3://bucket/x"
    )


def test_sections_that_are_empty_or_all_comments_have_the_defaults(here: Path) -> None:
    assert load_settings(write(here, "")).ui == Sections().ui
    assert load_settings(write(here, "run:\n  # tags: {}\nui: {port: 5001}\n")).ui.port == 5001


def test_the_file_of_the_repository_holds_the_defaults(here: Path) -> None:
    shipped, default = load_settings(REPOSITORY / "mlflow.yaml"), load_settings()
    for section in ("experiment", "run", "views", "ui", "telemetry"):
        assert getattr(shipped, section) == getattr(default, section)
    assert shipped.server.database_file == REPOSITORY / "mlflow.db"
    assert shipped.server.artifact_location == str(REPOSITORY / "mlartifacts")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "server: {tracking_url: x}",
            ["server.tracking_url", "unknown key", "allowed: tracking_uri, artifact_location"],
        ),
        ("servers: {}", ["'servers'", "allowed: server, experiment, run, views, ui, telemetry"]),
        ("ui: {port: many}", ["ui.port", "'many'", "integer"]),
        ("ui: {port: 70000}", ["ui.port", "70000", "65535"]),
        ("ui: 5000", ["ui", "5000", "host, port"]),
        ("- a list", ["top level", "a list", "server, experiment"]),
        ("experiment: {name: ''}", ["experiment.name", "at least 1 character"]),
        ("run: {tags: {a: [1]}}", ["run.tags.a", "['1']", "string"]),
        (
            "views: {table: [top1_error]}",
            ["views.table", "'top1_error'", "metrics.NAME, params.NAME, tags.NAME"],
        ),
        ("ui:\n  host: 'open\n  port: 1\n", ["line ", "not valid YAML"]),
        (
            "server: {tracking_uri: ./mlruns}",
            [
                "server.tracking_uri",
                "'./mlruns'",
                "mlflow migrate-filestore",
                "sqlite:///mlflow.db",
            ],
        ),
        (
            "server: {tracking_uri: 'file:///mlruns'}",
            ["server.tracking_uri", "mlflow migrate-filestore"],
        ),
        (
            "server: {tracking_uri: 'htp://host'}",
            ["server.tracking_uri", "'htp://host'", "sqlite://", "http://"],
        ),
        ("server: {tracking_uri: 'sqlite://'}", ["server.tracking_uri", "sqlite:///FILE"]),
        ("server: {tracking_uri: 'sqlite:///a?timeout=3'}", ["'sqlite:///a?timeout=3'"]),
        ("ui: {port: 1e3}", ["ui.port", "'1e3'", "integer"]),
        ("telemetry: 2024-11-28", ["telemetry", "'2024-11-28'", "boolean"]),
        ("experiment: {name: null}", ["experiment.name", "None", "string"]),
        ("experiment: {name: '  '}", ["experiment.name", "'  '", "visible characters"]),
        ('experiment: {name: "a\\nb"}', ["experiment.name", r"'a\nb'", "on one line"]),
        (f"experiment: {{name: {'a' * 501}}}", ["experiment.name", "500 characters"]),
        ("run: {tags: {run_id: x}}", ["run.tags", "choose another name"]),
        ("ui: {port: 1}\nui: {port: 2}", ["line 2", "the key 'ui' is given twice"]),
        ("ui:\n\tport: 1", ["line 2", "not valid YAML", r"'\t'"]),
        ("run: &r {tags: *r}", ["run.tags.tags", "{...}", "string"]),
        ("[" * 20_000, ["nested too deeply"]),
        ("ui: {port: !!int hello}", ["not valid YAML", "'hello'"]),
        ("a: \0", ["not valid YAML", "#x0000"]),
        ("a: " + "b" * 2**20, ["larger than 1 MB"]),
    ],
)
def test_an_error_names_file_key_given_and_allowed(here: Path, text: str, parts: list[str]) -> None:
    file = write(here, text)
    with pytest.raises(UserError) as error:
        load_settings(file)
    assert all(part in str(error.value) for part in [str(file), *parts]), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["2024-11-28", "on", "1e3", "007", 'a/b: it\'s "ü" #1?'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_name_is_what_was_typed_as_any_editor_saves_it(
    here: Path, name: str, encoding: str
) -> None:
    typed = name if name.isalnum() or name.startswith("20") else repr(name).replace(r"\'", "''")
    text = f"experiment:\r\n  name: {typed}\r\nrun:\r\n  tags: {{day: 2024-11-28, ok: yes}}\r\n"
    file = here / "mlflow.yaml"
    file.write_bytes(text.encode(encoding))
    settings = load_settings(file)
    assert settings.experiment.name == name
    assert settings.run.tags == {"day": "2024-11-28", "ok": "yes"}


def test_a_file_of_another_encoding_or_a_folder_is_named(here: Path) -> None:
    file = here / "mlflow.yaml"
    file.write_bytes("experiment: {name: Müller}".encode("latin-1"))
    with pytest.raises(UserError, match=r"mlflow\.yaml: not valid YAML in UTF-8: .*#x00fc"):
        load_settings()
    file.unlink()
    file.mkdir()  # as Docker makes it for a file that is not there
    with pytest.raises(UserError, match=r"mlflow\.yaml cannot be read: Is a directory"):
        load_settings()


def test_a_blank_experiment_in_the_environment_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", " ")
    with pytest.raises(UserError, match=r"^MLFLOW_EXPERIMENT_NAME: got ' '"):
        load_settings()


def test_a_wrong_uri_in_the_environment_is_named_as_such(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: got 'mlruns'"):
        load_settings()


def test_a_missing_config_is_named(here: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.yaml cannot be read"):
        load_settings(Path("absent.yaml"))


def test_importing_settings_tracking_and_the_ui_command_imports_nothing_slow() -> None:
    code = "import sys, harness.settings, harness.tracking, harness.cli.ui; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"mlflow", "torch", "pydantic", "yaml", "sqlalchemy", "pandas"} & set(loaded)
