"""A budget of time becomes a number of epochs, once, in the spec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.engine.budget import epochs_within, parse_budget, with_epochs
from harness.engine.distributed import SINGLE_PROCESS
from harness.engine.observer import RunObserver
from harness.engine.request import Request
from harness.errors import UserError

TIMED = '''"""Says that it takes 10 s per epoch."""
FAMILY = "learned"

from harness.contract import Probe

class Timed:
    def epochs(self, images, image_size):
        return 1
    def probe(self, train, tune, context):
        return Probe(
            preparation_seconds=5.0, seconds_per_epoch=10.0, checkpoint_bytes=0, unseen_bytes=0
        )
    fit = scores = state = load = lambda self, *given: None

def build(*, a: int = 1, epochs: int | None = None, name: str = "x,y"):
    return Timed()
'''


@pytest.fixture
def timed(workdir: Path, look_up: Callable[..., Request]) -> Callable[[str], Request]:
    path = workdir / "timed.py"
    path.write_text(TIMED)
    return lambda spec: look_up(spec, plugins=[str(path)], limit=20)


def epochs(request: Request, budget: str) -> int:
    return epochs_within(request, budget, SINGLE_PROCESS, RunObserver())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("1h30m", 5400)]
)
def test_a_budget_is_a_time(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["20", "m", "20 m", "1d", "0s", "-5m", "20m!"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write 90s, 20m"):
        parse_budget(text)


def test_the_spec_holds_the_number_of_epochs(timed: Callable[[str], Request]) -> None:
    request = timed("timed,a=3")
    assert epochs(request, "2m") == 11
    assert epochs(request, "1s") == 1
    assert with_epochs(request.spec.pipeline, 11) == 'timed,a=3,epochs=11,name="x,y"'


def test_epochs_or_updates_and_a_budget_exclude_each_other(
    timed: Callable[[str], Request], look_up: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match="epochs=3"):
        epochs(timed("timed,epochs=3"), "2m")
    with pytest.raises(UserError, match=r"updates=30 says how long to train"):
        epochs(look_up("alexnet,updates=30", limit=20), "2m")


def test_a_pipeline_without_epochs_has_no_budget(look_up: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="hog-svm does not learn in epochs"):
        epochs(look_up("hog-svm", limit=20), "2m")
