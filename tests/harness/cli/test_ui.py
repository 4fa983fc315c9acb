"""What a reader sees: `harness ui` is started and its link opened in a browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener, urlopen

import psutil
import pytest

from harness.cli.ui import _allowed_names, command
from harness.errors import UserError
from harness.runs.record import Record
from harness.runs.spec import SeedGroup
from harness.settings import Ui, load_settings
from harness.tracking.log_run import log_finished_run

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
COLUMNS = ("pipeline", "dataset", "top1_error", "top5_error", "fit_seconds", "score_seconds")

BASELINE = {
    "name": "baseline",
    "n_test": 10_000,
    "top1_error": 12.34,
    "top5_error": 1.56,
    "fit_seconds": 78.91,
    "score_seconds": 4.321,
}
ALEXNET = {
    "run_id": "alexnet-digits-1",
    "name": "alexnet",
    "pipeline": "alexnet,lrn=false",
    "family": "learned",
    "n_test": 10_000,
    "curves": {"val/top1_error": [(0, 50.0), (1, 20.0)]},
    "top1_error": 6.54,
    "top5_error": 0.78,
    "fit_seconds": 567.8,
    "score_seconds": 9.876,
}
MEAN = {
    "name": "hog-svm",
    "n_test": 100,
    "top1_error": 21.0,
    "top5_error": 3.0,
    "fit_seconds": 20.0,
    "score_seconds": 2.0,
}
SEEDS = [
    {**MEAN, "run_id": "hog-svm-0", "pipeline": "hog-svm", "seed": 0, "top1_error": 20.0},
    {**MEAN, "run_id": "hog-svm-1", "pipeline": "hog-svm", "seed": 1, "top1_error": 22.0},
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_run: Any) -> Path:
    """A folder whose MLflow database holds two runs, and two runs that differ in the seed."""
    root = tmp_path_factory.mktemp("project")
    (root / "mlflow.yaml").write_text("")
    seed_group = {"seed_group": SeedGroup("hog-seeds", 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        settings = load_settings(root / "mlflow.yaml")
        for fields in (BASELINE, ALEXNET):
            log_finished_run(Record(make_run(root, **fields)[1]), settings)
        for fields in SEEDS:
            log_finished_run(Record(make_run(root, spec=seed_group, **fields)[1]), settings)
    return root


@pytest.fixture(scope="module")
def ui(project: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`harness ui` for every machine on a free port, and the first link that it printed.

    The proxy of its environment does not exist, since the command must ask its server directly.
    """
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]
    inherited = {key: v for key, v in os.environ.items() if not key.startswith("MLFLOW_")}
    proxy = {"http_proxy": "http://127.0.0.1:9", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from harness.cli.ui import command; command()"),
            *("--host", "0.0.0.0", "--port", str(port)),
        ],
        cwd=project,
        env=inherited | proxy,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        printed = "".join(process.stdout.readline() for _ in range(6))
        match = re.search(r"http://\S+", printed)
        assert match, printed
        assert f"There is no password: whoever reaches 0.0.0.0:{port} from another" in printed
        yield process, match.group()
    finally:
        process.terminate()
        process.wait(60)


def test_the_server_answers_at_the_printed_link(ui: Any) -> None:
    with urlopen(ui[1].partition("/#")[0] + "/health", timeout=10) as answer:
        assert answer.status == 200


def test_browsers_may_use_every_name_of_this_machine_and_no_other(ui: Any) -> None:
    """A request that comes from another site's page is refused."""
    server = ui[1].partition("/#")[0]
    port = server.rpartition(":")[2]
    direct = build_opener(ProxyHandler({}))

    def status(host: str, origin: str) -> int:
        headers = {"Host": host, "Origin": origin, "Content-Type": "application/json"}
        url = f"{server}/ajax-api/2.0/mlflow/runs/search"
        request = Request(url, b'{"experiment_ids": ["0"]}', headers)
        try:
            return int(direct.open(request).status)
        except HTTPError as error:
            return error.code

    for name in (socket.gethostname(), "127.0.0.1", "localhost"):
        assert status(f"{name}:{port}", f"http://{name}:{port}") == 200, name
    assert status(f"localhost:{port}", "http://elsewhere.example") == 403
    assert status(f"elsewhere.example:{port}", f"http://localhost:{port}") == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_for_this_machine_alone_keeps_mlflows_own_rules(host: str) -> None:
    assert _allowed_names(Ui(host)) == {}


class Grid(HTMLParser):
    """The table that the page shows.

    Attributes
    ----------
    names : dict
        Column id to its header.
    order : dict
        Column id to its position from the left.
    cells : dict
        Row, from the top, to a dict of column id to text.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: dict[str, str] = {}
        self.order: dict[str, int] = {}
        self.cells: dict[int, dict[str, str]] = {}
        self._row = 0
        self._column = ""
        self._target: dict[str, str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        attributes = dict(attrs)
        role = attributes.get("role")
        if role == "row":
            self._row = int(attributes["aria-rowindex"])
        if role not in ("columnheader", "gridcell") or "col-id" not in attributes:
            return
        self._column = attributes["col-id"]
        if role == "columnheader":
            self._target = self.names
            self.order[self._column] = int(attributes["aria-colindex"])
        else:
            self._target = self.cells.setdefault(self._row, {})

    def handle_data(self, data: str) -> None:
        if self._target is not None and data.strip():
            self._target.setdefault(self._column, data.strip())

    @property
    def columns(self) -> list[str]:
        """The headers from left to right."""
        ids = sorted(self.names, key=self.order.__getitem__)
        return [self.names[column_id] for column_id in ids if "`" in column_id]

    @property
    def rows(self) -> list[dict[str, str | None]]:
        """The texts of COLUMNS by header, from top to bottom."""
        by_header = [
            {self.names.get(key, key): text for key, text in self.cells[row].items()}
            for row in sorted(self.cells)
        ]
        return [{name: row.get(name) for name in COLUMNS} for row in by_header]


def page_html(link: str, profile: Path) -> str:
    """Return the page on a first visit, 1600 pixels wide; cells outside the window are missing."""
    assert CHROMIUM
    flags = """
        --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
        --disable-background-networking --disable-component-update --window-size=1600,1000
        --dump-dom --virtual-time-budget=30000
    """  # milliseconds; the page polls forever, so it is never idle
    program = [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", link]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def expected_row(run: dict[str, Any]) -> dict[str, str]:
    """Return a run's row; the UI shows 21.0 as 21."""
    figures = {name: f"{run[name]:g}" for name in COLUMNS[2:]}
    return {"pipeline": run["name"], "dataset": "digits", **figures}


@needs_chromium
def test_the_link_opens_on_pipelines_errors_and_times(ui: Any, tmp_path: Path) -> None:
    grid = Grid(page_html(ui[1], tmp_path / "profile"))
    assert grid.columns[: len(COLUMNS) + 1] == ["Run Name", *COLUMNS]
    lowest_error_first = (ALEXNET, BASELINE, SEEDS[0], MEAN, SEEDS[1])
    assert grid.rows == [expected_row(run) for run in lowest_error_first]


@pytest.mark.slow
@needs_chromium
def test_the_view_of_seeds_folds_them_below_a_row_of_means(ui: Any, tmp_path: Path) -> None:
    link = ui[1].replace("viewStateShareKey=before-after", "viewStateShareKey=before-after-seeds")
    rows = Grid(page_html(link, tmp_path / "profile")).rows
    assert len(rows) == 3
    assert all(expected_row(run) in rows for run in (ALEXNET, BASELINE, MEAN))


@pytest.mark.slow
@needs_chromium
def test_the_view_of_charts_opens_on_error_against_cost(ui: Any, tmp_path: Path) -> None:
    link = ui[1].replace("viewStateShareKey=before-after", "viewStateShareKey=before-after-charts")
    html = page_html(f"{link}&compareRunsMode=CHART", tmp_path / "profile")
    text = re.sub(r"<[^>]+>", " ", html)
    our_section = text[text.index("Before / after") : text.index("Model metrics")]
    for metric in ("fit_seconds", "top1_error", "val/top1_error"):
        assert metric in our_section


def test_a_run_is_logged_through_the_server_in_silence(
    ui: Any,
    make_run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = ui[1].partition("/#")[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.delenv("NO_PROXY", raising=False)
    _, folder = make_run(tmp_path, run_id="remote-1")
    first, again = (log_finished_run(Record(folder), load_settings()) for _ in range(2))
    assert first == again
    assert first.table == ui[1]
    assert first.runs["remote-1"].startswith(f"{server}/#/experiments/")
    assert os.environ["no_proxy"] == "example.org"
    assert "NO_PROXY" not in os.environ
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_stops_every_process(ui: Any) -> None:
    process, link = ui
    server_processes = psutil.Process(process.pid).children(recursive=True)
    assert server_processes
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    _, alive = psutil.wait_procs(server_processes, timeout=10)
    assert alive == []
    with pytest.raises(OSError, match="refused"):
        urlopen(link.partition("/#")[0] + "/health", timeout=10)


def test_the_server_ends_with_a_command_that_is_killed(project: Path) -> None:
    """Even by SIGKILL, and before the server answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "ui", "--port", str(port)],
        cwd=project,
        env={key: v for key, v in os.environ.items() if not key.startswith("MLFLOW_")},
        stdout=subprocess.DEVNULL,
    )
    ours = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while not (servers := ours.children(recursive=True)) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert servers
    _, alive = psutil.wait_procs(servers, timeout=30)
    assert alive == []


def test_a_port_in_use_is_named_with_the_option_that_changes_it(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["--port", str(port), "--config", str(project / "mlflow.yaml")]
        message = rf"127\.0\.0\.1:{port}: Address already in use.*--port"
        with pytest.raises(UserError, match=message):
            command(arguments, standalone_mode=False)


def test_without_a_database_the_message_says_which_command_creates_it(workdir: Path) -> None:
    with pytest.raises(UserError, match="`harness run`"):
        command([], standalone_mode=False)
    assert not list(workdir.iterdir())
