from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pipelines.unsupervised import triangle as triangle_module
from pipelines.unsupervised.triangle import TriangleEncoder
from pipelines.unsupervised.whitened_patches import Whitening

K = 7
random = np.random.default_rng(0)


def random_encoder(patch: int = 6, stride: int = 1, k: int = K) -> TriangleEncoder:
    d = 3 * patch * patch
    mean, axes, centroids = (
        torch.from_numpy(random.normal(size=size).astype(np.float32))
        for size in (d, (d, d), (k, d))
    )
    return TriangleEncoder(Whitening(mean, axes / d**0.5), centroids, patch, stride)


def published_features(image: np.ndarray, triangle: TriangleEncoder) -> np.ndarray:
    """Evaluate the paper's formulas in float64 patch by patch, with means over quadrants.

    The image (3, height, width) becomes (4 k,).
    """
    mean, axes, centroids = (
        array.double().numpy()
        for array in (triangle.whitening.mean, triangle.whitening.axes, triangle.centroids)
    )
    patch, stride = triangle.patch, triangle.stride
    tops, lefts = (range(0, side - patch + 1, stride) for side in image.shape[1:])
    responses = np.empty((len(tops), len(lefts), len(centroids)))
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            x = image[:, top : top + patch, left : left + patch].ravel().astype(np.float64)
            x = (x - x.mean()) / np.sqrt(x.var(ddof=1) + 10)
            z = np.linalg.norm((x - mean) @ axes - centroids, axis=1)
            responses[row, column] = np.maximum(0, z.mean() - z)
    middle, center = -(-len(tops) // 2), -(-len(lefts) // 2)
    quadrants = [
        part
        for half in (responses[:middle], responses[middle:])
        for part in (half[:, :center], half[:, center:])
    ]
    return np.concatenate(
        [part.sum((0, 1)) / max(1, part.shape[0] * part.shape[1]) for part in quadrants]
    )


@pytest.mark.parametrize(
    ("height", "width", "patch", "stride"),
    [(14, 17, 6, 1), (20, 15, 6, 3), (11, 11, 4, 2), (6, 9, 6, 1), (6, 6, 6, 1)],
)
def test_features_equal_the_published_formulas(
    height: int, width: int, patch: int, stride: int
) -> None:
    triangle = random_encoder(patch, stride)
    images = random.integers(0, 256, (3, 3, height, width)).astype(np.float32)
    images[1] = images[1, :1]  # gray
    images[2] = 77  # featureless
    expected = np.stack([published_features(image, triangle) for image in images])
    features = triangle(torch.from_numpy(images))
    assert features.shape == (3, triangle.length)
    np.testing.assert_allclose(features.numpy(), expected, atol=2e-5)


def test_the_responses_of_a_patch_on_a_centroid_are_finite() -> None:
    """Rounding can make the squared distance negative."""
    triangle = random_encoder(k=1)
    images = torch.from_numpy(random.integers(0, 256, (20, 3, 6, 6)).astype(np.float32))
    points = triangle.whitening(triangle_module.normalize_patches(images.flatten(1)))
    assert dataclasses.replace(triangle, centroids=50 * points)(images).isfinite().all()
    assert (
        triangle.responses(images.flatten(1)).eq(0).all()
    )  # one centroid is as near as the average one


def test_chunks_do_not_change_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    triangle = random_encoder()
    images = torch.from_numpy(random.integers(0, 256, (9, 3, 12, 12)).astype(np.float32))
    together = triangle(images)
    monkeypatch.setattr(triangle_module, "CHUNK_DISTANCES", 1)
    torch.testing.assert_close(triangle(images), together)
    assert triangle(images[:0]).shape == (0, triangle.length)
