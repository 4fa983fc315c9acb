"""Does memory grow with the number of images if the SVM is streamed?

Question  What are the peak memory and the seconds per image of fitting `vgg2012` with its streamed
          solver on 5,000, 10,000 and 100,000 generated images of 96 x 96 pixels in 10 classes?
Protocol  Each size runs in its own process with an empty cache. Small settings (SPEC) give the same
          number of features at every size; C is fixed and no image is flipped. Images are generated
          when they are read, as a prepared dataset is not held in memory either. The smaller two
          sizes alternate for ROUNDS rounds, and their medians count. The seconds of the codebooks
          (PCA, Gaussians, product quantizer) are printed and left out: they are fitted on the same
          number of images at every size and dominate a small fit, and how many iterations EM needs
          for another sample changes them by more than the images do.
Rule      The peak at the largest size is within 10 % of that at the middle one. The seconds per
          additional image from the middle to the largest size are within 20 % of those from the
          smallest to the middle.

    python -m benchmarks.streamed_svm_memory      # half an hour on two cores
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.command_line import argument_parser
from benchmarks.peak_memory import own_peak_megabytes
from harness.files import load_arrays

SPEC = "vgg2012,components=16,step=8,solver=streamed,c=10,flip=false"
CLASSES, SIDE = 10, 96
SIZES = (5_000, 10_000, 100_000)
ROUNDS = 3
MAX_PEAK_GROWTH, MAX_TIME_CHANGE = 0.10, 0.20


class GeneratedImages:
    """Gratings with noise, whose direction shows the class; image `i` is always the same."""

    in_memory = False
    image_size: tuple[int, int] | None = (SIDE, SIDE)

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack([self._image(int(row)) for row in rows]))

    def _image(self, row: int) -> np.ndarray:
        """Return (3, SIDE, SIDE) uint8."""
        y, x = np.mgrid[:SIDE, :SIDE] / SIDE
        rng, angle = np.random.default_rng(row), (row % CLASSES) * np.pi / CLASSES
        across = x * np.cos(angle) + y * np.sin(angle)
        grating = np.sin(2 * np.pi * (6 + row % 3) * across + rng.uniform(0, 6))
        noise = rng.integers(0, 128, (3, SIDE, SIDE), dtype=np.uint8)
        return noise + (64 + 60 * grating).astype(np.uint8)


@dataclass(frozen=True)
class FitCost:
    """What a fit cost.

    Parameters
    ----------
    seconds, codebook_seconds : float
        The whole fit, and the codebooks alone.
    """

    peak_megabytes: float
    seconds: float
    codebook_seconds: float

    @property
    def streamed_seconds(self) -> float:
        return self.seconds - self.codebook_seconds


def fit(count: int, costs: multiprocessing.Queue[FitCost]) -> None:
    """Fit the pipeline to `count` images and put the cost in the queue."""
    from harness.data.split import Split
    from harness.engine.cache import Cache
    from harness.engine.context import RunContext, RunServices
    from harness.registry import open_registry

    train = Split(
        keys=np.array([hashlib.sha256(str(i).encode()).hexdigest()[:16] for i in range(count)]),
        labels=np.arange(count) % CLASSES,
        class_names=[str(label) for label in range(CLASSES)],
        images=GeneratedImages(count),
        preparation="generated",
    )
    pipeline = open_registry().resolve("pipeline", SPEC).make()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = RunContext(services=RunServices(cache=Cache(folder, "benchmark")))
        started = time.perf_counter()
        pipeline.fit(train, None, context)
        seconds = time.perf_counter() - started
        costs.put(FitCost(own_peak_megabytes(), seconds, codebook_seconds(folder)))


def codebook_seconds(cache: Path) -> float:
    """Return the seconds that the codebook stages in the cache took."""
    headers = [load_arrays(path)[1] for path in cache.glob("*.safetensors")]
    return sum(
        float(header["seconds"])
        for header in headers
        if json.loads(header["key"])["stage"] == "codebook"
    )


def measure_fit(count: int) -> FitCost:
    """Fit in a new process and return the cost."""
    spawn = multiprocessing.get_context("spawn")
    costs = spawn.Queue()
    process = spawn.Process(target=fit, args=(count, costs))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the fit of {count:,} images ended with exit code {process.exitcode}")
    cost = costs.get()
    print(
        f"{count:>9,} images: peak memory {cost.peak_megabytes:,.0f} MB, {cost.seconds:,.1f} s, "
        f"of which codebooks {cost.codebook_seconds:,.1f} s",
        flush=True,
    )
    return cost


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs=3, default=SIZES, help="numbers of images, ascending"
    )
    small, middle, large = parser.parse_args().sizes
    small_costs, middle_costs = [], []
    for _ in range(ROUNDS):
        small_costs.append(measure_fit(small))
        middle_costs.append(measure_fit(middle))
    largest = measure_fit(large)
    small_seconds = statistics.median(cost.streamed_seconds for cost in small_costs)
    middle_seconds = statistics.median(cost.streamed_seconds for cost in middle_costs)
    middle_peak = statistics.median(cost.peak_megabytes for cost in middle_costs)
    first = (middle_seconds - small_seconds) / (middle - small)
    second = (largest.streamed_seconds - middle_seconds) / (large - middle)
    growth, change = largest.peak_megabytes / middle_peak - 1, second / first - 1
    print(
        f"peak memory {100 * growth:+.1f} %; {1e3 * first:.2f} then {1e3 * second:.2f} ms per "
        f"additional image: {100 * change:+.0f} %"
    )
    passed = growth <= MAX_PEAK_GROWTH and abs(change) <= MAX_TIME_CHANGE
    allowed = f"allowed {MAX_PEAK_GROWTH:.0%} and {MAX_TIME_CHANGE:.0%}"
    print("passed" if passed else f"FAILED: {allowed}")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
