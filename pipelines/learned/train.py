"""The training loop, the same for one process and for many."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from harness.contract import Context, State, UserError
from pipelines.learned.augmentation import Augmentation
from pipelines.learned.images import Squares
from pipelines.learned.networks.alexnet import AlexNet
from pipelines.learned.noise import BatchNoise
from pipelines.learned.recipe import Recipe
from pipelines.learned.schedule import make_schedule
from pipelines.learned.sgd import MomentumSGD

log = logging.getLogger(__name__)
STALLED = 0.98  # share of ln(classes) above which the mean loss of an epoch is that of equal guesses
STALL_STEPS = 400  # updates in which a network should have moved


@dataclass(frozen=True)
class Task:
    """What is learnt. `augment` are the steps from uint8 squares to the network's input; `predict` gives logits of squares at test time."""

    train: Squares
    tune: Squares | None
    classes: int
    augment: Sequence[Augmentation]
    predict: Callable[[torch.Tensor], torch.Tensor]


class Trainer:
    """One training run.

    `run` trains to the end, from the checkpoint if there is one; what it then holds is, on a CPU, bit for bit what an undisturbed run gives.
    """

    def __init__(self, network: AlexNet, task: Task, recipe: Recipe, context: Context) -> None:
        self.network, self.task, self.recipe, self.context = network, task, recipe, context
        self.batch = min(recipe.batch, len(task.train))
        if self.batch < context.world:
            raise UserError(
                f"{context.world} processes cannot share batches of {self.batch} images: start at most {self.batch} processes"
            )
        self.steps = len(task.train) // self.batch  # an epoch; an incomplete last batch is dropped
        # After the gradient: the loss and the number of wrong images, global by the same sum.
        self.optimiser = MomentumSGD(network, momentum=recipe.momentum, weight_decay=recipe.weight_decay, extras=2)
        self.schedule = make_schedule(recipe, self.steps)
        order, noise = torch.randint(2**62, (2,), generator=torch.Generator().manual_seed(context.seed)).tolist()
        self.order = torch.Generator().manual_seed(order)
        self.noise = torch.Generator(context.device).manual_seed(noise)
        self.epoch, self.step, self.stalled = 0, 0, 0
        self.epoch_start = self.order.get_state()
        self.sums = torch.zeros(self.steps, 2, device=context.device)  # loss and wrong images of each step of this epoch

    def run(self) -> None:
        """Raises UserError when the loss is no longer a number."""
        self._restore()
        while self.epoch < self.recipe.epochs:
            self._epoch()
        if self.stalled:
            self.context.note(f"stalled start: loss at ln(classes) for {self.stalled} epochs")

    def _epoch(self) -> None:
        self.order.set_state(self.epoch_start)
        order = torch.randperm(len(self.task.train), generator=self.order)[: self.steps * self.batch].view(self.steps, self.batch)
        own = order[self.step :, self.context.rank :: self.context.world]
        batches = self.task.train.batches(own.shape[1], own.flatten().numpy())
        label = f"epoch {self.epoch + 1}/{self.recipe.epochs}"
        for images, labels in self.context.progress(batches, label=label, total=len(own)):
            self._update(images, labels)
            self.step += 1
            if self.step < self.steps and self.context.checkpoint.due():
                self._save()
        self._finish_epoch()

    def _update(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """One step on this process's share of a batch. The host waits for nothing here."""
        noise = BatchNoise(self.noise, self.batch, rank=self.context.rank, world=self.context.world)
        inputs = images
        for step in self.task.augment:
            inputs = step(inputs, noise)
        logits = self.network(inputs, noise)
        loss = F.cross_entropy(logits, labels, reduction="sum") / self.batch
        loss.backward()
        bucket = self.optimiser.bucket
        bucket[-2] = loss.detach()
        bucket[-1] = (logits.detach().argmax(1) != labels).sum()
        self.context.sum(bucket)
        self.sums[self.step] = bucket[-2:]
        self.optimiser.step(self.schedule.rate(self.epoch * self.steps + self.step))

    def _finish_epoch(self) -> None:
        self._require_numbers()
        loss = float(self.sums[:, 0].mean())
        train_error = 100 * float(self.sums[:, 1].sum()) / (self.steps * self.batch)
        tune_error = None if self.task.tune is None else self._error(self.task.tune)
        self.context.log("train/loss", loss, self.epoch)
        self.context.log("train/top1_error", train_error, self.epoch)
        self.context.log("lr", self.schedule.rate((self.epoch + 1) * self.steps - 1), self.epoch)
        if tune_error is not None:
            self.context.log("val/top1_error", tune_error, self.epoch)
        if not self._stalled(loss):
            self.schedule.after_epoch(tune_error)
        self.epoch, self.step = self.epoch + 1, 0
        self.epoch_start = self.order.get_state()
        self._save()

    def _stalled(self, loss: float) -> bool:
        """Whether the network still guesses all classes alike. A plateau is then no reason to lower the rate."""
        guessing = math.log(self.task.classes)
        if loss < STALLED * guessing or (self.epoch + 1) * self.steps < STALL_STEPS:
            return False
        self.stalled += 1
        if self.stalled == 1:
            log.warning(
                "after %d updates the loss is %.3f, still about that of equal guesses, ln(%d) = %.3f. Such a start can take long or last for ever: "
                "if it does not end, try another seed, lrn=true, activation=relu or recipe=short (He init)",
                (self.epoch + 1) * self.steps, loss, self.task.classes, guessing,
            )  # fmt: skip
        return True

    def _require_numbers(self) -> None:
        broken = (~self.sums[: self.step, 0].isfinite()).nonzero()
        if len(broken):
            step = int(broken[0])
            raise UserError(
                f"training diverged: the loss was {float(self.sums[step, 0])} at step {step + 1} of {self.steps} in epoch {self.epoch + 1}, at learning "
                f"rate {self.schedule.rate(self.epoch * self.steps + step):g}. Try another seed, or lrn=true or activation=relu if they were off"
            )

    @torch.inference_mode()
    def _error(self, squares: Squares) -> float:
        """Top-1 error in percent over all processes, one view an image."""
        wrong = torch.zeros((), dtype=torch.int64, device=self.context.device)
        own = np.arange(len(squares))[self.context.rank :: self.context.world]
        for images, labels in squares.batches(self.batch, own):
            wrong += (self.task.predict(images).argmax(1) != labels).sum()
        return 100 * int(self.context.sum(wrong)) / len(squares)

    def _save(self) -> None:
        self._require_numbers()
        self.context.checkpoint.save(
            {
                "position": torch.tensor([self.epoch, self.step, self.stalled]),
                "weights": self.optimiser.weights,
                "velocity": self.optimiser.velocity,
                "epoch_start": self.epoch_start,
                "noise": self.noise.get_state(),
                "schedule": torch.tensor(self.schedule.state(), dtype=torch.float64),
                "sums": self.sums,
            }
        )

    def _restore(self) -> None:
        saved: State | None = self.context.checkpoint.load()
        if saved is None:
            return
        self.epoch, self.step, self.stalled = (int(number) for number in saved["position"])
        self.optimiser.weights.copy_(saved["weights"])
        self.optimiser.velocity.copy_(saved["velocity"])
        self.epoch_start = saved["epoch_start"]
        self.noise.set_state(saved["noise"])
        self.schedule.load(saved["schedule"].tolist())
        self.sums.copy_(saved["sums"])
