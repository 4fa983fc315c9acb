"""`harness predict`: what it prints when some of the images are bad."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

import harness
from harness import UserError
from harness.cli import cli


@pytest.fixture
def folder(workdir: Path, pictures: Callable[..., Path]) -> Path:
    """A folder of two good images, a transparent one and a web page."""
    folder = pictures(workdir / "mine", {"": 2})
    Image.new("RGBA", (9, 9), (255, 0, 0, 10)).save(folder / "2.png")
    (folder / "3.png").write_text("<html>please log in</html>")
    return folder


@pytest.fixture
def predict(plugin: str, folder: Path) -> Callable[..., Result]:
    run_id = harness.run("nearest-mean", "digits", plugins=[plugin], track=False).run_id
    command = ["predict", run_id, str(folder), "--plugins", plugin]
    return lambda *arguments: CliRunner().invoke(cli, [*command, *arguments])


def test_the_good_images_are_printed_before_the_error(predict: Callable[..., Result]) -> None:
    done = predict()
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [Path(row["path"]).name for row in rows[::5]] == ["0.png", "1.png", "2.png"]
    assert done.stderr == "note       transparent pixels were laid on white: 1 image\n"
    assert isinstance(done.exception, UserError)  # which `main` prints, with exit code 2
    assert "3.png cannot be decoded: it is a web page (HTML)" in str(done.exception)


def test_json_holds_the_good_images(predict: Callable[..., Result]) -> None:
    done = predict("--json")
    assert len(json.loads(done.stdout)) == 3
    assert isinstance(done.exception, UserError)


def test_no_table_is_printed_if_no_image_is_good(
    predict: Callable[..., Result], folder: Path
) -> None:
    for file in folder.iterdir():
        file.write_bytes(b"")
    for arguments in ((), ("--json",)):
        done = predict(*arguments)
        assert done.stdout == ""
        assert "0.png and 3 more cannot be decoded: the file is empty" in str(done.exception)
