"""How fast are the descriptors beside their peers? `python -m benchmarks.speed_descriptors`, about a minute.

Question  how many times faster than scikit-image is the batched HOG on 64 images of 256 x 256 pixels (8 x 8 cells, 9 bins, 2 x 2
          blocks)?
Protocol  one thread each; a warm-up round, then 7 rounds in which the two sides take turns; the ratio of the median times.
          The outputs of the two sides are compared in the same process before any clock starts.
Rule      at least 10 times as fast, outputs within 1e-4.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from skimage.feature import hog

from pipelines.handcrafted.descriptors.hog import Hog

IMAGES, SIDE, CELL, BINS, BLOCK = 64, 256, 8, 9, 2
ROUNDS = 7
TOLERANCE = 1e-4
LEAST_RATIO = 10


def peer(images: np.ndarray) -> np.ndarray:
    """scikit-image on (n, channels, height, width) float32, one image after the other."""
    axis = None if images.shape[1] == 1 else 0
    squeezed = images[:, 0] if axis is None else images
    return np.stack([hog(image, BINS, (CELL, CELL), (BLOCK, BLOCK), "L2-Hys", channel_axis=axis) for image in squeezed])


def medians(*sides: Callable[[], object]) -> list[float]:
    """Median seconds of each side over alternated rounds."""
    times: list[list[float]] = [[] for _ in sides]
    for number in range(ROUNDS + 1):
        for side, record in zip(sides, times, strict=True):
            started = time.perf_counter()
            side()
            if number:  # the first round warms up
                record.append(time.perf_counter() - started)
    return [statistics.median(record) for record in times]


def main() -> int:
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    ours = Hog(CELL, BINS, BLOCK)
    print(
        f"HOG, {IMAGES} images of {SIDE}x{SIDE}, {CELL}x{CELL} cells, {BINS} bins, {BLOCK}x{BLOCK} blocks, one thread, median of {ROUNDS}"
    )
    passed = True
    for name, channels in (("grey", 1), ("colour", 3)):
        images = random.integers(0, 256, (IMAGES, channels, SIDE, SIDE)).astype(np.float32)
        tensor = torch.from_numpy(images)
        difference = float(np.abs(ours(tensor).numpy() - peer(images)).max())
        fast, slow = medians(lambda: ours(tensor), lambda: peer(images))  # noqa: B023 (called before the next turn)
        passed &= slow / fast >= LEAST_RATIO and difference <= TOLERANCE
        print(
            f"{name:7} ours {1e3 * fast:8.1f} ms   scikit-image {1e3 * slow:8.1f} ms   {slow / fast:5.1f}x   difference {difference:.1e}"
        )
    print("passed" if passed else f"FAILED: at least {LEAST_RATIO}x and a difference of at most {TOLERANCE} are asked for")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
