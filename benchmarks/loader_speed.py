"""How fast do batches come? `python -m benchmarks.loader_speed SOURCE`

Question    images/s of shuffled batches of 128 random 224 crops with flips, and of an in-memory CIFAR-10 epoch
Arms        ours, from a JPEG store; torchvision's ImageFolder + DataLoader on the original files (Resize 256, RandomCrop, Flip); the same on
            our 256-pixel JPEGs as files. torchvision gets the best num_workers of 0 to 4, found in the first round on the same cores.
Decision    ours at 3 x or more on the original files, 1.2 x or more on the 256-pixel files, 10 x or more on CIFAR-10; medians of the ratios
            of rounds, arms alternated
SOURCE is a tar of JPEGs, repeated up to --images. Ours are checked pixel for pixel against Pillow before anything is timed.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10, ImageFolder
from torchvision.transforms import Compose, PILToTensor, RandomCrop, RandomHorizontalFlip, Resize

from benchmarks.prepare_speed import repeated
from harness.data import prepare as preparing
from harness.data.loader import cores
from harness.data.sources import open_source
from harness.data.split import Split
from harness.progress import progress

BATCH, CROP = 128, 224
WORKERS = range(5)


def seconds(batches: Iterable[Any]) -> float:
    started = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - started


def store_split(tar: Path, root: Path) -> Split:
    """As a large set is stored: JPEG, whatever the number of images here."""
    preparing.RAW_LIMIT = 0
    return preparing.prepare(open_source(tar), root, progress=progress, name="repeated").split(
        "train"
    )


def as_files(split: Split, folder: Path, source: Path) -> None:
    """`full/` holds the original files of the split, `small/` the bytes that the store keeps."""
    originals = {image.name: image.read() for image in open_source(source)}
    assert split.names is not None
    stored = split.images.stored  # type: ignore[attr-defined]
    for name, label, row in zip(
        split.names.tolist(), split.labels.tolist(), split.rows.tolist(), strict=True
    ):
        for kind, data in (
            ("full", originals[name]),
            ("small", stored(row).to_pybytes()),
        ):
            path = folder / kind / f"{label:03}" / f"{row}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def check_pixels(split: Split) -> None:
    """Every crop of a batch is found in Pillow's decoding of the stored bytes, at the place and with the flip that the seed says."""
    batch = next(split.shuffled(BATCH, seed=0, epoch=0, crop=CROP, flip=True))
    rng = np.random.default_rng([0, 0])
    order = rng.permutation(len(split))
    places, mirrored = (
        rng.random((len(split), 2), dtype=np.float32),
        rng.random(len(split), dtype=np.float32) < 0.5,
    )
    for i, crop in enumerate(batch.images):
        data = split.images.stored(split.rows[order[i]]).to_pybytes()  # type: ignore[attr-defined]
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        if (
            min(pixels.shape[:2]) < CROP
        ):  # scaled up until the crop fits: Pillow's own resize gives other pixels
            continue
        top, left = (
            int(float(place) * (side - CROP + 1))
            for place, side in zip(places[i], pixels.shape, strict=False)
        )
        expected = pixels[top : top + CROP, left : left + CROP]
        expected = expected[:, ::-1] if mirrored[i] else expected
        assert np.array_equal(crop.permute(1, 2, 0).numpy(), expected), (
            f"crop {i} differs from Pillow's"
        )
    print("pixels     crops equal to Pillow's", flush=True)


def torchvision_loader(folder: Path, workers: int) -> DataLoader[Any]:
    steps = Compose([Resize(256), RandomCrop(CROP), RandomHorizontalFlip(), PILToTensor()])
    return DataLoader(ImageFolder(str(folder), steps), BATCH, shuffle=True, num_workers=workers)


def cifar_loader(workers: int) -> DataLoader[Any]:
    """torchvision's dataset on random pixels: the download is not needed to time it."""
    dataset = CIFAR10.__new__(CIFAR10)
    dataset.data = np.random.default_rng(0).integers(0, 256, (50_000, 32, 32, 3), dtype=np.uint8)
    dataset.targets = [i % 10 for i in range(50_000)]
    dataset.transform, dataset.target_transform = (
        Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), PILToTensor()]),
        None,
    )
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=workers)


def cifar_split() -> Split:
    data = np.random.default_rng(0).integers(0, 256, (50_000, 32, 32, 3), dtype=np.uint8)
    return Split.from_arrays(data, np.arange(50_000) % 10)


def compare(
    what: str,
    wanted: float,
    n: int,
    ours: Callable[[int], Iterable[Any]],
    theirs: Callable[[int], Iterable[Any]],
    rounds: int,
) -> bool:
    """Whether ours is so many times as fast. Alternates the two; `ours` takes the epoch, `theirs` the number of workers."""
    by_workers = {workers: seconds(theirs(workers)) for workers in WORKERS}
    best = min(by_workers, key=lambda workers: by_workers[workers])
    seconds(ours(0))
    rates = [
        (n / seconds(ours(epoch)), n / seconds(theirs(best))) for epoch in range(1, rounds + 1)
    ]
    ratio = statistics.median(mine / other for mine, other in rates)
    mine, other = (statistics.median(side) for side in zip(*rates, strict=True))
    spread = f"{min(m / o for m, o in rates):.2f} to {max(m / o for m, o in rates):.2f}"
    tried = ", ".join(f"{workers}: {n / s:,.0f}" for workers, s in by_workers.items())
    print(
        f"{what}: {mine:,.0f} against {other:,.0f} images/s = {ratio:.2f} x ({spread}); wanted {wanted} x; num_workers {tried}",
        flush=True,
    )
    return ratio >= wanted


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{cores()} cores, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tar = repeated(arguments.source, folder / "repeated.tar", arguments.images)
        split = store_split(tar, folder)
        as_files(split, folder, tar)
        check_pixels(split)

        def ours(epoch: int) -> Iterable[Any]:
            return split.shuffled(BATCH, seed=0, epoch=epoch, crop=CROP, flip=True)

        passed = [
            compare(
                f"{kind} files",
                wanted,
                len(split),
                ours,
                partial(torchvision_loader, folder / kind),
                arguments.rounds,
            )
            for kind, wanted in (("full", 3.0), ("small", 1.2))
        ]
    cifar = cifar_split()
    in_memory = compare(
        "CIFAR-10",
        10.0,
        50_000,
        lambda epoch: cifar.shuffled(BATCH, seed=0, epoch=epoch, crop=32, pad=4, flip=True),
        cifar_loader,
        max(1, arguments.rounds // 2),
    )
    print("passed" if in_memory and all(passed) else "FAILED")
    return int(not (in_memory and all(passed)))


if __name__ == "__main__":
    raise SystemExit(main())
