"""Learning-rate schedules."""

from __future__ import annotations

import math
from typing import Protocol

from pipelines.learned.recipe import Recipe


class Schedule(Protocol):
    """The learning rate over a training run."""

    def lr(self, update: int) -> float:
        """Return the learning rate of an update, counted from 0 over the whole run."""
        ...

    def after_epoch(self, tune_error: float | None) -> None:
        """Take the error on tune, in percent, into account."""
        ...

    def state(self) -> list[float]:
        """Return everything that `load` needs."""
        ...

    def load(self, state: list[float]) -> None:
        """Restore what `state` returned."""
        ...


class Plateau:
    """Divides the learning rate by 10 when the error on tune stops falling.

    Krizhevsky et al. 2012, section 5.

    Parameters
    ----------
    lr : float
        Learning rate at the start.
    patience : int
        Epochs without a lower error before a drop.
    max_drops : int
    """

    def __init__(self, lr: float, *, patience: int, max_drops: int) -> None:
        self.initial_lr, self.patience, self.max_drops = lr, patience, max_drops
        self.drops, self.epochs_waited, self.best_error = 0, 0, math.inf

    def lr(self, update: int) -> float:
        return self.initial_lr / 10**self.drops

    def after_epoch(self, tune_error: float | None) -> None:
        assert tune_error is not None
        if tune_error < self.best_error:
            self.best_error, self.epochs_waited = tune_error, 0
            return
        self.epochs_waited += 1
        if self.epochs_waited >= self.patience and self.drops < self.max_drops:
            self.drops, self.epochs_waited = self.drops + 1, 0

    def state(self) -> list[float]:
        return [self.drops, self.epochs_waited, self.best_error]

    def load(self, state: list[float]) -> None:
        self.drops, self.epochs_waited, self.best_error = int(state[0]), int(state[1]), state[2]


class FixedSchedule:
    """Base of schedules that do not depend on the course of training."""

    def after_epoch(self, tune_error: float | None) -> None:
        pass

    def state(self) -> list[float]:
        return []

    def load(self, state: list[float]) -> None:
        pass


class Step(FixedSchedule):
    """Divides the learning rate by `drop_factor` at each milestone, a share of all updates."""

    def __init__(
        self, lr: float, *, updates: int, milestones: tuple[float, ...], drop_factor: float
    ) -> None:
        self.initial_lr, self.drop_factor = lr, drop_factor
        self.drops = [round(share * updates) for share in milestones]

    def lr(self, update: int) -> float:
        return self.initial_lr / self.drop_factor ** sum(update >= drop for drop in self.drops)


class Cosine(FixedSchedule):
    """Half a cosine from `peak_lr` to 0 (Loshchilov and Hutter 2017, without restarts)."""

    def __init__(self, peak_lr: float, *, updates: int) -> None:
        self.peak_lr, self.updates = peak_lr, updates

    def lr(self, update: int) -> float:
        return self.peak_lr * (1 + math.cos(math.pi * update / self.updates)) / 2


class OneCycle(FixedSchedule):
    """A linear rise to `peak_lr` over the first `warm_up` of all updates, then a linear fall to 0.

    Smith 2018.
    """

    def __init__(self, peak_lr: float, *, updates: int, warm_up: float) -> None:
        self.peak_lr, self.updates = peak_lr, updates
        self.peak_update = max(1.0, warm_up * updates)

    def lr(self, update: int) -> float:
        rise = (update + 1) / self.peak_update
        fall = (self.updates - update) / max(1.0, self.updates - self.peak_update)
        return self.peak_lr * min(rise, fall)


def make_schedule(recipe: Recipe, updates_per_epoch: int) -> Schedule:
    """Return the recipe's schedule."""
    updates = recipe.updates or recipe.epochs * updates_per_epoch
    if recipe.schedule == "plateau":
        return Plateau(recipe.lr, patience=recipe.patience, max_drops=recipe.max_drops)
    if recipe.schedule == "step":
        milestones, drop_factor = recipe.milestones, recipe.drop_factor
        return Step(recipe.lr, updates=updates, milestones=milestones, drop_factor=drop_factor)
    if recipe.schedule == "cosine":
        return Cosine(recipe.lr, updates=updates)
    return OneCycle(recipe.lr, updates=updates, warm_up=recipe.warm_up)
