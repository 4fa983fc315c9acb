"""The learning rate over a training run."""

from __future__ import annotations

import math
from typing import Protocol

from pipelines.learned.recipe import Recipe


class Schedule(Protocol):
    def rate(self, step: int) -> float:
        """The learning rate of update number `step`, counted over the whole run from 0."""
        ...

    def after_epoch(self, tune_error: float | None) -> None:
        """Take note of the error on tune, in percent."""
        ...

    def state(self) -> list[float]:
        """All that `load` needs to go on."""
        ...

    def load(self, state: list[float]) -> None: ...


class Plateau:
    """The rate divided by 10 after `patience` epochs without a lower tune error, `drops` times (Krizhevsky et al. 2012, section 5)."""

    def __init__(self, rate: float, *, patience: int, drops: int) -> None:
        self.start, self.patience, self.drops = rate, patience, drops
        self.dropped, self.waited, self.best = 0, 0, math.inf

    def rate(self, step: int) -> float:
        return self.start / 10**self.dropped

    def after_epoch(self, tune_error: float | None) -> None:
        assert tune_error is not None
        if tune_error < self.best:
            self.best, self.waited = tune_error, 0
            return
        self.waited += 1
        if self.waited >= self.patience and self.dropped < self.drops:
            self.dropped, self.waited = self.dropped + 1, 0

    def state(self) -> list[float]:
        return [self.dropped, self.waited, self.best]

    def load(self, state: list[float]) -> None:
        self.dropped, self.waited, self.best = int(state[0]), int(state[1]), state[2]


class Planned:
    """A schedule that is fixed before training."""

    def after_epoch(self, tune_error: float | None) -> None:
        pass

    def state(self) -> list[float]:
        return []

    def load(self, state: list[float]) -> None:
        pass


class Step(Planned):
    """The rate divided by `factor` at each of `milestones`, shares of all `steps`."""

    def __init__(
        self, rate: float, *, steps: int, milestones: tuple[float, ...], factor: float
    ) -> None:
        self.start, self.factor = rate, factor
        self.drops = [round(share * steps) for share in milestones]

    def rate(self, step: int) -> float:
        return self.start / self.factor ** sum(step >= drop for drop in self.drops)


class Cosine(Planned):
    """Half a cosine from `peak` to 0 over `steps` updates (Loshchilov and Hutter 2017, without restarts)."""

    def __init__(self, peak: float, *, steps: int) -> None:
        self.peak, self.steps = peak, steps

    def rate(self, step: int) -> float:
        return self.peak * (1 + math.cos(math.pi * step / self.steps)) / 2


class OneCycle(Planned):
    """Up in a straight line to `peak` over the first `warm_up` of `steps` updates, then down in another, to 0 (Smith 2018)."""

    def __init__(self, peak: float, *, steps: int, warm_up: float) -> None:
        self.peak, self.steps = peak, steps
        self.top = max(1.0, warm_up * steps)

    def rate(self, step: int) -> float:
        return self.peak * min(
            (step + 1) / self.top, (self.steps - step) / max(1.0, self.steps - self.top)
        )


def make_schedule(recipe: Recipe, steps: int) -> Schedule:
    """The recipe's schedule for epochs of `steps` updates."""
    total = recipe.updates or recipe.epochs * steps
    if recipe.schedule == "plateau":
        return Plateau(recipe.rate, patience=recipe.patience, drops=recipe.drops)
    if recipe.schedule == "step":
        return Step(recipe.rate, steps=total, milestones=recipe.milestones, factor=recipe.factor)
    if recipe.schedule == "cosine":
        return Cosine(recipe.rate, steps=total)
    return OneCycle(recipe.rate, steps=total, warm_up=recipe.warm_up)
