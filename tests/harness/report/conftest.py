"""Runs to report on, and a reader that checks the accessibility of a page."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.data.identity import split_digest
from harness.report.evidence import Evidence, ReportOptions, gather
from harness.report.page import report_page
from harness.runs.consistency import SHARED_FIELDS
from harness.runs.record import Record
from harness.workspace import Workspace

PLUGIN = '''"""Nearest class mean of the pixels, some of them left out."""
FAMILY = "hand-crafted"

class NearestMean:
    def __init__(self, step):
        self.step = step
    def embed(self, batch):
        return batch.images.flatten(1).float()[:, :: self.step]
    def fit(self, train, tune, context):
        import torch
        pixels = torch.cat([self.embed(b) for b in train.batches(256, device=context.device)])
        classes = range(train.num_classes)
        self.means = torch.stack([pixels[train.labels == c].mean(0) for c in classes])
        for epoch in range(3):
            context.log("train/top1_error", 30.0 - epoch, epoch)
            context.log("val/top1_error", 32.0 - epoch, epoch)
        context.note("means <of> pixels")
    def scores(self, batch):
        return -(self.embed(batch)[:, None] - self.means).norm(dim=2)
    def state(self):
        return {"means": self.means}
    def load(self, state):
        self.means = state["means"]

def build(*, step: int = 1):
    return NearestMean(step)
'''

RIDGE = '''"""Ridge regression of the classes on pixels, which has no embedding."""
FAMILY = "hand-crafted"

def pixels(batch):
    return batch.images[:, 0, ::4, ::4].flatten(1).float() / 255

class Ridge:
    def fit(self, train, tune, context):
        import torch
        x = torch.cat([pixels(b) for b in train.batches(256, device=context.device)])
        y = torch.eye(train.num_classes)[torch.from_numpy(train.labels)].to(x.device)
        covariance = x.T @ x + torch.eye(x.shape[1], device=x.device)
        self.weights = torch.linalg.solve(covariance, x.T @ y)
    def scores(self, batch):
        return pixels(batch) @ self.weights
    def state(self):
        return {"weights": self.weights}
    def load(self, state):
        self.weights = state["weights"]

def build():
    return Ridge()
'''


class Page(HTMLParser):
    """The elements of a page in order, as (name, attributes); every element must be closed."""

    VOID = ("meta", "img", "br", "circle", "path", "rect", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[tuple[str, str]] = []  # (the innermost element, text)
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.words.append((self.open[-1], data.strip()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def headings(self) -> list[int]:
        return [int(name[1]) for name, _ in self.elements if re.fullmatch(r"h[1-6]", name)]

    @property
    def visible(self) -> str:
        """All text in one line, non-breaking spaces as spaces."""
        return re.sub(r"\s+", " ", " ".join(text for tag, text in self.words if tag != "style"))


@pytest.fixture(scope="session")
def read_page() -> Callable[[str], Page]:
    """Parse a page, and check what readers with a keyboard or a screen reader need."""

    def read(text: str) -> Page:
        page = Page(text)
        _check_structure(page)
        _check_references(page)
        assert all(attributes["alt"] for attributes in page.all("img"))
        assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
        assert all(attributes["role"] == "img" for attributes in page.all("svg"))
        for tag, described_by in (("svg", "desc"), ("details", "summary"), ("table", "caption")):
            assert len(page.all(tag)) == len(page.all(described_by))
        return page

    return read


def _check_structure(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert [tag for tag, _ in page.words if tag == "title"]
    assert len(page.all("main")) == len(page.all("h1")) == 1
    levels = page.headings
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    first_link = next(attributes for name, attributes in page.elements if name == "a")
    assert first_link["href"] == f"#{page.all('main')[0]['id']}"


def _check_references(page: Page) -> None:
    """Ids are unique, links lead to them, and nothing is fetched from elsewhere."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    for name, attributes in page.elements:
        targets = attributes.get("href", "").removeprefix("#").split()
        targets += attributes.get("aria-labelledby", "").split()
        assert set(targets) <= set(ids), attributes
        assert attributes.get("src", "data:").startswith("data:"), attributes
        assert name not in ("script", "link", "iframe")
    without_code = re.sub(r"<(pre|code)\b.*?</\1>", "", page.text, flags=re.DOTALL)
    assert not re.search(r"url\(|@import|https?:", without_code)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, session_data: Path) -> Workspace:
    """Return a workspace with two pipelines of its own; runs are made once per session."""
    root = tmp_path_factory.mktemp("report")
    (root / "nearest_mean.py").write_text(PLUGIN)
    (root / "ridge.py").write_text(RIDGE)
    config = root / "mlflow.yaml"
    config.write_text("")
    plugins = [str(root / "nearest_mean.py"), str(root / "ridge.py")]
    return Workspace.open(config=config, data_root=session_data, plugins=plugins)


@pytest.fixture(scope="session")
def records(workspace: Workspace) -> dict[str, Record]:
    """Return finished runs on digits: two with an embedding (`all`, `few`) and `ridge` without."""
    specs = {"all": "nearest-mean", "few": "nearest-mean,step=7", "ridge": "ridge"}
    results = {
        name: harness.run(spec, "digits", track=False, workspace=workspace)
        for name, spec in specs.items()
    }
    folder = workspace.runs_folder
    return {name: Record(folder / result.run_id) for name, result in results.items()}


@pytest.fixture
def groups(records: dict[str, Record]) -> Callable[..., list[list[Record]]]:
    """Return records by name, as a comparison takes them; each is read anew."""

    def choose(*names: str) -> list[list[Record]]:
        return [[Record(records[name].folder)] for name in names]

    return choose


@pytest.fixture
def copy_record(tmp_path: Path) -> Callable[..., Record]:
    """Copy a record as a run of its own; `result` and `spec` replace fields."""

    def copy(
        record: Record,
        *,
        name: str = "",
        result: dict[str, Any] | None = None,
        spec: dict[str, Any] | None = None,
    ) -> Record:
        folder = Path(shutil.copytree(record.folder, tmp_path / (name or record.run_id)))
        scores = record.scores()
        asked = replace(record.spec, **(spec or {}))
        digest = split_digest(asked.preparation, scores.keys, scores.labels)
        asked = replace(asked, test_digest=digest)
        shared = {name: getattr(asked, name) for name in SHARED_FIELDS}
        answer = replace(record.result, run_id=folder.name, identity=asked.identity, **shared)
        copied = Record(folder)
        copied.save_spec(asked)
        copied.finish(replace(answer, **(result or {})))
        return Record(folder)

    return copy


@pytest.fixture(scope="session")
def pair(workspace: Workspace, records: dict[str, Record]) -> tuple[Evidence, str]:
    """Return the evidence and the page of two runs."""
    chosen = [[records["few"]], [records["ridge"]]]
    evidence = gather(workspace, chosen, ReportOptions(neighbors=200))
    return evidence, report_page(evidence)
