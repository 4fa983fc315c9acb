"""The pipeline that all hand-crafted pipelines are instances of.

    image -> channels -> one row of features per channel -> a linear classifier on each row
          -> weighted mean of the classifiers' margins = the image's scores

To add a descriptor, write one class in `descriptors/` that satisfies `channel.ImageDescriptor`
(whole images) or `descriptors.patch_grids.LocalDescriptor` (patches), and one file in `pipelines/`
whose `build` returns a `Chain` of a channel with that descriptor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Batch, Context, Split, State
from pipelines._flip_invariance import is_flip_invariant
from pipelines.handcrafted.channel import Channel
from pipelines.handcrafted.channel_fit import ChannelFit, ClassifierSettings
from pipelines.handcrafted.classifiers.learners import SVM, LearnerChoice
from pipelines.handcrafted.fusion import fusion_weights
from pipelines.handcrafted.image_views import image_views
from pipelines.handcrafted.state_dicts import join_states, substate
from pipelines.handcrafted.tuning import ValueSearch

POSITIVE_WEIGHTS = (1.0, 3.0, 10.0)  # candidates when the weight of positives is tuned


class Chain:
    """A `contract.Pipeline` of channels and linear classifiers.

    Parameters
    ----------
    *channels
        Each gets a classifier of its own. `channel.Concatenation` puts several before one.
    c : float or None
        The classifiers' C. None chooses it on tune (`ValueSearch`), or takes the learner's
        default without tune.
    flip : bool or None
        Train on the flipped images as well; None asks `is_flip_invariant`.
    learner
        Makes the classifiers; None is `SVM()`.
    positive_weight : float or None
        Weight of a row's loss for its own class; None chooses it on tune after C, or takes 1.
    tune_weights
        Choose the channels' weights on tune (`fusion_weights`), else all weigh the same.
    views : 1 or 10
        Views of a test image (`image_views`). 10 includes flips only if they are trained on.
    """

    def __init__(
        self,
        *channels: Channel,
        c: float | None,
        flip: bool | None,
        learner: LearnerChoice | None = None,
        positive_weight: float | None = 1.0,
        tune_weights: bool = False,
        views: Literal[1, 10] = 1,
    ) -> None:
        self.channels = channels
        self.learner = learner or SVM()
        self.c, self.positive_weight = c, positive_weight
        self.flip = flip
        self.uses_flips = flip is not False  # `fit` decides where flip is None
        self.tune_weights = tune_weights
        self.requested_views = views
        self.fitted: State = {}

    @property
    def views(self) -> int:
        """Views of a test image, over which scores are averaged."""
        if self.requested_views == 1:
            return 1
        return 10 if self.uses_flips else 5

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        if self.flip is None:
            self.uses_flips = is_flip_invariant(train, tune, context)
            if not self.uses_flips:
                context.note("no flips: on tune they change the class")
        flips = (False, True) if self.uses_flips else (False,)
        fits = [
            ChannelFit(channel, self.learner, train, tune, flips, self.views, context)
            for channel in self.channels
        ]
        weights = torch.full((len(fits),), 1 / len(fits), device=context.device)
        if tune is None:
            self.fitted = _fit_models(fits, [self._default_settings()] * len(fits), weights)
            return
        settings = self._choose_settings(fits, len(tune), context)
        if self.tune_weights and len(fits) > 1:
            weights = _choose_weights(fits, settings, context)
        self.fitted = _fit_models(fits, settings, weights)
        context.score_tune(self)
        for fit in fits:
            fit.extend_to_tune()
        self.fitted = _fit_models(fits, settings, weights)

    def scores(self, batch: Batch) -> Tensor:
        models = [substate(self.fitted, str(index)) for index in range(len(self.channels))]
        margins = [
            linear(channel.describe(view, model), model["weights"], model["biases"])
            for view in image_views(batch.images, self.requested_views, self.uses_flips)
            for channel, model in zip(self.channels, models, strict=True)
        ]
        weights = self.fitted["fusion"].repeat(self.views) / self.views
        return torch.einsum("k,knc->nc", weights, torch.stack(margins))

    def state(self) -> State:
        return {**self.fitted, "uses_flips": torch.tensor(self.uses_flips)}

    def load(self, state: State) -> None:
        self.fitted = {name: tensor for name, tensor in state.items() if name != "uses_flips"}
        self.uses_flips = bool(state["uses_flips"])

    def _default_settings(self) -> ClassifierSettings:
        return ClassifierSettings(
            self.c or self.learner.c_grid.default, self.positive_weight or 1.0
        )

    def _choose_settings(
        self, fits: Sequence[ChannelFit], tune_size: int, context: Context
    ) -> list[ClassifierSettings]:
        """Choose each channel's C, and then its weight of positives, on tune."""
        if len(fits) == 1:
            return [self._choose_channel_settings(fits[0], "", tune_size, context)]
        return [
            self._choose_channel_settings(fit, f"_of_channel_{index}", tune_size, context)
            for index, fit in enumerate(fits)
        ]

    def _choose_channel_settings(
        self, fit: ChannelFit, suffix: str, tune_size: int, context: Context
    ) -> ClassifierSettings:
        default = self._default_settings()
        values = (self.c,) if self.c else self.learner.c_grid.values
        c = ValueSearch("c", values, default.c, suffix).choose(
            lambda c: fit.tune_errors(ClassifierSettings(c, default.positive_weight)),
            tune_size,
            context,
        )
        if self.positive_weight is not None:
            return ClassifierSettings(c, self.positive_weight)
        weight = ValueSearch(
            "positive_weight", POSITIVE_WEIGHTS, default.positive_weight, suffix
        ).choose(lambda weight: fit.tune_errors(ClassifierSettings(c, weight)), tune_size, context)
        return ClassifierSettings(c, weight)


def _choose_weights(
    fits: Sequence[ChannelFit], settings: Sequence[ClassifierSettings], context: Context
) -> Tensor:
    """Choose the channels' weights (channels,) on tune and note them."""
    pairs = zip(fits, settings, strict=True)
    margins = torch.stack([fit.tune_margins(setting) for fit, setting in pairs])
    weights = fusion_weights(margins, fits[0].tune_labels, context)
    listed = ", ".join(f"{weight:.2f}" for weight in weights.tolist())
    context.note(f"channel weights from tune: {listed}")
    return weights


def _fit_models(
    fits: Sequence[ChannelFit], settings: Sequence[ClassifierSettings], weights: Tensor
) -> State:
    """Fit every channel's classifier and return the state that `Chain.scores` reads."""
    models = [fit.model(setting) for fit, setting in zip(fits, settings, strict=True)]
    named = {str(index): model for index, model in enumerate(models)}
    return {"fusion": weights, **join_states(named)}
