"""What many tests share: an empty working folder, a throw-away plugin, a folder of small images."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# pytest-xdist runs one worker per core: threads that wait for each other on busy cores take many
# times as long. Set before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# Processes that tests start are forked from one that has imported these, which would take each of
# them seconds. None of these is ours, so that a process imports our modules from its own path.
multiprocessing.set_forkserver_preload(["torchvision.transforms.v2", "sklearn.datasets"])

PLUGIN = '''"""Nearest class mean of the pixels."""
FAMILY = "hand-crafted"

class NearestMean:
    def fit(self, train, tune, context):
        import torch
        labels, sums, counts = torch.from_numpy(train.labels).to(context.device), 0, 0
        for batch in train.batches(256, device=context.device):
            mine = torch.nn.functional.one_hot(labels[batch.index], train.num_classes).float()
            sums, counts = sums + mine.T @ batch.images.flatten(1).float(), counts + mine.sum(0)
        self.means = context.sum(sums) / context.sum(counts)[:, None]
    def scores(self, batch):
        return -(batch.images.flatten(1).float()[:, None] - self.means).norm(dim=2)
    def state(self):
        return {"means": self.means}
    def load(self, state):
        self.means = state["means"]

def build(*, shrink: float = 0.0):
    return NearestMean()
'''


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the few long tests of whole programs first, so that no worker is left alone with them."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(scope="session")
def session_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data-root")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Let processes that tests start receive SIGINT, which background jobs of a shell ignore."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(autouse=True)
def workdir(tmp_path: Path, session_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with one data root for all tests and none of the user's settings."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "COLUMNS",  # the width of the user's terminal
        "HARNESS_DATASET",
        "HARNESS_PLUGINS",
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_NAME",
        "WORLD_SIZE",
        "RANK",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_DATA", str(session_data))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return tmp_path


@pytest.fixture
def plugin(workdir: Path) -> str:
    """Write a pipeline to a file and return its path."""
    path = workdir / "nearest_mean.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Path]:
    """Write class folders of random PNGs: `pictures(root, {"train/cat": 3}, size=(20, 30))`."""

    def make(
        root: Path, counts: dict[str, int], size: tuple[int, int] = (20, 30), seed: int = 0
    ) -> Path:
        rng = np.random.default_rng(seed)
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
                    root / folder / f"{i}.png"
                )
        return root

    return make
