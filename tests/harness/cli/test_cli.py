"""All commands together: the way of a plugin through them, exit codes, mistakes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import COMMANDS
from harness.registry import ROOT

Harness = Callable[..., str]


@pytest.mark.usefixtures("store")
def test_a_plugin_is_listed_run_compared_and_predicts(
    harness: Harness, plugin: str, workdir: Path, pictures: Callable[..., Path]
) -> None:
    """The whole way of a third party: one short file in an empty folder, and no other edit."""
    assert "nearest-mean" in harness("list", "--plugins", plugin)
    output = harness("run", "--plugins", plugin, "--pipeline", "nearest-mean", "--json")
    run_id = json.loads(output.splitlines()[-1])["run_id"]
    assert "MLflow     http" in output
    assert run_id in harness("runs")
    pair = ("nearest-mean", "raw-linear,c=0.01")
    table = harness("compare", "--plugins", plugin, *pair, "--run-missing", "--json")
    rows = json.loads(table.splitlines()[-1])["rows"]
    assert [row["name"] for row in rows] == ["nearest-mean", "raw-linear"]
    folder = pictures(workdir / "mine", {"": 3}, size=(40, 60))
    predict = ("predict", "--plugins", plugin, run_id, str(folder))
    predictions = list(csv.DictReader(io.StringIO(harness(*predict))))
    assert len(predictions) == 15
    assert {row["class"] for row in predictions} <= set("0123456789")
    as_json = json.loads(harness(*predict, "--json"))
    assert [len(item["top5"]) for item in as_json] == [5, 5, 5]
    removed = harness("runs", "rm", "--yes", run_id)
    assert f"removed {run_id}\nremoved from MLflow: {run_id}" in removed
    assert run_id not in harness("runs")


@pytest.mark.usefixtures("published")
def test_a_dataset_prepared_below_a_data_root_works_in_every_command(
    harness: Harness, workdir: Path, pictures: Callable[..., Path]
) -> None:
    counts = {"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 4}
    photos = pictures(workdir / "photos", counts)
    where = ["--data-root", str(workdir / "elsewhere")]
    flags = f"--dataset pets --data-root {workdir / 'elsewhere'}"
    prepared = harness("prepare", str(photos), "--name", "pets", *where)
    assert f"harness run --pipeline baseline {flags}\n" in prepared
    on_pets = ["--dataset", "pets", *where]
    ran = harness("run", "--pipeline", "raw-linear,c=0.01", *on_pets, "--json")
    run_id = json.loads(ran.splitlines()[-1])["run_id"]
    # A spec with parameters is long to type, so the suggestion names the run.
    assert f"next       harness compare baseline {run_id} --run-missing {flags}\n" in ran
    pair = ["raw-linear,c=0.01", "raw-linear,c=0.1"]
    missing = harness("compare", *pair, *on_pets, code=2)
    assert f"harness run --pipeline raw-linear,c=0.1 {flags} " in missing
    table = harness("compare", *pair, *on_pets, "--run-missing", "--json")
    assert json.loads(table.splitlines()[-1])["n_test"] == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rn"], "did you mean 'run'"),
        (["run"], "name a pipeline: harness run --pipeline NAME; available: alexnet, "),
        (["run", "--pipeline", "alxnet"], "did you mean 'alexnet'"),
        (["run", "--pipeline", "hog-svm,cel=3"], "did you mean 'cell'"),
        (
            ["run", "--pipeline", "hog-svm", "--dataset", "./nowhere"],
            "there is no folder or archive ./nowhere",
        ),
        (
            ["run", "--pipeline", "hog-svm", "--device", "tpu"],
            "--device tpu: not on this machine; available: auto, cpu",
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
        (["run", "--resume"], "name a run to resume, --resume RUN, or its pipeline"),
        (["run", "--resume", "abc"], "no run is called 'abc'"),
        (
            ["run", "--pipeline", "hog-svm", "--seeds", "3", "--seed", "1"],
            "seeds 0 to 2; leave out --seed",
        ),
        (["run", "--pipeline", "hog-svm", "--seeds", "3", "--resume"], "leave out --resume"),
        (["compare", "hog-svm"], "two or more"),
        (["compare", "hog-svm", "raw-linear"], "harness run --pipeline hog-svm"),
        (["ensemble", "--declared", "5-cnn"], "did you mean '5-cnns'"),
        (["runs", "rm", "abc"], "no run is called 'abc'"),
        (["plan", "--pipeline", "alexnet", "--images", "1500"], "too few for classes=1000"),
        (
            ["plan", "--pipeline", "alexnet", "--images", "50000", "--dataset", "digits"],
            "--images and --dataset exclude each other",
        ),
        (["predict", "abc", "x.png"], "no run is called 'abc'"),
        (["rescore", "abc"], "no run is called 'abc'"),
        (["show", "alxnet"], "did you mean"),
        (["check", "alxnet"], "did you mean"),
        (["list", "--plugins", "nope.py"], "there is no such file"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(
    harness: Harness, arguments: list[str], words: str
) -> None:
    output = harness(*arguments, code=2)
    assert words in output
    assert "Traceback" not in output


def test_what_the_system_refuses_is_one_message_and_exit_code_1(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "runs/x/result.json")

    monkeypatch.setattr("harness.runs.run_store.RunStore.all", refuse)
    output = harness("runs", code=1)
    assert output == "harness: No space left on device: runs/x/result.json\n"


def test_ctrl_c_is_one_word_and_exit_code_130(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.runs.run_store.RunStore.all", interrupt)
    assert harness("runs", code=130) == "\nharness: stopped\n"  # on the line after ^C


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(harness: Harness, name: str) -> None:
    assert f"Usage: harness {name}" in harness(name, "--help")
    assert name in harness("--help")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--dataset", ""),
        ("run", "--dataset="),
        ("prepare", "photos", "--name", ""),
        ("data", "info", ""),
        ("runs", "--config", ""),
    ],
)
def test_an_empty_value_is_a_mistake(harness: Harness, arguments: tuple[str, ...]) -> None:
    assert "is empty; give a value or leave it out" in harness(*arguments, code=2)


@pytest.mark.usefixtures("store")
def test_names_never_act_on_the_terminal(
    harness: Harness, workdir: Path, pictures: Callable[..., Path]
) -> None:
    names = ("café", "\x1b[31mred", "two\nlines")
    counts = {f"{part}/{name}": 5 for part in ("train", "test") for name in names}
    photos = pictures(workdir / "ph\x1b[1motos", counts, size=(8, 8))
    ran = harness("run", "--pipeline", "raw-linear,c=1,flip=false", "--dataset", str(photos))
    assert r"dataset    ph\x1b[1motos (folder)" in ran
    (record,) = (workdir / "runs").iterdir()
    predicted = harness("predict", record.name, *map(str, [*photos.rglob("*.png")][:1]))
    classes = {row["class"] for row in csv.DictReader(io.StringIO(predicted))}
    assert classes == {"café", r"\x1b[31mred", r"two\nlines"}
    log = (record / "log.txt").read_text(encoding="utf-8")
    refused = harness("show", "\x1b[1m", code=2)
    for text in (ran, predicted, log, refused, harness("runs")):
        assert all(character.isprintable() or character in "\r\n" for character in text)


def test_names_are_shown_where_the_locale_lacks_their_letters(
    workdir: Path, make_run: Callable[..., Any]
) -> None:
    make_run(workdir, title="café 寿司")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "harness", "runs"]
    out = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    assert r"café \u5bff\u53f8" in out.decode("latin-1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--dataset", ""], "the value of --dataset is empty; give a value or leave it out"),
        (["run", "--plugins="], "the value of --plugins is empty"),
        (["report", "a", "b", "-o", ""], "the value of -o is empty"),
        (["compare", "", "a"], "an argument is empty"),
        (["run", "--seed", "1_000"], "'1_000' is not a whole number, such as 1000"),
        (["run", "--limit", "1e3"], "'1e3' is not a whole number"),
        (["run", "--seed", "٣"], "'٣' is not a whole number"),
        (["run", "--seed", "9" * 5000], "(5,000 characters)' is not a whole number"),
        (["run", "--seed", "-1"], "-1 is not in the range x>=0"),
    ],
)  # fmt: skip
def test_an_option_that_means_nothing_is_refused(
    harness: Harness, words: list[str], message: str
) -> None:
    assert message in harness(*words, code=2)
