"""A pipeline that can be made to misbehave, and a shorthand for looking a run up."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import Split, Workspace
from harness.engine.request import Request, RunOptions, resolve_request
from harness.runs.record import Record
from harness.runs.run_store import RunStore


class Means:
    """Nearest class mean; `misbehave` names a way of going wrong."""

    FAMILY = "hand-crafted"

    def __init__(self, misbehave: str = "") -> None:
        self.misbehave = misbehave

    def fit(self, train: Split, tune: Split | None, context: Any) -> None:
        saved = context.checkpoint.load()
        first_epoch = int(saved["step"]) if saved else 0
        for epoch in range(first_epoch, 3):
            context.log("train/loss", 1.0 / (epoch + 1), epoch)
            context.checkpoint.save({"step": torch.tensor(epoch + 1)})
            if self.misbehave == "interrupt" and epoch == 1 and not saved:
                raise KeyboardInterrupt
        batches = train.batches(256, device=context.device)
        pixels = torch.cat([batch.images.flatten(1).float() for batch in batches])
        self.means = torch.stack(
            [pixels[torch.from_numpy(train.labels == c)].mean(0) for c in range(train.num_classes)]
        )
        if self.misbehave == "nan after refit":
            context.score_tune(self)
        random.random(), np.random.random(), torch.rand(1)

    def scores(self, batch: Any) -> torch.Tensor:
        if self.misbehave == "fail in score" and not Path("mended").exists():
            raise RuntimeError("the disk burns")
        scores = -torch.cdist(batch.images.flatten(1).float(), self.means)
        if self.misbehave.startswith("nan"):
            scores[0, 0] = torch.nan
        if self.misbehave == "constant":
            return torch.zeros_like(scores)
        return scores[:, :5] if self.misbehave == "shape" else scores

    def state(self) -> dict[str, torch.Tensor]:
        if self.misbehave == "state raises":
            raise KeyError("nothing")
        if self.misbehave == "state":
            return {"means": self.means, "optimizer": {"lr": 0.1}}  # type: ignore[dict-item]
        return {"means": self.means}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        self.means = state["means"]


@pytest.fixture(scope="session")
def means() -> Callable[..., Means]:
    return Means


@pytest.fixture(scope="session")
def look_up() -> Callable[..., Request]:
    """Return a function that looks up a run: `look_up("x", "digits", plugins=["x.py"], seed=1)`."""

    def resolve(
        pipeline: Any, dataset: Any = "digits", *, plugins: Any = (), **options: Any
    ) -> Request:
        workspace = Workspace.open(plugins=plugins)
        return resolve_request(workspace, pipeline, dataset, RunOptions(**options))

    return resolve


@pytest.fixture(scope="session")
def record_of() -> Callable[..., Record]:
    """Return a function that finds the record of a result below the working folder."""
    return lambda result: RunStore(Path("runs")).find(result.run_id)
