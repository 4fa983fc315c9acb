"""The training loop, the same for one process and for many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice

import torch
from torch.nn import functional as F

from harness.contract import Batch, Context, Split, State, UserError
from pipelines.learned.augmentation import Augmentation
from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.collectives import Collectives
from pipelines.learned.device_clock import DeviceClock
from pipelines.learned.early_stopping import EarlyStopping
from pipelines.learned.gradient_sum import GradientSum
from pipelines.learned.malloc import keep_freed_memory, trim_heap
from pipelines.learned.networks.network import Network
from pipelines.learned.optimizers import Optimizer
from pipelines.learned.parallel import ParallelMode, shard, shard_network, unshard
from pipelines.learned.precision import at_least_float32, mixed_precision
from pipelines.learned.recipe import Recipe
from pipelines.learned.schedule import make_schedule
from pipelines.learned.stalled_start import StalledStart

CHECKPOINT_UPDATES = 20  # updates between checks for a due checkpoint that need an exchange
PROBE_SECONDS = 15.0  # time spent to measure the duration of an update


@dataclass(frozen=True)
class TrainingTask:
    """The data to learn from.

    Attributes
    ----------
    train, tune : Split
        Square images of one size; `tune` is None if there is no tune split.
    augment : sequence of Augmentation
        Steps from (N, 3, side, side) uint8 images to the network's input.
    predict : callable
        Returns the logits of (N, 3, side, side) uint8 images as at test time.
    """

    train: Split
    tune: Split | None
    augment: Sequence[Augmentation]
    predict: Callable[[torch.Tensor], torch.Tensor]


class Trainer:
    """One training run.

    `run` starts from the checkpoint if there is one. On a CPU it then ends, bit for bit, with the
    weights of a run without interruption.

    Parameters
    ----------
    network : Network
        Initialized, on the context's device. At the end of every epoch it has the trained weights.
    task : TrainingTask
    recipe : Recipe
    context : Context
    mode : {"data", "model", "hybrid"}
        How several processes share the work. Each trains its shard of the network; they are put
        together for tune, for checkpoints and at the end.
    """

    def __init__(
        self,
        network: Network,
        task: TrainingTask,
        recipe: Recipe,
        context: Context,
        mode: ParallelMode = "data",
    ) -> None:
        self.network, self.task, self.recipe, self.context = network, task, recipe, context
        self.batch_size = min(recipe.batch_size, len(task.train))
        self.sees_all_images = mode == "model" and context.world_size > 1
        self.train = task.train.sharded(0, 1) if self.sees_all_images else task.train
        self.collectives, self.data_clock = Collectives(context), DeviceClock(context.device)
        self.shard = shard_network(network, mode, self.collectives, self.batch_size)
        self.updates_per_epoch = recipe.updates_per_epoch(len(task.train))  # drops the remainder
        # The extras are loss and number of wrong images, which the same sum makes global.
        self.optimizer = Optimizer(self.shard, recipe, extras=2)
        self.gradient_sum = GradientSum(
            self.shard,
            self.optimizer,
            self.collectives,
            in_bfloat16=recipe.precision == "bfloat16",
            overlaps=mode == "data",
        )
        self.total = recipe.updates or recipe.epochs * self.updates_per_epoch
        n_tune = len(task.tune) if task.tune else 0
        self.schedule = make_schedule(recipe, self.updates_per_epoch, n_tune)
        stops_early = recipe.updates and task.tune is not None
        self.stopping = EarlyStopping(self.total) if stops_early else None
        seeds = torch.Generator().manual_seed(context.seed)
        self.order_seed, noise_seed = torch.randint(2**62, (2,), generator=seeds).tolist()
        self.noise = torch.Generator(context.device).manual_seed(noise_seed)
        self.epoch, self.step = 0, 0  # the step is the number of updates in this epoch
        self.stalled_start = StalledStart(task.train.labels)
        self.labels = torch.from_numpy(task.train.labels).to(context.device)
        # Loss and number of wrong images of each update of this epoch.
        self.sums = torch.zeros(self.updates_per_epoch, 2, device=context.device)

    @property
    def updates(self) -> int:
        """Number of updates done."""
        return self.epoch * self.updates_per_epoch + self.step

    def run(self) -> None:
        """Train to the end.

        Raises
        ------
        UserError
            If the loss is no longer a number.
        """
        self._restore()
        with keep_freed_memory(self.context.device):
            while self.updates < self.total and not self._should_stop():
                self._train_epoch()
        if self.stopping:
            self.context.note(self.stopping.restore_best(self.network))
        if self.stalled_start.note:
            self.context.note(self.stalled_start.note)

    def _should_stop(self) -> bool:
        # Judged by the last full epoch, so that a run resumed within an epoch stops where an
        # uninterrupted one does.
        updates = self.epoch * self.updates_per_epoch
        return self.stopping is not None and self.stopping.should_stop(updates)

    def _train_epoch(self) -> None:
        updates = min(self.updates_per_epoch - self.step, self.total - self.updates)
        end = self.step + updates
        label = f"epoch {self.epoch + 1}/{self.recipe.epochs}"
        self.data_clock.take(), self.collectives.clock.take()
        started = time.perf_counter()
        batches = self.data_clock.time_items(islice(self._batches(), updates))
        for batch in self.context.progress(batches, label=label, total=updates):
            self._update(batch)
            self.step += 1
            if self.step % self.stalled_start.due == 0:
                self._check_loss()
            if self.step < end and self._checkpoint_is_due():
                self._update_network()
                self._save()
        self._require_finite_loss()  # waits for the device
        self._log_times(time.perf_counter() - started)
        self._finish_epoch()

    def _batches(self) -> Iterator[Batch]:
        """Yield the batches that are left of this epoch, then an incomplete one."""
        return self.train.shuffled(
            self.batch_size,
            seed=self.order_seed,
            epoch=self.epoch,
            start=self.step,
            device=self.context.device,
        )

    def _update(self, batch: Batch) -> None:
        """Do one update with this process's share of a batch, without waiting for the device."""
        assert isinstance(batch.images, torch.Tensor)  # squares have one size
        rank, world_size = self.context.rank, self.context.world_size
        index = batch.index
        noise = BatchNoise(self.noise, self.batch_size, rank=rank, world_size=world_size)
        if self.sees_all_images:
            index, noise = index[rank::world_size], noise.full_batch
        labels = self.labels[index]
        inputs = batch.images
        for augment in self.task.augment:
            inputs = augment(inputs, noise)
        with mixed_precision(self.context.device, self.recipe.precision):
            logits = at_least_float32(self.shard(inputs, noise))  # of this process's images
            loss = F.cross_entropy(logits, labels, reduction="sum") / self.batch_size
        extras = self.optimizer.all_reduce_buffer[-2:]
        extras[0] = loss.detach()
        extras[1] = (logits.detach().argmax(1) != labels).sum()
        loss.backward()
        self.gradient_sum.finish()
        self.sums[self.step] = extras
        self.optimizer.step(self.schedule.lr(self.updates))

    def _finish_epoch(self) -> None:
        self._update_network()
        sums = self.sums[: self.step]
        loss = float(sums[:, 0].mean())
        train_error = 100 * float(sums[:, 1].sum()) / (self.step * self.batch_size)
        tune_error = None if self.task.tune is None else self._error(self.task.tune)
        self.context.log("train/loss", loss, self.epoch)
        self.context.log("train/top1_error", train_error, self.epoch)
        self.context.log("lr", self.schedule.lr(self.updates - 1), self.epoch)
        if tune_error is not None:
            self.context.log("val/top1_error", tune_error, self.epoch)
            if self.stopping:
                self.stopping.update(tune_error, self.updates, self.network)
        # While the network still guesses, a plateau is no reason to lower the learning rate.
        if not self.stalled_start.check_epoch(loss, self.updates):
            self.schedule.after_epoch(tune_error)
        self.epoch, self.step = self.epoch + 1, 0
        self._save()

    @torch.inference_mode()
    def _error(self, split: Split) -> float:
        """Return the top-1 error in percent over all processes, with one view per image."""
        labels = torch.from_numpy(split.labels).to(self.context.device)
        wrong = torch.zeros((), dtype=torch.int64, device=self.context.device)
        for batch in split.batches(self.batch_size, device=self.context.device):
            assert isinstance(batch.images, torch.Tensor)
            wrong += (self.task.predict(batch.images).argmax(1) != labels[batch.index]).sum()
        return 100 * int(self.context.sum(wrong)) / len(split)

    def _log_times(self, seconds: float) -> None:
        """Log the shares of an epoch's time that data, exchange and computation took.

        Waiting for other processes counts as exchange. On GPUs the host may wait for images while
        the device exchanges, so the first two can add up to more than 1.
        """
        data = self.data_clock.take() / seconds
        exchange = self.collectives.clock.take() / seconds
        compute = max(0.0, 1 - data - exchange)
        for name, share in (("data", data), ("exchange", exchange), ("compute", compute)):
            self.context.log(f"time/{name}", share, self.epoch)

    # Failing runs

    def _check_loss(self) -> None:
        """Raise if the loss is no longer a number, and warn of a stalled start, within an epoch."""
        self._require_finite_loss()
        due = self.stalled_start.due
        if self.updates == due:
            loss = float(self.sums[self.step - due // 4 : self.step, 0].mean())
            self.stalled_start.check(loss, self.updates)

    def _require_finite_loss(self) -> None:
        broken = (~self.sums[: self.step, 0].isfinite()).nonzero()
        if len(broken):
            step = int(broken[0])
            lr = self.schedule.lr(self.epoch * self.updates_per_epoch + step)
            raise UserError(
                f"training diverged: the loss was {float(self.sums[step, 0])} at step {step + 1} "
                f"of {self.updates_per_epoch} in epoch {self.epoch + 1}, at learning rate {lr:g}. "
                "Try a lower lr, another seed, or lrn=true or activation=relu if they were off"
            )

    # Checkpoints

    def _checkpoint_is_due(self) -> bool:
        if self.shard is self.network:
            return self.context.checkpoint.due()
        # All processes must decide alike to put their shards together, which takes an exchange.
        if self.step % CHECKPOINT_UPDATES:
            return False
        due = torch.tensor(float(self.context.checkpoint.due()), device=self.context.device)
        return bool(self.collectives.sum(due))

    def _update_network(self) -> None:
        """Copy the weights of all processes' shards to the network."""
        if self.shard is not self.network:
            arrays = _named_arrays(self.shard)
            _load(self.network, unshard(arrays, self.shard.shard_dims, self.collectives))

    def _save(self) -> None:
        self._require_finite_loss()
        trim_heap()  # saving needs memory beside that of a training step
        self.context.checkpoint.save(self._progress())

    def _progress(self) -> State:
        """Return everything that `_restore` needs; all processes with shards must call it."""
        slots = unshard(self.optimizer.state(), self.shard.shard_dims, self.collectives)
        return {
            "position": torch.tensor([self.epoch, self.step, self.stalled_start.epochs]),
            **_named_arrays(self.network),
            **slots,
            "noise": self.noise.get_state(),
            "schedule": torch.tensor(self.schedule.state(), dtype=torch.float64),
            "sums": self.sums,
            **(self.stopping.state() if self.stopping else {}),
        }

    def _restore(self) -> None:
        saved: State | None = self.context.checkpoint.load()
        if saved is None:
            return
        # The size of a generator's state depends on the kind of device.
        if saved["noise"].shape != self.noise.get_state().shape:
            raise UserError(
                f"this run did not begin on a {self.context.device.type}: resume it on the kind of "
                "device on which it began (--device)"
            )
        self.epoch, self.step, self.stalled_start.epochs = saved["position"].tolist()
        arrays = {name: saved[name] for name in _named_arrays(self.network)}
        _load(self.network, arrays)
        _load(self.shard, shard(arrays, self.shard.shard_dims, self.collectives))
        self.optimizer.load(shard(saved, self.shard.shard_dims, self.collectives))
        self.noise.set_state(saved["noise"])
        self.schedule.load(saved["schedule"].tolist())
        self.sums.copy_(saved["sums"])
        if self.stopping:
            self.stopping.load(saved)

    # Probes

    def seconds_per_update(self) -> float:
        """Return the measured duration of an update, loading included.

        Trains the network for some updates, so it is meant for a trainer that is not run.
        """
        with keep_freed_memory(self.context.device):
            self._time_updates(1)  # warms up
            seconds = self._time_updates(2) / 2
            wanted = torch.tensor(PROBE_SECONDS / seconds, device=self.context.device)
            updates = max(2, int(self.context.broadcast(wanted)))
            return self._time_updates(updates) / updates

    @property
    def checkpoint_bytes(self) -> int:
        """Size of a checkpoint after the first epoch, when there are best weights."""
        arrays = list(self._progress().values())
        if self.stopping and not self.stopping.best_weights:
            arrays += self.network.state_dict().values()
        return sum(array.nbytes for array in arrays)

    def _time_updates(self, updates: int) -> float:
        """Return the seconds that some updates take, over several epochs if need be."""
        started = time.perf_counter()
        epochs = (islice(self._batches(), self.updates_per_epoch) for _ in count())
        for batch in islice(chain.from_iterable(epochs), updates):
            self._update(batch)
        float(self.sums[0, 0])  # waits for the device
        return time.perf_counter() - started


def _named_arrays(network: Network) -> State:
    return {f"network.{name}": array for name, array in network.state_dict().items()}


def _load(network: Network, arrays: State) -> None:
    network.load_state_dict(
        {name.removeprefix("network."): array for name, array in arrays.items()}
    )
