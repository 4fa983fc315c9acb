"""What a reader sees: `harness ui` is started, its link opened in a browser, and the table read without a click."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener, urlopen

import psutil
import pytest

from harness.cli.ui import command, served
from harness.errors import UserError
from harness.settings import Ui, load_settings
from harness.tracking.log_run import track

CHROMIUM = shutil.which("chromium")
BASELINE = {
    "name": "baseline",
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
}
ALEXNET |= {
    "curves": {"val/top1_error": [(0, 50.0), (1, 20.0)]},
    "top1_error": 6.54,
    "top5_error": 0.78,
    "fit_seconds": 567.8,
    "score_seconds": 9.876,
}

ABOVE = {
    "name": "hog-svm",
    "top1_error": 21.0,
    "top5_error": 3.0,
    "fit_seconds": 20.0,
    "score_seconds": 2.0,
}  # the means of:
SEEDS = [
    {**ABOVE, "run_id": f"hog-svm-{seed}", "pipeline": "hog-svm", "seed": seed, "top1_error": error, "spec": {"parent": {"run_id": "hog-seeds", "seeds": 2}}}
    for seed, error in enumerate((20.0, 22.0))
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory, make_run):
    """A folder with a store that holds two runs, and two of one pipeline with two seeds."""
    root = tmp_path_factory.mktemp("project")
    (root / "mlflow.yaml").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for fields in (BASELINE, ALEXNET, *SEEDS):
            result, folder = make_run(root, **fields)
            track(result, folder, load_settings(root / "mlflow.yaml"))
    return root


@pytest.fixture(scope="module")
def ui(project):
    """`harness ui` running on a free port, and the link that it printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from harness.cli.ui import command; command()"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")
    } | {"PYTHONUNBUFFERED": "1"}
    program = [sys.executable, "-c", code, "--port", str(port)]
    process = subprocess.Popen(
        program, cwd=project, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        printed = process.stdout.readline() + process.stdout.readline()
        yield process, re.search(r"http://\S+", printed).group()
    finally:
        process.terminate()
        process.wait(60)


def test_other_machines_are_let_in_by_the_names_of_this_one(project, monkeypatch):
    """A page's own requests are taken, whatever name the browser knows this machine by; those of another site's pages are not."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv(
        "http_proxy", "http://127.0.0.1:9"
    )  # nobody listens there; the server is asked directly
    settings = replace(load_settings(project / "mlflow.yaml"), ui=Ui("0.0.0.0", port))
    direct = build_opener(ProxyHandler({}))

    def status(host: str, origin: str) -> int:
        headers = {"Host": host, "Origin": origin, "Content-Type": "application/json"}
        asked = Request(
            f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/runs/search",
            b'{"experiment_ids": ["0"]}',
            headers,
        )
        try:
            return direct.open(asked).status
        except HTTPError as error:
            return error.code

    with served(settings):
        for name in (socket.gethostname(), "127.0.0.1", "localhost"):
            assert status(f"{name}:{port}", f"http://{name}:{port}") == 200, name
        assert status(f"localhost:{port}", "http://elsewhere.example") == 403
        assert status(f"elsewhere.example:{port}", f"http://localhost:{port}") == 403


class Grid(HTMLParser):
    """What the table shows: column names from left to right, and by row from top to bottom the text of each column."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: dict[str, str] = {}
        self.order: dict[str, int] = {}
        self.cells: dict[int, dict[str, str]] = {}
        self.row, self.column, self.into = 0, "", None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        role = attributes.get("role")
        if role == "row":
            self.row = int(attributes["aria-rowindex"])
        if role in ("columnheader", "gridcell") and "col-id" in attributes:
            self.column = attributes["col-id"]
            self.into = (
                self.names if role == "columnheader" else self.cells.setdefault(self.row, {})
            )
            if role == "columnheader":
                self.order[self.column] = int(attributes["aria-colindex"])

    def handle_data(self, data):
        if self.into is not None and data.strip():
            self.into.setdefault(self.column, data.strip())

    @property
    def columns(self) -> list[str]:
        return [
            self.names[key] for key in sorted(self.names, key=self.order.__getitem__) if "`" in key
        ]

    @property
    def rows(self) -> list[dict[str, str]]:
        return [
            {self.names.get(key, key): text for key, text in self.cells[row].items()}
            for row in sorted(self.cells)
        ]


def opened(link: str, profile: str) -> Grid:
    """The table at `link`; cells outside the window are not there."""
    return Grid(dumped(link, profile))


def dumped(link: str, profile: str) -> str:
    """The page at `link` as HTML, on a first visit, 1600 pixels wide."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    flags += "--disable-component-update --disable-sync --window-size=1600,1000 --dump-dom "
    flags += "--virtual-time-budget=30000"  # milliseconds; the page polls for ever, so that waiting for silence would not end
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", link]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_server_answers_at_the_printed_link(ui):
    with urlopen(ui[1].partition("/#")[0] + "/health", timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_link_opens_on_pipelines_errors_and_times(ui, tmp_path):
    grid = opened(ui[1], tmp_path / "profile")
    wanted = ["pipeline", "dataset", "top1_error", "top5_error", "fit_seconds", "score_seconds"]
    assert grid.columns[: len(wanted) + 1] == ["Run Name", *wanted]
    best_first = [shown(run, wanted) for run in (ALEXNET, BASELINE, SEEDS[0], ABOVE, SEEDS[1])]
    assert [{key: row.get(key) for key in wanted} for row in grid.rows] == best_first


def shown(run: dict, columns: list[str]) -> dict[str, str]:
    """As the UI writes figures: 21.0 is 21."""
    return {"pipeline": run["name"], "dataset": "digits"} | {
        key: f"{run[key]:g}" for key in columns[2:]
    }


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_view_of_seeds_shows_one_run_for_them_with_its_means(ui, tmp_path):
    link = ui[1].replace("viewStateShareKey=before-after", "viewStateShareKey=before-after-seeds")
    grid = opened(link, tmp_path / "profile")
    wanted = ["pipeline", "dataset", "top1_error", "top5_error", "fit_seconds", "score_seconds"]
    found = [{key: row.get(key) for key in wanted} for row in grid.rows]
    assert len(found) == 3  # the seeds are folded away below the run that stands for them
    assert all(shown(run, wanted) in found for run in (ALEXNET, BASELINE, ABOVE))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_view_of_charts_opens_on_error_against_cost(ui, tmp_path):
    link = (
        ui[1].replace("viewStateShareKey=before-after", "viewStateShareKey=before-after-charts")
        + "&compareRunsMode=CHART"
    )
    page = dumped(link, tmp_path / "profile")
    text = re.sub(r"<[^>]+>", " ", page)
    ours = text[text.index("Before / after") : text.index("Model metrics")]
    assert all(name in ours for name in ("fit_seconds", "top1_error", "val/top1_error"))


def test_a_run_is_tracked_through_the_server_in_silence(ui, make_run, tmp_path, monkeypatch, capfd):
    server = ui[1].partition("/#")[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.chdir(tmp_path)
    result, folder = make_run(tmp_path, run_id="remote-1")
    first, again = (track(result, folder, load_settings()) for _ in range(2))
    assert first == again
    assert first.table == ui[1]
    assert first.runs["remote-1"].startswith(f"{server}/#/experiments/")
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_stops_every_process(ui):
    process, link = ui
    server = psutil.Process(process.pid).children(recursive=True)
    assert server
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert psutil.wait_procs(server, timeout=10)[1] == []
    with pytest.raises(OSError, match="refused"):
        urlopen(link.partition("/#")[0] + "/health", timeout=10)


def test_a_port_in_use_is_named_with_the_flag_to_use(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"127\.0\.0\.1:{port}: Address already in use.*--port"
        ):
            command(
                ["--port", str(port), "--config", str(project / "mlflow.yaml")],
                standalone_mode=False,
            )


def test_without_a_store_it_says_what_to_type_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="`harness run`"):
        command([], standalone_mode=False)
    assert not list(tmp_path.iterdir())
