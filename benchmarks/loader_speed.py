"""How fast are batches loaded, compared with torchvision?

Question  images/s of shuffled batches of 128 random 224-pixel crops with flips, and of an epoch of
          CIFAR-10 in memory.
Arms      Ours, from a dataset prepared as JPEG; torchvision's ImageFolder and DataLoader on the
          original files (Resize 256, RandomCrop, RandomHorizontalFlip); the same on our 256-pixel
          JPEGs as files. torchvision gets the best num_workers of 0 to 4, chosen in the first round
          on the same cores.
Rule      Ours at least 3 times as fast on the original files, 1.2 times on the 256-pixel files and
          10 times on CIFAR-10; medians of the ratios of rounds in which the arms alternate.

    python -m benchmarks.loader_speed SOURCE

SOURCE is a tar of JPEGs, repeated up to --images. Before anything is timed, our crops are compared
pixel by pixel with Pillow.
"""

from __future__ import annotations

import io
import statistics
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10, ImageFolder
from torchvision.transforms import Compose, PILToTensor, RandomCrop, RandomHorizontalFlip, Resize

from benchmarks.command_line import argument_parser
from benchmarks.repeated_tar import NAME, write_repeated_tar
from benchmarks.timing import timed
from harness.data import prepare as preparing
from harness.data.loader import usable_cores
from harness.data.random_draws import RandomCrop as OurRandomCrop
from harness.data.sources import open_source
from harness.data.split import Split
from harness.progress import progress

BATCH, CROP = 128, 224
WORKERS = range(5)
CIFAR_IMAGES = 50_000


@dataclass(frozen=True)
class Contest:
    """Two loaders of the same images.

    Parameters
    ----------
    min_ratio : float
        How many times as fast ours must be.
    ours : callable
        Takes the number of the epoch.
    theirs : callable
        Takes the number of workers.
    """

    name: str
    min_ratio: float
    images: int
    ours: Callable[[int], Iterable[Any]]
    theirs: Callable[[int], Iterable[Any]]


def prepare_as_jpeg(tar: Path, root: Path) -> Split:
    """Return the train split prepared as JPEG, as a large dataset is however few images it has."""
    preparing.RAW_LIMIT = 0
    return preparing.prepare(open_source(tar), root, progress=progress, name=NAME).split("train")


def write_files(split: Split, folder: Path, source: Path) -> None:
    """Write the original files of the split to `full/` and the prepared bytes to `small/`."""
    originals = {image.name: image.read() for image in open_source(source)}
    assert split.names is not None
    images: Any = split.images
    for name, label, row in zip(split.names, split.labels, split.rows, strict=True):
        contents = {"full": originals[str(name)], "small": images.stored_bytes(row).to_pybytes()}
        for kind, data in contents.items():
            path = folder / kind / f"{label:03}" / f"{row}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def check_pixels(split: Split) -> None:
    """Compare every crop of a batch with Pillow's, at the position and flip that the seed gives.

    Images smaller than the crop are skipped: they are scaled up first, and Pillow scales otherwise.
    """
    batch = next(split.shuffled(BATCH, seed=0, epoch=0, crop=OurRandomCrop(CROP), flip=True))
    rng = np.random.default_rng([0, 0])
    order = rng.permutation(len(split))
    offsets = rng.random((len(split), 2), dtype=np.float32)
    flips = rng.random(len(split), dtype=np.float32) < 0.5
    images: Any = split.images
    for i, crop in enumerate(batch.images):
        data = images.stored_bytes(split.rows[order[i]]).to_pybytes()
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        height, width = pixels.shape[:2]
        if min(height, width) < CROP:
            continue
        top = int(float(offsets[i, 0]) * (height - CROP + 1))
        left = int(float(offsets[i, 1]) * (width - CROP + 1))
        expected = pixels[top : top + CROP, left : left + CROP]
        expected = expected[:, ::-1] if flips[i] else expected
        if not np.array_equal(crop.permute(1, 2, 0).numpy(), expected):
            raise SystemExit(f"crop {i} differs from Pillow's")
    print("pixels     crops equal to Pillow's", flush=True)


def folder_loader(folder: Path, workers: int) -> DataLoader[Any]:
    steps = Compose([Resize(256), RandomCrop(CROP), RandomHorizontalFlip(), PILToTensor()])
    return DataLoader(ImageFolder(str(folder), steps), BATCH, shuffle=True, num_workers=workers)


def random_cifar_pixels() -> np.ndarray:
    """Return (n, 32, 32, 3) uint8: timing needs no download."""
    shape = CIFAR_IMAGES, 32, 32, 3
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def cifar_loader(workers: int) -> DataLoader[Any]:
    """Return torchvision's CIFAR-10, augmented, on random pixels."""
    dataset = CIFAR10.__new__(CIFAR10)
    dataset.data = random_cifar_pixels()
    dataset.targets = [i % 10 for i in range(CIFAR_IMAGES)]
    dataset.transform = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), PILToTensor()])
    dataset.target_transform = None
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=workers)


def epoch_seconds(batches: Iterable[Any]) -> float:
    """Return the seconds it takes to iterate over all batches."""
    return timed(lambda: deque(batches, maxlen=0))


def run_contest(contest: Contest, rounds: int) -> bool:
    """Alternate the two loaders, print the rates, and return whether ours is fast enough."""
    by_workers = {workers: epoch_seconds(contest.theirs(workers)) for workers in WORKERS}
    best = min(by_workers, key=lambda workers: by_workers[workers])
    n = contest.images
    epoch_seconds(contest.ours(0))
    our_rates, their_rates = [], []
    for epoch in range(1, rounds + 1):
        our_rates.append(n / epoch_seconds(contest.ours(epoch)))
        their_rates.append(n / epoch_seconds(contest.theirs(best)))
    ratios = [ours / theirs for ours, theirs in zip(our_rates, their_rates, strict=True)]
    ratio = statistics.median(ratios)
    tried = ", ".join(f"{workers}: {n / s:,.0f}" for workers, s in by_workers.items())
    print(
        f"{contest.name}: {statistics.median(our_rates):,.0f} and "
        f"{statistics.median(their_rates):,.0f} images/s, ratio {ratio:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}), at least {contest.min_ratio} required; "
        f"by num_workers {tried}",
        flush=True,
    )
    return ratio >= contest.min_ratio


def photograph_contests(tar: Path, folder: Path) -> list[Contest]:
    """Prepare the photographs and return the contests on the original and on the small files."""
    split = prepare_as_jpeg(tar, folder)
    write_files(split, folder, tar)
    check_pixels(split)

    def ours(epoch: int) -> Iterable[Any]:
        return split.shuffled(BATCH, seed=0, epoch=epoch, crop=OurRandomCrop(CROP), flip=True)

    return [
        Contest(f"{kind} files", ratio, len(split), ours, partial(folder_loader, folder / kind))
        for kind, ratio in (("full", 3.0), ("small", 1.2))
    ]


def cifar_contest() -> Contest:
    split = Split.from_arrays(random_cifar_pixels(), np.arange(CIFAR_IMAGES) % 10)
    crop = OurRandomCrop(32, pad=4)

    def ours(epoch: int) -> Iterable[Any]:
        return split.shuffled(BATCH, seed=0, epoch=epoch, crop=crop, flip=True)

    return Contest("CIFAR-10", 10.0, CIFAR_IMAGES, ours, cifar_loader)


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("source", type=Path, help="a tar of JPEGs")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    print(f"{usable_cores()} cores, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tar = write_repeated_tar(arguments.source, folder / "repeated.tar", arguments.images)
        passed = [run_contest(contest, rounds) for contest in photograph_contests(tar, folder)]
    passed.append(run_contest(cifar_contest(), max(1, rounds // 2)))
    print("passed" if all(passed) else "FAILED")
    return int(not all(passed))


if __name__ == "__main__":
    raise SystemExit(main())
