"""The chain that every hand-crafted pipeline is: channels -> a linear classifier on each -> the weighted mean of their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Batch, Context, Split, State
from pipelines._mirroring import may_mirror
from pipelines.handcrafted.channel import Channel, join_states, part_of
from pipelines.handcrafted.classifiers.learners import ExactSVM, Learner
from pipelines.handcrafted.features import Features, learn_quantizer
from pipelines.handcrafted.fusion import fusion_weights
from pipelines.handcrafted.images import views

WORSE = 2  # values in a row that tune finds worse than one before them, after which no greater one is tried
POSITIVES = (1.0, 3.0, 10.0)  # how often a row counts for its own class, to choose from on tune


@dataclass(frozen=True)
class Setting:
    """What a channel's classifier is fitted with."""

    c: float
    positive: float


class Chain:
    """A `contract.Pipeline`: each channel's rows go before a linear classifier; the scores are a weighted mean of their margins.

    channels  one classifier each; `channel.Joined` puts several before one
    learner   of the classifiers; None: `ExactSVM()`
    c         None: of the learner's grid the value nearest to the default among those as good as the best on tune
              (`nearest_as_good`), or the default without tune
    positive  how often a row counts for its own class; None: of POSITIVES, with that C, chosen likewise; the default is 1
    weigh     the channels' weights are chosen on tune (`fusion_weights`), else equal
    flip      train on the images and on their mirror images; None: as `may_mirror` finds
    views     whose scores are averaged: `images.views`, mirrored ones among them if trained on
    """

    def __init__(
        self,
        *channels: Channel,
        c: float | None,
        flip: bool | None,
        learner: Learner | None = None,
        positive: float | None = 1.0,
        weigh: bool = False,
        views: Literal[1, 10] = 1,
    ) -> None:
        self.channels = channels
        self.learner = learner or ExactSVM()
        self.weigh = weigh
        self.c, self.positive = c, positive
        self.flip = flip
        self.mirrored = (
            flip is not False
        )  # in training and in views; where `flip` leaves it open, `fit` finds out
        self.asked_views = views
        self.learned: State = {}

    @property
    def views(self) -> int:
        """Of an image, whose scores are averaged."""
        return 1 if self.asked_views == 1 else 10 if self.mirrored else 5

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        if self.flip is None:
            self.mirrored = may_mirror(train, tune, context)
            if not self.mirrored:
                context.note("no mirroring: on tune it changes the class")
        flips = (False, True) if self.mirrored else (False,)
        fits = [
            ChannelFit(channel, self.learner, train, tune, flips, self.views, context)
            for channel in self.channels
        ]
        weights = torch.full((len(fits),), 1 / len(fits), device=context.device)
        if tune is None:
            self._learn(
                fits,
                [Setting(self.c or self.learner.grid.default, self.positive or 1.0)] * len(fits),
                weights,
            )
            return
        names = [f"_of_channel_{place}" for place in range(len(fits))] if len(fits) > 1 else [""]
        chosen = [
            self._choose(fit, name, len(tune), context)
            for fit, name in zip(fits, names, strict=True)
        ]
        if self.weigh and len(fits) > 1:
            margins = torch.stack(
                [fit.tune_margins(setting) for fit, setting in zip(fits, chosen, strict=True)]
            )
            weights = fusion_weights(margins, fits[0].tune_labels, context)
            context.note(
                "weights from tune: " + ", ".join(f"{weight:.2f}" for weight in weights.tolist())
            )
        self._learn(fits, chosen, weights)
        context.score_tune(self)
        self._learn([fit.with_tune() for fit in fits], chosen, weights)

    def scores(self, batch: Batch) -> Tensor:
        models = [part_of(self.learned, str(place)) for place in range(len(self.channels))]
        parts = [
            linear(channel.describe(view, model), model["weights"], model["biases"])
            for view in views(batch.images, self.asked_views, self.mirrored)
            for channel, model in zip(self.channels, models, strict=True)
        ]
        weights = self.learned["fusion"].repeat(self.views) / self.views
        return torch.einsum("k,knc->nc", weights, torch.stack(parts))

    def state(self) -> State:
        return {**self.learned, "mirrored": torch.tensor(self.mirrored)}

    def load(self, state: State) -> None:
        self.learned = {name: array for name, array in state.items() if name != "mirrored"}
        self.mirrored = bool(state["mirrored"])

    def _learn(
        self, fits: Sequence[ChannelFit], chosen: Sequence[Setting], weights: Tensor
    ) -> None:
        models = [fit.model(setting) for fit, setting in zip(fits, chosen, strict=True)]
        self.learned = {
            "fusion": weights,
            **join_states({str(place): model for place, model in enumerate(models)}),
        }

    def _choose(self, fit: ChannelFit, name: str, tune_size: int, context: Context) -> Setting:
        """The C and then the weight of positives for this tune split; `name` ends those of the curves."""
        usual = self.positive or 1.0
        found = Grid(
            "c",
            (self.c,) if self.c else self.learner.grid.values,
            self.c or self.learner.grid.default,
            name,
        )
        c = found.choose(lambda c: fit.tune_wrong(Setting(c, usual)), tune_size, context)
        if self.positive is not None:
            return Setting(c, usual)
        found = Grid("positive", POSITIVES, usual, name)
        return Setting(
            c,
            found.choose(lambda positive: fit.tune_wrong(Setting(c, positive)), tune_size, context),
        )


@dataclass(frozen=True)
class Grid:
    """Values of one number, rising, to choose from on tune. Great ones, which take a solver the longest, are tried only while they may help."""

    name: str
    values: Sequence[float]
    default: float
    suffix: str = ""

    def choose(self, wrong: Callable[[float], Tensor], tune_size: int, context: Context) -> float:
        """By the mistakes, (n,) bool, on this process's tune images."""
        found = []
        for step, value in enumerate(self.values):
            found.append(wrong(value))
            context.log(f"val/{self.name}{self.suffix}", value, step)
            errors = context.sum(found[-1].sum(dtype=torch.float64))
            curve = "val/top1_error" if self.name == "c" else f"val/top1_error_of_{self.name}"
            context.log(f"{curve}{self.suffix}", 100 * float(errors) / tune_size, step)
            if step >= WORSE and not as_good(torch.stack(found), context)[-WORSE:].any():
                break
        return self.values[
            nearest_as_good(torch.stack(found), self.values[: len(found)], self.default, context)
        ]


class ChannelFit:
    """One channel's codebook and features of train and tune, and the classifiers fitted on them.

    flips  as `Features` has them; where test images will be scored in several views, tune images count with their mirror images
    """

    def __init__(
        self,
        channel: Channel,
        learner: Learner,
        train: Split,
        tune: Split | None,
        flips: tuple[bool, ...],
        views: int,
        context: Context,
    ) -> None:
        self.learner, self.context, self.classes = learner, context, train.num_classes
        self.learned = channel.learn(train, context)
        quantizer = (
            learn_quantizer(channel, self.learned, train, context) if learner.quantize else None
        )

        def features(split: Split) -> Features | list[State]:
            if learner.streams:
                mixed = split.take(np.random.default_rng(context.seed).permutation(len(split)))
                return Features(channel, self.learned, mixed, flips, context, quantizer)
            return list(Features(channel, self.learned, split, flips, context, quantizer))

        self.train = features(train)
        self.tune = features(tune) if tune else []
        self.plain = len(self.tune) // len(
            flips
        )  # chunks of tune that are not mirrored; they come first
        self.tune_views = min(views, len(flips))  # shifted ones would have to be described
        self.solver = learner.solver([self.train], self.classes, context)
        self.models: dict[Setting, State] = {}

    def model(self, setting: Setting) -> State:
        """What scores: the channel's state, weights (classes, features) and biases (classes,) of the classifier."""
        if setting not in self.models:
            weights, biases = self.solver.fit(setting.c, setting.positive)
            self.models[setting] = {**self.learned, "weights": weights, "biases": biases}
        return self.models[setting]

    def tune_margins(self, setting: Setting) -> Tensor:
        """(n, classes) for this process's tune images, means over their views."""
        model = self.model(setting)
        chunks = (self.tune[place]["features"] for place in range(self.tune_views * self.plain))
        margins = torch.cat(
            [linear(features, model["weights"], model["biases"]) for features in chunks]
        )
        return margins.unflatten(0, (self.tune_views, len(margins) // self.tune_views)).mean(0)

    def tune_wrong(self, setting: Setting) -> Tensor:
        """(n,) bool: which of them are mistaken."""
        return mistaken(self.tune_margins(setting), self.tune_labels)

    @cached_property
    def tune_labels(self) -> Tensor:
        return torch.cat([self.tune[place]["labels"] for place in range(self.plain)])

    def with_tune(self) -> ChannelFit:
        """This fit on train + tune."""
        del self.solver  # first: it holds as much as the next one
        self.solver = self.learner.solver([self.train, self.tune], self.classes, self.context)
        self.models = {}
        return self


def mistaken(scores: Tensor, labels: Tensor) -> Tensor:
    """(n,) bool: rows whose own class does not score above every other one."""
    return (scores >= scores.gather(1, labels[:, None])).sum(1) > 1


def nearest_as_good(wrong: Tensor, grid: Sequence[float], default: float, context: Context) -> int:
    """The position in `grid` nearest to `default` (in ratio) of those that are `as_good` as the best one. wrong (settings, n) bool."""
    distances = torch.tensor(
        [abs(math.log(value / default)) for value in grid], dtype=torch.float64
    )
    return int(distances.masked_fill(~as_good(wrong, context).cpu(), math.inf).argmin())


def as_good(wrong: Tensor, context: Context) -> Tensor:
    """(settings,) bool: which are as good as the best one, of (settings, n) mistakes on this process's share of tune.

    That is: more mistakes than the best by no more than one standard error of their paired difference, the root of the number of rows
    on which just one of the two is wrong. A small tune split tells little.
    """
    errors = context.sum(wrong.sum(1, dtype=torch.float64))
    discordant = context.sum((wrong ^ wrong[int(errors.argmin())]).sum(1, dtype=torch.float64))
    return errors - errors.min() <= discordant.sqrt()
