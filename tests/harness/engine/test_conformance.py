"""Every registered pipeline keeps the contract; a broken one is caught by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engine.conformance import CHECKS, conformance
from harness.registry import Registry

# Settings under which a pipeline's fit on 200 small images takes seconds; the others' defaults do already.
QUICK = {
    "alexnet": "alexnet,epochs=12,views=1",
    "baseline": "baseline,components=8,min_side=32",
    "alexnet-one-tower": "alexnet-one-tower,epochs=12,views=1",
    "caffenet": "caffenet,epochs=12",
    "cuda-convnet": "cuda-convnet,init=he,lr=0.0001,epochs=60",
    "isi2012": "isi2012,components=4,epochs=3,min_side=32",
    "kmeans-triangle": "kmeans-triangle,k=100",
    "nec2010": "nec2010,words=8,min_side=32",
    "sift-bow": "sift-bow,words=50,step=8",
    "sift-fisher": "sift-fisher,components=8",
    "sift-vlad": "sift-vlad,words=16",
    "vlad-fusion": "vlad-fusion,words=4,min_side=32",
    "vgg2012": "vgg2012,components=4,min_side=32",
}


@pytest.mark.parametrize("name", Registry().names("pipeline"))
def test_every_pipeline(name: str) -> None:
    outcomes = list(conformance(QUICK.get(name, name)))
    assert len(outcomes) == len(CHECKS) + 1
    assert [f"{promise}: {why}" for promise, why in outcomes if why] == []


@pytest.mark.parametrize(
    ("old", "new", "caught"),
    [
        (
            "return {",
            "self.means = self.means + 0; return {'extra': self.means[:1].clone() * 0 + self.__dict__.setdefault('n', 0), ",
            None,
        ),
        (
            "(dim=2)",
            "(dim=2) + __import__('torch').rand(1)",
            "scores leaves the pipeline as it was",
        ),
        ("(dim=2)", "(dim=2) - batch.images.float().mean()", "one image at a time"),
        ("(dim=2)", "(dim=2).double()", "float32"),
        ("(dim=2)", "(dim=2)[:, :4]", r"\(n, classes\)"),
        ("self.means = state", "self.nothing = state", "fresh process"),
        ('FAMILY = "hand-crafted"', 'FAMILY = "magic"', "a docstring and a FAMILY"),
        (
            "        import torch\n",
            "        import torch\n        torch.set_default_dtype(torch.float64)\n",
            "settings alone",
        ),
        ("labels, sums", "train.nothing; labels, sums", "fits and scores"),
        ("return -(", "return (", "beats guessing"),
    ],
)
def test_a_broken_promise_is_named(plugin: str, old: str, new: str, caught: str | None) -> None:
    text = Path(plugin).read_text()
    assert old in text
    Path(plugin).write_text(text.replace(old, new, 1))
    import torch

    try:
        broken = [promise for promise, why in conformance("nearest-mean", plugins=[plugin]) if why]
    finally:
        torch.set_default_dtype(torch.float32)
    if caught is None:
        assert broken == []
    else:
        import re

        assert any(re.search(caught, promise) for promise in broken), broken
