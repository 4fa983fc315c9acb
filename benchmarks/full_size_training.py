"""Does the full network train in the memory of a small machine, and resume? `python -m benchmarks.full_size_steps [PHOTOGRAPHS] [--steps 60]`

Question  peak memory of a process that trains `alexnet,recipe=2012` (256 pixels, crops of 224, 1,000 classes) on one batch of 128 images, over
          and over; whether the loss falls, or the watch for stalled starts says that it does not; whether a killed process resumes
Way       a process of its own, killed with signal 9 some steps after its checkpoint half way; a second one goes on from there to the end,
          and the losses of the steps that both have done are compared to the last bit
Decision  peak resident memory below 4 GB, checkpoint included; those losses equal; a lower loss at the end, or the warning
PHOTOGRAPHS is a tar of images; by default they are of random colors. Augmentation and dropout differ from step to step as in any training.
Accuracy is not a result: 128 images can only be learned by heart.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from signal import SIGKILL
from subprocess import PIPE, STDOUT, Popen
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.memory import peak_megabytes
from harness.data.decode import decode
from harness.data.split import Batch, Split
from harness.engine.context import FileCheckpoint, RunContext
from pipelines.alexnet import build
from pipelines.learned import train as training
from pipelines.learned.classifier import NetworkPipeline
from pipelines.learned.images import square
from pipelines.learned.train import Trainer

BATCH, CLASSES, SIDE = 128, 1000, 256
LIMIT = 4e9  # bytes
AFTER = 2  # steps between the checkpoint and the kill


class OneBatch(Split):
    """The images of `first`, again in every batch of an epoch of so many steps."""

    def __init__(self, first: Split, steps: int) -> None:
        rows = np.tile(np.arange(len(first)), steps)
        keys = np.array([f"{i:016x}" for i in range(len(rows))])
        super().__init__(
            keys=keys, labels=first.labels[rows], class_names=first.class_names, images=first.images, preparation=first.preparation, rows=rows
        )  # fmt: skip

    def shuffled(
        self, size: int, *, start: int = 0, device: torch.device | str = "cpu", **options: Any
    ) -> Iterator[Batch]:
        return self.batches(size, device=device, order=np.arange(start * size, len(self)))


class OneBatchPipeline(NetworkPipeline):
    """Its one epoch has `steps` steps, all on the same images."""

    steps: int
    trainer: Trainer

    def _looked_at(self, train: Split, *others: Any, **options: Any) -> tuple[Split, Split | None]:
        squares, tune = super()._looked_at(train, *others, **options)
        return OneBatch(squares, self.steps), tune

    def _trainer(self, *parts: Any) -> Trainer:
        self.trainer = super()._trainer(*parts)
        return self.trainer

    def told(self, items: Iterable[Any], **options: Any) -> Iterator[Any]:
        """The context's progress: a line a step, `step NUMBER LOSS SECONDS PEAK`, checkpoint included."""
        for item in items:
            started = time.perf_counter()
            yield item
            done = self.trainer.step
            loss, seconds = float(self.trainer.sums[done - 1, 0]), time.perf_counter() - started
            peak = round(peak_megabytes(resource.getrusage(resource.RUSAGE_SELF)) * 2**20)
            print(f"step {done} {loss!r} {seconds:.2f} {peak}", flush=True)


class Halfway(FileCheckpoint):
    """Due once."""

    def __init__(self, folder: Path, context: RunContext, pipeline: OneBatchPipeline) -> None:
        super().__init__(folder, context)
        self.pipeline = pipeline

    def due(self) -> bool:
        return self.pipeline.trainer.step == self.pipeline.steps // 2


def photographs(path: Path | None) -> torch.Tensor:
    """uint8 (BATCH, 3, SIDE, SIDE)."""
    if path is None:
        colors = torch.rand(BATCH, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return (255 * F.interpolate(colors, (SIDE, SIDE), mode="bicubic").clamp(0, 1)).byte()
    with tarfile.open(path) as archive:
        files = islice(
            (content for m in archive if m.isfile() and (content := archive.extractfile(m))), BATCH
        )
        images = [square(decode(file.read())[None], SIDE) for file in files]
    return torch.cat(list(islice(cycle(images), BATCH)))


def train_on(folder: Path, photos: Path | None, steps: int) -> None:
    """From the checkpoint in `folder`, or from the start."""
    training.STALL_STEPS = min(
        training.STALL_STEPS, max(4, steps)
    )  # so that the watch looks at the last quarter when all is done
    labels = np.random.default_rng(0).integers(0, CLASSES, BATCH)
    images = Split.from_arrays(
        photographs(photos), labels, class_names=[str(label) for label in range(CLASSES)]
    )
    plain: Any = build(recipe="2012", epochs=1, flip=True)
    pipeline = OneBatchPipeline(plain.design, plain.sight)
    pipeline.steps = steps
    context = RunContext(progress=pipeline.told)
    context.checkpoint = Halfway(folder, context, pipeline)
    pipeline.fit(
        images, images.take(np.arange(8)), context
    )  # 8 for the plateau, which is judged once, after all steps


@dataclass
class Process:
    """What a process did until it ended or was killed: losses and seconds by step, peak resident bytes, whether it warned of a stall."""

    losses: dict[int, float] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    peak: int = 0
    warned: bool = False


def process(folder: Path, photos: Path | None, steps: int, *, until: int | None = None) -> Process:
    """One that trains; killed after step `until`."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.full_size_steps",
        "--steps",
        str(steps),
        "--work",
        str(folder),
    ]
    done = Process()
    with Popen(
        [*command, *([str(photos)] if photos else [])], stdout=PIPE, stderr=STDOUT, text=True
    ) as child:
        assert child.stdout
        for line in child.stdout:
            print(line, end="", flush=True)
            done.warned |= "no better than equal guesses" in line
            if line.startswith("step "):
                step, loss, seconds, peak = line.split()[1:]
                done.losses[int(step)], done.seconds[int(step)], done.peak = (
                    float(loss),
                    float(seconds),
                    int(peak),
                )
                if int(step) == until:
                    child.kill()
    if child.returncode != (0 if until is None else -SIGKILL):
        sys.exit(f"the training process ended with {child.returncode}")
    return done


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        train_on(arguments.work, arguments.photographs, arguments.steps)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder, half = Path(temporary), arguments.steps // 2
        killed = process(
            folder,
            arguments.photographs,
            arguments.steps,
            until=min(half + AFTER, arguments.steps - 1),
        )
        resumed = process(folder, arguments.photographs, arguments.steps)
    again = sorted(killed.losses.keys() & resumed.losses.keys())
    equal = bool(again) and all(killed.losses[step] == resumed.losses[step] for step in again)
    losses, peak = killed.losses | resumed.losses, max(killed.peak, resumed.peak)
    first, last = losses[1], statistics.mean(list(losses.values())[-5:])
    seconds = statistics.median([*killed.seconds.values(), *resumed.seconds.values()])
    print(
        f"{len(losses)} steps of {BATCH} images, {seconds:.1f} s a step (median) with {torch.get_num_threads()} threads\n"
        f"memory   {peak / 1e9:.2f} GB resident at most, allowed {LIMIT / 1e9:.0f}: {'reached' if peak < LIMIT else 'MISSED'}\n"
        f"loss     {first:.3f} at first, {last:.3f} at last (mean of 5): {'falls' if last < first else 'warned of' if resumed.warned else 'MISSED'}\n"
        f"resumed  after step {half}, killed after {max(killed.losses)}; losses of steps {', '.join(map(str, again))}: "
        f"{'bit-equal' if equal else 'MISSED, they differ'}"
    )
    sys.exit(not (peak < LIMIT and equal and (last < first or resumed.warned)))


if __name__ == "__main__":
    main()
