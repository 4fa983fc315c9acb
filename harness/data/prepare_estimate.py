"""An estimate of the time and space that preparing a source will take."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harness.data import prepare
from harness.data.preparation import JPEG_QUALITY, Preparation, read_or_explain
from harness.data.sources import Source

ILSVRC_2012_IMAGES = 1_281_167 + 50_000  # train and val
TIMED_IMAGES = 3 * prepare.SAMPLE_IMAGES


@dataclass(frozen=True)
class PrepareEstimate:
    """What was measured on the first images of a source.

    Attributes
    ----------
    images : int
        In the source.
    seconds_per_image : float
        On one core, as JPEG.
    jpeg_bytes_per_image, raw_bytes_per_image : float
    workers : int
        Threads that will decode.
    """

    images: int
    seconds_per_image: float
    jpeg_bytes_per_image: float
    raw_bytes_per_image: float
    workers: int

    @property
    def raw(self) -> bool:
        """Whether the source is small enough to be stored lossless."""
        return self.images * self.raw_bytes_per_image <= prepare.RAW_LIMIT

    @property
    def bytes(self) -> int:
        per_image = self.raw_bytes_per_image if self.raw else self.jpeg_bytes_per_image
        return prepare.estimate_bytes([int(per_image)], self.images)

    @property
    def ilsvrc_2012_bytes(self) -> int:
        return prepare.estimate_bytes([int(self.jpeg_bytes_per_image)], ILSVRC_2012_IMAGES)

    def seconds(self, images: int) -> float:
        """Return the seconds that this many images take on all workers."""
        return images * self.seconds_per_image / self.workers


def estimate_preparation(
    source: Source, *, size: int, workers: int, sample: int = TIMED_IMAGES
) -> PrepareEstimate:
    """Prepare the first images of a source as JPEG, as every large source is, and time that.

    The first image is not timed, because it includes the loading of libraries.

    Parameters
    ----------
    source : Source
    size : int
        Upper limit of the shorter side, in pixels.
    workers : int
        Threads that will decode.
    sample : int
        Images to time.

    Raises
    ------
    UserError
        If the source has fewer than two classes or no images.
    """
    prepare.check_classes(source)
    preparation = Preparation(size, raw=False)
    jpeg_bytes, raw_bytes = [], []
    with prepare.single_torch_thread():
        for position, image in enumerate(islice(source, sample + 1)):
            row = preparation.apply(image, read_or_explain(image)).row
            jpeg_bytes.append(len(row.image))
            raw_bytes.append(3 * row.height * row.width)
            if position == 0:
                started = time.perf_counter()
    count = len(jpeg_bytes)
    return PrepareEstimate(
        images=len(source),
        seconds_per_image=(time.perf_counter() - started) / max(1, count - 1),
        jpeg_bytes_per_image=sum(jpeg_bytes) / count,
        raw_bytes_per_image=sum(raw_bytes) / count,
        workers=workers,
    )


def estimate_lines(estimate: PrepareEstimate, source: Source, root: Path, size: int) -> list[str]:
    """Return the lines that `harness prepare --plan` prints."""
    from harness.render.text import duration

    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    cores = f"{estimate.workers} core{'s' if estimate.workers > 1 else ''}"
    rate = f"{1 / estimate.seconds_per_image:,.0f} images/s"
    jpeg = (
        f"JPEG of quality {JPEG_QUALITY}, {estimate.jpeg_bytes_per_image / 1000:.1f} kB per image"
    )
    codec = "lossless" if estimate.raw else "as JPEG"
    source_seconds = duration(estimate.seconds(estimate.images))
    ilsvrc_seconds = duration(estimate.seconds(ILSVRC_2012_IMAGES))
    return [
        f"source     {source.path} ({source_summary(source)})",
        f"one core   {rate}; shorter side {size}, {jpeg}",
        f"this set   {source_seconds} on {cores}, at most {estimate.bytes / 1e9:.2f} GB, {codec}",
        f"ILSVRC-2012, {ILSVRC_2012_IMAGES:,} images like these: {ilsvrc_seconds} on {cores}, "
        f"at most {estimate.ilsvrc_2012_bytes / 1e9:.0f} GB",
        f"free       {shutil.disk_usage(existing).free / 1e9:.0f} GB in {root}",
    ]


def source_summary(source: Source) -> str:
    """Return a source's layout, number of classes and number of images, for people."""
    return f"{source.layout}, {len(source.class_names)} classes, {len(source):,} images"
