"""Commands that are killed at random moments: no finished run is lost, the rest can be resumed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.cli import cli
from harness.runs.run_store import RunStore
from harness.settings import load_settings
from harness.tracking.sync import sync_runs

KILLS = {"run": 36, "ensemble": 8, "sync": 8, "prepare": 10}
RUN = ["run", "--pipeline", "nearest-mean", "--limit", "300", "--limit-test", "100"]


class Attacker:
    """Starts commands and kills them at moments that cover all of their time evenly."""

    def __init__(self, seed: int) -> None:
        self.moments = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}

    def measure(self, name: str, arguments: list[str]) -> None:
        started = time.monotonic()
        process = self.start(arguments)
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        self.seconds[name] = time.monotonic() - started

    def attack(self, name: str, arguments: list[str]) -> None:
        """Kill the command once, or let it end if it is faster than the moment."""
        process = self.start(arguments)
        try:
            process.wait(self.moments.uniform(0, self.seconds[name]))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            self.kills[name] += 1
        _, errors = process.communicate(timeout=200)
        assert "Traceback" not in errors

    @staticmethod
    def start(arguments: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


def finished_results() -> dict[str, str]:
    """Return the digest of each finished run's result."""
    records = RunStore(Path("runs")).all()
    assert all(record.readable for record in records)  # each can at least be named
    return {
        record.run_id: hashlib.sha256((record.folder / "result.json").read_bytes()).hexdigest()
        for record in records
        if record.finished
    }


def attack_until_enough(
    attacker: Attacker, name: str, commands: Iterator[list[str]]
) -> Iterator[None]:
    for arguments in commands:
        if attacker.kills[name] >= KILLS[name]:
            return
        before = finished_results()
        attacker.attack(name, arguments)
        after = finished_results()
        assert {run_id: after.get(run_id) for run_id in before} == before
        if Path("mlflow.db").exists():
            with sqlite3.connect("mlflow.db") as database:  # never half a schema
                assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        yield


def attack_repeatedly(attacker: Attacker, name: str, arguments: list[str]) -> Iterator[None]:
    attacker.measure(name, arguments)
    return attack_until_enough(attacker, name, iter(lambda: arguments, None))


@pytest.fixture
def attacker(plugin: str, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Attacker:
    monkeypatch.setenv("HARNESS_PLUGINS", plugin)
    monkeypatch.setenv("HARNESS_DATA", str(workdir / "data"))
    return Attacker(seed=int(os.environ.get("HARNESS_ATTACK_SEED", "0")))


def require_everything_in_mlflow() -> None:
    assert sync_runs(load_settings()).failed == {}
    with sqlite3.connect("mlflow.db") as database:
        statuses = database.execute("SELECT name, status FROM runs").fetchall()
    names = [name for name, _ in statuses]
    assert len(set(names)) == len(names)
    assert {name for name, status in statuses if status == "FINISHED"} == set(finished_results())


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_killed_runs_are_finished_or_can_be_resumed(attacker: Attacker) -> None:
    """The first attacks also hit the creation of MLflow's database."""
    attacker.seconds["run"] = 12.0
    runs = ([*RUN, "--seed", str(seed)] for seed in range(10_000))
    for number, _ in enumerate(attack_until_enough(attacker, "run", runs)):
        if number == 4:
            attacker.measure("run", [*RUN, "--seed", "20000"])
    resume_all()
    require_everything_in_mlflow()
    assert attacker.kills["run"] >= KILLS["run"]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_killed_ensembles_and_syncs_lose_none_of_their_runs(attacker: Attacker) -> None:
    for seed in ("0", "1"):
        attacker.measure("run", [*RUN, "--seed", seed])
    members = [record.run_id for record in RunStore(Path("runs")).finished()]
    for _ in attack_repeatedly(attacker, "ensemble", ["ensemble", *members]):
        pass
    for _ in attack_repeatedly(attacker, "sync", ["sync"]):
        Path("mlflow.db").unlink(missing_ok=True)  # everything has to be sent again
    resume_all()
    require_everything_in_mlflow()
    assert min(attacker.kills[name] - KILLS[name] for name in ("ensemble", "sync")) >= 0


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_killed_preparation_goes_on_to_the_same_bytes(
    attacker: Attacker, workdir: Path, pictures: Callable[..., Path]
) -> None:
    photos = pictures(workdir / "photos", {"train/cat": 60, "train/dog": 60, "test/cat": 5})
    pictures(photos, {"test/dog": 5}, seed=1)
    killed = ["prepare", str(photos), "--name", "killed"]
    whole = ["prepare", str(photos), "--name", "whole"]
    attacker.measure("prepare", whole)
    for _ in attack_until_enough(attacker, "prepare", iter(lambda: killed, None)):
        pass
    cli(killed, standalone_mode=False)
    assert dataset_digest("killed") == dataset_digest("whole")
    assert attacker.kills["prepare"] >= KILLS["prepare"]


def resume_all() -> None:
    """Finish every unfinished run; an ensemble that was killed is named, and made again."""
    for record in RunStore(Path("runs")).all():
        if record.finished:
            continue
        assert record.state in ("dead", "failed"), record.state
        if record.spec.kind == "fit":
            cli(["run", "--resume", record.run_id], standalone_mode=False)
        else:
            cli(["runs", "rm", "--yes", record.run_id], standalone_mode=False)


def dataset_digest(name: str) -> str:
    (folder,) = Path("data", "prepared").glob(name)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())]
    return " ".join(digests)
