from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import linear

from harness.contract import Split
from harness.engine.context import RunContext
from pipelines.handcrafted.channel import WholeImage
from pipelines.handcrafted.channel_fit import ChannelFit, ClassifierSettings
from pipelines.handcrafted.classifiers.learners import ExactSVM
from pipelines.handcrafted.descriptors.hog import Hog
from pipelines.handcrafted.image_views import flip

CHANNEL = WholeImage(lambda size: Hog(8), 32, (32, 128))
SETTINGS = ClassifierSettings(c=1.0, positive_weight=1.0)


def digits(rows: slice) -> Split:
    """scikit-learn's digits, four times as large."""
    images = np.kron(load_digits().images[rows] * 15.9, np.ones((4, 4))).astype(np.uint8)
    return Split.from_arrays(images, load_digits().target[rows])


@pytest.fixture(scope="module")
def tune() -> Split:
    return digits(slice(200, 260))


@pytest.fixture(scope="module", params=[1, 10])
def fit(request: pytest.FixtureRequest, tune: Split) -> ChannelFit:
    """A fit with flips, for one view and for several views of a test image."""
    views = request.param
    return ChannelFit(
        CHANNEL, ExactSVM(), digits(slice(200)), tune, (False, True), views, RunContext()
    )


def test_tune_margins_average_over_flips_where_test_scores_average_over_views(
    fit: ChannelFit, tune: Split
) -> None:
    (batch,) = tune.batches(60)
    model = fit.model(SETTINGS)
    margins = [
        linear(CHANNEL.describe(view, model), model["weights"], model["biases"])
        for view in (batch.images, flip(batch.images))
    ]
    expected = margins[0] if fit.tune_views == 1 else (margins[0] + margins[1]) / 2
    torch.testing.assert_close(fit.tune_margins(SETTINGS), expected, atol=1e-4, rtol=1e-4)
    assert (margins[0] - margins[1]).abs().max() > 0.2


def test_models_are_fitted_once_per_settings(fit: ChannelFit) -> None:
    assert fit.model(SETTINGS) is fit.model(ClassifierSettings(1.0, 1.0))
    assert fit.model(SETTINGS) is not fit.model(ClassifierSettings(1.0, 3.0))


def test_extending_to_tune_fits_on_the_images_of_both_splits(tune: Split) -> None:
    train = digits(slice(200))
    extended = ChannelFit(CHANNEL, ExactSVM(), train, tune, (False,), 1, RunContext())
    before = extended.model(SETTINGS)["weights"]
    extended.extend_to_tune()
    after = extended.model(SETTINGS)["weights"]
    both = ChannelFit(CHANNEL, ExactSVM(), train + tune, None, (False,), 1, RunContext())
    expected = both.model(SETTINGS)["weights"]
    assert (after - expected).norm() < 0.05 * expected.norm()
    assert (before - expected).norm() > 0.05 * expected.norm()
