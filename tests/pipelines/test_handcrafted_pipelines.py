"""Every hand-crafted pipeline learns digits and scores unusual images.

`tests/harness/test_conformance.py` checks the contract for all pipelines: independence of images,
state and reload, determinism.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from harness.contract import Batch, Pipeline, Split, UserError
from harness.engine.context import RunContext
from pipelines import (
    baseline,
    hog_svm,
    isi2012,
    kmeans_triangle,
    lbp_svm,
    nec2010,
    raw_linear,
    sift_bow,
    sift_fisher,
    sift_vlad,
    vgg2012,
    vlad_fusion,
)

BUILDS: dict[str, Callable[..., Pipeline]] = {
    "hog-svm": hog_svm.build,
    "lbp-svm": lbp_svm.build,
    "raw-linear": raw_linear.build,
    "baseline": partial(baseline.build, components=8, min_side=32),
    "vgg2012": partial(vgg2012.build, components=8, min_side=32, c=10.0),
    "nec2010": partial(nec2010.build, words=8, min_side=32, step=8, c=10.0),
    "isi2012": partial(isi2012.build, components=2, min_side=32, step=8, c=0.01, flip=False),
    "sift-bow": partial(sift_bow.build, words=30, step=8),
    "sift-fisher": partial(sift_fisher.build, components=4),
    "sift-vlad": partial(sift_vlad.build, words=8),
    "vlad-fusion": partial(vlad_fusion.build, words=4, min_side=32),
    "kmeans-triangle": partial(kmeans_triangle.build, k=60),
}


def digits(rows: slice) -> Split:
    """scikit-learn's digits, four times as large."""
    images = np.kron(load_digits().images[rows] * 15.9, np.ones((4, 4))).astype(np.uint8)
    return Split.from_arrays(images, load_digits().target[rows], class_names=list("0123456789"))


def as_batch(images: torch.Tensor | list[torch.Tensor]) -> Batch:
    return Batch(np.array([str(i) for i in range(len(images))]), images, torch.arange(len(images)))


# isi2012 takes 7 s; its descriptors, encoding and classifier have tests of their own.
SLOW = pytest.param("isi2012", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[SLOW if name == "isi2012" else name for name in BUILDS])
def fitted(request: pytest.FixtureRequest) -> Pipeline:
    pipeline = BUILDS[request.param]()
    pipeline.fit(digits(slice(400)), digits(slice(400, 500)), RunContext())
    return pipeline


def test_at_most_15_percent_of_new_digits_are_misclassified(fitted: Pipeline) -> None:
    test = digits(slice(500, 900))
    (batch,) = test.batches(len(test))
    predicted = fitted.scores(batch).argmax(1).numpy()
    assert (predicted != test.labels).mean() <= 0.15


def test_unusual_images_have_finite_scores(fitted: Pipeline) -> None:
    generator = torch.Generator().manual_seed(0)

    def noise(channels: int, *size: int) -> torch.Tensor:
        return torch.randint(0, 256, (channels, *size), dtype=torch.uint8, generator=generator)

    images = [noise(3, *size) for size in [(1, 1), (32, 32), (7, 90), (800, 1000)]]
    images.append(torch.full((3, 20, 20), 128, dtype=torch.uint8))  # featureless
    images.append(noise(1, 40, 50).expand(3, -1, -1))  # gray
    scores = fitted.scores(as_batch(images))
    assert scores.shape == (6, 10)
    assert scores.isfinite().all()
    alone = fitted.scores(as_batch(images[3][None]))
    torch.testing.assert_close(alone, scores[3:4], atol=1e-4, rtol=1e-4)


def test_hog_refuses_a_working_size_below_one_block() -> None:
    with pytest.raises(UserError, match="cell \\* block = 64"):
        hog_svm.build(size=32, cell=32).fit(digits(slice(50)), None, RunContext())


def test_lbp_refuses_a_working_size_below_one_cell() -> None:
    with pytest.raises(UserError, match="cell = 32"):
        lbp_svm.build(size=16, cell=32).fit(digits(slice(50)), None, RunContext())


def test_quantized_and_streamed_vgg_scores_are_close_to_the_exact_solver() -> None:
    train, test = digits(slice(400)), digits(slice(500, 900))
    (batch,) = test.batches(len(test))
    errors = {}
    for name, solver, quantize in (
        ("exact", "exact", False),
        ("quantized", "exact", True),
        ("streamed", "streamed", True),
    ):
        pipeline = vgg2012.build(
            components=2,
            min_side=32,
            step=8,
            c=10.0,
            flip=False,
            solver=solver,
            quantize=quantize,
        )
        pipeline.fit(train, None, RunContext())
        predicted = pipeline.scores(batch).argmax(1).numpy()
        errors[name] = 100 * (predicted != test.labels).mean()
    assert errors["exact"] < 20
    assert abs(errors["streamed"] - errors["quantized"]) <= 1
    assert abs(errors["quantized"] - errors["exact"]) <= 3
