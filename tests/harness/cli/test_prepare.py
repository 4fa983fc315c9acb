"""`harness prepare`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import harness
from harness import UserError
from harness.cli import cli
from harness.registry import ROOT

COUNTS = {"train/cat": 20, "train/dog": 23, "test/cat": 9, "test/dog": 8}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, pictures: Callable[..., Path]) -> Path:
    return pictures(tmp_path_factory.mktemp("photos") / "photos", COUNTS, size=(40, 50))


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["prepare", *arguments, "--data-root", "root"])


def last_line(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    return json.loads(result.output.splitlines()[-1])


def test_it_prints_the_splits_of_the_new_dataset(photos: Path, workdir: Path) -> None:
    printed = last_line(invoke(str(photos), "--name", "pets", "--json"))
    splits = harness.load_dataset("pets", data_root=workdir / "root")
    assert splits.tune
    expected = {"train": splits.train, "tune": splits.tune, "test": splits.test}
    assert printed == {
        "name": "pets",
        "splits": {
            part: {"n": len(split), "digest": split.digest} for part, split in expected.items()
        },
    }


def test_it_suggests_a_run(photos: Path, workdir: Path) -> None:
    output = invoke(str(photos), "--name", "pets").output
    run = f"harness run --pipeline baseline --dataset pets --data-root {workdir / 'root'}"
    assert run in output


def test_the_plan_writes_nothing_and_scales_to_ilsvrc(photos: Path, workdir: Path) -> None:
    plan = last_line(invoke(str(photos), "--plan", "--json"))
    source, ilsvrc = plan["source"], plan["ilsvrc2012"]
    assert isinstance(source, dict)
    assert isinstance(ilsvrc, dict)
    assert source["images"] == 60
    # lossless, as a dataset of this size is stored
    assert source["bytes"] == pytest.approx(1.1 * 60 * 3 * 40 * 50, rel=0.01)
    assert ilsvrc["images"] == 1_281_167 + 50_000
    assert ilsvrc["seconds"] / source["seconds"] == pytest.approx(1_331_167 / 60)
    assert not (workdir / "root/prepared").exists()


def test_the_working_folder_is_prepared_under_its_name(
    photos: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    arguments = ["prepare", ".", "--data-root", str(workdir / "root")]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert (workdir / "root/prepared/photos/dataset.json").exists()


@pytest.mark.parametrize("name", ["digits", "a/b", "a,b", ".a", "-a", "a b"])
def test_a_name_that_a_spec_would_misread_is_refused(photos: Path, name: str) -> None:
    done = invoke(str(photos), f"--name={name}")
    assert isinstance(done.exception, UserError)
    assert "cannot be called" in str(done.exception)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("fashion-mnist", "fashion-mnist needs no preparation: use it as it is"),
        ("nowhere", "there is no folder or archive nowhere"),
    ],
)
def test_a_wrong_source_is_refused(source: str, message: str) -> None:
    done = invoke(source)
    assert isinstance(done.exception, UserError)  # which `main` prints, with exit code 2
    assert message in str(done.exception)


# Each of these takes 100 MB or more.
HEAVY = {
    "help": ["torch", "torchvision", "pyarrow", "scipy", "PIL"],
    "prepare": ["torchvision", "scipy", "mlflow"],
}


@pytest.mark.parametrize(
    ("arguments", "shown", "heavy"),
    [
        (["prepare", "--help"], "SOURCE", HEAVY["help"]),
        (["data", "--help"], "verify", HEAVY["help"]),
        (["data", "list"], "no dataset is prepared", HEAVY["help"]),
        (["prepare", "photos", "--name", "again"], "digest", HEAVY["prepare"]),
    ],
)
def test_commands_import_nothing_heavier_than_they_need(
    arguments: list[str], shown: str, heavy: list[str], photos: Path, workdir: Path
) -> None:
    code = (
        "import sys; sys.argv = ['harness', *sys.argv[1:]]\n"
        "from harness.__main__ import main\n"
        "try: main()\n"
        f"finally: print('HEAVY', [name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HARNESS_DATA": str(workdir / "root"), "PYTHONPATH": str(ROOT)},
        cwd=photos.parent,
    )
    assert done.stdout.endswith("HEAVY []\n")
    assert shown in done.stdout


def test_sub_folders_may_be_the_classes(workdir: Path, pictures: Callable[..., Path]) -> None:
    counts = {f"{part}/{name}": 4 for part in ("train", "test") for name in ("a/x", "a/y", "b/z")}
    root = str(pictures(workdir / "species", counts))
    assert "2 classes, 24 images" in invoke(root, "--name", "top").output
    output = invoke(root, "--name", "leaves", "--class-level", "leaves").output
    assert "3 classes, 24 images" in output
