"""What a pipeline gets in `fit`: checkpoint, curves, notes, progress, cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import UserError
from harness.engine.cache import Cache
from harness.engine.context import RunContext, RunServices
from harness.engine.observer import RunObserver
from harness.engine.resources import Usage

CHECKPOINT = RunServices(checkpoint_folder=Path("checkpoint"))


def test_a_checkpoint_loaded_twice_restores_the_earlier_progress_once() -> None:
    """A pipeline may return to its best epoch; later times, curves and notes remain true."""
    first = RunContext(services=CHECKPOINT)
    first.stopwatch.earlier += Usage(100.0, 100.0)
    first.note("from before")
    first.log("error", 0.5, 1)
    first.checkpoint.save({"a": torch.zeros(1)})
    first.log("error", 0.4, 2)
    assert first.checkpoint.load() is not None
    assert first.curves["error"] == [(1, 0.5), (2, 0.4)]
    assert first.stopwatch.usage.seconds < 150
    second = RunContext(services=CHECKPOINT)
    second.note("products in bfloat16")  # another machine's
    assert second.checkpoint.load() is not None
    assert second.checkpoint.load() is not None
    assert second.notes == ["from before", "products in bfloat16"]
    assert 100 <= second.stopwatch.usage.seconds < 150


@pytest.mark.parametrize("services", [CHECKPOINT, RunServices()], ids=["file", "memory"])
def test_a_checkpoint_holds_what_was_saved_last(services: RunServices) -> None:
    checkpoint = RunContext(services=services).checkpoint
    assert checkpoint.load() is None
    weight = torch.zeros(2)
    checkpoint.save({"weight": weight, "step": torch.tensor(1)})
    weight += 1
    checkpoint.save({"weight": weight, "step": torch.tensor(2)})
    weight += 1  # the checkpoint must not change with it
    saved = checkpoint.load()
    assert saved is not None
    assert (saved["weight"].tolist(), int(saved["step"])) == ([1.0, 1.0], 2)
    assert not checkpoint.due()


def test_a_checkpoint_is_due_after_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = RunContext(services=CHECKPOINT).checkpoint
    monkeypatch.setattr("harness.engine.context.CHECKPOINT_SECONDS", 0.0)
    assert checkpoint.due()


def test_a_context_without_services_works_alone() -> None:
    context = RunContext(seed=3)
    assert (context.seed, context.rank, context.world_size) == (3, 0, 1)
    assert context.cache({"stage": "x"}, lambda: {"x": torch.ones(1)})["x"] == 1
    assert list(context.progress([1, 2], label="counting")) == [1, 2]
    assert context.sum(torch.ones(2)).tolist() == [1, 1]
    assert context.gather(torch.ones(2)).shape == (1, 2)
    with pytest.raises(UserError, match="no runs on record here, so none called 'abc'"):
        context.load_run("abc")


def test_the_observer_receives_curves_and_progress() -> None:
    received: list[Any] = []

    class Recorder(RunObserver):
        def epoch(self, name: str, value: float, step: int) -> None:
            received.append((name, value, step))

        def progress(self, items: Iterable[Any], **details: Any) -> Iterator[Any]:
            received.append(details)
            return iter(items)

    context = RunContext(services=RunServices(observer=Recorder()))
    context.log("train/loss", 2, 0)
    assert list(context.progress("ab", label="reading", total=2, unit="image")) == ["a", "b"]
    assert received == [
        ("train/loss", 2.0, 0),
        {"label": "reading", "total": 2, "unit": "image"},
    ]
    assert context.curves == {"train/loss": [(0, 2.0)]}


def test_a_note_made_twice_is_kept_once() -> None:
    context = RunContext()
    for text in ("recipe: short", "no flips", "recipe: short"):
        context.note(text)
    assert context.notes == ["recipe: short", "no flips"]


def test_scoring_tune_does_not_count_as_fitting(workdir: Path) -> None:
    scored: list[Any] = []
    context = RunContext(services=RunServices(keep_tune_scores=scored.append))
    assert not context.refitted
    context.score_tune("pipeline")
    assert (scored, context.refitted) == (["pipeline"], True)


def test_the_cache_counts_what_it_saved(workdir: Path) -> None:
    def context() -> RunContext:
        return RunContext(services=RunServices(cache=Cache(workdir / "cache", "source")))

    def make() -> dict[str, torch.Tensor]:
        torch.randn(600, 600).svd()  # some milliseconds
        return {"x": torch.arange(3)}

    first, second = context(), context()
    assert first.cache({"stage": "x"}, make)["x"].tolist() == [0, 1, 2]
    assert first.cache_savings.seconds == 0
    assert second.cache({"stage": "x"}, make)["x"].tolist() == [0, 1, 2]
    assert second.cache_savings.seconds > 0


def test_a_checkpoint_in_memory_takes_what_one_in_a_file_takes(tmp_path: Path) -> None:
    saved = {"w": torch.ones(2, requires_grad=True) * 2, "step": 3, "mean": np.arange(2.0)}
    in_file = RunContext(services=RunServices(checkpoint_folder=tmp_path))
    for context in (RunContext(), in_file):
        context.checkpoint.save(saved)
        loaded = context.checkpoint.load()
        assert loaded
        assert loaded["w"].tolist() == [2, 2]
        assert type(loaded["step"]) is int
        assert isinstance(loaded["mean"], np.ndarray)
        with pytest.raises(UserError, match="entry 'names' is of type list"):
            context.checkpoint.save({"names": ["a"]})
