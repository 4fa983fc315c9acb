"""Scores of a finished run for images that belong to no dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from harness.data.decode import Undecodable, decode, is_image, resize, shrink
from harness.data.split import Batch
from harness.engine.device import choose_device
from harness.engine.load import load_pipeline
from harness.errors import UserError
from harness.runs.run_store import RunStore
from harness.settings import load_settings

TOP = 5


def predict(
    run: str,
    paths: Sequence[Path],
    *,
    device: str = "auto",
    plugins: Sequence[str] = (),
    config: Path | None = None,
) -> Iterator[tuple[Path, list[tuple[str, float]]]]:
    """(path, the five likeliest (class, score)) of each image, as the run's own test images were prepared.

    Raises UserError for a run that is not finished, a path that does not exist and a file that is no image.
    """
    record = RunStore(load_settings(config).runs).find(run)
    record.require_finished()
    files = [file for path in paths for file in _images(path)]
    target = choose_device(device)
    pipeline = load_pipeline(record, target, plugins)
    class_names, image_size = record.spec.class_names, record.spec.image_size
    size = re.match(r"size=(\d+) ", record.spec.preparation)
    for file in files:
        try:
            image = decode(file.read_bytes())
        except Undecodable as error:
            raise UserError(f"{file} cannot be decoded: {error}") from error
        image = _fit(image, image_size, int(size[1]) if size else None)
        batch = Batch(
            np.array([str(file)]),
            image[None].to(target),
            torch.zeros(1, dtype=torch.int64, device=target),
        )
        scores = pipeline.scores(batch)[0]
        values, indices = scores.topk(min(TOP, len(class_names)))
        yield (
            file,
            [(class_names[i], v) for i, v in zip(indices.tolist(), values.tolist(), strict=True)],
        )


def _images(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*")
            if is_image(file.relative_to(path).as_posix()) and file.is_file()
        )
        if not found:
            raise UserError(f"{path} holds no images")
        return found
    if not path.is_file():
        raise UserError(f"there is no file or folder {path}")
    return [path]


def _fit(image: torch.Tensor, image_size: list[int] | None, size: int | None) -> torch.Tensor:
    """As the run's images were: all of one size (shorter side fitted, center cut out), or the shorter side at most `size`."""
    if image_size is None:
        return shrink(image, size) if size else image
    from torchvision.transforms.v2 import functional

    height, width = image_size
    scale = max(height / image.shape[1], width / image.shape[2])
    resized = resize(
        image,
        (max(height, round(image.shape[1] * scale)), max(width, round(image.shape[2] * scale))),
    )
    return functional.center_crop(resized, [height, width])
