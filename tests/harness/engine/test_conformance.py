"""Every registered pipeline keeps the contract, and a check names each promise that is broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import harness
from harness import UserError, Workspace
from harness.engine import conformance
from harness.engine.conformance import CHECKS, check_pipeline, check_state_round_trip
from harness.registry import Registry

# Parameters with which a fit on 200 small images takes about a second; the other pipelines'
# defaults do already. A grid of C and flips is searched on tune where no value is given here.
QUICK = {
    "alexnet": "alexnet,epochs=5,views=1",
    "alexnet-one-tower": "alexnet-one-tower,epochs=1,views=1",
    "baseline": "baseline,components=8,min_side=32",
    "caffenet": "caffenet,epochs=1,views=1",
    "cuda-convnet": "cuda-convnet,init=he,lr=0.0003,epochs=20",
    "isi2012": "isi2012,components=2,step=8,pyramid=1x1,epochs=1,c=0.01,flip=false,min_side=32",
    "kmeans-triangle": "kmeans-triangle,k=40",
    "nec2010": "nec2010,words=4,step=8,epochs=1,c=1,flip=false,min_side=32",
    "sift-bow": "sift-bow,words=20,step=8,c=1,flip=false",
    "sift-fisher": "sift-fisher,components=4",
    "sift-vlad": "sift-vlad,words=8",
    "vgg2012": "vgg2012,components=2,step=8,c=1,flip=false,min_side=32",
    "vlad-fusion": "vlad-fusion,words=2,min_side=32",
}
# Relatives of alexnet, with its training loop: one epoch tests everything but what it learns.
RELATIVES = {
    "alexnet-one-tower": "alexnet-one-tower,epochs=5,views=1",
    "caffenet": "caffenet,epochs=5,views=1",
}
LEARNS = "it beats guessing on the images it was fitted on"


def broken_promises(spec: str, *plugins: str) -> dict[str, str]:
    """Return the promises that a pipeline does not keep, with the reason."""
    outcomes = dict(check_pipeline(Workspace.open(plugins=plugins), spec))
    return {promise: reason for promise, reason in outcomes.items() if reason}


@pytest.mark.parametrize("name", Registry().names("pipeline"))
def test_every_pipeline_keeps_every_promise(name: str) -> None:
    outcomes = dict(check_pipeline(Workspace.open(), QUICK.get(name, name)))
    assert len(outcomes) == len(CHECKS) + 1
    assert LEARNS in outcomes
    broken = {promise: reason for promise, reason in outcomes.items() if reason}
    assert set(broken) <= ({LEARNS} if name in RELATIVES else set()), broken


@pytest.mark.slow
@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_of_alexnet_learn(name: str) -> None:
    assert broken_promises(RELATIVES[name]) == {}


@pytest.fixture
def restored_dtype() -> Iterator[None]:
    """Restore the default type of floats, which one of the broken pipelines changes."""
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("restored_dtype")
@pytest.mark.parametrize(
    ("old", "new", "promise"),
    [
        ("(dim=2)", "(dim=2) + __import__('torch').rand(1)", "leaves the pipeline as it was"),
        ("(dim=2)", "(dim=2) - batch.images.float().mean()", "one image at a time"),
        ("(dim=2)", "(dim=2) * float('nan')", "without NaN"),
        ("(dim=2)", "(dim=2)[:, :4]", "fits and scores"),
        ('{"means"', '{"step": "3", "means"', "can be kept"),
        ("self.means = state", "self.nothing = state", "fresh process"),
        ('FAMILY = "hand-crafted"', 'FAMILY = "magic"', "a docstring and a FAMILY"),
        ("import torch", "import torch; torch.set_default_dtype(torch.double)", "settings alone"),
        ("labels, sums", "train.nothing; labels, sums", "fits and scores"),
        ("return -(", "return (", "beats guessing"),
        ('"""Nearest class mean of the pixels."""', "", "a docstring and a FAMILY"),
    ],
)  # fmt: skip
def test_a_broken_promise_is_named(
    plugin: str, old: str, new: str, promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if promise != "fresh process":  # starting one takes longest
        checks = tuple(check for check in CHECKS if check is not check_state_round_trip)
        monkeypatch.setattr(conformance, "CHECKS", checks)
    text = Path(plugin).read_text()
    assert old in text
    Path(plugin).write_text(text.replace(old, new, 1))
    broken = broken_promises("nearest-mean", plugin)
    assert any(re.search(promise, name) for name in broken), broken


def test_a_state_that_is_computed_when_asked_for_breaks_no_promise(plugin: str) -> None:
    text = Path(plugin).read_text()
    extra = "self.means[:1] * 0 + self.__dict__.setdefault('n', 0)"
    more = f"self.means = self.means + 0; return {{'extra': {extra}, "
    Path(plugin).write_text(text.replace("return {", more, 1))
    assert broken_promises("nearest-mean", plugin) == {}


def test_an_unknown_pipeline_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'alexnet'"):
        broken_promises("alxnet")


def test_what_a_run_accepts_is_no_broken_promise(plugin: str) -> None:
    text = Path(plugin).read_text()
    text = text.replace("(dim=2)", "(dim=2).double().numpy()")
    text = text.replace("{", "{'step': 3, 'spread': self.means.numpy().std(0), ", 1)
    Path(plugin).write_text(text)
    assert broken_promises("nearest-mean", plugin) == {}
    assert harness.run("nearest-mean", "digits", plugins=[plugin], track=False).notes == ()
