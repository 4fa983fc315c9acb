"""Does the full network train in the memory of a small machine, and does it resume exactly?

Question  What is the peak memory of a process that trains `alexnet,recipe=2012` (256 pixels, crops
          of 224, 1,000 classes) on the same batch of 128 images over and over? Does the loss fall,
          or is the stalled start reported? Does a killed process resume?
Protocol  A separate process is killed with signal 9 a few steps after its checkpoint, which is half
          way. A second process resumes from there to the end. The losses of the steps that both
          have done are compared bit by bit.
Rule      Peak resident memory below 4 GB, including the checkpoint; those losses equal; and a lower
          loss at the end, or the warning.

    python -m benchmarks.full_size_training [PHOTOGRAPHS] [--steps 60]

PHOTOGRAPHS is a tar of images; by default random colors. Augmentation and dropout differ from step
to step as in any training. Accuracy is not a result: 128 images can only be memorized.
"""

from __future__ import annotations

import argparse
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

from benchmarks.command_line import argument_parser
from benchmarks.peak_memory import own_peak_megabytes
from harness.data.decode import decode
from harness.data.split import Batch, Split
from harness.engine.context import FileCheckpoint, RunContext, RunServices
from harness.engine.observer import RunObserver
from pipelines.alexnet import build
from pipelines.learned import stalled_start
from pipelines.learned.network_pipeline import NetworkPipeline
from pipelines.learned.square_images import to_squares
from pipelines.learned.trainer import Trainer

BATCH, CLASSES, SIDE = 128, 1000, 256
MAX_BYTES = 4e9
STEPS_TO_KILL = 2  # between the checkpoint and the kill
LAST_STEPS = 5  # whose mean loss is the loss at the end


class OneBatch(Split):
    """A split whose epoch consists of `steps` batches with the same images."""

    def __init__(self, first: Split, steps: int) -> None:
        rows = np.tile(np.arange(len(first)), steps)
        super().__init__(
            keys=np.array([f"{i:016x}" for i in range(len(rows))]),
            labels=first.labels[rows],
            class_names=first.class_names,
            images=first.images,
            preparation=first.preparation,
            rows=rows,
        )

    def shuffled(
        self, size: int, *, start: int = 0, device: torch.device | str = "cpu", **options: Any
    ) -> Iterator[Batch]:
        return self.batches(size, device=device, order=np.arange(start * size, len(self)))


class OneBatchPipeline(NetworkPipeline):
    """A network that trains for one epoch of `steps` steps, all on the same images."""

    steps: int
    trainer: Trainer

    def _prepare_splits(
        self, train: Split, *others: Any, **options: Any
    ) -> tuple[Split, Split | None]:
        squares, tune = super()._prepare_splits(train, *others, **options)
        return OneBatch(squares, self.steps), tune

    def _make_trainer(self, *parts: Any) -> Trainer:
        self.trainer = super()._make_trainer(*parts)
        return self.trainer


class StepPrinter(RunObserver):
    """Prints a line per step: `step NUMBER LOSS SECONDS PEAK_BYTES`, including the checkpoint."""

    def __init__(self, pipeline: OneBatchPipeline) -> None:
        self.pipeline = pipeline

    def progress(self, items: Iterable[Any], **options: Any) -> Iterator[Any]:
        for item in items:
            started = time.perf_counter()
            yield item
            trainer, seconds = self.pipeline.trainer, time.perf_counter() - started
            loss = float(trainer.sums[trainer.step - 1, 0])
            peak_bytes = round(own_peak_megabytes() * 2**20)
            print(f"step {trainer.step} {loss!r} {seconds:.2f} {peak_bytes}", flush=True)


class HalfwayCheckpoint(FileCheckpoint):
    """A checkpoint that is due once, half way."""

    def __init__(self, folder: Path, context: RunContext, pipeline: OneBatchPipeline) -> None:
        super().__init__(folder, context)
        self.pipeline = pipeline

    def due(self) -> bool:
        return self.pipeline.trainer.step == self.pipeline.steps // 2


def load_photographs(path: Path | None) -> torch.Tensor:
    """Return the images of a tar, repeated as needed, or random colors: (BATCH, 3, SIDE, SIDE)."""
    if path is None:
        colors = torch.rand(BATCH, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return (255 * F.interpolate(colors, (SIDE, SIDE), mode="bicubic").clamp(0, 1)).byte()
    with tarfile.open(path) as archive:
        members = (member for member in archive if member.isfile())
        files = (file for member in members if (file := archive.extractfile(member)))
        images = [to_squares(decode(f.read())[None], SIDE) for f in islice(files, BATCH)]
    return torch.cat(list(islice(cycle(images), BATCH)))


def train(folder: Path, photographs: Path | None, steps: int) -> None:
    """Train in this process, from the checkpoint in `folder` if there is one."""
    # The check for stalled starts looks at the last quarter of the steps, at the end.
    stalled_start.STALL_UPDATES = min(stalled_start.STALL_UPDATES, max(4, steps))
    labels = np.random.default_rng(0).integers(0, CLASSES, BATCH)
    class_names = [str(label) for label in range(CLASSES)]
    images = Split.from_arrays(load_photographs(photographs), labels, class_names=class_names)
    alexnet: Any = build(recipe="2012", epochs=1, flip=True)
    pipeline = OneBatchPipeline(alexnet.design, alexnet.view_config)
    pipeline.steps = steps
    context = RunContext(services=RunServices(observer=StepPrinter(pipeline)))
    context.checkpoint = HalfwayCheckpoint(folder, context, pipeline)
    tune = images.take(np.arange(8))  # the plateau schedule evaluates it once, after all steps
    pipeline.fit(images, tune, context)


@dataclass
class ProcessLog:
    """What a training process did until it ended or was killed.

    Parameters
    ----------
    losses, seconds : dict of int to float
        By step.
    peak_bytes : int
        Largest resident memory.
    warned : bool
        Whether it reported a stalled start.
    """

    losses: dict[int, float] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    peak_bytes: int = 0
    warned: bool = False

    def add(self, line: str) -> int | None:
        """Record a line of output; return the number of the step if the line is about one."""
        self.warned |= "no better than guesses" in line
        if not line.startswith("step "):
            return None
        number, loss, seconds, peak_bytes = line.split()[1:]
        step = int(number)
        self.losses[step], self.seconds[step] = float(loss), float(seconds)
        self.peak_bytes = int(peak_bytes)
        return step


def train_in_process(
    folder: Path, photographs: Path | None, steps: int, *, kill_after: int | None = None
) -> ProcessLog:
    """Train in a new process, which is killed after step `kill_after`."""
    command = [sys.executable, "-m", "benchmarks.full_size_training", "--steps", str(steps)]
    command += ["--work", str(folder), *([str(photographs)] if photographs else [])]
    log = ProcessLog()
    with Popen(command, stdout=PIPE, stderr=STDOUT, text=True) as child:
        assert child.stdout
        for line in child.stdout:
            print(line, end="", flush=True)
            step = log.add(line)
            if step is not None and step == kill_after:
                child.kill()
    if child.returncode != (0 if kill_after is None else -SIGKILL):
        sys.exit(f"the training process ended with {child.returncode}")
    return log


def report(killed: ProcessLog, resumed: ProcessLog, half: int) -> bool:
    """Print what was measured and return whether all of it is as required."""
    repeated = sorted(killed.losses.keys() & resumed.losses.keys())
    is_equal = all(killed.losses[step] == resumed.losses[step] for step in repeated)
    resumes = bool(repeated) and is_equal
    losses = killed.losses | resumed.losses
    peak_bytes = max(killed.peak_bytes, resumed.peak_bytes)
    first, last = losses[1], statistics.mean(list(losses.values())[-LAST_STEPS:])
    seconds = statistics.median([*killed.seconds.values(), *resumed.seconds.values()])
    fits, falls = peak_bytes < MAX_BYTES, last < first
    trend = "falls" if falls else "stalled start reported"
    print(
        f"{len(losses)} steps of {BATCH} images, {seconds:.1f} s per step (median) with "
        f"{torch.get_num_threads()} threads\n"
        f"memory   peak {peak_bytes / 1e9:.2f} GB resident, allowed {MAX_BYTES / 1e9:.0f} GB: "
        f"{'passed' if fits else 'FAILED'}\n"
        f"loss     {first:.3f} at the first step, {last:.3f} at the end (mean of {LAST_STEPS}): "
        f"{trend if falls or resumed.warned else 'FAILED'}\n"
        f"resumed  after step {half}, killed after {max(killed.losses)}; losses of steps "
        f"{', '.join(map(str, repeated))}: {'bit-equal' if resumes else 'FAILED, they differ'}"
    )
    return fits and resumes and (falls or resumed.warned)


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "photographs", nargs="?", type=Path, help="tar of images; default: random colors"
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    photographs, steps = arguments.photographs, arguments.steps
    if arguments.work:
        train(arguments.work, photographs, steps)
        return
    half = steps // 2
    with tempfile.TemporaryDirectory() as name:
        folder, kill_after = Path(name), min(half + STEPS_TO_KILL, steps - 1)
        killed = train_in_process(folder, photographs, steps, kill_after=kill_after)
        resumed = train_in_process(folder, photographs, steps)
    sys.exit(not report(killed, resumed, half))


if __name__ == "__main__":
    main()
