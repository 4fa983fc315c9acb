"""What preparing a source will take, measured on its first images."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from harness.data import prepare
from harness.data.prepare import (
    JPEG_QUALITY,
    SPACE_SAMPLE,
    Preparation,
    expected_bytes,
    first,
    one_torch_thread,
    read,
)
from harness.data.sources import Source

ILSVRC_2012 = 1_281_167 + 50_000  # train and val


@dataclass(frozen=True)
class Plan:
    """Seconds of one core and bytes an image, as JPEG and as raw pixels; the source's number of images."""

    images: int
    seconds_an_image: float
    jpeg_bytes: float
    raw_bytes: float
    workers: int

    @property
    def raw(self) -> bool:
        """Whether this source is small enough to be kept lossless."""
        return self.images * self.raw_bytes <= prepare.RAW_LIMIT

    @property
    def bytes(self) -> int:
        return expected_bytes([int(self.raw_bytes if self.raw else self.jpeg_bytes)], self.images)

    @property
    def ilsvrc_2012_bytes(self) -> int:
        return expected_bytes([int(self.jpeg_bytes)], ILSVRC_2012)

    def seconds(self, images: int) -> float:
        return images * self.seconds_an_image / self.workers


def plan(source: Source, *, size: int, workers: int, sample: int = 3 * SPACE_SAMPLE) -> Plan:
    """Timed as JPEG, which every large set is kept as. The first image is not timed: it pays for loading libraries.

    Raises UserError for a source that no classifier can be made from.
    """
    prepare.check_classes(source)
    preparation = Preparation(size, raw=False)
    stored, raw = [], []
    with one_torch_thread():
        for nth, image in enumerate(first(source, sample + 1)):
            _, row, _, _ = preparation.row(image, read(image))
            stored.append(len(row.image))
            raw.append(3 * row.height * row.width)
            if nth == 0:
                started = time.perf_counter()
    seconds = (time.perf_counter() - started) / max(1, len(stored) - 1)
    return Plan(len(source), seconds, sum(stored) / len(stored), sum(raw) / len(raw), workers)


def plan_lines(made: Plan, source: Source, root: Path, size: int) -> list[str]:
    """What `harness prepare --plan` says."""
    import shutil

    from harness.render.text import duration

    place = next(folder for folder in (root, *root.parents) if folder.exists())
    cores = f"{made.workers} core{'s' if made.workers > 1 else ''}"
    return [
        f"source     {source.path} ({source.layout}, {len(source.class_names)} classes, {made.images:,} images)",
        f"one core   {1 / made.seconds_an_image:,.0f} images/s; shorter side {size}, JPEG of quality {JPEG_QUALITY}, {made.jpeg_bytes / 1000:.1f} kB an image",
        f"this set   {duration(made.seconds(made.images))} on {cores}, {made.bytes / 1e9:.2f} GB at most, {'lossless' if made.raw else 'as JPEG'}",
        f"ILSVRC-2012, {ILSVRC_2012:,} images like these: {duration(made.seconds(ILSVRC_2012))} on {cores}, "
        f"{made.ilsvrc_2012_bytes / 1e9:.0f} GB at most",
        f"free       {shutil.disk_usage(place).free / 1e9:.0f} GB in {root}",
    ]
