"""What do loading and augmentation cost in training on small images? `python -m benchmarks.epoch_speed [DATASET] [--images 45000]`

Question  wall time of whole epochs of `alexnet` on images of 32 pixels, from order to checkpoint, against a bare loop
Arms      epochs of the training loop: shuffling, gathering, centring, crops, mirroring, color noise, steps, sums, checkpoint; and as many
          steps (forward, loss, backward, update) of the same network on one batch that is in memory. Alternated, epoch by epoch
Decision  1.1 times the bare loop or less, median of the ratios
DATASET is a spec or path, such as an archive of CIFAR-10; by default images are of random pixels. Tune is not scored, as a bare loop has none.
"""

from __future__ import annotations

import argparse
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

from harness.data.load import load_dataset
from harness.data.split import Split
from harness.engine.context import RunContext
from harness.engine.device import describe_machine
from harness.errors import UserError
from pipelines.alexnet import build
from pipelines.learned.noise import BatchNoise
from pipelines.learned.optimizers import Optimizer
from pipelines.learned.precision import mixed_precision, wide

SIDE = 32  # pixels: of both networks, to which the images are brought


class Alternation:
    """The context's progress, called at the start of each epoch: times the epoch that has ended, then the bare loop."""

    def __init__(self, step: Callable[[], object]) -> None:
        self.step = step
        self.epochs: list[float] = []
        self.bare: list[float] = []
        self.started: float | None = None

    def ended(self) -> None:
        """An epoch, if one was begun."""
        if self.started is not None:
            self.epochs.append(time.perf_counter() - self.started)
            print(f"epoch {self.epochs[-1]:.2f} s, bare loop {self.bare[-1]:.2f} s", flush=True)

    def progress(
        self, items: Iterable[Any], *, label: str, total: int | None = None, unit: str = "batch"
    ) -> Iterator[Any]:
        self.ended()
        assert total is not None
        started = time.perf_counter()
        for _ in range(total):
            self.step()
        self.bare.append(time.perf_counter() - started)
        self.started = time.perf_counter()
        return iter(items)


def bare_step(train: Split) -> Callable[[], object]:
    """On one batch of random pixels, as large as the recipe's."""
    design = build().design  # type: ignore[attr-defined]
    recipe = design.recipe(len(train), SIDE)
    network = design.network(train.num_classes, SIDE)
    network.initialize(recipe.init, torch.Generator().manual_seed(0))
    optimizer = Optimizer(network, recipe)
    random = torch.Generator().manual_seed(1)
    images = torch.randn(recipe.batch, 3, network.crop, network.crop, generator=random).contiguous(
        memory_format=torch.channels_last
    )
    labels = torch.randint(train.num_classes, (recipe.batch,), generator=random)
    noise = BatchNoise(random, recipe.batch)

    def step() -> None:
        with mixed_precision(images.device, recipe.precision):
            logits = wide(network(images, noise))
        F.cross_entropy(logits, labels).backward()
        optimizer.step(0.001)

    step()  # warms up
    return step


def split(dataset: str | None, images: int) -> Split:
    if dataset:
        return load_dataset(dataset, tune=0, limit=images).train
    rng = np.random.default_rng(0)
    return Split.from_arrays(
        rng.integers(0, 256, (images, 3, SIDE, SIDE), dtype=np.uint8), rng.integers(0, 10, images)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    try:
        train = split(arguments.dataset, arguments.images)
    except UserError as error:
        parser.error(str(error))
    times = Alternation(bare_step(train))
    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(checkpoint_folder=Path(folder), progress=times.progress)
        build(epochs=arguments.epochs, flip=True, side=SIDE).fit(train, None, context)
        times.ended()
    ratio = statistics.median(
        epoch / bare for epoch, bare in zip(times.epochs, times.bare, strict=True)
    )
    waited = statistics.median(share for _, share in context.curves["time/data"])
    print(
        f"{len(train):,} images, {torch.get_num_threads()} threads, {describe_machine(torch.device('cpu'), 1)['cpu']}: "
        f"an epoch {statistics.median(times.epochs):.2f} s, {100 * waited:.1f} % of it waiting for images; "
        f"bare loop {statistics.median(times.bare):.2f} s; ratio {ratio:.3f} (at most 1.1 asked)"
    )
    sys.exit(ratio > 1.1)


if __name__ == "__main__":
    main()
