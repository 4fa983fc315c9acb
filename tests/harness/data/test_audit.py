"""The audit of a dataset and its page."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_sample_images

from harness import Split
from harness.cli import cli
from harness.data.audit import Audit, audit
from harness.report.audit_page import audit_page

PHOTO = Image.fromarray(load_sample_images().images[0])


def run_command(*arguments: str) -> str:
    done = CliRunner().invoke(cli, [*arguments, "--data-root", "root"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def write_photos(root: Path) -> Path:
    """Write tiles of a photograph with an exact copy, a near one and an undecodable file."""
    corners = [(x, y) for y in range(0, 360, 64) for x in range(0, 576, 64)]
    tiles = [PHOTO.crop((x, y, x + 64, y + 64)) for x, y in corners]
    distinct = [tile for tile in tiles if np.asarray(tile).std() > 40]
    for i, tile in enumerate(distinct[:28]):
        folder = root / ("test" if i % 4 == 0 else "train") / ("sky" if i % 2 else "roof")
        folder.mkdir(parents=True, exist_ok=True)
        tile.save(folder / f"{i}.png")
    shutil.copy(root / "test/roof/20.png", root / "train/sky/equal.png")
    Image.open(root / "test/roof/24.png").resize((60, 60)).save(root / "train/roof/near.png")
    (root / "test/roof/bad<1>.png").write_bytes(b"")
    return root


def test_the_command_writes_a_page_that_shows_the_copies(workdir: Path) -> None:
    run_command("prepare", str(write_photos(workdir / "photos")), "--name", "tiles")
    printed = json.loads(run_command("data", "audit", "tiles", "--json").splitlines()[-1])
    assert printed["pairs"]["exact"]["train and test"] == 1
    assert printed["pairs"]["near"]["train and test"] >= 1
    text = (workdir / "audit.html").read_text()
    for expected in ("test/roof/24.png", "train/roof/near.png", "different classes"):
        assert expected in text
    assert "bad&lt;1&gt;.png" in text
    assert "http" not in text

    page = Page(text)
    assert page.unclosed == []
    assert page.find("meta", "name", "viewport")["content"].startswith("width=device-width")
    assert len(page.pictures) >= 4
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in page.pictures)
    captions = {picture["alt"] for picture in page.pictures}
    assert {"test: test/roof/20.png (roof)", "train: train/sky/equal.png (sky)"} <= captions


class Page(HTMLParser):
    """The elements of a page, and those that were opened and never closed."""

    VOID_ELEMENTS = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.unclosed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID_ELEMENTS:
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    @property
    def pictures(self) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag == "img"]

    def find(self, tag: str, name: str, value: str) -> dict[str, str]:
        matches = (attributes for kind, attributes in self.elements if kind == tag)
        return next(attributes for attributes in matches if attributes.get(name) == value)


@pytest.fixture
def large_audit() -> Audit:
    """An audit of 40 classes and four 400 x 300 images: two pairs that differ in brightness."""
    large = np.asarray(PHOTO.resize((400, 300)))
    images = np.stack([large, large // 2, *(large[::-1, :, ::-1] // k for k in (1, 3))])
    class_names = [f"class {i}" for i in range(40)]
    train = Split.from_arrays(images[:2], np.array([0, 1]), class_names=class_names)
    test = Split.from_arrays(images[2:], np.array([2, 2]), class_names=class_names)
    return audit("made", train, test)


def test_pairs_are_counted_by_location(large_audit: Audit) -> None:
    assert large_audit.near == [(0, 1), (2, 3)]
    counts = large_audit.pair_counts()["near"]
    assert counts == {
        "train": 1,
        "test": 1,
        "train and test": 0,
        "test images with a copy in train": 0,
    }


def test_many_classes_are_folded_and_large_pictures_are_small_files(large_audit: Audit) -> None:
    text = audit_page(large_audit)
    page = Page(text)
    assert page.unclosed == []
    assert "<summary>All 40 classes</summary>" in text
    assert all(picture["src"].startswith("data:image/jpeg;base64,") for picture in page.pictures)
    assert len(text) < 100_000
