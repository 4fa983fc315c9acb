"""What a reader sees: `harness ui` is started, its link opened in a browser, and the table read without a click."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from html.parser import HTMLParser
from urllib.request import urlopen

import psutil
import pytest

from harness.cli.ui import command
from harness.contract import UserError
from harness.settings import load_settings
from harness.tracking import track

CHROMIUM = shutil.which("chromium")
BASELINE = {"top1_error": 12.34, "top5_error": 1.56, "fit_seconds": 78.91, "score_seconds": 4.321}
ALEXNET = {"run_id": "alexnet-digits-1", "name": "alexnet", "pipeline": "alexnet,lrn=false", "family": "learned"}
ALEXNET |= {"top1_error": 6.54, "top5_error": 0.78, "fit_seconds": 567.8, "score_seconds": 9.876}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port(taken_port):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def text_of(html: str) -> list[str]:
    texts = []
    parser = HTMLParser()
    parser.handle_data = lambda data: texts.append(data.strip())
    parser.feed(html)
    return [text for text in texts if text]


def page(link: str, profile: str) -> list[str]:
    """The texts that Chromium shows at `link` on a first visit, in order. The page polls for ever, so it gets 30 s of virtual time."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    flags += "--disable-component-update --disable-sync --window-size=1600,1000 --virtual-time-budget=30000 --dump-dom"
    browser = subprocess.run(
        [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", link], capture_output=True, text=True, timeout=120
    )
    return text_of(browser.stdout)


def test_the_link_opens_on_the_table_and_ctrl_c_stops_every_process(project, make_run, free_port):
    for fields in (BASELINE, ALEXNET):
        result, folder = make_run(project, **fields)
        track(result, folder, load_settings())
    program = [sys.executable, "-c", "from harness.cli.ui import command; command()", "--port", str(free_port)]
    ui = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        [link] = re.findall(r"http://\S+", ui.stdout.readline() + ui.stdout.readline())
        assert f"127.0.0.1:{free_port}" in link
        with urlopen(link.partition("/#")[0] + "/health", timeout=10) as answer:
            assert answer.status == 200
        processes = psutil.Process(ui.pid).children(recursive=True)
        if CHROMIUM:
            shown = page(link, str(project / "profile"))
            head = [
                shown.index(name) for name in ("pipeline", "dataset", "top1_error", "top5_error", "fit_seconds", "score_seconds")
            ]
            assert head == sorted(head)
            for run in (BASELINE | {"name": "baseline"}, ALEXNET):
                assert {"digits", run["name"], *(str(run[name]) for name in BASELINE)} <= set(shown)
            assert shown.index("6.54") < shown.index("12.34")  # best first
    finally:
        ui.send_signal(signal.SIGINT)
        status = ui.wait(60)
    assert status == 0
    assert processes
    assert not psutil.wait_procs(processes, timeout=10)[1]


def test_a_port_in_use_is_named_with_the_flag_to_use(project, make_run, taken_port):
    result, folder = make_run(project)
    track(result, folder, load_settings())
    with pytest.raises(UserError, match=rf"127\.0\.0\.1:{taken_port}: Address already in use.*--port"):
        command(["--port", str(taken_port)], standalone_mode=False)


def test_without_a_store_it_says_what_to_type_first(project):
    with pytest.raises(UserError, match="`harness run`"):
        command([], standalone_mode=False)
    assert not list(project.iterdir())
