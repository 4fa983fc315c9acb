"""Disks of many sizes that fill up: one sentence, nothing is lost, and later the work goes on."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.cli import main
from harness.runs.run_store import RunStore
from harness.settings import load_settings
from harness.tracking.sync import sync_runs

RUN = ["run", "--pipeline", "nearest-mean", "--dataset", "digits"]
ROOM = "64m"
# A run writes about 300 kB, and mlflow 1 MB for a database and as much for its journal.
FREE_KILOBYTES = (0, 8, 40, 100, 160, 220, 300, 600, 1000, 1600, 2400, 3200)


@dataclass
class Disk:
    folder: Path

    def resize(self, size: str) -> None:
        command = ["mount", "-o", f"remount,size={size}", str(self.folder)]
        subprocess.run(command, check=True)

    def leave(self, kilobytes: int) -> None:
        """Shrink the disk to what is used and this much more."""
        used = shutil.disk_usage(self.folder).used
        self.resize(str(used + max(4, kilobytes) * 1024))


@pytest.fixture
def disk(tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root on Linux")
    monkeypatch.setenv("HARNESS_PLUGINS", plugin)
    monkeypatch.chdir(folder)
    yield Disk(folder)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def digests() -> dict[Path, str]:
    """Return the digest of every file of the finished runs."""
    folders = [record.folder for record in RunStore(Path("runs")).all() if record.finished]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def run_main(*arguments: str) -> tuple[str, int]:
    """Return what a command printed, errors included, and its exit code."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(output):
        patch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
    return output.getvalue(), int(stop.value.code or 0)


def run_in_little_space() -> bool:
    """Run; return whether it finished, and check that there is one sentence about what failed."""
    output, code = run_main(*RUN, "--seed", "1")
    assert "Traceback" not in output
    complaints = [line for line in output.splitlines() if re.search("No space left|is full", line)]
    if code:
        assert (code, complaints) == (1, output.splitlines()[-1:])
        assert complaints[0].startswith("harness: ")
    else:
        starts = ("MLflow     not logged: ", "pictures   not drawn: ")
        assert all(line.startswith(starts) for line in complaints)
        assert len(complaints) <= 2
    return code == 0


def finish_and_send(run_finished: bool) -> None:
    """With room again, the work that was cut short goes on, and MLflow gets every run once."""
    unfinished = [record for record in RunStore(Path("runs")).all() if not record.finished]
    for record in unfinished:
        if record.state == "running":  # there was no room for its end, but its process has ended
            record.set_status("running", pid_started="another boot 1")
        output, code = run_main("run", "--resume", record.run_id)
        assert code == 0, output
    if not run_finished and not unfinished:  # there was not even room for the folder
        assert run_main(*RUN, "--seed", "1")[1] == 0
    assert sync_runs(load_settings()).failed == {}
    with closing(sqlite3.connect("mlflow.db")) as database:
        statuses = database.execute("SELECT name, status FROM runs ORDER BY name").fetchall()
    finished = sorted(record.run_id for record in RunStore(Path("runs")).finished())
    assert statuses == [(run_id, "FINISHED") for run_id in finished]


@pytest.mark.slow
@pytest.mark.parametrize("free_kilobytes", FREE_KILOBYTES)
def test_a_new_project_on_a_small_disk(free_kilobytes: int, disk: Disk) -> None:
    """The disk may also be too small for MLflow's new database."""
    disk.leave(free_kilobytes)
    run_finished = run_in_little_space()
    assert not list(Path().glob(".mlflow.db*"))
    disk.resize(ROOM)
    finish_and_send(run_finished)


@pytest.mark.slow
@pytest.mark.parametrize("free_kilobytes", FREE_KILOBYTES)
def test_a_disk_that_fills_up_loses_nothing_that_is_there(
    free_kilobytes: int, disk: Disk, empty_store: Path
) -> None:
    shutil.copy(empty_store, "mlflow.db")
    assert run_main(*RUN)[1] == 0
    before = digests()
    disk.leave(free_kilobytes)
    run_finished = run_in_little_space()
    disk.resize(ROOM)
    assert {file: digest for file, digest in digests().items() if file in before} == before
    finish_and_send(run_finished)
