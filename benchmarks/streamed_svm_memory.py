"""Does memory grow with the number of images when the SVM is streamed? `python -m benchmarks.streamed_memory`: half an hour on two cores.

Question  what are the peak memory and the seconds an image of fitting `vgg2012` with its streamed solver on 5,000, 10,000 and 100,000
          generated images of 96 x 96 pixels in 10 classes?
Protocol  each size in a process of its own with an empty cache; small settings (SPEC), whose features are as many for every size; C fixed,
          no mirrored images. Images are generated when they are read: what a store would map is not in memory either. The smaller two
          take turns, ROUNDS of each, and their medians count. The seconds of the codebooks (PCA, Gaussians, product quantizer), which
          are learned from as many images at every size and take most of a small fit, are told and left out: how often EM goes over
          another sample moves them by more than the images do.
Rule      the peak at the largest size is within 10 % of that at the middle one, and the seconds that an image more costs from the middle
          to the largest are within 20 % of those from the smallest to the middle.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.memory import peak_megabytes
from harness.files import load_arrays

SPEC = "vgg2012,components=16,step=8,solver=streamed,c=10,flip=false"
CLASSES, SIDE = 10, 96
SIZES = (5_000, 10_000, 100_000)
ROUNDS = 3


class Generated:
    """Noise over gratings whose direction and pitch tell the class; image `i` is the same whenever it is read."""

    image_size: tuple[int, int] | None = (SIDE, SIDE)

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, rows: np.ndarray) -> torch.Tensor:
        y, x = np.mgrid[:SIDE, :SIDE] / SIDE
        images = []
        for row in rows:
            rng, angle = np.random.default_rng(int(row)), (int(row) % CLASSES) * np.pi / CLASSES
            grating = np.sin(
                2 * np.pi * (6 + row % 3) * (x * np.cos(angle) + y * np.sin(angle))
                + rng.uniform(0, 6)
            )
            noise = rng.integers(0, 128, (3, SIDE, SIDE), dtype=np.uint8)
            images.append(noise + (64 + 60 * grating).astype(np.uint8))
        return torch.from_numpy(np.stack(images))


@dataclass(frozen=True)
class Fit:
    """Peak memory in MB; seconds of all, and of the codebooks alone."""

    peak: float
    seconds: float
    codebooks: float

    @property
    def streamed(self) -> float:
        return self.seconds - self.codebooks


def fit(count: int, results: multiprocessing.Queue[Fit]) -> None:
    from harness.data.split import Split
    from harness.engine.cache import Cache
    from harness.engine.context import RunContext
    from harness.registry import Registry

    keys = np.array([hashlib.sha256(str(i).encode()).hexdigest()[:16] for i in range(count)])
    train = Split(
        keys=keys,
        labels=np.arange(count) % CLASSES,
        class_names=[str(k) for k in range(CLASSES)],
        images=Generated(count),
        preparation="generated",
    )
    _, build, values, _ = Registry().resolve("pipeline", SPEC)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        build(**values).fit(train, None, RunContext(cache=Cache(Path(folder), "benchmark")))
        seconds = time.perf_counter() - started
        results.put(
            Fit(
                peak_megabytes(resource.getrusage(resource.RUSAGE_SELF)),
                seconds,
                codebook_seconds(Path(folder)),
            )
        )


def codebook_seconds(cache: Path) -> float:
    """As the stages that are kept in the cache say."""
    kept = (load_arrays(path)[1] for path in cache.glob("*.safetensors"))
    return sum(
        float(facts["seconds"]) for facts in kept if json.loads(facts["key"])["stage"] == "codebook"
    )


def measured(count: int) -> Fit:
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    process = spawn.Process(target=fit, args=(count, results))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the fit of {count:,} images ended with exit code {process.exitcode}")
    found = results.get()
    print(
        f"{count:>9,} images: peak {found.peak:,.0f} MB, {found.seconds:,.1f} s, of it codebooks {found.codebooks:,.1f} s",
        flush=True,
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs=3, default=SIZES)
    small, middle, large = parser.parse_args().sizes
    rounds = [(measured(small), measured(middle)) for _ in range(ROUNDS)]
    first, second = (statistics.median(pair[i].streamed for pair in rounds) for i in (0, 1))
    peak, highest = statistics.median(pair[1].peak for pair in rounds), measured(large)
    marginal = (second - first) / (middle - small), (highest.streamed - second) / (large - middle)
    growth, change = highest.peak / peak - 1, marginal[1] / marginal[0] - 1
    print(
        f"peak {100 * growth:+.1f} %; {1e3 * marginal[0]:.2f} then {1e3 * marginal[1]:.2f} ms for an image more: {100 * change:+.0f} %"
    )
    passed = growth <= 0.10 and abs(change) <= 0.20
    print("passed" if passed else "FAILED: asked for 10 % and 20 %")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
