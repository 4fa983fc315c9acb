"""What do loading and augmentation cost in training on small images?

Question  How long do whole epochs of `alexnet` on images of 32 pixels take, from drawing the order
          to writing the checkpoint, compared with a bare loop?
Arms      Epochs of the training loop: shuffling, gathering, centering, crops, flips, color noise,
          steps, sums, checkpoint. And as many steps (forward, loss, backward, update) of the same
          network on one batch in memory. The arms alternate, epoch by epoch.
Rule      At most 1.1 times the bare loop, median of the ratios.

    python -m benchmarks.epoch_speed [DATASET] [--images 45000]

DATASET is a spec or path, such as an archive of CIFAR-10; by default the pixels are random. Tune is
not scored, since a bare loop has no tune split.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.command_line import argument_parser
from benchmarks.timing import median_ratio
from harness.data.split import Split
from harness.engine.context import RunContext, RunServices
from harness.engine.device import describe_machine
from harness.engine.observer import RunObserver
from harness.errors import UserError
from harness.workspace import Workspace
from pipelines.alexnet import build
from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.optimizers import Optimizer
from pipelines.learned.precision import at_least_float32, mixed_precision

SIDE = 32  # pixels, to which the images are scaled
MAX_RATIO = 1.1


class EpochTimer(RunObserver):
    """Times each epoch of a training, and runs the bare loop between epochs.

    The training asks for a progress display at the start of each epoch.
    """

    def __init__(self, step: Callable[[], object]) -> None:
        self.step = step
        self.epoch_seconds: list[float] = []
        self.bare_seconds: list[float] = []
        self.epoch_started: float | None = None

    def end_epoch(self) -> None:
        """Record the time of the epoch that was running, if any."""
        if self.epoch_started is not None:
            self.epoch_seconds.append(time.perf_counter() - self.epoch_started)
            epoch, bare = self.epoch_seconds[-1], self.bare_seconds[-1]
            print(f"epoch {epoch:.2f} s, bare loop {bare:.2f} s", flush=True)

    def progress(
        self, items: Iterable[Any], *, label: str, total: int | None = None, unit: str = "batch"
    ) -> Iterator[Any]:
        self.end_epoch()
        assert total is not None
        started = time.perf_counter()
        for _ in range(total):
            self.step()
        self.bare_seconds.append(time.perf_counter() - started)
        self.epoch_started = time.perf_counter()
        return iter(items)


def make_bare_step(train: Split) -> Callable[[], object]:
    """Return a warmed-up training step on one batch of random pixels, as large as the recipe's."""
    design = build().design  # type: ignore[attr-defined]
    recipe = design.recipe(len(train), SIDE)
    network = design.network(train.num_classes, SIDE)
    network.initialize(recipe.init, torch.Generator().manual_seed(0))
    optimizer = Optimizer(network, recipe)
    generator = torch.Generator().manual_seed(1)
    shape = recipe.batch_size, 3, network.crop, network.crop
    images = torch.randn(*shape, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(train.num_classes, (recipe.batch_size,), generator=generator)
    noise = BatchNoise(generator, recipe.batch_size)

    def step() -> None:
        with mixed_precision(images.device, recipe.precision):
            logits = at_least_float32(network(images, noise))
        F.cross_entropy(logits, labels).backward()
        optimizer.step(0.001)

    step()
    return step


def training_split(dataset: str | None, images: int) -> Split:
    """Return this many labeled images of a dataset, or of random pixels in 10 classes."""
    if dataset:
        return Workspace.open().dataset(dataset, tune=0, limit=images).train
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, 3, SIDE, SIDE), dtype=np.uint8)
    return Split.from_arrays(pixels, rng.integers(0, 10, images))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("dataset", nargs="?", help="spec or path; default: random pixels")
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    try:
        train = training_split(arguments.dataset, arguments.images)
    except UserError as error:
        parser.error(str(error))
    timer = EpochTimer(make_bare_step(train))
    with tempfile.TemporaryDirectory() as folder:
        services = RunServices(checkpoint_folder=Path(folder), observer=timer)
        context = RunContext(services=services)
        build(epochs=arguments.epochs, flip=True, side=SIDE).fit(train, None, context)
        timer.end_epoch()
    ratio = median_ratio(timer.epoch_seconds, timer.bare_seconds)
    waiting = statistics.median(share for _, share in context.curves["time/data"])
    cpu = describe_machine(torch.device("cpu"), 1)["cpu"]
    print(
        f"{len(train):,} images, {torch.get_num_threads()} threads, {cpu}: epoch "
        f"{statistics.median(timer.epoch_seconds):.2f} s, {100 * waiting:.1f} % of it waiting for "
        f"images; bare loop {statistics.median(timer.bare_seconds):.2f} s; ratio {ratio:.3f} "
        f"(allowed: {MAX_RATIO})"
    )
    sys.exit(ratio > MAX_RATIO)


if __name__ == "__main__":
    main()
