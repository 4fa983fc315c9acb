"""How fast are the descriptors compared with other implementations?

Question  How many times as fast as its peer is each batched descriptor on 64 images of 256 x 256
          pixels?
          SIFT  4 bin sizes, step 4, 13,934 descriptors per image; images are blurred for each size.
                Peers: VLFeat's vl_imsmooth and vl_dsift with "fast", which leave the descriptors in
                their own buffer; OpenCV's SIFT of the same patches (a few images per round; it has
                a Gaussian window, not a flat one, and a blur of its own).
          HOG   8 x 8 cells, 9 bins, 2 x 2 blocks. Peers: scikit-image; VLFeat's vl_hog in the
                Dalal-Triggs variant, which shares votes among cells and so gives other numbers.
Protocol  One thread each. After a warm-up round, 7 rounds in which the two sides take turns; ratio
          of the median times per image. Ours gets 4 images at a time, whose SIFT descriptors are
          29 MB. Then two cores: ours with two threads, the peer as two processes with half of the
          images each. The outputs are compared in the same run before any timing.
Rule      With one thread the ratio reaches the required one, and the outputs agree.

    python -m benchmarks.descriptor_speed [WORD...]      # two minutes on two idle cores

Only rows whose name contains every word are run. VLFeat is Debian's libvlfeat-dev, OpenCV is
opencv-python-headless; a row without its peer says so.
"""

from __future__ import annotations

import os
import sys
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
from benchmarks.timing import alternated_medians
from pipelines.handcrafted.descriptors.hog import Hog
from pipelines.handcrafted.descriptors.sift import DenseSift, to_gray

Floats = NDArray[np.float32]
Agreement = tuple[str, bool]  # a few words, and whether the outputs agree well enough

IMAGES, SIDE, IMAGES_AT_ONCE = 64, 256, 4
ROUNDS = 7
CORES = 2
CELL, BINS, BLOCK = 8, 9, 2
SIFT_BINS, STEP = (4, 6, 8, 10), 4
HOG = Hog(CELL, BINS, BLOCK)
# One descriptor per size, so that each grid starts at the image's corner.
SIFT = [DenseSift(bins=(size,), step=STEP) for size in SIFT_BINS]


@dataclass(frozen=True)
class Row:
    """One comparison; images are (n, channels, 256, 256) in 0..255.

    Parameters
    ----------
    ours, peer : callable
        Describe images.
    agree : callable
        Compares the outputs for two images.
    min_ratio : float
        How many times as fast ours must be with one thread.
    peer_images : int
        Images that the peer describes in a round; each of two processes: half, but at least one.
    missing : callable
        Returns why the peer is not available here, or None.
    """

    name: str
    channels: int
    ours: Callable[[Tensor], object]
    peer: Callable[[Floats], object]
    agree: Callable[[Tensor], Agreement]
    min_ratio: float
    peer_images: int = IMAGES
    missing: Callable[[], str | None] = lambda: None


def our_hog(images: Tensor) -> None:
    for chunk in images.split(IMAGES_AT_ONCE):
        HOG(chunk)


def scikit_image_hog(images: Floats) -> Floats:
    axis = None if images.shape[1] == 1 else 0
    squeezed = images[:, 0] if axis is None else images
    cells, blocks = (CELL, CELL), (BLOCK, BLOCK)
    return np.stack(
        [hog(image, BINS, cells, blocks, "L2-Hys", channel_axis=axis) for image in squeezed]
    )


def hog_agrees(images: Tensor) -> Agreement:
    difference = float(np.abs(HOG(images).numpy() - scikit_image_hog(images.numpy())).max())
    return f"largest difference {difference:.1e}", difference <= 1e-4


def vlfeat_hog(images: Floats) -> None:
    vlfeat.hog(images, cell=CELL, orientations=BINS)


def not_compared(images: Tensor) -> Agreement:
    return "outputs not compared", True


def our_sift(images: Tensor) -> None:
    for chunk in images.split(IMAGES_AT_ONCE):
        for descriptor in SIFT:
            descriptor(chunk.expand(-1, 3, -1, -1))


def vlfeat_sift(images: Floats) -> None:
    for size in SIFT_BINS:
        vlfeat.time_dsift(vlfeat.smooth(images[:, 0], size / 6), step=STEP, bin_size=size)


def sift_agrees_with_vlfeat(images: Tensor) -> Agreement:
    pixels = to_gray(images.expand(-1, 3, -1, -1))[:, 0].numpy()
    peer = [
        vlfeat.dsift(vlfeat.smooth(pixels, size / 6), step=STEP, bin_size=size)[0]
        for size in SIFT_BINS
    ]
    cosine = float(sift_cosines(images, np.concatenate(peer, axis=1)).min())
    return f"smallest cosine {cosine:.4f}", cosine >= 0.999


def sift_cosines(images: Tensor, peer: Floats) -> Floats:
    """Return the cosine between our descriptors and the peer's, (n, descriptors)."""
    colored = images.expand(-1, 3, -1, -1)
    ours = torch.cat([descriptor(colored).descriptors for descriptor in SIFT], dim=1).numpy()
    assert ours.shape == peer.shape, (ours.shape, peer.shape)
    lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(peer, axis=-1)
    return (ours * peer).sum(-1) / np.maximum(lengths, 1e-9)


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
    """Return keypoints with the centers and widths of our patches, one list per bin size.

    OpenCV's bin is 1.5 times as wide as what it calls the keypoint's size.
    """
    import cv2

    blank = torch.zeros(1, 3, SIDE, SIDE)
    grid = []
    for size, descriptor in zip(SIFT_BINS, SIFT, strict=True):
        centers = (descriptor(blank).positions.numpy() + 0.5) * SIDE - 0.5
        grid.append([cv2.KeyPoint(float(x), float(y), size / 1.5, 0) for x, y in centers])
    return grid


def sift_agrees_with_opencv(images: Tensor) -> Agreement:
    clockwise = [0, 7, 6, 5, 4, 3, 2, 1]  # OpenCV counts orientations counterclockwise
    peer = np.stack(opencv_sift(images.numpy()))
    peer = peer.reshape(len(images), -1, 16, 8)[..., clockwise]
    cosine = float(sift_cosines(images, peer.reshape(*peer.shape[:2], 128)).mean())
    return f"mean cosine {cosine:.3f}", cosine >= 0.9


def opencv_missing() -> str | None:
    if find_spec("cv2"):
        return None
    return "OpenCV is not installed (pip install opencv-python-headless)"


ROWS = [
    Row(
        "SIFT vl_dsift fast", 1, our_sift, vlfeat_sift, sift_agrees_with_vlfeat, 1.5,
        missing=vlfeat.unavailable,
    ),
    Row(
        "SIFT OpenCV", 1, our_sift, opencv_sift, sift_agrees_with_opencv, 80,
        peer_images=4, missing=opencv_missing,
    ),
    Row("HOG gray scikit-image", 1, our_hog, scikit_image_hog, hog_agrees, 10),
    Row("HOG color scikit-image", 3, our_hog, scikit_image_hog, hog_agrees, 10),
    Row("HOG gray vl_hog", 1, our_hog, vlfeat_hog, not_compared, 1.5, missing=vlfeat.unavailable),
]  # fmt: skip


@lru_cache(maxsize=1)
def random_images(channels: int) -> Floats:
    shape = IMAGES, channels, SIDE, SIDE
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def run_peer(row: int, start: int, stop: int) -> None:
    """Describe some of the images with the peer of a row, in a worker process."""
    torch.set_num_threads(1)
    ROWS[row].peer(random_images(ROWS[row].channels)[start:stop])


def seconds_on_one_thread(row: Row) -> tuple[float, float]:
    """Return our seconds per image and the peer's."""
    torch.set_num_threads(1)
    images = random_images(row.channels)
    tensor, peer_images = torch.from_numpy(images), images[: row.peer_images]
    ours, peer = alternated_medians(
        lambda: row.ours(tensor), lambda: row.peer(peer_images), rounds=ROUNDS
    )
    return ours / IMAGES, peer / row.peer_images


def seconds_on_all_cores(row: Row, pool: ProcessPoolExecutor) -> tuple[float, float]:
    """Return our seconds per image with a thread per core, and the peer's with processes."""
    torch.set_num_threads(CORES)
    tensor = torch.from_numpy(random_images(row.channels))
    share = max(1, row.peer_images // CORES)

    def run_peers() -> None:
        starts = [core * share for core in range(CORES)]
        number = ROWS.index(row)
        futures = [pool.submit(run_peer, number, start, start + share) for start in starts]
        for future in futures:
            future.result()

    ours, peer = alternated_medians(lambda: row.ours(tensor), run_peers, rounds=ROUNDS)
    return ours / IMAGES, peer / (CORES * share)


def run_row(row: Row, pool: ProcessPoolExecutor) -> bool:
    """Measure and print one row; return whether it passes."""
    if reason := row.missing():
        print(f"{row.name:24} skipped: {reason}")
        return True
    agreement, agrees = row.agree(torch.from_numpy(random_images(row.channels)[:2]))
    cells, ratios = [], []
    for ours, peer in (seconds_on_one_thread(row), seconds_on_all_cores(row, pool)):
        ratios.append(peer / ours)
        cells.append(f"{1e3 * ours:7.2f} {1e3 * peer:8.2f} {peer / ours:6.2f}x")
    print(
        f"{row.name:24} one thread {cells[0]} (required {row.min_ratio:g}x)   "
        f"two cores {cells[1]}   {agreement}",
        flush=True,
    )
    return agrees and ratios[0] >= row.min_ratio


def main(words: list[str]) -> int:
    rows = [row for row in ROWS if all(word.lower() in row.name.lower() for word in words)]
    print(
        f"{IMAGES} images of {SIDE}x{SIDE}, ms per image (ours, peer), median of {ROUNDS} rounds; "
        f"load at the start {os.getloadavg()[0]:.1f}"
    )
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        rows_passed = [run_row(row, pool) for row in rows]
    passed = all(rows_passed)
    print(f"{'passed' if passed else 'FAILED'}; load at the end {os.getloadavg()[0]:.1f}")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
