"""Trouble made for real: a server killed while it is written to, a full disk, addresses of something else, an old file store.

Wanted each time: nothing lost, one sentence and no traceback, and once the trouble is over `sync` brings everything to the store, once.
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
from harness.tracking.log_run import track
from harness.tracking.sync import sync

# A server killed or absent


@dataclass
class TrackingServer:
    """`mlflow server` on a database of its own, which outlives it."""

    root: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = [
            "--backend-store-uri",
            f"sqlite:///{self.root}/server.db",
            "--artifacts-destination",
            str(self.root / "artifacts"),
        ]
        program = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            *options,
            "--workers",
            "1",
            "--port",
            str(self.port),
        ]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(
            program, cwd=self.root, env=environment, start_new_session=True, **quiet
        )
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            with suppress(OSError), urlopen(f"{self.uri}/health", timeout=2):
                return
            time.sleep(0.2)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        """SIGKILL, with all its processes."""
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def rows(self) -> list[tuple[str, str, int]]:
        """(name, status, number of metrics) of each run."""
        with sqlite3.connect(self.root / "server.db") as database:
            counted = "(SELECT count(*) FROM metrics WHERE metrics.run_uuid = runs.run_uuid)"
            return database.execute(
                f"SELECT name, status, {counted} FROM runs ORDER BY name"
            ).fetchall()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TrackingServer]:
    root = tmp_path / "server"
    root.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        made = TrackingServer(root, probe.getsockname()[1])
    made.start()
    yield made
    made.kill()


@pytest.mark.slow
def test_a_server_killed_while_a_run_is_logged(server: TrackingServer, plugin: str) -> None:
    program = [
        sys.executable,
        "-m",
        "harness",
        "run",
        "--pipeline",
        "nearest-mean",
        "--plugins",
        plugin,
        "--dataset",
        "digits",
    ]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": server.uri}
    run = subprocess.Popen(
        program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while run.poll() is None and not any(metrics for *_, metrics in server.rows()):
        time.sleep(0.002)
    server.kill()
    killed = time.monotonic()
    out, errors = run.communicate(timeout=120)
    assert time.monotonic() - killed < 60
    assert (run.returncode, "Traceback" in errors) == (0, False)
    (line,) = [line for line in out.splitlines() if line.startswith("MLflow")]
    assert "does not answer as an MLflow server" in line
    assert "harness sync sends it later" in line
    (record,) = RunStore(Path("runs")).all()
    assert (record.state, len(record.scores())) == ("finished", 500)
    ((_, status, _),) = server.rows()
    assert status == "RUNNING"  # written in part

    server.start()
    sent = [
        subprocess.run(
            [sys.executable, "-m", "harness", "sync"],
            env=environment,
            capture_output=True,
            text=True,
        )
        for _ in range(2)
    ]
    assert [done.stdout.splitlines()[-1] for done in sent] == [
        "1 sent, 0 already there, 0 left, 0 not sent",
        "0 sent, 1 already there, 0 left, 0 not sent",
    ]
    ((name, status, metrics),) = server.rows()
    assert (name, status) == (record.run_id, "FINISHED")
    assert metrics > 10
    artifacts = {file.name for file in (server.root / "artifacts").rglob("*") if file.is_file()}
    assert {"result.json", "scores.npz", "log.txt", "spec.json"} <= artifacts


@pytest.mark.slow
def test_a_server_killed_in_the_middle_of_a_sync(
    server: TrackingServer, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    names = [f"run-{number}" for number in range(4)]
    for name in names:
        make_run(Path(), run_id=name)
    started = time.monotonic()
    done = sync(load_settings(), say=lambda run_id: server.kill())
    assert time.monotonic() - started < 60  # a dead server is not tried for each run that is left
    assert len(done.sent) == 1
    assert len(done.failed) == 3
    assert all("does not answer" in why for why in done.failed.values())
    with pytest.raises(UserError, match="does not answer"):
        sync(load_settings())
    server.start()
    again = sync(load_settings())
    assert (again.there, sorted(again.sent + again.there), again.failed) == (done.sent, names, {})
    assert [(name, status) for name, status, _ in server.rows()] == [
        (name, "FINISHED") for name in names
    ]


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[int]:
    """A port on which something answers that is no MLflow: Python's server of files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_is_no_mlflow_server(
    scheme: str, web_server: int, make_run: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """https: on a port that speaks http."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://127.0.0.1:{web_server}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result, folder = make_run(Path())
    started = time.monotonic()
    with pytest.raises(
        UserError,
        match=rf"{scheme}://127\.0\.0\.1:{web_server} does not answer as an MLflow server; start it, or correct",
    ):
        track(result, folder, load_settings())
    assert time.monotonic() - started < 20
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("ftp://host/x", "got 'ftp://host/x'; allowed: sqlite://"),
        (
            "./mlruns",
            "got './mlruns', a folder; MLflow no longer writes file stores. Move an old one with `mlflow migrate-filestore",
        ),
        ("sqlite://", "allowed: sqlite:///FILE"),
    ],
)
def test_an_address_that_cannot_be_is_said_before_any_work(
    uri: str, words: str, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError) as error:
        cli(
            [
                "run",
                "--pipeline",
                "nearest-mean",
                "--plugins",
                plugin,
                "--dataset",
                "no/such/folder",
            ],
            standalone_mode=False,
        )
    assert words in str(error.value)
    assert not Path("runs").exists()


# An old file store


@pytest.mark.slow
def test_an_old_store_is_moved_by_the_command_that_the_error_names_and_new_runs_stand_beside_it(
    make_run: Any,
) -> None:
    old = "import mlflow\nmlflow.set_tracking_uri('file:mlruns')\nwith mlflow.start_run(run_name='old'): mlflow.log_metric('accuracy', 0.5)"
    subprocess.run(
        [sys.executable, "-c", old],
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"},
        check=True,
    )
    before = sorted(Path("mlruns").rglob("*"))
    command = ["migrate-filestore", "--source", "mlruns", "--target", "sqlite:///mlflow.db"]
    subprocess.run([sys.executable, "-m", "mlflow", *command], check=True, capture_output=True)
    result, folder = make_run(Path())
    track(result, folder, load_settings())
    with sqlite3.connect("mlflow.db") as database:
        assert dict(database.execute("SELECT name, status FROM runs")) == {
            "old": "FINISHED",
            result.run_id: "FINISHED",
        }
    assert sorted(Path("mlruns").rglob("*")) == before


# A full disk


@dataclass
class SmallDisk:
    folder: Path

    def leave(self, free: int) -> None:
        """Fill it up to so many free bytes."""
        with suppress(OSError), (self.folder / "filling").open("wb", buffering=0) as file:
            while (room := shutil.disk_usage(self.folder).free - free) > 0:
                file.write(bytes(min(room, 4096)))

    def clear(self) -> None:
        (self.folder / "filling").unlink()


@pytest.fixture
def small_disk(tmp_path: Path, empty_store: Path) -> Iterator[SmallDisk]:
    """8 MB of its own, with an empty store on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = (
        mount
        and subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True
        ).returncode
        == 0
    )
    if not made:
        pytest.skip("mounting a small disk needs root on Linux")
    shutil.copy(empty_store, folder / "mlflow.db")
    (folder / "mlflow.db.lock").touch()
    yield SmallDisk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_store_on_a_full_disk(
    small_disk: SmallDisk, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk.folder}/mlflow.db")
    settings = load_settings()
    first, folder = make_run(Path())
    track(first, folder, settings)
    late, folder = make_run(
        Path(), run_id="late-1", curves={"train/loss": [(step, 1.0) for step in range(2000)]}
    )
    small_disk.leave(0)
    with pytest.raises(
        UserError,
        match="database or disk is full; check that the place exists, is writable and has space",
    ):
        track(late, folder, settings)
    assert list(sync(settings).failed) == ["late-1"]
    small_disk.clear()
    assert sync(settings).sent == ["late-1"]
    assert sync(settings).there == [first.run_id, "late-1"]
    with sqlite3.connect(small_disk.folder / "mlflow.db") as database:
        assert database.execute("SELECT name, status FROM runs ORDER BY name").fetchall() == [
            (first.run_id, "FINISHED"),
            ("late-1", "FINISHED"),
        ]


STATE, SCORES = 122_880, 72_000  # bytes that a run of the plugin on digits leaves


@pytest.mark.parametrize(
    ("free", "file", "left"),
    [
        (STATE // 2, "state.safetensors", {"spec.json", "status.json", "log.txt"}),
        (
            STATE + SCORES // 2,
            "scores.npz",
            {"spec.json", "status.json", "log.txt", "state.safetensors"},
        ),
    ],
)
def test_a_disk_that_fills_during_a_run(
    free: int,
    file: str,
    left: set[str],
    small_disk: SmallDisk,
    plugin: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was done is kept, and --resume goes on from there."""
    monkeypatch.chdir(small_disk.folder)
    arguments = [
        "run",
        "--pipeline",
        "nearest-mean",
        "--plugins",
        plugin,
        "--dataset",
        "digits",
        "--tune",
        "0",
    ]
    small_disk.leave(free + 16_384)  # spec.json and the like, each in a block of its own
    with pytest.raises(OSError, match="No space left on device") as error:
        cli(arguments, standalone_mode=False)
    assert error.value.filename.endswith(file)
    (record,) = RunStore(Path("runs")).all()
    assert record.state == "failed"
    assert {path.name for path in record.folder.iterdir()} == left
    small_disk.clear()
    cli([*arguments, "--resume"], standalone_mode=False)
    (again,) = RunStore(Path("runs")).all()
    assert (again.run_id, again.state) == (record.run_id, "finished")
    assert Record(again.folder).links
