"""Every registered pipeline scores images and splits at the edge of what makes sense.

There is no division by zero, no score that is NaN and no warning. Images are few and parameters
cheap; all edges are tried on every pipeline by hand (-m slow), and some on quick ones always.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

import harness
from harness import Split
from harness.registry import Registry

QUICK = {
    "alexnet": "alexnet,epochs=2,views=1",
    "alexnet-one-tower": "alexnet-one-tower,epochs=1,views=1",
    "baseline": "baseline,components=2,min_side=32",
    "caffenet": "caffenet,epochs=1,views=1",
    "cuda-convnet": "cuda-convnet,epochs=1",
    "isi2012": "isi2012,components=2,step=8,pyramid=1x1,epochs=1,min_side=32",
    "kmeans-triangle": "kmeans-triangle,k=8",
    "nec2010": "nec2010,words=4,step=8,epochs=1,min_side=32",
    "sift-bow": "sift-bow,words=8,step=8",
    "sift-fisher": "sift-fisher,components=2",
    "sift-vlad": "sift-vlad,words=2",
    "vgg2012": "vgg2012,components=2,step=8,min_side=32",
    "vlad-fusion": "vlad-fusion,words=2,min_side=32",
}
TWO = [0, 1] * 10
Make = Callable[[tuple[int, int], np.ndarray], np.ndarray]


def noise(shape: tuple[int, int], labels: np.ndarray) -> np.ndarray:
    """Return (n, 3, height, width) of noise that is brighter for higher labels."""
    values = np.random.default_rng(0).integers(0, 120, (len(labels), 3, *shape))
    return (values + 60 * labels[:, None, None, None]).astype(np.uint8)


def one_color(shape: tuple[int, int], labels: np.ndarray) -> np.ndarray:
    """Return images of one color each, one of few that depend on the class."""
    colors = np.array([[200, 30, 30], [30, 30, 200]])[labels]
    colors = colors + np.random.default_rng(0).integers(-20, 21, colors.shape)
    return np.broadcast_to(colors[:, :, None, None], (*colors.shape, *shape)).astype(np.uint8)


def equal(shape: tuple[int, int], labels: np.ndarray) -> np.ndarray:
    return np.full((len(labels), 3, *shape), 128, dtype=np.uint8)


# Name of an edge: how to make images, (height, width) in pixels, labels of train and of test.
ALL_EDGES: dict[str, tuple[Make, tuple[int, int], list[int], list[int]]] = {
    "one color": (one_color, (48, 48), TWO, [0, 1, 0, 1]),
    "all equal": (equal, (32, 32), TWO, [0, 1]),
    "1 px high": (noise, (1, 64), TWO, [0, 1]),
    "1 px wide": (noise, (64, 1), TWO, [0, 1]),
    "1 pixel": (noise, (1, 1), TWO, [0, 1]),
    "8 x 8": (noise, (8, 8), TWO, [0, 1]),
    "4 x 400": (noise, (4, 400), TWO, [0, 1]),
    "one tune image per class": (noise, (32, 32), [0, 1, 0, 1], [0, 1]),
    "one test image": (noise, (32, 32), TWO, [1]),
    "a class only in test": (noise, (32, 32), TWO, [0, 2, 2]),
    "one class": (noise, (32, 32), [0] * 12, [0, 0]),
    "one class in train": (noise, (32, 32), [0] * 12, [0, 1]),
}
ALWAYS = {
    "raw-linear": ["all equal", "1 pixel", "one test image", "one class"],
    "hog-svm": ["one color", "one class in train"],
    "lbp-svm": ["a class only in test"],
}


def try_edge(pipeline: str, edge: str) -> harness.Result:
    """Run the pipeline; any warning is an error."""
    make, shape, train, test = ALL_EDGES[edge]
    names = [f"class {label}" for label in range(max(*train, *test) + 1)]
    splits = [
        Split.from_arrays(make(shape, np.array(labels)), labels, class_names=names)
        for labels in (train, test)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return harness.run(QUICK.get(pipeline, pipeline), (splits[0], splits[1]), track=False)


def check_edge(pipeline: str, edge: str) -> None:
    result = try_edge(pipeline, edge)
    assert result.top1_error
    assert 0 <= result.top1_error.value <= 100
    if edge == "one color" and pipeline == "hog-svm":
        assert "4 of 4 test images have equal scores for all classes" in " ".join(result.notes)
    assert result.n_test == len(ALL_EDGES[edge][3])
    if edge == "a class only in test":
        assert any("such as 'class 2'" in note for note in result.dataset_notes)
    if edge == "all equal":
        assert any("copies under different labels" in note for note in result.dataset_notes)
        assert result.copies
        assert (result.copies.in_train, result.copies.n) == (2, 0)


@pytest.mark.parametrize(
    ("pipeline", "edge"), [(name, edge) for name, edges in ALWAYS.items() for edge in edges]
)
def test_quick_pipelines_score_at_the_edges(pipeline: str, edge: str) -> None:
    check_edge(pipeline, edge)


@pytest.mark.slow
@pytest.mark.parametrize("edge", ALL_EDGES)
@pytest.mark.parametrize("pipeline", Registry().names("pipeline"))
def test_every_pipeline_scores_at_every_edge(pipeline: str, edge: str) -> None:
    check_edge(pipeline, edge)


def test_raw_linear_tells_colors_apart() -> None:
    assert try_edge("raw-linear", "one color").top1_error.value == 0
