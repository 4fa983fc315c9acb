"""How fast are the descriptors beside their peers? `python -m benchmarks.speed_descriptors [WORD...]`: rows with these words in them.

Question  how many times faster than its peer is each batched descriptor on 64 images of 256 x 256 pixels?
          SIFT  4 sizes of bins, step 4, 13,934 descriptors an image, the images blurred for each size. The peers: VLFeat's
                vl_imsmooth and vl_dsift with "fast", which leave the descriptors in their own buffer; OpenCV's SIFT of the same
                patches (a few images a round; a Gaussian window, not a flat one, and a blur of its own)
          HOG   8 x 8 cells, 9 bins, 2 x 2 blocks. The peers: scikit-image; VLFeat's vl_hog, Dalal-Triggs variant, which shares
                votes among cells and so gives other numbers
Protocol  one thread each; a warm-up round, then 7 rounds in which the two sides take turns; the ratio of the median times an image.
          Ours gets 4 images at a time, whose SIFT descriptors are 29 MB. Then two cores: ours with two threads, the peer as two
          processes with half of the images each. The outputs of the two are compared in the same run before any clock starts.
Rule      with one thread the ratio is at least the one asked for, and the outputs agree. Two minutes on two idle cores.

VLFeat is Debian's libvlfeat-dev, OpenCV is opencv-python-headless; a row whose peer is not installed says so.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import hog
from torch import Tensor

from benchmarks import vlfeat
from pipelines.handcrafted.descriptors.hog import Hog
from pipelines.handcrafted.descriptors.sift import DenseSift, gray

Floats = NDArray[np.float32]
Agreement = tuple[str, bool]  # a few words, and whether it is enough

IMAGES, SIDE, AT_A_TIME = 64, 256, 4
ROUNDS = 7
CORES = 2
CELL, BINS, BLOCK = 8, 9, 2
SIFT_BINS, STEP = (4, 6, 8, 10), 4
HOG = Hog(CELL, BINS, BLOCK)
SIFT = [
    DenseSift(bins=(size,), step=STEP) for size in SIFT_BINS
]  # each for itself, so that its grid starts at the image's corner


@dataclass(frozen=True)
class Row:
    """One comparison; images are (n, channels, 256, 256) in 0..255.

    least    the ratio of times to reach with one thread
    agree    of two images
    images   that the peer describes in a round (each of two processes: half of them, but no less than one)
    missing  why there is no such peer here
    """

    name: str
    channels: int
    ours: Callable[[Tensor], object]
    peer: Callable[[Floats], object]
    agree: Callable[[Tensor], Agreement]
    least: float
    images: int = IMAGES
    missing: Callable[[], str | None] = lambda: None


def our_hog(images: Tensor) -> None:
    for some in images.split(AT_A_TIME):
        HOG(some)


def scikit_image_hog(images: Floats) -> Floats:
    axis = None if images.shape[1] == 1 else 0
    squeezed = images[:, 0] if axis is None else images
    return np.stack(
        [
            hog(image, BINS, (CELL, CELL), (BLOCK, BLOCK), "L2-Hys", channel_axis=axis)
            for image in squeezed
        ]
    )


def hog_agrees(images: Tensor) -> Agreement:
    difference = float(np.abs(HOG(images).numpy() - scikit_image_hog(images.numpy())).max())
    return f"difference {difference:.1e}", difference <= 1e-4


def vlfeat_hog(images: Floats) -> None:
    vlfeat.hog(images, cell=CELL, orientations=BINS)


def not_compared(images: Tensor) -> Agreement:
    return "not compared", True


def our_sift(images: Tensor) -> None:
    for some in images.split(AT_A_TIME):
        for descriptor in SIFT:
            descriptor(some.expand(-1, 3, -1, -1))


def vlfeat_sift(images: Floats) -> None:
    for size in SIFT_BINS:
        vlfeat.time_dsift(vlfeat.smooth(images[:, 0], size / 6), step=STEP, bin_size=size)


def sift_agrees_with_vlfeat(images: Tensor) -> Agreement:
    pixels = gray(images.expand(-1, 3, -1, -1))[:, 0].numpy()
    theirs = [
        vlfeat.dsift(vlfeat.smooth(pixels, size / 6), step=STEP, bin_size=size)[0]
        for size in SIFT_BINS
    ]
    cosine = float(sift_cosines(images, np.concatenate(theirs, axis=1)).min())
    return f"least cosine {cosine:.4f}", cosine >= 0.999


def sift_cosines(images: Tensor, theirs: Floats) -> Floats:
    ours = torch.cat(
        [descriptor(images.expand(-1, 3, -1, -1)).values for descriptor in SIFT], dim=1
    ).numpy()
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return (ours * theirs).sum(-1) / np.maximum(
        np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1), 1e-9
    )


def opencv_sift(images: Floats) -> list[Floats]:
    import cv2

    cv2.setNumThreads(1)
    return [
        np.concatenate(
            [cv2.SIFT_create().compute(image[0].astype(np.uint8), g)[1] for g in opencv_grid()]
        )
        for image in images
    ]


@lru_cache
def opencv_grid() -> list[list[object]]:
    """Keypoints on our patches' centers, as wide: OpenCV's bin is 1.5 times what it calls the keypoint's size."""
    import cv2

    blank = torch.zeros(1, 3, SIDE, SIDE)
    centers = [(descriptor(blank).positions.numpy() + 0.5) * SIDE - 0.5 for descriptor in SIFT]
    return [
        [cv2.KeyPoint(float(x), float(y), size / 1.5, 0) for x, y in at]
        for size, at in zip(SIFT_BINS, centers, strict=True)
    ]


def sift_agrees_with_opencv(images: Tensor) -> Agreement:
    # OpenCV counts directions against the clock, ours go with it.
    theirs = np.stack(opencv_sift(images.numpy())).reshape(len(images), -1, 16, 8)[
        ..., [0, 7, 6, 5, 4, 3, 2, 1]
    ]
    cosine = float(sift_cosines(images, theirs.reshape(*theirs.shape[:2], 128)).mean())
    return f"mean cosine {cosine:.3f}", cosine >= 0.9


def without_opencv() -> str | None:
    return (
        None if find_spec("cv2") else "OpenCV is not installed (pip install opencv-python-headless)"
    )


ROWS = [
    Row(
        "SIFT vl_dsift fast",
        1,
        our_sift,
        vlfeat_sift,
        sift_agrees_with_vlfeat,
        1.5,
        missing=vlfeat.unavailable,
    ),
    Row(
        "SIFT OpenCV",
        1,
        our_sift,
        opencv_sift,
        sift_agrees_with_opencv,
        80,
        images=4,
        missing=without_opencv,
    ),
    Row("HOG gray scikit-image", 1, our_hog, scikit_image_hog, hog_agrees, 10),
    Row("HOG color scikit-image", 3, our_hog, scikit_image_hog, hog_agrees, 10),
    Row("HOG gray vl_hog", 1, our_hog, vlfeat_hog, not_compared, 1.5, missing=vlfeat.unavailable),
]


@lru_cache(maxsize=1)
def pictures(channels: int) -> Floats:
    return (
        np.random.default_rng(0).integers(0, 256, (IMAGES, channels, SIDE, SIDE)).astype(np.float32)
    )


def peer_in_a_process(row: int, start: int, stop: int) -> None:
    torch.set_num_threads(1)
    ROWS[row].peer(pictures(ROWS[row].channels)[start:stop])


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


def on_one_thread(row: Row) -> tuple[float, float]:
    """Seconds an image: ours, the peer's."""
    torch.set_num_threads(1)
    images = pictures(row.channels)
    tensor = torch.from_numpy(images)
    ours, peer = medians(lambda: row.ours(tensor), lambda: row.peer(images[: row.images]))
    return ours / IMAGES, peer / row.images


def on_all_cores(row: Row, pool: ProcessPoolExecutor) -> tuple[float, float]:
    """Seconds an image: ours with a thread a core, the peer with a process a core."""
    torch.set_num_threads(CORES)
    tensor = torch.from_numpy(pictures(row.channels))
    each = max(1, row.images // CORES)

    def peers() -> None:
        parts = [
            pool.submit(peer_in_a_process, ROWS.index(row), part * each, (part + 1) * each)
            for part in range(CORES)
        ]
        for part in parts:
            part.result()

    ours, peer = medians(lambda: row.ours(tensor), peers)
    return ours / IMAGES, peer / (CORES * each)


def main(words: list[str]) -> int:
    rows = [row for row in ROWS if all(word.lower() in row.name.lower() for word in words)]
    print(
        f"{IMAGES} images of {SIDE}x{SIDE}, ms an image, median of {ROUNDS} rounds; load at the start {os.getloadavg()[0]:.1f}"
    )
    passed = True
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        for row in rows:
            if reason := row.missing():
                print(f"{row.name:24} left out: {reason}")
                continue
            words_of_agreement, agrees = row.agree(torch.from_numpy(pictures(row.channels)[:2]))
            times = [on_one_thread(row), on_all_cores(row, pool)]
            ratios = [peer / ours for ours, peer in times]
            passed &= agrees and ratios[0] >= row.least
            cells = [
                f"{1e3 * ours:7.2f} {1e3 * peer:8.2f} {ratio:6.2f}x"
                for (ours, peer), ratio in zip(times, ratios, strict=True)
            ]
            print(
                f"{row.name:24} one thread {cells[0]} (asked {row.least:g})   two cores {cells[1]}   {words_of_agreement}",
                flush=True,
            )
    print(f"{'passed' if passed else 'FAILED'}; load at the end {os.getloadavg()[0]:.1f}")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
