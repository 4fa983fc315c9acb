"""`harness data`: list, info, verify, rm; `audit` is tested in data/test_audit.py."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import UserError
from harness.cli import cli
from harness.data.prepare import prepare
from harness.data.sources import open_source
from harness.data.unfinished import preparation_lock

COUNTS = {"train/cat": 20, "train/dog": 23, "test/cat": 9, "test/dog": 8}


@pytest.fixture(scope="module")
def prepared_root(tmp_path_factory: pytest.TempPathFactory, pictures: Callable[..., Path]) -> Path:
    """A data root with the prepared dataset `pets`."""
    root = tmp_path_factory.mktemp("prepared")
    source = open_source(pictures(root / "photos", COUNTS, size=(40, 50)))
    prepare(source, root, name="pets", progress=lambda items, **_: iter(items))
    return root


@pytest.fixture
def data_root(prepared_root: Path, workdir: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(prepared_root / "prepared", workdir / "root/prepared")
    return workdir / "root"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["data", *arguments, "--data-root", "root"])


def output(*arguments: str) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", ["list", "verify"])
def test_an_empty_data_root_is_reported(command: str) -> None:
    expected = "no dataset is prepared in .*/root; to prepare one: harness prepare SOURCE"
    assert re.search(expected, output(command))


def test_list_shows_the_prepared_datasets(data_root: Path) -> None:
    listed = json.loads(output("list", "--json").splitlines()[-1])
    assert [(item["name"], item["splits"]["test"]["n"]) for item in listed] == [("pets", 17)]
    assert "test 17 + train 43" in output("list")


def test_info_shows_digests_and_nested_subsets(data_root: Path) -> None:
    info = json.loads(output("info", "pets", "--json").splitlines()[-1])
    assert info["subsets"]["100"] == {"n": 43, "digest": info["splits"]["train"]["digest"]}
    assert info["subsets"]["50"]["n"] == 22
    assert (info["undecodable"], info["unusual"]) == ([], [])


def test_verify_fails_if_a_file_is_damaged(data_root: Path) -> None:
    assert output("verify", "pets") == "pets: no damage\n"
    (data_root / "prepared/pets/test-00000.arrow").write_bytes(b"x")
    result = invoke("verify", "pets")
    assert result.exit_code == 1
    assert "test-00000.arrow has changed" in result.output


def test_a_damaged_manifest_is_named_and_the_dataset_can_be_removed(data_root: Path) -> None:
    shutil.copytree(data_root / "prepared/pets", data_root / "prepared/emus")
    (data_root / "prepared/emus/dataset.json").write_text("{}")
    listed = output("list")
    assert "test 17 + train 43" in listed
    assert "damaged    the prepared dataset emus is damaged (dataset.json: " in listed
    result = invoke("verify")
    assert result.exit_code == 1
    assert "emus: the prepared dataset emus is damaged (dataset.json: " in result.output
    assert "pets: no damage" in result.output
    assert "removed" in output("rm", "emus", "--yes")
    assert "emus" not in output("list")


def test_rm_removes_the_dataset_and_keeps_the_source(data_root: Path, prepared_root: Path) -> None:
    assert "removed" in output("rm", "pets", "--yes")
    assert "pets" not in output("list")
    assert (prepared_root / "photos").exists()


def test_an_unfinished_preparation_is_listed_and_can_be_removed(workdir: Path) -> None:
    folder = workdir / "root/prepared/.building-pets"
    folder.mkdir(parents=True)
    (folder / "train-00000.arrow").write_bytes(b"0" * 3_000_000)
    assert "unfinished .building-pets (3.0 MB)" in output("list")
    with preparation_lock(folder.with_name("pets")):
        refused = invoke("rm", ".building-pets", "--yes")
        assert "is being prepared by another process" in str(refused.exception)
    assert "removed" in output("rm", ".building-pets", "--yes")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "dogs"], r"no prepared dataset is called 'dogs' in .*; there are: pets"),
        (
            ["rm", "--yes", "../prepared/pets"],
            r"no prepared dataset is called '\.\./prepared/pets'",
        ),
        (
            ["audit", "pets", "--out", "nowhere/page.html"],
            r"--out nowhere/page\.html must be a file in an existing folder",
        ),
    ],
)
def test_a_mistake_is_reported_and_changes_nothing(
    data_root: Path, arguments: list[str], message: str
) -> None:
    files = sorted((data_root / "prepared/pets").iterdir())
    before = {file: file.read_bytes() for file in files}
    done = invoke(*arguments)
    assert isinstance(done.exception, UserError)  # which `main` prints, with exit code 2
    assert re.search(message, str(done.exception))
    assert {file: file.read_bytes() for file in before} == before
