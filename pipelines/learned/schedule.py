"""Learning-rate schedules."""

from __future__ import annotations

import math
from statistics import mean
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

    Krizhevsky et al. 2012, section 5, where a plateau was judged by eye. Here the mean error of the
    last `window` epochs is compared with that of the `window` epochs before: the learning rate
    drops when it has not fallen by more than one standard error of this difference,
    100 sqrt(2 p (1 - p) / (n window)) for an error p on n images. Single epochs on a small split
    would not do: with 130 images and a wait of 4 epochs, luck alone ends the first phase after 18
    epochs in the median of 150 simulated curves of 90 t^-0.35 %, which falls throughout; the rule
    here, with a window of 21, ends it after 90 or more, and after 56 where the curve is flat from
    epoch 20 on.

    Parameters
    ----------
    lr : float
        Learning rate at the start.
    window : int
        Epochs.
    max_drops : int
    n_tune : int
        Number of tune images.
    """

    def __init__(self, lr: float, *, window: int, max_drops: int, n_tune: int) -> None:
        self.initial_lr, self.window, self.max_drops = lr, window, max_drops
        self.n_tune = n_tune
        self.drops = 0
        self.errors: list[float] = []  # of the last two windows since the last drop, in percent

    def lr(self, update: int) -> float:
        return self.initial_lr / 10**self.drops

    def after_epoch(self, tune_error: float | None) -> None:
        assert tune_error is not None
        self.errors = [*self.errors, tune_error][-2 * self.window :]
        if len(self.errors) == 2 * self.window and self.drops < self.max_drops:
            before, after = mean(self.errors[: self.window]), mean(self.errors[self.window :])
            if before - after <= self._standard_error((before + after) / 2):
                self.drops, self.errors = self.drops + 1, []

    def _standard_error(self, error: float) -> float:
        """Return that of the difference of two windows' means, in percent."""
        return math.sqrt(2 * error * (100 - error) / (self.n_tune * self.window))

    def state(self) -> list[float]:
        return [self.drops, *self.errors]

    def load(self, state: list[float]) -> None:
        self.drops, self.errors = int(state[0]), state[1:]


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


def make_schedule(recipe: Recipe, updates_per_epoch: int, n_tune: int) -> Schedule:
    """Return the recipe's schedule, for this many tune images."""
    updates = recipe.updates or recipe.epochs * updates_per_epoch
    if recipe.schedule == "plateau":
        window = plateau_window(recipe, updates_per_epoch, n_tune)
        return Plateau(recipe.lr, window=window, max_drops=recipe.max_drops, n_tune=n_tune)
    if recipe.schedule == "step":
        milestones, drop_factor = recipe.milestones, recipe.drop_factor
        return Step(recipe.lr, updates=updates, milestones=milestones, drop_factor=drop_factor)
    if recipe.schedule == "cosine":
        return Cosine(recipe.lr, updates=updates)
    return OneCycle(recipe.lr, updates=updates, warm_up=recipe.warm_up)


def plateau_window(recipe: Recipe, updates_per_epoch: int, n_tune: int) -> int:
    """Return the number of epochs whose mean errors `Plateau` compares.

    It has enough updates to tell a fall from noise. Over a window of w epochs the error falls in
    proportion to w and the updates per epoch u, and the noise of its mean to 1 / sqrt(n w) for n
    tune images. For one ratio of the two, w grows as u^(-2/3) n^(-1/3), and the updates in it as
    (u / n)^(1/3). The factor, `recipe.patience_updates`, comes from simulated curves.
    """
    updates = recipe.patience_updates * (updates_per_epoch / max(1, n_tune)) ** (1 / 3)
    return max(recipe.patience, math.ceil(updates / updates_per_epoch))
