"""What many tests share: an empty working folder, a throw-away plugin, a folder of small pictures."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# A process a core already: threads that wait for each other on busy cores take many times as long. Before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# The processes that tests start are forked from one that has imported these, which would take each of them seconds. None is ours: those a
# process finds by its own path.
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


@pytest.fixture(scope="session")
def session_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data-root")


@pytest.fixture(autouse=True)
def workdir(tmp_path: Path, session_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in its own empty folder, with one data root for all, and none of the user's settings."""
    monkeypatch.chdir(tmp_path)
    for name in (
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
    """A pipeline in a file of its own."""
    path = workdir / "nearest_mean.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture
def pictures() -> Callable[..., Path]:
    """Makes class folders of random PNGs: `pictures(root, {"train/cat": 3}, size=(20, 30))`."""

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
