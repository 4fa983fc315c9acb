"""`harness ui`: the MLflow UI, opened on the table of results."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import IO
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import click

from harness.cli import options
from harness.errors import UserError
from harness.settings import Settings, Ui
from harness.workspace import Workspace

START_SECONDS = 120  # a first start takes 12 s on two cores
STOP_SECONDS = 10
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@click.command(name="ui")
@click.option(
    "--host",
    help="Address to listen on; 0.0.0.0 lets other machines in.  [default: mlflow.yaml, else 127.0.0.1]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port to listen on.  [default: mlflow.yaml, else 5000]",
)
@options.workspace("config")
def command(host: str | None, port: int | None, workspace: Workspace) -> None:
    """Open the MLflow UI on the table of results, until Ctrl-C."""
    settings = workspace.settings
    settings = replace(settings, ui=Ui(host or settings.ui.host, port or settings.ui.port))

    from harness.tracking.links import links

    found = links(settings)
    pages = f"{found.table}\n  {found.seeds}\n  {found.charts}"  # the best first; the newest first, seeds together; charts
    if settings.server.is_remote:
        click.echo(f"Runs are tracked on a server that already runs:\n  {pages}")
        return
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # both, since a shell's background job starts with SIGINT ignored
        signal.signal(number, _interrupt)
    if (
        signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    ):  # the terminal is closed, and this was not started by nohup
        signal.signal(signal.SIGHUP, _interrupt)
    with suppress(KeyboardInterrupt), served(settings) as server:
        click.echo(f"Results, with seeds together, as charts:\n  {pages}\nPress Ctrl-C to stop.")
        server.wait()
        raise UserError(
            f"the MLflow server has stopped by itself with exit code {server.returncode}; start `harness ui` again"
        )


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def served(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server on the settings' store, answering; its whole process group is gone afterwards.

    Raises UserError when the port is taken or the server does not come up.
    """
    _check_port(settings.ui)
    environment = {**_visitors(settings.ui), **os.environ}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = (
        "false"  # eight processes that serve language models
    )
    if not settings.telemetry:
        environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    options = ["--backend-store-uri", settings.server.tracking_uri, "--workers", "1"]
    options += ["--host", settings.ui.host, "--port", str(settings.ui.port)]
    if settings.server.artifact_location:
        options += ["--default-artifact-root", settings.server.artifact_location]
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            cwd=settings.root,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its own process group: Ctrl-C reaches us alone, and we stop all of it
        )
        try:
            _wait_until_healthy(server, settings.ui, output)
            yield server
        finally:
            _stop(server)


def _visitors(ui: Ui) -> dict[str, str]:
    """MLflow's variables that let browsers in which know this machine by any of its names; none where it listens to itself alone."""
    import psutil

    if ui.host in LOOPBACK:
        return {}
    found = [address for card in psutil.net_if_addrs().values() for address in card]
    numbers = [each.address for each in found if each.family == socket.AF_INET]
    numbers += [
        f"[{each.address.partition('%')[0]}]" for each in found if each.family == socket.AF_INET6
    ]
    names = sorted({*LOOPBACK, ui.host, socket.gethostname(), socket.getfqdn(), *numbers})
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(
            each for name in names for each in (name, f"{name}:{ui.port}")
        ),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
            f"http://{name}:{ui.port}" for name in names
        ),
    }


def _check_port(ui: Ui) -> None:
    family, kind, protocol, _, address = _resolve(ui)
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a port that was just given back is free
        try:
            probe.bind(address)
        except OSError as error:
            raise UserError(
                f"cannot listen on {ui.host}:{ui.port}: {error.strerror}; "
                f"stop what uses it, or choose another with --port (or --host, or ui in mlflow.yaml)"
            ) from error


def _resolve(ui: Ui) -> tuple[int, int, int, str, tuple[object, ...]]:
    try:
        return socket.getaddrinfo(ui.host, ui.port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise UserError(
            f"--host {ui.host}: {error.strerror}; allowed: an address of this machine, such as 127.0.0.1"
        ) from error


def _wait_until_healthy(server: subprocess.Popen[bytes], ui: Ui, output: IO[bytes]) -> None:
    direct = build_opener(ProxyHandler({}))  # a proxy would look for 127.0.0.1 on its own machine
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(URLError, OSError), direct.open(f"{ui.address}/health", timeout=2):
            return
        time.sleep(0.2)
    output.seek(0)
    last = output.read().decode(errors="replace").strip().splitlines()[-5:]
    state = (
        f"did not answer within {START_SECONDS} s"
        if server.poll() is None
        else f"stopped with exit code {server.returncode}"
    )
    raise UserError("\n  ".join([f"the MLflow server {state}; its last words:", *last]))


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the whole group: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
