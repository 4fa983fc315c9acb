"""The chain that every hand-crafted pipeline is: channels -> a linear classifier on each -> the weighted mean of their scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Batch, Context, Split, State
from pipelines._mirroring import may_mirror
from pipelines.handcrafted.channel import Channel, join_states, part_of
from pipelines.handcrafted.classifiers.linear_svm import LinearSVM
from pipelines.handcrafted.classifiers.rows import Rows
from pipelines.handcrafted.features import Features
from pipelines.handcrafted.fusion import fusion_weights
from pipelines.handcrafted.images import views


@dataclass(frozen=True)
class CGrid:
    """Values of the SVM's C to choose from on tune, and the one to take without tune or when tune does not tell."""

    values: tuple[float, ...]
    default: float


STANDARDISED = CGrid((0.03, 0.1, 0.3, 1.0, 3.0), 1.0)  # rows of mean squared length 1 suit descriptors of any length
NORMALISED = CGrid((0.3, 1.0, 3.0, 10.0, 30.0), 10.0)  # rows of length 1; VLFeat's applications fix 10


class Chain:
    """A `contract.Pipeline`: each channel's rows go before a linear SVM; the scores are a weighted mean of the SVMs' margins.

    channels     one SVM each; `channel.Joined` puts several before one SVM
    standardise  each feature to mean 0 and equal variance, else rows are taken as the channel gives them
    grid         of C; None: STANDARDISED or NORMALISED, as the rows are
    c            the SVMs' C; None: of the grid the one nearest to the default among those as good as the best on tune
                 (`nearest_as_good`), or the default without tune
    weigh        the channels' weights are chosen on tune (`fusion_weights`), else equal
    flip         train on the images and on their mirror images; None: as `may_mirror` finds
    views        whose scores are averaged: `images.views`
    """

    def __init__(
        self,
        *channels: Channel,
        c: float | None,
        flip: bool | None,
        standardise: bool = False,
        grid: CGrid | None = None,
        weigh: bool = False,
        views: int = 1,
    ) -> None:
        self.channels = channels
        self.standardise = standardise
        self.grid = grid or (STANDARDISED if standardise else NORMALISED)
        self.weigh = weigh
        self.c = c
        self.flip = flip
        self.views = views
        self.learnt: State = {}

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        flips = (False, True) if (may_mirror(train, tune, context) if self.flip is None else self.flip) else (False,)
        fits = [ChannelFit(channel, train, tune, flips, self.standardise, context) for channel in self.channels]
        weights = torch.full((len(fits),), 1 / len(fits), device=context.device)
        if tune is None:
            self._learn(fits, [self.c or self.grid.default] * len(fits), weights)
            return
        chosen = [self._choose_c(fit, len(tune), context) for fit in fits]
        if self.weigh and len(fits) > 1:
            margins = torch.stack([fit.tune_margins(c) for fit, c in zip(fits, chosen, strict=True)])
            weights = fusion_weights(margins, fits[0].tune_labels, context)
            context.note("weights from tune: " + ", ".join(f"{weight:.2f}" for weight in weights.tolist()))
        self._learn(fits, chosen, weights)
        context.refit(self)
        self._learn([fit.with_tune() for fit in fits], chosen, weights)

    def scores(self, batch: Batch) -> Tensor:
        models = [part_of(self.learnt, str(place)) for place in range(len(self.channels))]
        parts = [
            linear(channel.describe(view, model), model["weights"], model["biases"])
            for view in views(batch.images, self.views)
            for channel, model in zip(self.channels, models, strict=True)
        ]
        weights = self.learnt["fusion"].repeat(self.views) / self.views
        return torch.einsum("k,knc->nc", weights, torch.stack(parts))

    def state(self) -> State:
        return dict(self.learnt)

    def load(self, state: State) -> None:
        self.learnt = dict(state)

    def _learn(self, fits: Sequence[ChannelFit], chosen: Sequence[float], weights: Tensor) -> None:
        models = [fit.model(c) for fit, c in zip(fits, chosen, strict=True)]
        self.learnt = {"fusion": weights, **join_states({str(place): model for place, model in enumerate(models)})}

    def _choose_c(self, fit: ChannelFit, tune_size: int, context: Context) -> float:
        """The C for this tune split."""
        grid = self.grid.values if self.c is None else (self.c,)
        wrong = []
        for step, c in enumerate(grid):
            wrong.append(mistaken(fit.tune_margins(c), fit.tune_labels))
            context.log("val/c", c, step)
            errors = context.sum(wrong[-1].sum(dtype=torch.float64))
            context.log("val/top1_error", 100 * float(errors) / tune_size, step)
        return grid[nearest_as_good(torch.stack(wrong), grid, self.grid.default, context)]


class ChannelFit:
    """One channel's codebook and features of train and tune, and the SVMs fitted on them."""

    def __init__(
        self, channel: Channel, train: Split, tune: Split | None, flips: tuple[bool, ...], standardise: bool, context: Context
    ) -> None:
        self.standardise, self.context, self.classes = standardise, context, train.classes
        self.learnt = channel.learn(train, context)
        self.train = list(Features(channel, self.learnt, train, flips, context))
        self.tune = list(Features(channel, self.learnt, tune, flips, context)) if tune else []
        self.plain_tune = self.tune[: len(self.tune) // len(flips)]  # without the mirrored ones
        self.svm = self._svm(self.train)
        self.models: dict[float, State] = {}

    def model(self, c: float) -> State:
        """What scores: the channel's state, weights (classes, features) and biases (classes,) of the SVM for this C."""
        if c not in self.models:
            weights, biases = self.svm.fit(c)
            self.models[c] = {**self.learnt, "weights": weights, "biases": biases}
        return self.models[c]

    def tune_margins(self, c: float) -> Tensor:
        """(n, classes) for this process's tune images."""
        model = self.model(c)
        return torch.cat([linear(chunk["features"], model["weights"], model["biases"]) for chunk in self.plain_tune])

    @property
    def tune_labels(self) -> Tensor:
        return torch.cat([chunk["labels"] for chunk in self.plain_tune])

    def with_tune(self) -> ChannelFit:
        """This fit on train + tune."""
        self.svm = self._svm(self.train + self.tune)
        self.models = {}
        return self

    def _svm(self, chunks: Sequence[State]) -> LinearSVM:
        blocks = [chunk["features"] for chunk in chunks]
        rows = Rows.standardised(blocks, self.context) if self.standardise else Rows(blocks, self.context)
        return LinearSVM(rows, torch.cat([chunk["labels"] for chunk in chunks]), self.classes)


def mistaken(scores: Tensor, labels: Tensor) -> Tensor:
    """(n,) bool: rows whose own class does not score above every other one."""
    return (scores >= scores.gather(1, labels[:, None])).sum(1) > 1


def nearest_as_good(wrong: Tensor, grid: Sequence[float], default: float, context: Context) -> int:
    """The position in `grid` nearest to `default` (in ratio) of those that are as good as the best one.

    wrong (settings, n) bool, this process's share. As good: more mistakes than the best by no more than one standard error of their
    paired difference, the root of the number of rows on which just one of the two is wrong. A small tune split tells little.
    """
    errors = context.sum(wrong.sum(1, dtype=torch.float64))
    best = int(errors.argmin())
    discordant = context.sum((wrong ^ wrong[best]).sum(1, dtype=torch.float64))
    as_good = errors - errors[best] <= discordant.sqrt()
    distances = torch.tensor([abs(math.log(value / default)) for value in grid], dtype=torch.float64)
    return int(distances.masked_fill(~as_good.cpu(), math.inf).argmin())
