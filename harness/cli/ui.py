"""`harness ui`: the MLflow UI, opened on the table of results."""

from __future__ import annotations

import errno
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

from harness.cli import options, tied_process
from harness.commands import harness_command
from harness.errors import UserError
from harness.settings import Settings, Ui, is_loopback
from harness.tracking.database import artifact_uri, store_uri
from harness.workspace import Workspace

START_SECONDS = 120  # the first start takes 12 s on two cores
STOP_SECONDS = 10
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@click.command(name="ui")
@click.option(
    "--host",
    help="Address to listen on; 0.0.0.0 admits other machines.  "
    "[default: mlflow.yaml, else 127.0.0.1]",
)
@click.option(
    "--port",
    type=options.WholeNumber(1, 65535),
    help="Port to listen on.  [default: mlflow.yaml, else 5000]",
)
@options.workspace("config")
def command(host: str | None, port: int | None, workspace: Workspace) -> None:
    """Open the MLflow UI on the table of results; Ctrl-C stops it."""
    from harness.tracking.links import find_links

    settings = workspace.settings
    settings = replace(settings, ui=Ui(host or settings.ui.host, port or settings.ui.port))
    links = find_links(settings)
    pages = f"{links.table}\n  {links.seeds}\n  {links.charts}"
    if settings.server.is_remote:
        click.echo(f"Runs are tracked on a server that is already running:\n  {pages}")
        return
    _stop_on_signals()
    with suppress(KeyboardInterrupt), serve_mlflow(settings) as server:
        click.echo(f"Table, seeds together, charts:\n  {pages}\nPress Ctrl-C to stop.")
        if not is_loopback(settings.ui.host):
            click.echo(
                f"There is no password: whoever reaches {settings.ui.host}:{settings.ui.port} from "
                "another machine can read, change and delete the runs."
            )
        server.wait()
        raise UserError(
            f"the MLflow server stopped by itself with exit code {server.returncode}; "
            f"start it again with: {harness_command('ui')}"
        )


def _stop_on_signals() -> None:
    """Stop as for Ctrl-C when killed or when the terminal is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored: started by nohup
        signal.signal(signal.SIGHUP, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def serve_mlflow(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Run an MLflow server on the database of the settings until the block ends.

    The block starts when the server answers; all of its processes have ended afterwards, also when
    this process is killed.

    Raises
    ------
    UserError
        If the port is in use or the server does not start.
    """
    _check_port(settings.ui)
    command = [sys.executable, "-I", tied_process.__file__]
    command += [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--backend-store-uri", store_uri(settings.server)]
    command += ["--host", settings.ui.host, "--port", str(settings.ui.port)]
    if location := artifact_uri(settings.server):
        command += ["--default-artifact-root", location]
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(
            command,
            cwd=settings.root,
            env=_server_environment(settings),
            stdin=subprocess.PIPE,  # closed by our end, which ends the server
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C then reaches us alone, and we stop the whole group
        )
        try:
            _wait_until_healthy(server, settings.ui, output)
            yield server
        finally:
            _stop(server)


def _server_environment(settings: Settings) -> dict[str, str]:
    environment = {**_allowed_names(settings.ui), **os.environ}
    # These are eight processes that serve language models only.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    if not settings.telemetry:
        environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    return environment


def _allowed_names(ui: Ui) -> dict[str, str]:
    """Return MLflow's variables that admit browsers by every name and address of this machine.

    There are none for a server that only this machine can reach.
    """
    import psutil

    if ui.host in (*LOOPBACK, "::1"):
        return {}
    names = {*LOOPBACK, ui.host, socket.gethostname(), socket.getfqdn()}
    for interface in psutil.net_if_addrs().values():
        for address in interface:
            if address.family == socket.AF_INET:
                names.add(address.address)
            elif address.family == socket.AF_INET6:
                names.add(f"[{address.address.partition('%')[0]}]")
    with_port = [f"{name}:{ui.port}" for name in sorted(names)]
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join([*sorted(names), *with_port]),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{name}" for name in with_port),
    }


def _check_port(ui: Ui) -> None:
    family, kind, _, _, address = _resolve(ui)
    with socket.socket(family, kind) as probe:
        # A port that was released a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            stop = "stop the program that uses it, or " if error.errno == errno.EADDRINUSE else ""
            raise UserError(
                f"cannot listen on {ui.host}:{ui.port}: {error.strerror}; {stop}choose another "
                "with --port (or --host, or ui in mlflow.yaml)"
            ) from error


def _resolve(ui: Ui) -> tuple[int, int, int, str, tuple[object, ...]]:
    try:
        return socket.getaddrinfo(ui.host, ui.port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "no host name"
        raise UserError(
            f"--host {ui.host}: {reason}; allowed: an address of this machine, such as 127.0.0.1"
        ) from error


def _wait_until_healthy(server: subprocess.Popen[bytes], ui: Ui, output: IO[bytes]) -> None:
    direct = build_opener(ProxyHandler({}))  # a proxy would look for 127.0.0.1 on its own machine
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(URLError, OSError), direct.open(f"{ui.address}/health", timeout=2):
            return
        time.sleep(0.2)
    if server.poll() is None:
        failure = f"did not answer within {START_SECONDS} s"
    else:
        failure = f"stopped with exit code {server.returncode}"
    output.seek(0)
    last_lines = output.read().decode(errors="replace").strip().splitlines()[-5:]
    raise UserError("\n  ".join([f"the MLflow server {failure}; its last output:", *last_lines]))


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server's process group, by force where it does not end when asked."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
