from __future__ import annotations

import pytest

from harness.engine.distributed import ALONE
from harness.engine.estimate import seconds_of, within
from harness.engine.runner import resolve
from harness.errors import UserError

TIMED = '''"""Takes 10 s an epoch, so it says."""
FAMILY = "learned"

from harness.contract import Probe

class Timed:
    def probe(self, train, tune, context):
        return Probe(preparation_seconds=5.0, seconds_per_epoch=10.0, checkpoint_bytes=0, unseen_bytes=0)
    fit = scores = state = load = None

def build(*, a: int = 1, epochs: int | None = None, name: str = "x,y"):
    return Timed()
'''


@pytest.fixture
def timed(workdir):
    path = workdir / "timed.py"
    path.write_text(TIMED)
    return str(path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("1h30m", 5400)]
)
def test_times(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["20", "m", "20 m", "1d", "0s", "-5m", "20m!"])
def test_no_times(text):
    with pytest.raises(UserError, match="write 90s, 20m"):
        seconds_of(text)


def test_a_budget_stands_in_the_spec_as_epochs(timed):
    request = resolve("timed,a=3", limit=20, plugins=[timed])
    assert within(request, "2m", ALONE) == 'timed,a=3,epochs=11,name="x,y"'
    assert within(request, "1s", ALONE) == 'timed,a=3,epochs=1,name="x,y"'


def test_epochs_and_a_budget_contradict(timed):
    with pytest.raises(UserError, match="epochs=3"):
        within(resolve("timed,epochs=3", limit=20, plugins=[timed]), "2m", ALONE)
    with pytest.raises(UserError, match=r"updates=30 says how long to train"):
        within(resolve("alexnet,updates=30", limit=20), "2m", ALONE)


def test_a_pipeline_without_epochs():
    with pytest.raises(UserError, match="hog-svm does not learn in epochs"):
        within(resolve("hog-svm", limit=20), "2m", ALONE)
