"""Runs to report on, and what a page is looked through for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import harness
from harness.runs.record import Record
from harness.runs.result import Result

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
        self.means = torch.stack([pixels[train.labels == c].mean(0) for c in range(train.num_classes)])
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

RIDGE = '''"""Ridge regression onto the classes, of pixels: it has nothing to embed."""
FAMILY = "hand-crafted"

class Ridge:
    def fit(self, train, tune, context):
        import torch
        device = context.device
        x = torch.cat([b.images[:, 0, ::4, ::4].flatten(1).float() / 255 for b in train.batches(256, device=device)])
        y = torch.eye(train.num_classes)[torch.from_numpy(train.labels)].to(device)
        self.weights = torch.linalg.solve(x.T @ x + torch.eye(x.shape[1], device=device), x.T @ y)
    def scores(self, batch):
        return batch.images[:, 0, ::4, ::4].flatten(1).float() / 255 @ self.weights
    def state(self):
        return {"weights": self.weights}
    def load(self, state):
        self.weights = state["weights"]

def build():
    return Ridge()
'''


class Page(HTMLParser):
    """The elements of a page, in order: (name, attributes). Fails for one that is closed and was not open, or the other way round."""

    ALONE = ("meta", "img", "br", "circle", "path", "rect", "polyline")

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
        if tag not in self.ALONE:
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
    def said(self) -> str:
        """All text, as one line; non-breaking spaces as spaces."""
        return re.sub(r"\s+", " ", " ".join(text for tag, text in self.words if tag != "style"))


@pytest.fixture(scope="session")
def look() -> Callable[[str], Page]:
    """The page, once it has what a reader with a keyboard or a screen reader needs, and asks nothing of the network."""

    def through(text: str) -> Page:
        page = Page(text)
        assert page.all("html")[0]["lang"] == "en"
        assert [tag for tag, _ in page.words if tag == "title"]
        assert len(page.all("main")) == len(page.all("h1")) == 1
        assert all(
            later <= earlier + 1
            for earlier, later in zip(page.headings, page.headings[1:], strict=False)
        ), page.headings
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert [name for name, count in Counter(ids).items() if count > 1] == []
        first_link = next(attributes for name, attributes in page.elements if name == "a")
        assert first_link["href"] == f"#{page.all('main')[0]['id']}"
        for name, attributes in page.elements:
            pointed_at = (
                attributes.get("href", "").removeprefix("#").split()
                + attributes.get("aria-labelledby", "").split()
            )
            assert set(pointed_at) <= set(ids), attributes
            assert attributes.get("src", "data:").startswith("data:"), attributes
            assert name not in ("script", "link", "iframe")
        assert all(attributes["alt"] for attributes in page.all("img"))
        assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
        assert all(attributes["role"] == "img" for attributes in page.all("svg"))
        assert len(page.all("svg")) == len(page.all("desc"))
        assert len(page.all("details")) == len(page.all("summary"))
        assert len(page.all("table")) == len(page.all("caption"))
        assert not re.search(
            r"url\(|@import|https?:", re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.DOTALL)
        )
        return page

    return through


@pytest.fixture(scope="session")
def made(
    tmp_path_factory: pytest.TempPathFactory, session_data: Path
) -> tuple[Path, dict[str, Result]]:
    """(settings file, finished runs on digits): two of means of pixels, which have an embedding to show, and one that has none."""
    root = tmp_path_factory.mktemp("report")
    (root / "nearest_mean.py").write_text(PLUGIN)
    (root / "ridge.py").write_text(RIDGE)
    config = root / "mlflow.yaml"
    config.write_text("")
    options = {
        "config": config, "track": False, "data_root": session_data, "plugins": [str(root / "nearest_mean.py"), str(root / "ridge.py")],
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return config, {
            "all": harness.run("nearest-mean", "digits", **options),
            "few": harness.run("nearest-mean,step=7", "digits", **options),
            "ridge": harness.run("ridge", "digits", **options),
        }


@pytest.fixture
def groups(made: tuple[Path, dict[str, Result]]) -> Callable[..., list[list[Record]]]:
    """The records of these runs, as a comparison takes them."""
    config, results = made

    def chosen(*names: str) -> list[list[Record]]:
        return [[Record(config.parent / "runs" / results[name].run_id)] for name in names]

    return chosen
