"""The commands as typed: real processes where exit codes and signals matter, click's runner elsewhere."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from harness.cli import main
from harness.runs.run_store import RunStore

SLOW_PIPELINE = '''"""Counts slowly."""
import time, torch
FAMILY = "learned"

class Slow:
    def fit(self, train, tune, context):
        saved = context.checkpoint.load()
        for epoch in range(int(saved["epoch"]) if saved else 0, 40):
            context.log("train/loss", float(epoch), epoch)
            context.checkpoint.save({"epoch": torch.tensor(epoch + 1)})
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


def harness(*arguments: str, code: int = 0) -> str:
    """Run a command in this process; the exit code must be `code`. Returns what it printed, errors included."""
    out, exit_code = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(out):
        patch.setattr(sys, "argv", ["harness", *arguments])
        try:
            main()
        except SystemExit as stop:
            exit_code = int(stop.code or 0)
    assert exit_code == code, out.getvalue()
    return out.getvalue()


def test_a_plugin_is_listed_run_checked_compared_and_predicts(
    plugin: str, workdir: Path, pictures: Callable[..., Path]
) -> None:
    """A third party's whole way, with a file of fifteen-odd lines in an empty folder and no other edit."""
    assert "nearest-mean" in harness("list", "--plugins", plugin)
    output = harness("run", "--plugins", plugin, "--pipeline", "nearest-mean", "--json")
    last = json.loads(output.splitlines()[-1])
    assert {
        "run_id",
        "pipeline",
        "dataset",
        "n_test",
        "top1_error",
        "top5_error",
        "mean_class_error",
        "fit_seconds",
    } <= set(last)
    assert {"score_seconds", "test_digest", "test_evaluations", "machine"} <= set(last)
    assert (last["n_test"], last["test_evaluations"], last["pipeline"]) == (
        500,
        1,
        "nearest-mean,shrink=0.0",
    )
    assert "MLflow     http" in output
    assert (
        f"next       harness compare baseline nearest-mean --plugins {plugin} --run-missing"
        in output
    )
    assert last["run_id"] in harness("runs")
    table = harness(
        "compare",
        "--plugins",
        plugin,
        "nearest-mean",
        "raw-linear,c=0.01",
        "--run-missing",
        "--json",
    )
    rows = json.loads(table.splitlines()[-1])["rows"]
    assert [row["name"] for row in rows] == ["nearest-mean", "raw-linear"]
    folder = pictures(workdir / "mine", {"": 3}, size=(40, 60))
    (folder / "._hidden.png").write_bytes(b"what macOS leaves beside a file")
    (folder / "folder.png").mkdir()
    predictions = list(csv.DictReader(io.StringIO(harness("predict", last["run_id"], str(folder)))))
    assert len(predictions) == 15
    assert {row["class"] for row in predictions} <= set("0123456789")
    as_json = json.loads(harness("predict", last["run_id"], str(folder), "--json"))
    assert [len(item["top5"]) for item in as_json] == [5, 5, 5]
    assert f"removed {last['run_id']}" in harness("runs", "rm", last["run_id"])
    assert last["run_id"] not in harness("runs")


def test_seeds_are_runs_of_their_own_that_compare_takes_together(plugin: str) -> None:
    output = harness("run", "--plugins", plugin, "--pipeline", "nearest-mean", "--seeds", "3")
    assert [r.result.seed for r in RunStore(Path("runs")).finished()] == [0, 1, 2]
    (error,) = {
        r.result.top1_error for r in RunStore(Path("runs")).finished()
    }  # nothing in it is random
    assert (
        f"3 seeds    top-1 error {error:.2f}, {error:.2f}, {error:.2f} %: mean {error:.2f}, standard deviation 0.00"
        in output
    )
    harness("run", "--pipeline", "raw-linear,c=0.01")
    table = harness("compare", "--plugins", plugin, "nearest-mean", "raw-linear,c=0.01", "--json")
    assert json.loads(table.splitlines()[-1])["rows"][0]["seeds"] == [0, 1, 2]
    beside = harness(
        "compare", "--plugins", plugin, "nearest-mean", "raw-linear,c=0.01", "--published", "--json"
    )
    assert "published: nothing on this dataset; there are figures on caltech101, cifar10" in beside
    told = json.loads(beside.splitlines()[-1])["published"]
    assert told["name"] is None
    assert told["before_after"][0]["pair"]["quoted"] == "26.2 -> 15.3"


def test_an_ensemble_is_a_run_that_is_listed_compared_and_tracked(
    plugin: str, pictures: Callable[..., Path], workdir: Path
) -> None:
    specs = ("nearest-mean", "raw-linear,c=0.01")
    output = harness(
        "ensemble", *specs, "--run-missing", "--weights", "tune", "--plugins", plugin, "--json"
    )
    last = json.loads(output.splitlines()[-1])
    assert last["run_id"].startswith("ensemble-")
    assert output.count("MLflow     http") == 3  # the two members and their ensemble
    assert f"next       harness compare nearest-mean {last['run_id']}" in output
    assert last["run_id"] in harness("runs")
    table = harness("compare", specs[0], last["run_id"], "--plugins", plugin, "--json")
    assert json.loads(table.splitlines()[-1])["rows"][1]["notes"][0].startswith(
        "2 models, weights from tune"
    )
    folder = pictures(workdir / "mine", {"": 1})
    assert "take its members" in harness("predict", last["run_id"], str(folder), code=2)
    assert "two or more" in harness("ensemble", last["run_id"], code=2)
    assert "made in one go" in harness("run", "--resume", last["run_id"], code=2)


def test_a_prepared_name_below_a_data_root_works_in_every_command(
    workdir: Path, pictures: Callable[..., Path]
) -> None:
    photos = pictures(
        workdir / "photos", {"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 4}
    )
    where = ["--data-root", str(workdir / "elsewhere")]
    follow = f"--dataset pets --data-root {workdir / 'elsewhere'}"
    prepared = harness("prepare", str(photos), "--name", "pets", *where)
    assert f"next       harness run --pipeline baseline {follow}\n" in prepared
    ran = harness("run", "--pipeline", "raw-linear,c=0.01", "--dataset", "pets", *where)
    (made,) = re.findall(
        "run +(raw-linear-[0-9a-f]{6})\n", ran
    )  # a spec with parameters is long to type
    assert f"next       harness compare baseline {made} {follow} --run-missing\n" in ran
    missing = harness(
        "compare", "raw-linear,c=0.01", "raw-linear,c=0.1", "--dataset", "pets", *where, code=2
    )
    assert f"make one with: harness run --pipeline raw-linear,c=0.1 {follow} " in missing
    pipelines = ["raw-linear,c=0.01", "raw-linear,c=0.1"]
    table = harness("compare", *pipelines, "--dataset", "pets", "--run-missing", "--json", *where)
    assert json.loads(table.splitlines()[-1])["n_test"] == 7


def test_a_run_at_many_views_is_rescored_at_one_for_the_table_at_one_view(workdir: Path) -> None:
    few = ["--limit", "100", "--limit-test", "50"]
    ran = harness("run", "--pipeline", "hog-svm,flip=false,c=1,views=10", *few, "--json")
    other = harness("run", "--pipeline", "raw-linear,c=1,flip=false", *few, "--json")
    first, second = (json.loads(text.splitlines()[-1])["run_id"] for text in (ran, other))
    hint = f"harness rescore {first}"
    assert hint in harness("compare", second, first)
    rescored = harness(*hint.split()[1:])
    assert f"weights    of {first}" in rescored
    assert "MLflow     http" in rescored
    table = harness("compare", second, first)
    assert hint not in table
    assert "at one view and one model each" in table


def test_dry_run_stops_after_the_resolved_spec(plugin: str) -> None:
    output = harness(
        "run", "--plugins", plugin, "--pipeline", "nearest-mean", "--dry-run", "--limit", "100"
    )
    assert "pipeline   nearest-mean,shrink=0.0" in output
    assert "train 90, tune 10, test 500" in output
    assert not Path("runs").exists()


def test_a_first_run_is_told_how_long_it_took_elsewhere() -> None:
    """By `benchmarks/reference_times.toml`, for exactly the pipeline and data that it is of."""
    assert "this machine may differ" in harness("run", "--pipeline", "hog-svm", "--dry-run")
    for other in (
        ("--pipeline", "hog-svm,c=3"),
        ("--pipeline", "hog-svm", "--limit", "100"),
        ("--pipeline", "lbp-svm"),
    ):
        assert "no earlier run" in harness("run", *other, "--dry-run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rn"], "did you mean 'run'"),
        (["run"], "say which pipeline"),
        (["run", "--pipeline", "alxnet"], "did you mean 'alexnet'"),
        (["run", "--pipeline", "hog-svm,cel=3"], "did you mean 'cell'"),
        (
            ["run", "--pipeline", "hog-svm", "--dataset", "./nowhere"],
            "there is no folder or archive ./nowhere",
        ),
        (
            ["run", "--pipeline", "hog-svm", "--device", "tpu"],
            "--device tpu: not on this machine; there are: auto, cpu",
        ),
        (["run", "--pipeline", "alexnet", "--budget", "20 minutes"], "write 90s, 20m"),
        (["run", "--pipeline", "hog-svm", "--budget", "20m"], "hog-svm does not learn in epochs"),
        (
            ["run", "--pipeline", "alexnet", "--budget", "20m", "--resume"],
            "keeps its number of epochs",
        ),
        (
            ["run", "--pipeline", "hog-svm", "--limit", "3"],
            "limit=3 is less than one image for each of the 10 classes",
        ),
        (["run", "--pipeline", "hog-svm", "--config", "nope.yaml"], "nope.yaml"),
        (["run", "--pipeline", "hog-svm", "--resume"], "there is no unfinished run"),
        (["run", "--resume", "abc"], "no run is called 'abc'"),
        (
            ["run", "--pipeline", "hog-svm", "--seeds", "3", "--seed", "1"],
            "seeds 0 to 2; leave out --seed",
        ),
        (["run", "--pipeline", "hog-svm", "--seeds", "3", "--resume"], "leave out --resume"),
        (["compare", "hog-svm"], "two or more"),
        (["compare", "hog-svm", "raw-linear"], "harness run --pipeline hog-svm"),
        (["runs", "rm", "abc"], "no run is called 'abc'"),
        (["plan", "--pipeline", "alexnet", "--images", "1500"], "too few for --classes 1000"),
        (["predict", "abc", "x.png"], "no run is called 'abc'"),
        (["rescore", "abc"], "no run is called 'abc'"),
        (["show", "alxnet"], "did you mean"),
        (["check", "alxnet"], "did you mean"),
        (["list", "--plugins", "nope.py"], "there is no such file"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(arguments: list[str], words: str) -> None:
    output = harness(*arguments, code=2)
    assert words in output
    assert "Traceback" not in output


def test_the_other_options_beside_a_run_to_resume_are_held_to_its_record(
    plugin: str, workdir: Path
) -> None:
    """A plugin that has moved is found where --plugins says that it is now."""
    harness("run", "--plugins", plugin, "--pipeline", "nearest-mean")
    (record,) = RunStore(Path("runs")).all()
    folder = record.folder.rename(f"{record.folder}.unfinished")
    record = RunStore(Path("runs")).find(record.run_id)
    record.set_status("failed", started="2026-01-01T00:00:00+00:00")
    for option, words in {
        "--seed 3": "seed has changed",
        "--limit 500": "limit has changed",
        "--no-test": "test has changed",
    }.items():
        assert words in harness("run", "--resume", record.run_id, *option.split(), code=2)
    assert "dataset has changed" in harness(
        "run", "--resume", record.run_id, "--dataset", "subset,of=digits,percent=50", code=2
    )
    (workdir / "moved").mkdir()
    moved = Path(plugin).rename(workdir / "moved" / "nearest_mean.py")
    assert "there is no such file" in harness("run", "--resume", record.run_id, code=2)
    assert f"resuming   {record.run_id}" in harness(
        "run", "--resume", record.run_id, "--plugins", str(moved)
    )
    assert not folder.exists()


def test_plugins_of_the_environment_are_separated_as_in_path(
    plugin: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "my nets").mkdir()
    moved = Path(plugin).rename(workdir / "my nets" / "nearest_mean.py")
    (workdir / "other.py").write_text('"""Other."""\ndef build(*, a=1): ...\n')
    monkeypatch.setenv("HARNESS_PLUGINS", f"{moved}{os.pathsep}other.py")
    listed = harness("list")
    assert "nearest-mean" in listed
    assert "other" in listed


def test_a_run_named_twice_is_removed_once(plugin: str) -> None:
    harness("run", "--plugins", plugin, "--pipeline", "nearest-mean")
    (record,) = RunStore(Path("runs")).all()
    assert harness("runs", "rm", record.run_id, record.run_id[:-2]).count("removed") == 1


def test_show_tells_a_parameter_without_a_default(workdir: Path) -> None:
    (workdir / "words.py").write_text(
        '"""Words."""\nclass It: ...\ndef build(*, words: int): return It()\n'
    )
    shown = harness("show", "words,words=3", "--plugins", "words.py", "--json")
    assert json.loads(shown.splitlines()[-1])["defaults"] == {}


def test_show_has_the_numbers_of_the_paper() -> None:
    shown = json.loads(
        harness(
            "show", "alexnet", "--classes", "1000", "--image-size", "224", "--json"
        ).splitlines()[-1]
    )
    assert (shown["parameters"], shown["multiply_adds"]) == (60_965_224, 724_406_816)
    assert shown["defaults"]["dropout"] == 0.5
    assert shown["layers"][0]["output_bytes"] == 4 * 96 * 55 * 55


@pytest.mark.parametrize(
    ("arguments", "totals"),
    [
        (["alexnet,columns=half"], "59,798,312"),
        (["alexnet,columns=1"], "62,378,344"),
        (["alexnet", "--classes", "102"], "57,286,118"),
        (["alexnet-one-tower"], "61,100,840"),
        (["caffenet"], "60,965,224 724,406,816"),
        (["cuda-convnet", "--classes", "10"], "145,578 12,354,176"),
        (["cuda-convnet,layers=18pct", "--classes", "10"], "89,578 12,298,240"),
        (["cuda-convnet,layers=11pct", "--classes", "10"], "2,112,970"),
    ],
)
def test_show_has_the_counts_of_every_network(arguments: list[str], totals: str) -> None:
    total = next(
        line for line in harness("show", *arguments).splitlines() if line.startswith("total ")
    )
    assert " ".join(total.split()).startswith(f"total {totals}")


def test_list_check_says_why_a_plugin_is_broken(workdir: Path) -> None:
    (workdir / "broken.py").write_text(
        '"""Broken."""\nimport no_such_library\ndef build(*, a=1): ...\n'
    )
    assert "BROKEN: " in harness("list", "--check", "--plugins", "broken.py", code=1)


@pytest.fixture
def slow(workdir: Path) -> list[str]:
    (workdir / "slow.py").write_text(SLOW_PIPELINE)
    return [sys.executable, "-m", "harness", "run", "--plugins", "slow.py", "--pipeline", "slow"]


def wait_for_checkpoint(process: subprocess.Popen[str]) -> None:
    while not list(Path("runs").glob("*/checkpoint/state.safetensors")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)


@pytest.mark.parametrize(
    ("sent", "code", "state"), [(signal.SIGINT, 130, "stopped"), (signal.SIGKILL, -9, "dead")]
)
def test_a_run_that_is_stopped_or_killed_is_marked_and_resumes(
    slow: list[str], sent: int, code: int, state: str
) -> None:
    process = subprocess.Popen(
        slow,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # tests that are a shell's background job ignore it
    )
    wait_for_checkpoint(process)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    (record,) = RunStore(Path("runs")).all()
    assert record.state == state
    assert state in harness("runs")
    done = subprocess.run([*slow, "--resume"], capture_output=True, text=True, check=True)
    assert f"resuming   {record.run_id}" in done.stdout
    (record,) = RunStore(Path("runs")).all()
    assert record.state == "finished"
    assert record.result.curves["train/loss"] == [(epoch, float(epoch)) for epoch in range(40)]
    assert record.result.top1_error == pytest.approx(
        100 - 100 * (record.scores().labels == 0).mean()
    )


@pytest.mark.parametrize(
    ("pipeline", "tolerance"),
    [
        ("hog-svm,c=0.01", 1e-3),
        # In bfloat16 each process rounds its gradients: tests/pipelines/learned/test_parallel.py.
        ("alexnet,updates=6,views=1,flip=false,precision=float32", 1e-4),
    ],
)
def test_two_processes_give_the_scores_of_one(
    workdir: Path, pipeline: str, tolerance: float
) -> None:
    """Run each family with one process, and with two under torchrun over gloo."""
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "harness",
    ]
    arguments = [
        "run",
        "--pipeline",
        pipeline,
        "--limit",
        "300",
        "--limit-test",
        "101",
        "--device",
        "cpu",
        "--json",
    ]
    alone = json.loads(harness(*arguments).splitlines()[-1])
    done = subprocess.run([*torchrun, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    together = json.loads(done.stdout.splitlines()[-1])
    runs = RunStore(Path("runs"))
    a, b = (runs.find(result["run_id"]).scores() for result in (alone, together))
    assert (a.keys == b.keys).all()
    assert a.scores == pytest.approx(b.scores, abs=tolerance)
    assert together["machine"]["processes"] == 2
    assert len(runs.all()) == 2
