"""`harness run`: what it prints, what it suggests, seeds, resuming, signals, several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.runs.record import Record
from harness.runs.run_store import RunStore

Harness = Callable[..., str]
NEAREST_MEAN = ("run", "--pipeline", "nearest-mean", "--plugins")

SLOW_PIPELINE = '''"""Counts slowly until it is resumed."""
import time, torch
FAMILY = "learned"

class Slow:
    def fit(self, train, tune, context):
        saved = context.checkpoint.load()
        for epoch in range(int(saved["epoch"]) if saved else 0, 60):
            context.log("train/loss", float(epoch), epoch)
            context.checkpoint.save({"epoch": torch.tensor(epoch + 1)})
            if not saved:
                time.sleep(0.1)
        self.weight = torch.eye(train.num_classes)[0]
    def scores(self, batch):
        return self.weight.expand(len(batch), -1).contiguous()
    def state(self):
        return {"weight": self.weight}
    def load(self, state):
        self.weight = state["weight"]

def build(*, a: int = 1):
    return Slow()
'''
SLOW = ("run", "--plugins", "slow.py", "--pipeline", "slow")

# A program that runs commands in a process of its own. MLflow, which takes seconds to import, is
# not under test here.
PROGRAM = """
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

from harness.cli import main
from harness.publish import Publisher

Publisher.finished = Publisher.failed = lambda *_, **__: None
os.environ |= environment
with open(output, "w") as file, redirect_stdout(file), redirect_stderr(file):
    for command in commands:
        sys.argv = ["harness", *command]
        main()
"""


def start(
    *commands: Sequence[str], output: str = "output.txt", **environment: str
) -> multiprocessing.process.BaseProcess:
    """Run commands in another process, forked from one that has imported torch already."""
    Path("program.py").write_text(PROGRAM)
    variables = {"commands": commands, "output": output, "environment": environment}
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=runpy.run_path, args=("program.py", variables))
    process.start()
    return process


@pytest.fixture
def resumable(plugin: str, harness: Harness) -> Record:
    """A run of `nearest-mean` that failed after its state was saved."""
    harness(*NEAREST_MEAN, plugin)
    (record,) = RunStore(Path("runs")).all()
    record.folder.rename(f"{record.folder}.unfinished")
    record = RunStore(Path("runs").resolve()).find(record.run_id)
    record.set_status("failed", started="2026-01-01T00:00:00+00:00")
    return record


@pytest.mark.usefixtures("published")
def test_a_run_prints_its_request_its_result_and_what_to_do_next(
    harness: Harness, plugin: str
) -> None:
    output = harness(*NEAREST_MEAN, plugin, "--json")
    result = json.loads(output.splitlines()[-1])
    assert {
        "run_id", "pipeline", "dataset", "n_test", "top1_error", "top5_error", "mean_class_error",
        "tune_top1_error", "fit_seconds", "score_seconds", "test_digest", "test_evaluations",
        "machine",
    } <= set(result)  # fmt: skip
    assert (result["n_test"], result["test_evaluations"]) == (500, 1)
    assert result["pipeline"] == "nearest-mean,shrink=0.0"
    lines = output.splitlines()
    assert lines[0] == "pipeline   nearest-mean"
    assert lines[1].startswith("dataset    digits: 1,167 train, 130 tune, 500 test images")
    assert f"top-1      {result['top1_error']:.2f} % error" in output
    assert f"run        {result['run_id']}\n" in output
    next_command = f"harness compare baseline nearest-mean --run-missing --plugins {plugin}"
    assert f"next       {next_command}\n" in output
    assert "digests" not in output


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("options", "suggested"),
    [
        (["--no-test"], "harness run --pipeline nearest-mean --plugins"),
        (["--limit", "100"], "harness runs\n"),
        (["--dataset", "digits"], "harness compare baseline nearest-mean --run-missing --dataset"),
    ],
)
def test_the_next_command_depends_on_the_run(
    harness: Harness, plugin: str, options: list[str], suggested: str
) -> None:
    assert f"next       {suggested}" in harness(*NEAREST_MEAN, plugin, *options)


def test_a_dry_run_prints_the_request_and_stops(harness: Harness, plugin: str) -> None:
    output = harness(*NEAREST_MEAN, plugin, "--dry-run", "--limit", "100", "--verbose")
    assert "pipeline   nearest-mean\n" in output
    assert "specs      nearest-mean,shrink=0.0; digits" in output
    assert "90 train, 10 tune, 500 test images" in output
    assert "expected   unknown: there is no earlier run" in output
    assert not Path("runs").exists()


@pytest.mark.usefixtures("published")
def test_seeds_are_runs_that_compare_averages(harness: Harness, plugin: str) -> None:
    output = harness(*NEAREST_MEAN, plugin, "--seeds", "3")
    results = [record.result for record in RunStore(Path("runs")).finished()]
    assert [result.seed for result in results] == [0, 1, 2]
    groups = {record.spec.seed_group for record in RunStore(Path("runs")).finished()}
    assert [group.seeds for group in groups] == [3]
    (error,) = {result.top1_error.value for result in results}  # nothing in it is random
    assert (
        f"3 seeds    top-1 error {error:.2f}, {error:.2f}, {error:.2f} %: mean {error:.2f}, "
        "standard deviation 0.00\n" in output
    )
    harness("run", "--pipeline", "raw-linear,c=0.01")
    table = harness("compare", "--plugins", plugin, "nearest-mean", "raw-linear,c=0.01", "--json")
    assert json.loads(table.splitlines()[-1])["rows"][0]["seeds"] == [0, 1, 2]


@pytest.mark.usefixtures("published")
def test_json_of_several_seeds_is_one_line_per_run(harness: Harness, plugin: str) -> None:
    output = harness(*NEAREST_MEAN, plugin, "--seeds", "2", "--json", "--limit", "100")
    objects = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert len({result["run_id"] for result in objects}) == 2
    assert "2 seeds" not in output


def test_a_dry_run_prints_json_too(harness: Harness) -> None:
    words = ("run", "--pipeline", "raw-linear", "--limit", "100", "--dry-run", "--json")
    asked = json.loads(harness(*words).splitlines()[-1])
    assert (asked["n_train"] + asked["n_tune"], asked["n_test"], asked["limit"]) == (100, 500, 100)
    assert asked["pipeline"].startswith("raw-linear,")
    assert asked["expected"]
    assert not Path("runs").exists()


@pytest.mark.usefixtures("published")
def test_options_that_differ_from_the_record_are_refused_on_resume(
    harness: Harness, resumable: Record, plugin: str
) -> None:
    resume = ("run", "--plugins", plugin, "--resume", resumable.run_id)
    for option, words in {
        "--seed 3": "seed has changed",
        "--limit 500": "limit has changed",
        "--tune 2": "tune has changed",
        "--no-test": "test has changed",
        "--dataset subset,of=digits,percent=50": "dataset has changed",
    }.items():
        assert words in harness(*resume, *option.split(), code=2)
    assert f"resuming   {resumable.run_id}\n" in harness(*resume)
    assert not resumable.folder.exists()
    assert "is finished; there is nothing to resume" in harness(*resume, code=2)


@pytest.mark.usefixtures("published")
def test_the_plugin_of_a_run_is_named_by_the_user_on_resume_wherever_it_lies_now(
    harness: Harness, resumable: Record, plugin: str, workdir: Path
) -> None:
    (workdir / "moved").mkdir()
    moved = Path(plugin).rename(workdir / "moved" / "nearest_mean.py")
    resume = ("run", "--resume", resumable.run_id)
    assert f"if you trust the file, add: --plugins {plugin}" in harness(*resume, code=2)
    assert f"resuming   {resumable.run_id}" in harness(*resume, "--plugins", str(moved))


@pytest.mark.usefixtures("published")
def test_a_budget_is_turned_into_epochs_that_the_spec_keeps(
    harness: Harness, workdir: Path
) -> None:
    text = SLOW_PIPELINE.replace("a: int = 1", "epochs: int | None = None").replace(
        "class Slow:",
        "from harness.contract import Probe\n\nclass Slow:\n"
        "    def epochs(self, images, image_size):\n        return 1\n"
        "    def probe(self, train, tune, context):\n        return Probe(5.0, 10.0, 0, 0)",
    )
    (workdir / "slow.py").write_text(text.replace("time.sleep(0.1)", "pass"))
    output = harness(*SLOW, "--budget", "2m", "--json", "--limit", "100")
    assert "budget     2m is 11 epochs here\n" in output
    assert json.loads(output.splitlines()[-1])["pipeline"] == "slow,epochs=11"


def wait_for_checkpoint(is_alive: Callable[[], bool]) -> None:
    while not list(Path("runs").glob("*/checkpoint/state.safetensors")):
        assert is_alive()
        time.sleep(0.02)
    time.sleep(0.2)


def require_resumed(harness: Harness, state: str) -> None:
    """Require one run in this state, and that `--resume` finishes it with every epoch once."""
    (record,) = RunStore(Path("runs")).all()
    assert record.state == state
    assert state in harness("runs")
    assert f"resuming   {record.run_id}" in harness(*SLOW, "--resume")
    (record,) = RunStore(Path("runs")).all()
    assert record.state == "finished"
    assert record.result.curves["train/loss"] == [(epoch, float(epoch)) for epoch in range(60)]
    error = 100 - 100 * (record.scores().labels == 0).mean()
    assert record.result.top1_error.value == pytest.approx(error)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("sent", "code", "state", "printed"),
    [
        (signal.SIGINT, 130, "stopped", "\nharness: stopped\n"),
        (signal.SIGKILL, -signal.SIGKILL, "dead", ""),
    ],
)
def test_a_run_that_is_stopped_or_killed_is_marked_and_resumes(
    harness: Harness, workdir: Path, sent: int, code: int, state: str, printed: str
) -> None:
    (workdir / "slow.py").write_text(SLOW_PIPELINE)
    process = start(SLOW)
    while not list(Path("runs").glob("*/checkpoint/state.safetensors")):
        assert process.is_alive()
        time.sleep(0.02)
    time.sleep(0.2)
    assert process.pid
    os.kill(process.pid, sent)
    process.join(60)
    assert process.exitcode == code
    output = Path("output.txt").read_text()
    assert output.endswith(printed)
    assert "Traceback" not in output
    (record,) = RunStore(Path("runs")).all()
    assert record.state == state
    assert state in harness("runs")
    assert f"resuming   {record.run_id}" in harness(*SLOW, "--resume")
    (record,) = RunStore(Path("runs")).all()
    assert record.state == "finished"
    assert record.result.curves["train/loss"] == [(epoch, float(epoch)) for epoch in range(60)]
    error = 100 - 100 * (record.scores().labels == 0).mean()
    assert record.result.top1_error.value == pytest.approx(error)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("pipeline", "tolerance"),
    [
        ("hog-svm,c=0.01", 1e-3),
        # Rounding each process's gradients to bfloat16 would give another network.
        ("alexnet,updates=6,views=1,flip=false,precision=float32", 1e-4),
    ],
)
def test_two_processes_give_the_scores_of_one(
    harness: Harness, workdir: Path, pipeline: str, tolerance: float
) -> None:
    """Run each family in one process, and in two that torchrun's variables join over gloo."""
    options = ["--limit", "300", "--limit-test", "101", "--device", "cpu", "--json"]
    command = ["run", "--pipeline", pipeline, *options]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        start(command, output=f"output-{rank}.txt", RANK=rank, LOCAL_RANK=rank, **group)
        for rank in ("0", "1")
    ]
    for process in processes:
        process.join(120)
    first, second = (Path(f"output-{rank}.txt").read_text() for rank in (0, 1))
    assert [process.exitcode for process in processes] == [0, 0], first + second
    assert second == ""  # only the first process prints
    together = json.loads(first.splitlines()[-1])
    alone = json.loads(harness(*command).splitlines()[-1])
    runs = RunStore(Path("runs"))
    a, b = (runs.find(result["run_id"]).scores() for result in (alone, together))
    assert (a.keys == b.keys).all()
    assert a.scores == pytest.approx(b.scores, abs=tolerance)
    assert together["machine"]["processes"] == 2
    assert len(runs.all()) == 2
