"""One channel fitted to a training split: its state, its features, and the classifiers on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Context, Split, State
from pipelines.handcrafted.channel import Channel
from pipelines.handcrafted.classifiers.capacity import FitSize
from pipelines.handcrafted.classifiers.learners import LearnerChoice
from pipelines.handcrafted.features import Features, fit_channel_quantizer, row_length
from pipelines.handcrafted.tuning import misclassified


@dataclass(frozen=True)
class ClassifierSettings:
    """The hyper-parameters of one channel's classifier.

    Parameters
    ----------
    c
        Trade-off between the loss and the size of the weights; larger fits more closely.
    positive_weight
        Weight of a row's loss for its own class, relative to its loss for other classes.
    """

    c: float
    positive_weight: float


class ChannelFit:
    """Fits one channel and describes train and tune with it; then fits classifiers on request.

    Parameters
    ----------
    channel, learner, train, tune, context
    flips : (False,) or (False, True)
        See `Features`.
    views
        Views of a test image. With several views, the tune images are scored as the mean of the
        image and its flip, if `flips` has both: shifted tune images are not described.
    """

    def __init__(
        self,
        channel: Channel,
        learner: LearnerChoice,
        train: Split,
        tune: Split | None,
        flips: tuple[bool, ...],
        views: int,
        context: Context,
    ) -> None:
        self.context, self.num_classes = context, train.num_classes
        self.channel, self.flips = channel, flips
        self.state = channel.fit(train, context)
        size = FitSize(
            rows=(len(train) + (len(tune) if tune else 0)) * len(flips),
            classes=train.num_classes,
            features=row_length(channel, self.state, context),
            processes=context.world_size,
        )
        self.learner = learner.for_size(size, context)
        self.quantizer = None
        if self.learner.quantize:
            self.quantizer = fit_channel_quantizer(channel, self.state, train, context)
        self.train = self._features(train)
        self.tune = self._features(tune) if tune else []
        self.tune_chunks = len(self.tune) // len(flips)  # unflipped ones, which come first
        self.tune_views = min(views, len(flips))
        self.solver = self.learner.make_solver([self.train], self.num_classes, context)
        self.models: dict[ClassifierSettings, State] = {}

    def _features(self, split: Split) -> Features | list[State]:
        """Describe a split now, or lazily and in random order if the classifier streams."""
        if self.learner.streams:
            order = np.random.default_rng(self.context.seed).permutation(len(split))
            split = split.take(order)
        features = Features(
            self.channel,
            self.state,
            split,
            self.flips,
            self.context,
            quantizer=self.quantizer,
            half=self.learner.half,
        )
        return features if self.learner.streams else list(features)

    def model(self, settings: ClassifierSettings) -> State:
        """Return the channel's state plus the classifier fitted with these settings.

        Returns
        -------
        dict
            The channel's state, "weights": (classes, features) and "biases": (classes,).
        """
        if settings not in self.models:
            weights, biases = self.solver.fit(settings.c, settings.positive_weight)
            self.models[settings] = {**self.state, "weights": weights, "biases": biases}
        return self.models[settings]

    def tune_margins(self, settings: ClassifierSettings) -> Tensor:
        """Return (n, classes) margins of this process's tune images, averaged over views."""
        model = self.model(settings)
        margins = torch.cat(
            [
                linear(self.tune[index]["features"], model["weights"], model["biases"])
                for index in range(self.tune_views * self.tune_chunks)
            ]
        )
        return margins.unflatten(0, (self.tune_views, len(margins) // self.tune_views)).mean(0)

    def tune_errors(self, settings: ClassifierSettings) -> Tensor:
        """Return (n,) bool: which of this process's tune images are misclassified."""
        return misclassified(self.tune_margins(settings), self.tune_labels)

    @cached_property
    def tune_labels(self) -> Tensor:
        """(n,) int64 labels of this process's tune images."""
        return torch.cat([self.tune[index]["labels"] for index in range(self.tune_chunks)])

    def extend_to_tune(self) -> None:
        """Make `model` fit on train + tune from now on; the channel's state stays as it is."""
        del self.solver  # before the next one is made: each may hold a copy of the rows
        self.solver = self.learner.make_solver(
            [self.train, self.tune], self.num_classes, self.context
        )
        self.models = {}
