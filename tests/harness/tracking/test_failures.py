"""Real failures: a server that is killed, a full disk, a server that is not MLflow, an old store.

Each time nothing is lost, the user reads one sentence without a traceback, and `harness sync` later
sends everything once.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from harness.cli import cli
from harness.errors import UserError
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.settings import load_settings
from harness.tracking.log_run import log_finished_run
from harness.tracking.sync import sync_runs

NEAREST_MEAN = ["run", "--pipeline", "nearest-mean", "--plugins"]

# A server that is killed


@dataclass
class TrackingServer:
    """`mlflow server` on a database of its own, which outlives the server."""

    root: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.root}/server.db"]
        command += ["--artifacts-destination", str(self.root / "artifacts")]
        self.process = subprocess.Popen(
            command,
            cwd=self.root,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError), urlopen(f"{self.uri}/health", timeout=2):
                return
            time.sleep(0.2)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        """Kill all of its processes by SIGKILL."""
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def runs(self) -> list[tuple[str, str, int]]:
        """Return (name, status, number of metrics) of each run in the database."""
        metrics = "(SELECT count(*) FROM metrics WHERE metrics.run_uuid = runs.run_uuid)"
        with sqlite3.connect(self.root / "server.db") as database:
            return database.execute(
                f"SELECT name, status, {metrics} FROM runs ORDER BY name"
            ).fetchall()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TrackingServer]:
    root = tmp_path / "server"
    root.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        tracking_server = TrackingServer(root, probe.getsockname()[1])
    tracking_server.start()
    yield tracking_server
    tracking_server.kill()


@pytest.mark.slow
def test_a_server_is_killed_while_a_run_is_logged(server: TrackingServer, plugin: str) -> None:
    program = [sys.executable, "-m", "harness"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": server.uri}
    run = subprocess.Popen(
        [*program, *NEAREST_MEAN, plugin, "--dataset", "digits"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while run.poll() is None and not any(metrics for *_, metrics in server.runs()):
        time.sleep(0.002)
    server.kill()
    killed = time.monotonic()
    out, errors = run.communicate(timeout=120)
    assert time.monotonic() - killed < 60
    assert run.returncode == 0
    assert "Traceback" not in errors
    (line,) = [line for line in out.splitlines() if line.startswith("MLflow")]
    assert "does not answer as an MLflow server" in line
    assert "harness sync" in line
    (record,) = RunStore(Path("runs")).all()
    assert (record.state, len(record.scores())) == ("finished", 500)
    ((_, status, _),) = server.runs()
    assert status == "RUNNING"  # it is only partly written

    server.start()
    summaries = []
    for _ in range(2):
        sync = [*program, "sync"]
        done = subprocess.run(sync, env=environment, capture_output=True, text=True, check=False)
        summaries.append(done.stdout.splitlines()[-1])
    assert summaries == [
        "1 sent, 0 already in MLflow, 0 skipped, 0 not sent",
        "0 sent, 1 already in MLflow, 0 skipped, 0 not sent",
    ]
    ((name, status, metrics),) = server.runs()
    assert (name, status) == (record.run_id, "FINISHED")
    assert metrics > 10
    artifacts = {file.name for file in (server.root / "artifacts").rglob("*") if file.is_file()}
    assert {"result.json", "scores.npz", "log.txt", "spec.json"} <= artifacts


@pytest.mark.slow
def test_a_server_is_killed_in_the_middle_of_a_sync(
    server: TrackingServer, add_record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    names = [f"run-{number}" for number in range(4)]
    for name in names:
        add_record(run_id=name)
    started = time.monotonic()
    summary = sync_runs(load_settings(), on_sent=lambda run_id: server.kill())
    assert time.monotonic() - started < 60  # a dead server is not tried for each remaining run
    assert len(summary.sent) == 1
    assert len(summary.failed) == 3
    assert all("does not answer" in reason for reason in summary.failed.values())
    with pytest.raises(UserError, match="does not answer"):
        sync_runs(load_settings())
    server.start()
    again = sync_runs(load_settings())
    assert again.present == summary.sent
    assert sorted(again.sent + again.present) == names
    assert again.failed == {}
    statuses = [(name, status) for name, status, _ in server.runs()]
    assert statuses == [(name, "FINISHED") for name in names]


# Addresses of something else


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[int]:
    """The port of Python's own file server, which is not MLflow."""
    handler = partial(SilentHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_is_not_mlflow_is_named(
    scheme: str,
    file_server: int,
    add_record: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Under https the port speaks http."""
    uri = f"{scheme}://127.0.0.1:{file_server}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    started = time.monotonic()
    message = rf"{uri} does not answer as an MLflow server; start it, or correct"
    with pytest.raises(UserError, match=message):
        log_finished_run(add_record(), load_settings())
    assert time.monotonic() - started < 20
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("ftp://host/x", "got 'ftp://host/x'; allowed: sqlite://"),
        ("./mlruns", "got './mlruns', a folder; MLflow no longer writes"),
        ("./mlruns", "`mlflow migrate-filestore"),
        ("sqlite://", "allowed: sqlite:///FILE"),
    ],
)
def test_an_invalid_uri_is_refused_before_the_run_starts(
    uri: str, words: str, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError) as error:
        cli([*NEAREST_MEAN, plugin, "--dataset", "digits"], standalone_mode=False)
    assert words in str(error.value)
    assert not Path("runs").exists()


# An old file store


@pytest.mark.slow
def test_the_command_that_the_error_names_migrates_an_old_store(add_record: Any) -> None:
    log_old_run = (
        "import mlflow\n"
        "mlflow.set_tracking_uri('file:mlruns')\n"
        "with mlflow.start_run(run_name='old'): mlflow.log_metric('accuracy', 0.5)"
    )
    environment = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"}
    subprocess.run([sys.executable, "-c", log_old_run], env=environment, check=True)
    before = sorted(Path("mlruns").rglob("*"))
    migrate = ["migrate-filestore", "--source", "mlruns", "--target", "sqlite:///mlflow.db"]
    subprocess.run([sys.executable, "-m", "mlflow", *migrate], check=True, capture_output=True)
    record = add_record()
    log_finished_run(record, load_settings())
    with sqlite3.connect("mlflow.db") as database:
        statuses = dict(database.execute("SELECT name, status FROM runs"))
    assert statuses == {"old": "FINISHED", record.run_id: "FINISHED"}
    assert sorted(Path("mlruns").rglob("*")) == before


# A full disk


@dataclass
class SmallDisk:
    folder: Path

    def fill(self, free_bytes: int) -> None:
        """Fill the disk up to this many free bytes."""
        with suppress(OSError), (self.folder / "filling").open("wb", buffering=0) as file:
            while (excess := shutil.disk_usage(self.folder).free - free_bytes) > 0:
                file.write(bytes(min(excess, 4096)))

    def clear(self) -> None:
        (self.folder / "filling").unlink()


@pytest.fixture
def small_disk(tmp_path: Path, empty_store: Path) -> Iterator[SmallDisk]:
    """A disk of 8 MB with an empty MLflow database on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root on Linux")
    shutil.copy(empty_store, folder / "mlflow.db")
    (folder / "mlflow.db.lock").touch()
    yield SmallDisk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_database_on_a_full_disk(
    small_disk: SmallDisk, add_record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk.folder}/mlflow.db")
    settings = load_settings()
    log_finished_run(add_record(run_id="early-1"), settings)
    late = add_record(run_id="late-1", curves={"train/loss": [(step, 1.0) for step in range(2000)]})
    small_disk.fill(0)
    message = "disk is full; check that the place exists, is writable and has space"
    with pytest.raises(UserError, match=message):
        log_finished_run(late, settings)
    assert list(sync_runs(settings).failed) == ["late-1"]
    small_disk.clear()
    assert sync_runs(settings).sent == ["late-1"]
    assert sync_runs(settings).present == ["early-1", "late-1"]
    with sqlite3.connect(small_disk.folder / "mlflow.db") as database:
        rows = database.execute("SELECT name, status FROM runs ORDER BY name").fetchall()
    assert rows == [("early-1", "FINISHED"), ("late-1", "FINISHED")]


STATE_BYTES, SCORES_BYTES = 122_880, 72_000  # what a run of the plugin on digits writes
SMALL_FILES_BYTES = 16_384  # spec.json and the like, each in a block of its own


@pytest.mark.parametrize(
    ("free_bytes", "file", "kept"),
    [
        (STATE_BYTES // 2, "state.safetensors", set()),
        (STATE_BYTES + SCORES_BYTES // 2, "scores.npz", {"state.safetensors"}),
    ],
)
def test_a_run_whose_disk_fills_up_keeps_its_work_and_can_be_resumed(
    free_bytes: int,
    file: str,
    kept: set[str],
    small_disk: SmallDisk,
    plugin: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(small_disk.folder)
    arguments = [*NEAREST_MEAN, plugin, "--dataset", "digits", "--tune", "0"]
    small_disk.fill(free_bytes + SMALL_FILES_BYTES)
    with pytest.raises(OSError, match="No space left on device") as error:
        cli(arguments, standalone_mode=False)
    assert error.value.filename.endswith(file)
    (record,) = RunStore(Path("runs")).all()
    assert record.state == "failed"
    names = {path.name for path in record.folder.iterdir()}
    assert names == {"spec.json", "status.json", "log.txt"} | kept
    small_disk.clear()
    cli([*arguments, "--resume"], standalone_mode=False)
    (resumed,) = RunStore(Path("runs")).all()
    assert (resumed.run_id, resumed.state) == (record.run_id, "finished")
    assert Record(resumed.folder).links
