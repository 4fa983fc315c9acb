"""The training loop, the same for one process and for many."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice

import torch
from torch.nn import functional as F

from harness.contract import Batch, Context, Split, State, UserError
from pipelines.learned.augmentation import Augmentation
from pipelines.learned.early_stopping import EarlyStopping
from pipelines.learned.exchange import Clock, Exchange
from pipelines.learned.memory import hand_back, kept_memory
from pipelines.learned.networks.network import Network
from pipelines.learned.noise import BatchNoise
from pipelines.learned.optimizers import Optimizer
from pipelines.learned.parallel import Mode, own, part_of, whole
from pipelines.learned.precision import mixed_precision, wide
from pipelines.learned.recipe import Recipe
from pipelines.learned.schedule import make_schedule

log = logging.getLogger(__name__)
STALLED = (
    0.98  # share of ln(classes) above which the mean loss of an epoch is that of equal guesses
)
STALL_STEPS = 400  # updates in which a network should have moved
DUE_STEPS = (
    20  # updates between two questions whether a checkpoint is due, where asking takes an exchange
)
PROBE_SECONDS = 15.0  # of updates that are timed to know what one takes


@dataclass(frozen=True)
class Task:
    """What is learned, from squares. `augment` are the steps from uint8 squares to the network's input; `predict` gives logits of squares at
    test time.
    """

    train: Split
    tune: Split | None
    augment: Sequence[Augmentation]
    predict: Callable[[torch.Tensor], torch.Tensor]


class Trainer:
    """One training run.

    `run` trains to the end, from the checkpoint if there is one; what it then holds is, on a CPU, bit for bit what an undisturbed run gives.
    Of several processes each trains its `part` by `mode`; `network` is the whole, put together again for tune, checkpoints and the end.
    """

    def __init__(
        self, network: Network, task: Task, recipe: Recipe, context: Context, mode: Mode = "data"
    ) -> None:
        self.network, self.task, self.recipe, self.context = network, task, recipe, context
        self.batch = min(recipe.batch, len(task.train))
        self.sees_all = (
            mode == "model" and context.world_size > 1
        )  # every image of a batch, not this process's share
        self.train = task.train.sharded(0, 1) if self.sees_all else task.train
        self.exchange, self.waiting = Exchange(context), Clock(context.device)
        self.part = part_of(network, mode, self.exchange, self.batch)
        self.steps = len(task.train) // self.batch  # an epoch; an incomplete last batch is dropped
        # After the gradient: the loss and the number of wrong images, global by the same sum.
        self.optimizer = Optimizer(self.part, recipe, extras=2)
        self.total = recipe.updates or recipe.epochs * self.steps
        self.schedule = make_schedule(recipe, self.steps)
        self.stopping = (
            EarlyStopping(self.total) if recipe.updates and task.tune is not None else None
        )
        self.order, noise = torch.randint(
            2**62, (2,), generator=torch.Generator().manual_seed(context.seed)
        ).tolist()
        self.noise = torch.Generator(context.device).manual_seed(noise)
        self.epoch, self.step, self.stalled, self.warned = 0, 0, 0, False
        self.labels = torch.from_numpy(task.train.labels).to(context.device)
        self.sums = torch.zeros(
            self.steps, 2, device=context.device
        )  # loss and wrong images of each step of this epoch

    @property
    def updates(self) -> int:
        return self.epoch * self.steps + self.step

    def run(self) -> None:
        """Raises UserError when the loss is no longer a number."""
        self._restore()
        with kept_memory(self.context.device):
            while self.updates < self.total and not self._hopeless():
                self._epoch()
        if self.stopping:
            self.context.note(self.stopping.take_best(self.network))
        if self.stalled:
            self.context.note(f"stalled start: loss at ln(classes) for {self.stalled} epochs")

    def _hopeless(self) -> bool:
        """As an undisturbed run sees it: at the end of an epoch, also where a checkpoint within the next one is gone on from."""
        return self.stopping is not None and self.stopping.hopeless(self.epoch * self.steps)

    def seconds_an_update(self) -> float:
        """What an update takes here, loading included, from a few of them. The network has moved afterwards: for a trainer that is thrown
        away.
        """
        with kept_memory(self.context.device):
            self._timed(1)  # warms up
            wanted = torch.tensor(PROBE_SECONDS / (self._timed(2) / 2), device=self.context.device)
            updates = max(2, int(self.context.broadcast(wanted)))
            return self._timed(updates) / updates

    @property
    def checkpoint_bytes(self) -> int:
        """Of one once an epoch is over, when there are best weights."""
        best = (
            self.network.state_dict().values()
            if self.stopping and not self.stopping.weights
            else ()
        )
        return sum(array.nbytes for array in (*self._progress().values(), *best))

    def _timed(self, updates: int) -> float:
        """Seconds for so many updates, over several epochs if need be."""
        started = time.perf_counter()
        epochs = (islice(self._batches(), self.steps) for _ in count())
        for batch in islice(chain.from_iterable(epochs), updates):
            self._update(batch)
        float(self.sums[0, 0])  # waits for the device
        return time.perf_counter() - started

    def _epoch(self) -> None:
        left = min(self.steps - self.step, self.total - self.updates)
        end = self.step + left
        label = f"epoch {self.epoch + 1}/{self.recipe.epochs}"
        self.waiting.take(), self.exchange.clock.take()
        started = time.perf_counter()
        for batch in self.context.progress(
            self.waiting.items(islice(self._batches(), left)), label=label, total=left
        ):
            self._update(batch)
            self.step += 1
            if self.step % STALL_STEPS == 0:
                self._watch()
            if self.step < end and self._due():
                self._assemble()
                self._save()
        self._require_numbers()  # waits for the device
        self._log_times(time.perf_counter() - started)
        self._finish_epoch()

    def _due(self) -> bool:
        """Whether to save now. Processes that put a network together for that must be of one mind, which takes an exchange."""
        if self.part is self.network:
            return self.context.checkpoint.due()
        if self.step % DUE_STEPS:
            return False
        return bool(
            self.exchange.sum(
                torch.tensor(float(self.context.checkpoint.due()), device=self.context.device)
            )
        )

    def _log_times(self, seconds: float) -> None:
        """Shares of an epoch: waiting for images, exchanging with other processes (and waiting for them), and the rest. On GPUs the host may
        wait for images while the device waits for others: what both did at once leaves no more for the rest than nothing.
        """
        data, exchange = self.waiting.take() / seconds, self.exchange.clock.take() / seconds
        for name, share in {
            "data": data,
            "exchange": exchange,
            "compute": max(0.0, 1 - data - exchange),
        }.items():
            self.context.log(f"time/{name}", share, self.epoch)

    def _batches(self) -> Iterator[Batch]:
        """What is left of this epoch, and an incomplete batch."""
        return self.train.shuffled(
            self.batch,
            seed=self.order,
            epoch=self.epoch,
            start=self.step,
            device=self.context.device,
        )

    def _update(self, batch: Batch) -> None:
        """One step on this process's share of a batch. The host waits for nothing here."""
        assert isinstance(batch.images, torch.Tensor)  # squares are all of one size
        rank, world = self.context.rank, self.context.world_size
        labels = self.labels[batch.index[rank::world] if self.sees_all else batch.index]
        noise = (
            BatchNoise(self.noise, self.batch)
            if self.sees_all
            else BatchNoise(self.noise, self.batch, rank=rank, world_size=world)
        )
        inputs = batch.images
        for step in self.task.augment:
            inputs = step(inputs, noise)
        with mixed_precision(self.context.device, self.recipe.precision):
            logits = wide(self.part(inputs, noise))  # of this process's images
            loss = F.cross_entropy(logits, labels, reduction="sum") / self.batch
        loss.backward()
        shared = self.optimizer.shared
        shared[-2] = loss.detach()
        shared[-1] = (logits.detach().argmax(1) != labels).sum()
        self.exchange.sum(shared)
        self.sums[self.step] = shared[-2:]
        self.optimizer.step(self.schedule.rate(self.updates))

    def _finish_epoch(self) -> None:
        self._assemble()
        sums = self.sums[: self.step]
        loss = float(sums[:, 0].mean())
        train_error = 100 * float(sums[:, 1].sum()) / (self.step * self.batch)
        tune_error = None if self.task.tune is None else self._error(self.task.tune)
        self.context.log("train/loss", loss, self.epoch)
        self.context.log("train/top1_error", train_error, self.epoch)
        self.context.log("lr", self.schedule.rate(self.updates - 1), self.epoch)
        if tune_error is not None:
            self.context.log("val/top1_error", tune_error, self.epoch)
            if self.stopping:
                self.stopping.see(tune_error, self.updates, self.network)
        if not self._stalled(loss):
            self.schedule.after_epoch(tune_error)
        self.epoch, self.step = self.epoch + 1, 0
        self._save()

    def _watch(self) -> None:
        """Within a long epoch: stop when the loss is no longer a number, warn of a stalled start as soon as it shows."""
        self._require_numbers()
        if self.updates == STALL_STEPS:
            loss = float(self.sums[self.step - STALL_STEPS // 4 : self.step, 0].mean())
            if self._guessing(loss):
                self._warn(loss)

    def _stalled(self, loss: float) -> bool:
        """Whether the network still guesses all classes alike after this epoch. A plateau is then no reason to lower the rate. It is called a
        stalled start from STALL_STEPS on.
        """
        guessing = self._guessing(loss)
        if guessing and self.updates >= STALL_STEPS:
            self._warn(loss)
            self.stalled += 1
        return guessing

    def _guessing(self, loss: float) -> bool:
        """Whether the loss is that of equal guesses; of one class there is nothing to guess."""
        return self.task.train.num_classes > 1 and loss >= STALLED * math.log(
            self.task.train.num_classes
        )

    def _warn(self, loss: float) -> None:
        """Once, of a stalled start, with what to do."""
        if not self.warned:
            self.warned = True
            log.warning(
                "after %d updates the loss is %.3f, no better than equal guesses, ln(%d) = %.3f. Such a start can take long or last for ever: "
                "if it does not end, try another seed, activation=relu, another rate, or He init (alexnet: recipe=short; cuda-convnet: init=he)",
                self.updates, loss, self.task.train.num_classes, math.log(self.task.train.num_classes),
            )  # fmt: skip

    def _require_numbers(self) -> None:
        broken = (~self.sums[: self.step, 0].isfinite()).nonzero()
        if len(broken):
            step = int(broken[0])
            raise UserError(
                f"training diverged: the loss was {float(self.sums[step, 0])} at step {step + 1} of {self.steps} in epoch {self.epoch + 1}, at learning "
                f"rate {self.schedule.rate(self.epoch * self.steps + step):g}. Try a lower rate, another seed, or lrn=true or activation=relu if they were off"
            )

    @torch.inference_mode()
    def _error(self, split: Split) -> float:
        """Top-1 error in percent over all processes, one view an image."""
        labels = torch.from_numpy(split.labels).to(self.context.device)
        wrong = torch.zeros((), dtype=torch.int64, device=self.context.device)
        for batch in split.batches(self.batch, device=self.context.device):
            assert isinstance(batch.images, torch.Tensor)
            wrong += (self.task.predict(batch.images).argmax(1) != labels[batch.index]).sum()
        return 100 * int(self.context.sum(wrong)) / len(split)

    def _assemble(self) -> None:
        """Bring the whole network up to date with everybody's part."""
        if self.part is not self.network:
            _load(self.network, whole(_named(self.part), self.part.cuts, self.exchange))

    def _save(self) -> None:
        self._require_numbers()
        hand_back()
        self.context.checkpoint.save(self._progress())

    def _progress(self) -> State:
        """All that `_restore` needs. Processes that each train a part must ask together."""
        return {
            "position": torch.tensor([self.epoch, self.step, self.stalled]),
            **_named(self.network),
            **whole(self.optimizer.state(), self.part.cuts, self.exchange),
            "noise": self.noise.get_state(),
            "schedule": torch.tensor(self.schedule.state(), dtype=torch.float64),
            "sums": self.sums,
            **(self.stopping.state() if self.stopping else {}),
        }

    def _restore(self) -> None:
        saved: State | None = self.context.checkpoint.load()
        if saved is None:
            return
        if (
            saved["noise"].shape != self.noise.get_state().shape
        ):  # a generator's state is of one kind of device
            raise UserError(
                f"this run did not begin on a {self.context.device.type}; resume it on the kind of device that it began on (--device)"
            )
        self.epoch, self.step, self.stalled = (int(number) for number in saved["position"])
        arrays = {name: saved[name] for name in _named(self.network)}
        _load(self.network, arrays)
        _load(self.part, own(arrays, self.part.cuts, self.exchange))
        self.optimizer.load(own(saved, self.part.cuts, self.exchange))
        self.noise.set_state(saved["noise"])
        self.schedule.load(saved["schedule"].tolist())
        self.sums.copy_(saved["sums"])
        if self.stopping:
            self.stopping.load(saved)


def _named(network: Network) -> State:
    return {f"network.{name}": array for name, array in network.state_dict().items()}


def _load(network: Network, arrays: State) -> None:
    network.load_state_dict(
        {name.removeprefix("network."): array for name, array in arrays.items()}
    )
