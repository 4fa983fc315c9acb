from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.feature import fisher_vector
from sklearn.mixture import GaussianMixture

from benchmarks import vlfeat
from pipelines.handcrafted.encoders.code_normalization import l2_normalize, signed_sqrt
from pipelines.handcrafted.encoders.fisher import FisherVector
from pipelines.handcrafted.encoders.gmm import GMM


def random_mixture(components: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    parts = (
        2 + random.normal(size=(components, d)),
        random.uniform(0.2, 1.5, (components, d)),
        random.dirichlet(np.ones(components)),
    )
    return parts[0].astype(np.float32), parts[1].astype(np.float32), parts[2].astype(np.float32)


def draw_descriptors(parts: tuple[np.ndarray, ...], images: int, descriptors: int) -> np.ndarray:
    """Draw (images, descriptors, d) float32 from a mixture, spread so that components overlap."""
    random = np.random.default_rng(1)
    means, variances, weights = parts
    owner = random.choice(
        len(weights), (images, descriptors), p=weights / weights.sum(dtype=np.float64)
    )
    return (
        means[owner]
        + 1.3 * np.sqrt(variances[owner]) * random.normal(size=(*owner.shape, means.shape[1]))
    ).astype(np.float32)


def encode(values: np.ndarray, parts: tuple[np.ndarray, ...]) -> torch.Tensor:
    """Return codes (images, length) of whole images."""
    encoder = FisherVector(GMM(*(torch.from_numpy(part) for part in parts)))
    whole_image = torch.ones(1, values.shape[1], dtype=torch.bool)
    return encoder(torch.from_numpy(values), whole_image)[:, 0]


@pytest.mark.usefixtures("vlfeat_oracle")
@pytest.mark.parametrize(
    ("components", "d", "descriptors"), [(256, 80, 1500), (16, 10, 700), (5, 2, 3), (1, 4, 50)]
)
def test_fisher_vectors_equal_vl_fisher(components: int, d: int, descriptors: int) -> None:
    parts = random_mixture(components, d)
    values = draw_descriptors(parts, 2, descriptors)
    plain = encode(values, parts)
    np.testing.assert_allclose(plain, vlfeat.fisher(values, *parts), atol=1e-4)
    np.testing.assert_allclose(
        l2_normalize(signed_sqrt(plain)), vlfeat.fisher(values, *parts, vlfeat.IMPROVED), atol=1e-4
    )


@pytest.mark.usefixtures("vlfeat_oracle")
def test_a_component_of_almost_no_weight_is_ignored_as_in_vl_fisher() -> None:
    means, variances, weights = random_mixture(6, 4)
    weights[2] = 1e-7
    parts = means, variances, weights
    values = draw_descriptors(parts, 2, 100)
    plain = encode(values, parts)
    assert not plain.view(2, 2, 6, 4)[:, :, 2].any()
    np.testing.assert_allclose(plain, vlfeat.fisher(values, *parts), atol=1e-4)


@pytest.mark.usefixtures("vlfeat_oracle")
def test_a_narrow_component_of_flat_patches_is_encoded_accurately() -> None:
    means, variances, weights = random_mixture(16, 10)
    means[3], variances[3], weights[3] = 0, 1e-4, weights.sum()
    parts = means, variances, weights / weights.sum()
    values = draw_descriptors(parts, 2, 3000)
    values[:, ::3] = 0
    plain = encode(values, parts)
    np.testing.assert_allclose(plain, vlfeat.fisher(values, *parts), atol=1e-4)
    np.testing.assert_allclose(
        l2_normalize(signed_sqrt(plain)), vlfeat.fisher(values, *parts, vlfeat.IMPROVED), atol=1e-4
    )


def test_fisher_vectors_equal_scikit_image_without_its_weight_terms() -> None:
    components, d = 16, 10
    parts = random_mixture(components, d)
    values = draw_descriptors(parts, 3, 400)
    gmm = GaussianMixture(components, covariance_type="diag")
    gmm.means_, gmm.covariances_, gmm.weights_ = (part.astype(np.float64) for part in parts)
    gmm.precisions_cholesky_ = 1 / np.sqrt(gmm.covariances_)
    _, mean_terms, variance_terms = np.split(
        np.stack([fisher_vector(image.astype(np.float64), gmm) for image in values]),
        [components, components * (1 + d)],
        axis=1,
    )
    # scikit-image has the opposite sign for the variance terms.
    np.testing.assert_allclose(
        encode(values, parts), np.concatenate([mean_terms, -variance_terms], axis=1), atol=1e-4
    )
